// At most so many frames in any `perMs` milliseconds, wherever these begin: a sliding window, in 60 steps.
// Not fixed windows, nor a bucket of tokens: both let twice as many through where two of them meet, and what
// is behind the limit is to be spared just that. What was counted in a step counts until the whole step is
// `perMs` old, so room comes back up to a 60th of `perMs` later than it could.

/** Steps in `perMs`. */
const STEPS = 60;

export class RateWindow {
  /** Frames by step; the step that is running besides the `STEPS` before it. */
  readonly #counts = new Float64Array(STEPS + 1);
  #step = 0;
  /** Of the step that is running, in `#counts`. */
  #place = 0;
  #used = 0;
  /**
   * Time that has passed, ms: a clock that is set back stands still here, or it would close the window for as
   * long.
   */
  #elapsedMs = 0;
  #lastMs: number | undefined;

  constructor(readonly perMs: number) {}

  /**
   * How many of `wanted` frames there is room for; these are counted.
   * @param most so many may pass in `perMs`
   */
  take(wanted: number, most: number, nowMs: number): number {
    this.#advance(nowMs);
    const taken = Math.min(wanted, Math.max(0, most - this.#used));
    this.#counts[this.#place]! += taken;
    this.#used += taken;
    return taken;
  }

  #advance(nowMs: number): void {
    if (nowMs === this.#lastMs) return;
    this.#elapsedMs += Math.max(0, nowMs - (this.#lastMs ?? nowMs));
    this.#lastMs = nowMs;
    const step = Math.floor((this.#elapsedMs * STEPS) / this.perMs);
    if (step - this.#step > STEPS) this.#clear();
    else while (this.#step < step) this.#leave(++this.#step);
    this.#step = step;
    this.#place = step % this.#counts.length;
  }

  /** The place of a step that begins is that of one which is over. */
  #leave(step: number): void {
    const place = step % this.#counts.length;
    this.#used -= this.#counts[place]!;
    this.#counts[place] = 0;
  }

  #clear(): void {
    this.#counts.fill(0);
    this.#used = 0;
  }
}
