// How many frames clients want to send in the time of a limit: what a replay leaves free for them. That is
// the greater count of this period and the last one, so that the room which frames leave behind is there for
// those that will follow them.

export class Demand {
  #startMs = -Infinity;
  #frames = 0;
  #framesBefore = 0;

  constructor(readonly perMs: number) {}

  note(frames: number, nowMs: number): void {
    this.#turnOver(nowMs);
    this.#frames += frames;
  }

  /** Frames in `perMs`, as far as can be foreseen. */
  expected(nowMs: number): number {
    this.#turnOver(nowMs);
    return Math.max(this.#frames, this.#framesBefore);
  }

  #turnOver(nowMs: number): void {
    const passedMs = nowMs - this.#startMs;
    if (passedMs >= 0 && passedMs < this.perMs) return;
    // After longer silence, or when the clock was set back, a period begins now.
    const isNext = passedMs >= 0 && passedMs < 2 * this.perMs;
    this.#framesBefore = isNext ? this.#frames : 0;
    this.#frames = 0;
    this.#startMs = isNext ? this.#startMs + this.perMs : nowMs;
  }
}
