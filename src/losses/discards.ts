// What was thrown away, where the configuration allows it or a disk left no choice: counted by bucket, stream
// and reason, with bytes and the first and last time, and told in the log: the first of its kind at once,
// what follows folded into one line now and then.
import type { Clock, Timer } from '../clock.js';
import type { LogFields } from '../log/fields.js';
import type { Log } from '../log/log.js';
import { plural } from '../plural.js';

export interface Discard {
  readonly bucket: string;
  readonly stream: string;
  readonly reason: string;
  readonly frames: number;
  readonly bytes: number;
}

export interface DiscardCount extends Omit<Discard, 'frames' | 'bytes'> {
  frames: number;
  bytes: number;
  /** Milliseconds since the epoch. */
  readonly firstMs: number;
  lastMs: number;
}

const FOLD_MS = 10_000;
const ADVICE = "see why the stream doesn't deliver, or give it more room (maxFiles, SPOOL_MAX)";
/** Buckets made on demand have names that clients choose, so the number of counts is bounded. */
const MOST_COUNTS = 10_000;

export class Discards {
  readonly #counts = new Map<string, DiscardCount>();
  readonly #unsaid = new Map<DiscardCount, number>();
  #fold: Timer | undefined;

  constructor(
    readonly log: Log,
    readonly clock: Clock,
  ) {}

  get counts(): readonly Readonly<DiscardCount>[] {
    return [...this.#counts.values()];
  }

  add(discard: Discard): void {
    const { frames, bytes } = discard;
    const nowMs = this.clock.now();
    const count = this.#countOf(discard, nowMs);
    const isFirst = count.frames === 0 && count.bytes === 0;
    count.frames += frames;
    count.bytes += bytes;
    count.lastMs = nowMs;
    if (isFirst)
      return this.log.error(
        `discarded: ${described(count)}: ${frames} ${plural(frames, 'frame')}, ${bytes} ${plural(bytes, 'byte')}; ${ADVICE}`,
        { ...namesOf(count), frames, bytes },
      );
    this.#unsaid.set(count, (this.#unsaid.get(count) ?? 0) + frames);
    this.#fold ??= this.clock.after(FOLD_MS, () => this.#sayFolded());
  }

  /** Says what was not said yet, and then the whole of it. */
  close(): void {
    this.#fold?.cancel();
    this.#sayFolded();
    for (const count of this.counts) {
      const { frames, bytes } = count;
      const [since, until] = [iso(count.firstMs), iso(count.lastMs)];
      this.log.unfolded.error(
        `discarded in all: ${described(count)}: ${frames} ${plural(frames, 'frame')}, ${bytes} ${plural(bytes, 'byte')}, from ${since} to ${until}`,
        { ...namesOf(count), totalFrames: frames, bytes, since, until },
      );
    }
  }

  #countOf({ bucket, stream, reason }: Discard, nowMs: number): DiscardCount {
    const name = JSON.stringify([bucket, stream, reason]);
    const isRoom = this.#counts.has(name) || this.#counts.size < MOST_COUNTS;
    const key = isRoom ? name : 'others';
    let count = this.#counts.get(key);
    if (count === undefined) {
      count = {
        ...(isRoom ? { bucket, stream, reason } : { bucket: '(other buckets)', stream: '*', reason: 'any' }),
        frames: 0,
        bytes: 0,
        firstMs: nowMs,
        lastMs: nowMs,
      };
      this.#counts.set(key, count);
    }
    return count;
  }

  #sayFolded(): void {
    this.#fold = undefined;
    for (const [count, frames] of this.#unsaid)
      this.log.error(
        `discarded: ${described(count)}: ${frames} ${plural(frames, 'frame')} more, ${count.frames} in all`,
        { ...namesOf(count), frames, totalFrames: count.frames },
      );
    this.#unsaid.clear();
  }
}

function namesOf({ bucket, stream, reason }: DiscardCount): LogFields {
  return { reason, bucket, stream };
}

function described({ bucket, stream, reason }: DiscardCount): string {
  return `bucket ${JSON.stringify(bucket)}, stream ${stream}: ${reason}`;
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
