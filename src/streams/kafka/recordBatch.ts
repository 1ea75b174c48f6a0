// Kafka's RecordBatch v2, written straight from a batch's bytes. Source: kafka.apache.org/documentation/#recordbatch
//
//   0  baseOffset i64 (0)          8  batchLength i32 (of all after it)   12 partitionLeaderEpoch i32 (-1)
//   16 magic i8 (2)                17 crc u32 (CRC32C of all after it)    21 attributes i16 (low bits: the codec)
//   23 lastOffsetDelta i32         27 baseTimestamp i64                   35 maxTimestamp i64
//   43 producerId i64 (-1)         51 producerEpoch i16 (-1)              53 baseSequence i32 (-1)
//   57 recordCount i32             61 records, compressed as a whole when a codec is set
//
//   record: length varint | attributes i8 (0) | timestampDelta varint | offsetDelta varint
//           | keyLength varint (-1: null) | key | valueLength varint | value | headerCount varint (0)
import { crc32c } from '@node-rs/crc32';
import type { Batch } from '../../frames/batch.js';
import { PREFIX_BYTES, bodyLength } from '../../frames/frame.js';

export const HEADER_BYTES = 61;
/** What a record is longer than its key and value, at most: length, attributes, deltas, two lengths, no headers. */
export const RECORD_OVERHEAD_BYTES = 5 + 1 + 5 + 5 + 5 + 5 + 1;
const NO_PRODUCER = 0xffffffff;

/** Frames picked out of a batch: where each starts, and which of the batch's frames it is. */
export interface Picked {
  readonly offsets: Uint32Array;
  readonly indexes: Uint32Array;
}

/** Which frames of a batch: `count` of them from `first` on, an index into `picked`, or into the batch when they lie one after another. */
export interface FrameRange {
  readonly batch: Batch;
  readonly picked: Picked | undefined;
  readonly first: number;
  /** Where the first frame starts; means nothing with `picked`. */
  readonly at: number;
  readonly count: number;
  /** How long the frames are together. */
  readonly bytes: number;
}

export interface Encoded {
  /** Bytes written to the output, the records alone. */
  readonly length: number;
  readonly frames: number;
  /** Bytes of the frames encoded. */
  readonly frameBytes: number;
  /** Where the frame after the last one encoded starts; means nothing with `picked`. */
  readonly nextAt: number;
  readonly firstTimestampMs: number;
  readonly lastTimestampMs: number;
}

/**
 * Encodes frames as records into `out` from `start`, until `maxFrames` are in or the next might not fit before `limit`;
 * at least one, for which `out` must have room (see `roomFor`). Up to SLACK_BYTES behind `limit` may be written over.
 */
export function encodeRecords(range: FrameRange, out: Buffer, start: number, limit: number, maxFrames: number): Encoded {
  const { batch, picked } = range;
  const source = batch.bytes;
  const from = viewOf(source);
  const to = viewOf(out);
  const { until, times } = batch.arrivals;
  const wanted = Math.min(range.count, maxFrames);
  let mark = 0;
  let index = range.first;
  let at = range.at;
  let pos = start;
  let frames = 0;
  let frameBytes = 0;
  let base = 0;
  let delta = 0;
  for (; frames < wanted; frames++) {
    if (picked !== undefined) {
      at = picked.offsets[range.first + frames]!;
      index = picked.indexes[range.first + frames]!;
    }
    const length = bodyLength(source, at);
    if (frames > 0 && pos + length + RECORD_OVERHEAD_BYTES > limit) break;
    while (index >= until[mark]!) mark++;
    if (frames === 0) base = times[mark]!;
    // A batch read back may span a long outage; what is too far from its first record goes into the next record batch.
    if (times[mark]! - base > LARGEST_DELTA) break;
    delta = times[mark]! - base;
    const keyAt = at + 6 + source[at + 4]!;
    const keyLength = source[keyAt - 1]!;
    const valueLength = at + PREFIX_BYTES + length - keyAt - keyLength;
    const body = 3 + varintSize(delta) + varintSize(frames) + (keyLength === 0 ? 0 : varintSize(keyLength) - 1 + keyLength) + varintSize(valueLength) + valueLength;
    pos = putVarint(out, pos, body);
    out[pos++] = 0;
    pos = putVarint(out, pos, delta);
    pos = putVarint(out, pos, frames);
    if (keyLength === 0) {
      out[pos++] = 1; // zigzag of -1: a null key
    } else {
      pos = putVarint(out, pos, keyLength);
      for (let i = 0; i < keyLength; i++) out[pos++] = source[keyAt + i]!;
    }
    pos = putVarint(out, pos, valueLength);
    const valueAt = keyAt + keyLength;
    // A call to copy costs as much as moving 150 bytes by fours; what these write beyond the end is written over.
    if (valueLength > SHORT_VALUE_BYTES || valueAt + valueLength + 4 > source.length) {
      source.copy(out, pos, valueAt, valueAt + valueLength);
    } else {
      for (let i = 0; i < valueLength; i += 4) to.setUint32(pos + i, from.getUint32(valueAt + i, true), true);
    }
    pos += valueLength;
    out[pos++] = 0;
    index++;
    at += PREFIX_BYTES + length;
    frameBytes += PREFIX_BYTES + length;
  }
  return { length: pos - start, frames, frameBytes, nextAt: at, firstTimestampMs: base, lastTimestampMs: base + delta };
}

const SHORT_VALUE_BYTES = 160;
/** Of two timestamps in one record batch, ms (24.8 days): what a varint of 32 bits holds. */
const LARGEST_DELTA = 0x7fffffff;
export const SLACK_BYTES = 8;

/** Room for one record batch of these frames: at most `maxBytes` of records, but whatever the first frame needs, and the slack of encoding. */
export function roomFor(range: FrameRange, maxBytes: number): number {
  const first = bodyLength(range.batch.bytes, startOf(range)) + RECORD_OVERHEAD_BYTES;
  return HEADER_BYTES + Math.max(first, Math.min(maxBytes, range.bytes + range.count * RECORD_OVERHEAD_BYTES)) + SLACK_BYTES;
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
  return { ...range, first: range.first + frames, at, count: range.count - frames, bytes: range.bytes - skipped };
}

/** Writes the header of a record batch whose records lie from HEADER_BYTES on, and the checksum over it all. */
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

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Size of a non-negative number as a zigzag varint. */
function varintSize(value: number): number {
  return value < 0x40 ? 1 : value < 0x2000 ? 2 : value < 0x100000 ? 3 : value < 0x8000000 ? 4 : 5;
}

/** Writes a non-negative number below 2^31 as a zigzag varint; returns where the next byte goes. */
function putVarint(out: Buffer, at: number, value: number): number {
  let rest = (value << 1) >>> 0;
  while (rest > 0x7f) {
    out[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  out[at++] = rest;
  return at;
}
