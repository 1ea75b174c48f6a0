// Makes record batches of frames, one after another: records, compressed where that is worth it, behind their
// header, in memory that the budget has room for. Shared by all partitions of a stream.
import { pooledSize } from '../../memory/bufferPool.js';
import type { MemoryBudget } from '../../memory/memoryBudget.js';
import type { AdaptiveCompression } from './adaptiveCompression.js';
import type { Compress } from './compression.js';
import { type Encoded, type FrameRange, HEADER_BYTES, putHeader, roomFor } from './recordBatch.js';
import type { RecordEncoder } from './recordEncoder.js';

export interface BatchEncoderOptions {
  readonly maxFrames: number;
  /** Of records, before compression. */
  readonly maxBytes: number;
  readonly encoder: RecordEncoder;
  readonly codecId: number;
  readonly compress: Compress | undefined;
  readonly adaptive: AdaptiveCompression;
  readonly budget: MemoryBudget;
}

/** A record batch, encoded once and never again: a retry sends the same bytes. */
export interface EncodedBatch {
  readonly records: Buffer;
  readonly frames: number;
  /** The times of its first frame, and the greatest. */
  readonly firstMs: number;
  readonly lastMs: number;
  /** Some frame says what its time is. */
  readonly hasOwnTimes: boolean;
  /** What is left of the range behind this record batch. */
  readonly rest: FrameRange | undefined;
  /** What the records lie in. */
  readonly buffer: Buffer;
  readonly roomBytes: number;
}

export class BatchEncoder {
  readonly #options: BatchEncoderOptions;

  constructor(options: BatchEncoderOptions) {
    this.#options = options;
  }

  /** What the next record batch of the range takes of the budget's room for encoded ones. */
  roomBytes(range: FrameRange): number {
    return pooledSize(roomFor(range, this.#options.maxBytes));
  }

  takeRoom(roomBytes: number): boolean {
    return this.#options.budget.takeEncoded(roomBytes);
  }

  giveRoom(roomBytes: number): void {
    this.#options.budget.giveEncoded(roomBytes);
  }

  /** The first record batch of the range. Its room has been taken. */
  async encode(range: FrameRange): Promise<EncodedBatch> {
    const { maxFrames, maxBytes, encoder, budget } = this.#options;
    const need = roomFor(range, maxBytes);
    const out = budget.scratch(need);
    const encoded = encoder.encode(range, out, HEADER_BYTES, need, maxFrames);
    const { buffer, end, codecId } = await this.#compressed(out, encoded);
    const records = buffer.subarray(0, end);
    putHeader(records, end, encoded, codecId);
    return {
      records,
      frames: encoded.frames,
      firstMs: encoded.firstTimestampMs,
      lastMs: encoded.lastTimestampMs,
      hasOwnTimes: encoded.ownTimes > 0,
      rest: restOf(range, encoded),
      buffer,
      roomBytes: pooledSize(need),
    };
  }

  /**
   * Gives its room back.
   * @param isDone the kernel has done with its bytes: they were answered for, or their connection is closed
   */
  release({ roomBytes, buffer }: EncodedBatch, isDone: boolean): void {
    this.#options.budget.giveEncoded(roomBytes);
    if (isDone) this.#options.budget.recycle(buffer);
  }

  /** Where the records end that are sent: the plain ones, or those that came out smaller. */
  async #compressed(out: Buffer, { length }: Encoded): Promise<Records> {
    const { codecId, compress, adaptive } = this.#options;
    const plain = { buffer: out, end: HEADER_BYTES + length, codecId: 0 };
    const records = out.subarray(HEADER_BYTES, plain.end);
    if (compress === undefined || !(await adaptive.isWorthTrying(records, compress))) return plain;
    const result = compress(records);
    const compressed = result instanceof Promise ? await result : result;
    if (!adaptive.wasWorthIt(length, compressed.length)) return plain;
    const end = HEADER_BYTES + compressed.length;
    // What came out smaller, as it nearly always does, goes where the plain records were: the codec is done
    // with them.
    const buffer = end > out.length ? Buffer.allocUnsafeSlow(end) : out;
    buffer.set(compressed, HEADER_BYTES);
    return { buffer, end, codecId };
  }
}

interface Records {
  readonly buffer: Buffer;
  readonly end: number;
  readonly codecId: number;
}

function restOf(range: FrameRange, { frames, frameBytes, nextAt }: Encoded): FrameRange | undefined {
  if (frames === range.count) return undefined;
  return {
    ...range,
    first: range.first + frames,
    at: nextAt,
    count: range.count - frames,
    bytes: range.bytes - frameBytes,
  };
}
