// A batch: whole frames of one bucket, one after another, just as they came, and when they came. Its bytes
// are what a file stream writes, what a backup holds, and what a record batch is encoded from. It counts its
// holders and gives its memory back when the last one lets go.
import { crc32c } from '@node-rs/crc32';
import type { MemoryBudget } from '../memory/memoryBudget.js';
import { endOfFrame, isFull } from './frame.js';
import { type FramesByOrigin, NOBODY } from './origins.js';

const FIRST_CAPACITY_BYTES = 4096;
const NOTHING = Buffer.alloc(0);
/** Enough to tell batches of the same millisecond apart. */
const DRAWN_BYTES = 256;
const NOBODYS: FramesByOrigin = new Map();
const FIRST_ORIGINS = 16;

export class Batch {
  /** The frames, from 0 to `length`; what lies behind is slack. */
  bytes: Buffer;
  /** Bytes used. */
  length = 0;
  frames = 0;
  /** There may be full frames among them: then encoders and partitioners look for them, else they need not. */
  hasFull = false;
  /**
   * Somebody waits to hear how each frame ends: streams then say it by ranges (intake/outcome.ts). What is
   * picked from it, and its shares, say so too.
   */
  wantsOutcomes = false;
  /** The connection that what is appended next came on. */
  origin = NOBODY;
  #holders = 1;
  #readers = 0;
  #draw: number | undefined;
  // Arrival times: frames before #markFrames[i] (and not before #markFrames[i - 1]) came at #markTimes[i].
  #markFrames: number[] = [];
  #markTimes: number[] = [];
  // Origins: from frame #origins[2 i] on, frames came on connection #origins[2 i + 1]. Numbers in one array,
  // for there may be one for each frame.
  #origins: Uint32Array | undefined;
  #originsLength = 0;
  #lastOrigin = NOBODY;
  /** The batch whose bytes these are. */
  #shares: Batch | undefined;
  /** Of a picked batch that wants outcomes: where its frames were. */
  #places: Uint32Array | undefined;

  /**
   * @param bucket the bucket's name as in the frames: the Kafka topic, and `{bucket}` of a file name
   * @param from a guess at the size to come, so that a busy bucket doesn't grow its batch step by step; or
   * the batch whose bytes it shares
   */
  constructor(
    readonly bucket: string,
    readonly budget: MemoryBudget,
    from: number | Batch = FIRST_CAPACITY_BYTES,
  ) {
    if (typeof from === 'number') {
      this.bytes = budget.allocate(from);
      return;
    }
    this.#shares = from;
    this.#draw = from.#draw;
    this.bytes = from.bytes;
    this.length = from.length;
    this.frames = from.frames;
    this.hasFull = from.hasFull;
    this.#markFrames = from.#markFrames;
    this.#markTimes = from.#markTimes;
  }

