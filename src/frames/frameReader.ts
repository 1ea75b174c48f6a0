// Turns the chunks of one connection into runs: whole frames of one bucket, one after another. Any split of
// the bytes gives the same frames. Per frame there is one bounds check and one look at the name; a run is
// handed on as a place in the chunk, nothing is copied but a half frame. Full frames make runs of their own, so
// that whoever takes a run sees by its first frame what it holds.
import { FrameError } from '../errors.js';
import type { MemoryBudget } from '../memory/memoryBudget.js';
import {
  type BadReason,
  FULL_SHIFT,
  type ReportMode,
  MIN_BODY_BYTES,
  PREFIX_BYTES,
  bodyLength,
  isFullHead,
  judgeBody,
  memoryOf,
  reportQuestion,
  sameBucketIn,
} from './frame.js';
import { judgeFullIn } from './fullFrame.js';

/**
 * Where a reader hands on what it finds, in the order of the bytes. The bytes are borrowed: good until the
 * call returns.
 */
export interface FrameSink {
  /**
   * `frames` whole, sound frames of one bucket, the bytes of `chunk` from `start` to `end`: all plain, or all
   * full.
   */
  run(chunk: Buffer, start: number, end: number, frames: number): void;
  /** One whole frame whose inside makes no sense. */
  bad(chunk: Buffer, start: number, end: number, reason: BadReason): void;
  /** N = 0: how many frames are safe? */
  question(): void;
  /** What became of the frames? */
  reportQuestion(mode: ReportMode): void;
}

const NOTHING = Buffer.alloc(0);
const FIRST_HALF_BYTES = 512;

export class FrameReader {
  // The frame that has come in part: its bytes so far, in a buffer that grows as they come, never to the
  // length that a client claims.
  #half = NOTHING;
  #halfLength = 0;
  #halves = 0;

  /** @param maxFrameBytes MAXFRAME: the greatest N */
  constructor(
    readonly maxFrameBytes: number,
    readonly budget: MemoryBudget,
  ) {}

  /** Is a frame begun and not ended? */
  get isMidFrame(): boolean {
    return this.#halfLength > 0;
  }

  /** Memory taken for the half frame, 0 when there is none. */
  get halfBytes(): number {
    return this.#half.length;
  }

  /** How many frames have come in more than one piece so far: when this moves, another frame has begun. */
  get halves(): number {
    return this.#halves;
  }

  /**
   * Reads on. Every whole frame before a fault has been handed to the sink when this throws.
   * @throws {FrameError} LENGTH: the framing is lost
   */
  read(chunk: Buffer, sink: FrameSink): void {
    const at = this.#halfLength > 0 ? this.#completeHalf(chunk, sink) : 0;
    if (at < chunk.length) this.#scan(chunk, at, sink);
  }

  /**
   * Gives back the memory of a half frame; what it held is gone. Returns its bytes, so that they can be
   * counted.
   */
  discardHalf(): number {
    const bytes = this.#halfLength;
    this.#dropHalf();
    return bytes;
  }

