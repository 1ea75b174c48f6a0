// Counts rejected frames by reason and says so in the log: the first of each reason at once, then what came since, folded, so that a client
// that floods us with bad frames doesn't flood the log.
import type { Clock, Timer } from '../clock.js';
import type { Log } from '../log.js';

export interface RejectedCount {
  frames: number;
  bytes: number;
  readonly firstMs: number;
  lastMs: number;
  /** The bucket and the first bytes of the first one. */
  readonly sample: string;
}

export interface Counted {
  readonly reason: string;
  readonly bucket: string;
  readonly frames: number;
  readonly bytes: number;
  readonly timeMs: number;
  /** The first bytes, up to 32. */
  readonly first: Buffer;
}

/** Reasons may hold what a client chose, so their number is bounded. */
const MOST_REASONS = 64;
const OTHER = 'other reasons';
const FOLD_MS = 10_000;
const LOST_MS = 60_000;

export class RejectedReport {
  readonly counts = new Map<string, RejectedCount>();
  lostFrames = 0;
  /** Frames by reason since the last folded line. */
  readonly #since = new Map<string, number>();
  #fold: Timer | undefined;
  #isClosed = false;
  #lostSince = 0;
  #lostWhy = '';
  #lostSaidMs = -Infinity;

  constructor(readonly log: Log, readonly clock: Clock) {}

  /** @returns the sample, when it is the first of its reason, which is then to be told with `first` */
  count({ reason, bucket, frames, bytes, timeMs, first }: Counted): string | undefined {
    const name = this.counts.has(reason) || this.counts.size < MOST_REASONS ? reason : OTHER;
    const known = this.counts.get(name);
    if (known) {
      known.frames += frames;
      known.bytes += bytes;
      known.lastMs = timeMs;
      this.#since.set(name, (this.#since.get(name) ?? 0) + frames);
      if (!this.#isClosed) this.#fold ??= this.clock.after(FOLD_MS, () => this.#sayFolded());
      return undefined;
    }
    const sample = `bucket ${JSON.stringify(bucket)}, ${bytes} bytes, first ${first.toString('hex')}`;
    this.counts.set(name, { frames, bytes, firstMs: timeMs, lastMs: timeMs, sample });
    return sample;
  }

  /** The first of a reason, once it is known where it is kept. */
  first({ reason, sample }: { readonly reason: string; readonly sample: string | undefined }, where: string): void {
    if (sample !== undefined) this.log.warn(`rejected: ${reason}: ${sample}; ${where}`);
  }

  /** Frames that no file keeps. */
  lose(frames: number, why: string): void {
    this.lostFrames += frames;
    this.#lostSince += frames;
    this.#lostWhy = why;
    const now = this.clock.now();
    // A clock that was set back must not silence it.
    if (now - this.#lostSaidMs >= LOST_MS || now < this.#lostSaidMs) this.#sayLost(now);
  }

  /** Says what was not said yet. */
  close(): void {
    this.#isClosed = true;
    this.#fold?.cancel();
    this.#sayFolded();
    if (this.#lostSince > 0) this.#sayLost(this.clock.now());
  }

  #sayFolded(): void {
    this.#fold = undefined;
    for (const [reason, frames] of this.#since) this.log.unfolded.warn(`rejected: ${reason}: ${frames} more, ${String(this.counts.get(reason)?.frames)} in all`);
    this.#since.clear();
  }

  #sayLost(now: number): void {
    this.log.error(`rejected frames are no longer kept: ${this.#lostWhy}; ${this.#lostSince} more are lost, ${this.lostFrames} in all; make room in REJECTED, or mend what is rejected`);
    this.#lostSaidMs = now;
    this.#lostSince = 0;
  }
}
