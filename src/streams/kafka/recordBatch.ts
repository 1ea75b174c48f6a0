// Kafka's RecordBatch v2. The records are written straight from a batch's bytes, see recordEncoder.ts; the
// header around them here. Source: kafka.apache.org/documentation/#recordbatch
//
//   0  baseOffset i64 (0)          8  batchLength i32 (of all after it)   12 partitionLeaderEpoch i32 (-1)
//   16 magic i8 (2)                17 crc u32 (CRC32C of all after it)    21 attributes i16 (low bits: the codec)
//   23 lastOffsetDelta i32         27 baseTimestamp i64                   35 maxTimestamp i64
//   43 producerId i64 (-1)         51 producerEpoch i16 (-1)              53 baseSequence i32 (-1)
//   57 recordCount i32             61 records, compressed as a whole when a codec is set
//
//   record: length varint | attributes i8 (0) | timestampDelta varint | offsetDelta varint
//           | keyLength varint (-1: null) | key | valueLength varint (-1: null) | value | headerCount varint
//           | each header: nameLength varint | name | valueLength varint (-1: null) | value
import { crc32c } from '@node-rs/crc32';
import type { Batch } from '../../frames/batch.js';
import { PREFIX_BYTES, bodyLength } from '../../frames/frame.js';

export const HEADER_BYTES = 61;
/**
 * What a record of a plain frame is longer than its key and value, at most: length, attributes, deltas, two
 * lengths, no headers.
 */
export const RECORD_OVERHEAD_BYTES = 5 + 1 + 5 + 5 + 5 + 5 + 1;

/**
 * What a record is longer than N, at most. N of a full frame counts more than its record has besides, but for
 * headers with a value of a megabyte and more: a byte each.
 */
export function overheadOf(length: number): number {
  return RECORD_OVERHEAD_BYTES + (length >>> 20);
}
const NO_PRODUCER = 0xffffffff;

/** Frames picked out of a batch: where each starts, and which of the batch's frames it is. */
export interface Picked {
  readonly offsets: Uint32Array;
  readonly indexes: Uint32Array;
}

/**
 * Which frames of a batch: `count` of them from `first` on, an index into `picked`, or into the batch when
 * they lie one after another.
 */
export interface FrameRange {
  readonly batch: Batch;
  readonly picked: Picked | undefined;
  readonly first: number;
  /** Where the first frame starts; means nothing with `picked`. */
  readonly at: number;
  readonly count: number;
  /** How long the frames are together. */
  readonly bytes: number;
  /** All of them have this time, ms since the epoch; undefined: each has that of its arrival. */
  readonly timeMs?: number;
}

export interface Encoded {
  /** Bytes written to the output, the records alone. */
  readonly length: number;
  readonly frames: number;
  /** Bytes of the frames encoded. */
  readonly frameBytes: number;
  /** Where the frame after the last one encoded starts; means nothing with `picked`. */
  readonly nextAt: number;
  /** Of the first record, and the greatest. */
  readonly firstTimestampMs: number;
  readonly lastTimestampMs: number;
  /** Frames with a time of their own. */
  readonly ownTimes: number;
}

/**
 * Room for one record batch of these frames: at most `maxBytes` of records, but whatever the first frame
 * needs.
 */
export function roomFor(range: FrameRange, maxBytes: number): number {
  const length = bodyLength(range.batch.bytes, startOf(range));
  const first = length + overheadOf(length);
  return (
    HEADER_BYTES + Math.max(first, Math.min(maxBytes, range.bytes + range.count * RECORD_OVERHEAD_BYTES))
  );
}

/** One frame of a batch: which it is, and where it starts. */
export interface FramePlace {
  readonly index: number;
  readonly at: number;
}

/** The place of the range's first frame. */
export function firstPlace(range: FrameRange): FramePlace {
  return { index: range.picked?.indexes[range.first] ?? range.first, at: startOf(range) };
}

/** Where the range's first frame starts. */
export function startOf(range: FrameRange): number {
  return range.picked?.offsets[range.first] ?? range.at;
}

/** The range without its first `frames`. */
export function skipFrames(range: FrameRange, frames: number): FrameRange {
  let at = range.at;
  let skipped = 0;
  for (let i = 0; i < frames; i++) {
    if (range.picked !== undefined) at = range.picked.offsets[range.first + i]!;
    const length = PREFIX_BYTES + bodyLength(range.batch.bytes, at);
    at += length;
    skipped += length;
  }
  return {
    ...range,
    first: range.first + frames,
    at,
    count: range.count - frames,
    bytes: range.bytes - skipped,
  };
}

/**
 * Writes the header of a record batch whose records lie from HEADER_BYTES on, and the checksum over it all.
 */
export function putHeader(out: Buffer, end: number, encoded: Encoded, codecId: number): void {
  out.fill(0, 0, 8);
  out.writeInt32BE(end - 12, 8);
  out.writeInt32BE(-1, 12);
  out[16] = 2;
  out.writeInt16BE(codecId, 21);
  out.writeInt32BE(encoded.frames - 1, 23);
  putInt64(out, 27, encoded.firstTimestampMs);
  putInt64(out, 35, encoded.lastTimestampMs);
  out.writeUInt32BE(NO_PRODUCER, 43);
  out.writeUInt32BE(NO_PRODUCER, 47);
  out.writeInt16BE(-1, 51);
  out.writeInt32BE(-1, 53);
  out.writeInt32BE(encoded.frames, 57);
  out.writeUInt32BE(crc32c(out.subarray(21, end)), 17);
}

function putInt64(out: Buffer, at: number, value: number): void {
  out.writeInt32BE(Math.floor(value / 0x100000000), at);
  out.writeUInt32BE(value % 0x100000000, at + 4);
}