  #scan(chunk: Buffer, from: number, sink: FrameSink): void {
    const memory = memoryOf(chunk);
    const base = chunk.byteOffset;
    const chunkEnd = chunk.length;
    let at = from;
    let runStart = from;
    let frames = 0;
    while (at + PREFIX_BYTES <= chunkEnd) {
      const length = memory.getUint32(base + at, true);
      const next = at + PREFIX_BYTES + length;
      if (length >= MIN_BODY_BYTES && length <= this.maxFrameBytes) {
        if (next > chunkEnd) break;
        if (
          isSound(chunk, at, length) &&
          (frames === 0 || sameBucketIn(memory, base + runStart, base + at))
        ) {
          frames++;
          at = next;
          continue;
        }
      }
      // Anything but one more frame of the same bucket ends the run; what it was is found out with no run
      // open.
      if (frames > 0) {
        sink.run(chunk, runStart, at, frames);
        frames = 0;
      } else at = this.#takeOther(chunk, at, chunkEnd, sink);
      runStart = at;
    }
    if (frames > 0) sink.run(chunk, runStart, at, frames);
    if (at < chunkEnd) this.#addToHalf(chunk, at, chunkEnd);
  }

  /**
   * What is no sound plain frame: full frames, a question, a checkpoint, a bad frame, or a length that can't
   * be. Returns where that ends.
   */
  #takeOther(bytes: Buffer, at: number, bytesEnd: number, sink: FrameSink): number {
    const length = bodyLength(bytes, at);
    const next = at + PREFIX_BYTES + length;
    if (length === 0) {
      sink.question();
      return next;
    }
    this.#checkLength(length);
    const kind = judgeBody(bytes, at, length);
    if (kind === 'full frame') return this.#takeFull(bytes, at, bytesEnd, sink);
    const asked = kind === 'no bucket' ? reportQuestion(bytes, at, length) : undefined;
    if (asked !== undefined) sink.reportQuestion(asked);
    else if (kind !== 'checkpoint' && kind !== 'frame') sink.bad(bytes, at, next, kind);
    return next;
  }

  /** A run of full frames of one bucket, or one that is bad. The first one is whole. Returns where that ends. */
  #takeFull(bytes: Buffer, from: number, bytesEnd: number, sink: FrameSink): number {
    const memory = memoryOf(bytes);
    const base = bytes.byteOffset;
    let at = from;
    let frames = 0;
    while (at + PREFIX_BYTES <= bytesEnd) {
      const length = memory.getUint32(base + at, true);
      const next = at + PREFIX_BYTES + length;
      if (next > bytesEnd || length > this.maxFrameBytes || !isFullHead(memory, base + at, length)) break;
      const problem = judgeFullIn(memory, base + at, length);
      if (problem !== undefined && frames === 0) {
        sink.bad(bytes, at, next, problem);
        return next;
      }
      if (problem !== undefined) break;
      if (frames > 0 && !sameBucketIn(memory, base + from + FULL_SHIFT, base + at + FULL_SHIFT)) break;
      frames++;
      at = next;
    }
    sink.run(bytes, from, at, frames);
    return at;
  }

  #checkLength(length: number): void {
    if (length < MIN_BODY_BYTES)
      throw new FrameError(
        'LENGTH',
        `a frame of length ${length} can't be: the shortest body is ${MIN_BODY_BYTES} bytes`,
      );
    if (length > this.maxFrameBytes) {
      throw new FrameError(
        'LENGTH',
        `a frame says it is ${length} bytes long; at most ${this.maxFrameBytes} are taken (MAXFRAME)`,
      );
    }
  }

  /** Adds to the half frame what it lacks. Returns where in the chunk the next frame starts. */
  #completeHalf(chunk: Buffer, sink: FrameSink): number {
    let at = 0;
    if (this.#halfLength < PREFIX_BYTES) {
      at = Math.min(PREFIX_BYTES - this.#halfLength, chunk.length);
      this.#addToHalf(chunk, 0, at);
      if (this.#halfLength < PREFIX_BYTES) return at;
    }
    const length = bodyLength(this.#half, 0);
    if (length !== 0) this.#checkLength(length);
    const end = Math.min(at + PREFIX_BYTES + length - this.#halfLength, chunk.length);
    if (end > at) this.#addToHalf(chunk, at, end);
    if (this.#halfLength < PREFIX_BYTES + length) return end;
    this.#endHalf(length, sink);
    return end;
  }

  #endHalf(length: number, sink: FrameSink): void {
    const whole = this.#half;
    try {
      if (length >= MIN_BODY_BYTES && isSound(whole, 0, length)) sink.run(whole, 0, PREFIX_BYTES + length, 1);
      else this.#takeOther(whole, 0, PREFIX_BYTES + length, sink);
    } finally {
      this.#dropHalf();
    }
  }

  #addToHalf(chunk: Buffer, start: number, end: number): void {
    if (this.#halfLength === 0) this.#halves++;
    const needed = this.#halfLength + end - start;
    if (needed > this.#half.length) this.#growHalf(needed);
    chunk.copy(this.#half, this.#halfLength, start, end);
    this.#halfLength = needed;
  }

  #growHalf(needed: number): void {
    const grown = Buffer.allocUnsafe(Math.max(needed, this.#half.length * 2, FIRST_HALF_BYTES));
    this.#half.copy(grown, 0, 0, this.#halfLength);
    this.budget.take(grown.length - this.#half.length);
    this.#half = grown;
  }

  #dropHalf(): void {
    this.budget.give(this.#half.length);
    this.#half = NOTHING;
    this.#halfLength = 0;
  }
}

/** An ordinary frame: a bucket is named, and the inner lengths stay within the body. */
function isSound(bytes: Uint8Array, at: number, length: number): boolean {
  const bucketLength = bytes[at + 4]!;
  return (
    bucketLength > 0 &&
    2 + bucketLength <= length &&
    2 + bucketLength + bytes[at + 5 + bucketLength]! <= length
  );
}
