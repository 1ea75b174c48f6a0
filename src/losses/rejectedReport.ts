// Counts rejected frames by reason and says so in the log: the first of each reason at once, then what came
// since, folded, so that a client that floods us with bad frames doesn't flood the log.
import { plural } from '../plural.js';
import type { Clock, Timer } from '../clock.js';
import type { Log } from '../log/log.js';
import type { Unkept } from './rejectedFiles.js';

export interface RejectedCount {
  frames: number;
  bytes: number;
  readonly firstMs: number;
  lastMs: number;
  /** The bucket and the first bytes of the first one. */
  readonly sample: string;
}

/** Reasons may hold what a client chose, so their number is bounded. */
const MOST_REASONS = 64;
const OTHER = 'other reasons';
const FOLD_MS = 10_000;
const SAMPLE_BYTES = 32;
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

  constructor(
    readonly log: Log,
    readonly clock: Clock,
  ) {}

  kept({ reason, bucket, frames, bytes, start, end, timeMs }: Unkept, file: string): void {
    const name = this.counts.has(reason) || this.counts.size < MOST_REASONS ? reason : OTHER;
    const known = this.counts.get(name);
    if (known !== undefined) {
      known.frames += frames;
      known.bytes += end - start;
      known.lastMs = timeMs;
      this.#since.set(name, (this.#since.get(name) ?? 0) + frames);
      if (!this.#isClosed) this.#fold ??= this.clock.after(FOLD_MS, () => this.#sayFolded());
      return;
    }
    const first = Buffer.from(bytes.subarray(start, Math.min(end, start + SAMPLE_BYTES))).toString('hex');
    const sample = `bucket ${JSON.stringify(bucket)}, ${end - start} ${plural(end - start, 'byte')}, first ${first}`;
    this.counts.set(name, { frames, bytes: end - start, firstMs: timeMs, lastMs: timeMs, sample });
    this.log.warn(
      `rejected: ${reason}: ${sample}; kept in ${file}: kahe inspect shows it; fix the cause, and kahe replay sends it`,
      { reason, bucket, frames, bytes: end - start, keptIn: file },
    );
  }

  /** Frames that no file keeps. */
  lost(frames: number, why: string): void {
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
    for (const [reason, frames] of this.#since) {
      const totalFrames = this.counts.get(reason)?.frames;
      this.log.unfolded.warn(`rejected: ${reason}: ${frames} more, ${String(totalFrames)} in all`, {
        reason,
        frames,
        totalFrames,
      });
    }
    this.#since.clear();
  }

  #sayLost(now: number): void {
    this.log.error(
      `rejected frames are discarded: ${this.#lostWhy}; ${this.#lostSince} more are lost, ${this.lostFrames} in all; make room in REJECTED, or fix the cause of the rejections`,
      { reason: this.#lostWhy, frames: this.#lostSince, totalFrames: this.lostFrames },
    );
    this.#lostSaidMs = now;
    this.#lostSince = 0;
  }
}