  /**
   * Adds `frames` whole frames of `origin`, the bytes of `chunk` from `start` to `end`. One copy, and one look:
   * they are all plain, or all full, or the caller sets `hasFull`.
   */
  append(chunk: Buffer, start: number, end: number, frames: number, nowMs: number): void {
    const needed = this.length + end - start;
    if (needed > this.bytes.length) this.#grow(needed);
    chunk.copy(this.bytes, this.length, start, end);
    if (isFull(chunk, start)) this.hasFull = true;
    this.length = needed;
    if (this.origin !== this.#lastOrigin) this.#markOrigin(this.origin);
    this.frames += frames;
    this.#mark(nowMs);
  }

  #markOrigin(origin: number): void {
    let origins = this.#origins;
    if (origins === undefined || this.#originsLength === origins.length) {
      const grown = new Uint32Array(Math.max(2 * FIRST_ORIGINS, 2 * this.#originsLength));
      if (origins !== undefined) grown.set(origins);
      this.#origins = origins = grown;
    }
    origins[this.#originsLength++] = this.frames;
    origins[this.#originsLength++] = origin;
    this.#lastOrigin = origin;
  }

  /** By connection: how many of the frames came on it. Those of nobody are left out. */
  get origins(): FramesByOrigin {
    if (this.#origins === undefined) return NOBODYS;
    const counts = new Map<number, number>();
    for (let i = 0; i < this.#originsLength; i += 2) {
      const origin = this.#origins[i + 1]!;
      const until = i + 2 < this.#originsLength ? this.#origins[i + 2]! : this.frames;
      if (origin !== NOBODY) counts.set(origin, (counts.get(origin) ?? 0) + until - this.#origins[i]!);
    }
    return counts;
  }

  get hasOrigins(): boolean {
    return this.#origins !== undefined;
  }

  /** The connection that frame `index` came on. */
  originOf(index: number): number {
    let [low, high] = [0, this.#originsLength / 2];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#origins![2 * middle]! <= index) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? NOBODY : this.#origins![2 * low - 1]!;
  }

  #grow(needed: number): void {
    const grown = this.budget.allocate(Math.max(needed, this.bytes.length * 2));
    this.bytes.copy(grown, 0, 0, this.length);
    this.#giveBack();
    this.bytes = grown;
  }

  #mark(nowMs: number): void {
    const last = this.#markTimes.length - 1;
    // Kafka takes the last timestamp for the greatest, so a clock that steps back must not show.
    const time = last >= 0 ? Math.max(nowMs, this.#markTimes[last]!) : nowMs;
    if (last >= 0 && this.#markTimes[last] === time) {
      this.#markFrames[last] = this.frames;
    } else {
      this.#markFrames.push(this.frames);
      this.#markTimes.push(time);
    }
  }

  /**
   * Arrival times as runs: frames before `until[i]` came at `times[i]` (ms since the epoch, never falling).
   */
  get arrivals(): { readonly until: readonly number[]; readonly times: readonly number[] } {
    return { until: this.#markFrames, times: this.#markTimes };
  }

  /** When the first frame came, ms since the epoch; 0 in an empty batch. */
  get firstArrivalMs(): number {
    return this.#markTimes[0] ?? 0;
  }

  /** The used bytes, as a view: valid until the last holder lets go. */
  view(): Buffer {
    return this.bytes.subarray(0, this.length);
  }

  /**
   * A new batch of those frames that `keep` says yes to, with their arrival times; `at` is where frame
   * `index` starts.
   */
  pick(keep: (index: number, at: number) => boolean): Batch {
    const picked = new Batch(this.bucket, this.budget);
    const places = this.wantsOutcomes ? new Uint32Array(this.frames) : undefined;
    let at = 0;
    for (let index = 0, mark = 0; index < this.frames; index++) {
      while (index >= this.#markFrames[mark]!) mark++;
      const end = endOfFrame(this.bytes, at);
      if (keep(index, at)) {
        if (this.#origins !== undefined) picked.origin = this.originOf(index);
        if (places !== undefined) places[picked.frames] = this.placeOf(index);
        picked.append(this.bytes, at, end, 1, this.#markTimes[mark]!);
      }
      at = end;
    }
    picked.#draw = this.draw;
    picked.#places = places;
    picked.wantsOutcomes = this.wantsOutcomes;
    return picked;
  }

  /** It wants outcomes, and its frames were elsewhere in the batch that they came in. */
  get isPicked(): boolean {
    return this.#places !== undefined;
  }

  /**
   * Of a batch that wants outcomes: the index of frame `index` in the batch that it was first picked from.
   */
  placeOf(index: number): number {
    return this.#places === undefined ? index : this.#places[index]!;
  }

  /**
   * The same frames for one destination, to be held and released on its own: no copy. This one's memory stays
   * until the share has been released.
   * @param isReported what becomes of its frames there is what connections and followers hear
   */
  share(isReported = false): Batch {
    const share = new Batch(this.bucket, this.budget, this.retain());
    if (isReported) [share.#origins, share.#originsLength] = [this.#origins, this.#originsLength];
    share.#places = this.#places;
    share.wantsOutcomes = this.wantsOutcomes && isReported;
    return share;
  }

  /** One more holder; each calls `release` once. */
  retain(): this {
    if (this.#holders < 1) throw new Error(`batch of ${this.bucket} retained after all have released it`);
    this.#holders++;
    return this;
  }

  get isHeldOnce(): boolean {
    return this.#holders === 1;
  }

  release(): void {
    if (--this.#holders > 0) return;
    if (this.#holders < 0) throw new Error(`batch of ${this.bucket} released more often than retained`);
    this.#giveBack();
    this.bytes = NOTHING;
  }

  /**
   * Somebody outside (the kernel) reads the bytes until `endRead`, even when the batch grows or is released:
   * they are not used again before.
   */
  beginRead(): void {
    if (this.#shares !== undefined) return this.#shares.beginRead();
    this.#readers++;
  }

  endRead(): void {
    if (this.#shares !== undefined) return this.#shares.endRead();
    this.#readers--;
  }

  #giveBack(): void {
    if (this.#shares !== undefined) return this.#shares.release();
    if (this.#readers > 0) this.budget.give(this.bytes.length);
    else this.budget.free(this.bytes);
  }

  /**
   * A number drawn from the batch itself, the same each time the batch is read back, and for what is left of
   * it after a part was delivered: so that frames without a key, sent again, go to the partition where they
   * may have arrived already.
   */
  get draw(): number {
    return (this.#draw ??= crc32c(
      this.bytes.subarray(0, Math.min(this.length, DRAWN_BYTES)),
      this.firstArrivalMs >>> 0,
    ));
  }
}
