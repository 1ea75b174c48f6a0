// What a bucket's limit kept back, counted, and told in the log: the first frames at once, then what came
// since, folded into one line now and then, for as long as more comes.
import type { Clock, Timer } from '../../clock.js';
import { type OverLimit, type RateLimitConfig, rateText } from '../../config/rateLimit.js';
import type { Log } from '../../log/log.js';
import { plural } from '../../plural.js';

/** Frames over the limit, by where they went. */
export type LimitCounts = Record<OverLimit, number>;

const FOLD_MS = 10_000;

export class LimitReport {
  #fold: Timer | undefined;
  #since: { readonly ms: number; frames: number } | undefined;

  /** @param counts are counted on */
  constructor(
    readonly limit: RateLimitConfig,
    readonly counts: LimitCounts,
    readonly log: Log,
    readonly clock: Clock,
  ) {}

  over(frames: number): void {
    this.counts[this.limit.over] += frames;
    this.#since ??= { ms: this.clock.now(), frames: 0 };
    this.#since.frames += frames;
    // The first ones at once; while that is young, the rest together.
    if (this.#fold === undefined) this.#say();
  }

  close(): void {
    this.#fold?.cancel();
    this.#fold = undefined;
    if (this.#since !== undefined) this.#tell(this.#since);
    this.#since = undefined;
  }

  #say(): void {
    this.#fold = undefined;
    if (this.#since === undefined) return;
    this.#tell(this.#since);
    this.#since = undefined;
    this.#fold = this.clock.after(Math.max(FOLD_MS, this.limit.perMs), () => this.#say());
  }

  #tell({ ms, frames }: { readonly ms: number; readonly frames: number }): void {
    const { limit, counts } = this;
    const [since, totalFrames] = [new Date(ms).toISOString(), counts[limit.over]];
    this.log.warn(
      `rate limit: ${frames} ${plural(frames, 'frame')} over ${rateText(limit)} since ${since}, ${totalFrames} in all: they are kept in REJECTED; send less, or raise rateLimit.frames; kahe replay sends the kept ones`,
      { reason: `over the rate limit of ${rateText(limit)}`, frames, totalFrames, since },
    );
  }
}
