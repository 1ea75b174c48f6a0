// The full frame: all that a record of Kafka has. It is a frame that names no bucket, with the key `kahe2`;
// what a plain frame has no place for is in its message. All numbers are little-endian, and signed where -1
// stands for something:
//
//   u32  N             | u8 0 | u8 5 | "kahe2"         the head, 11 bytes
//   u8   bucketLength  | bucket, 1 to 255 bytes
//   i32  partition     -1: chosen, by the key or freely
//   i64  timestamp     ms since 1970, to 2^53 - 1; -1: the time of arrival
//   i32  keyLength     -1: null | key
//   i32  valueLength   -1: null, a tombstone | value
//   u16  headers
//   each: u16 nameLength | name, UTF-8 | i32 valueLength, -1: null | value
//
// Nothing follows the last header. Promise: of what `judgeFull` finds sound, every part lies within the frame.
import { isUtf8 } from 'node:buffer';
import { type BadReason, FULL_BUCKET_AT, FULL_KEY, PREFIX_BYTES, memoryOf } from './frame.js';

/** Partition and timestamp, between the bucket and the key. */
const FIXED_BYTES = 12;
/** The high word of 2^53 - 1: what a number holds exactly. */
const LARGEST_HIGH = 0x1fffff;
const MOST_HEADERS = 0xffff;

export interface FullFrame {
  readonly bucket: string | Uint8Array;
  /** Missing: chosen. */
  readonly partition?: number | undefined;
  /** Milliseconds since 1970; missing: when it arrives. */
  readonly timestampMs?: number | undefined;
  /** Missing: null, which is not the same as empty. */
  readonly key?: string | Uint8Array | null | undefined;
  /** Null: a tombstone. */
  readonly value: string | Uint8Array | null;
  /** In their order; a name may come more than once. */
  readonly headers?: readonly FullFrameHeader[] | undefined;
}

export type FullFrameHeader = readonly [name: string, value: string | Uint8Array | null];

/** Why the whole frame at `at`, which has the key `kahe2`, is bad; undefined: it is sound. */
export function judgeFull(bytes: Buffer, at: number, length: number): BadReason | undefined {
  return judgeFullIn(memoryOf(bytes), bytes.byteOffset + at, length);
}

/** The same of one that is at `start` in this memory. */
export function judgeFullIn(memory: DataView, start: number, length: number): BadReason | undefined {
  const end = start + PREFIX_BYTES + length;
  const bucketAt = start + FULL_BUCKET_AT;
  if (bucketAt >= end) return 'lengths pass the end of the frame';
  const bucketLength = memory.getUint8(bucketAt);
  if (bucketLength === 0) return 'no bucket';
  const fixedAt = bucketAt + 1 + bucketLength;
  if (fixedAt + FIXED_BYTES > end) return 'lengths pass the end of the frame';
  if (memory.getInt32(fixedAt, true) < -1) return 'the partition is negative';
  if (!isTime(memory.getInt32(fixedAt + 4, true), memory.getInt32(fixedAt + 8, true)))
    return 'the time is out of range';
  const valueAt = behindField(memory, fixedAt + FIXED_BYTES, end);
  if (valueAt < 0) return fieldProblem(valueAt);
  const headersAt = behindField(memory, valueAt, end);
  if (headersAt < 0) return fieldProblem(headersAt);
  if (headersAt + 2 > end) return 'lengths pass the end of the frame';
  return judgeHeaders(memory, headersAt, end);
}

function judgeHeaders(memory: DataView, headersAt: number, end: number): BadReason | undefined {
  let at = headersAt + 2;
  for (let left = memory.getUint16(headersAt, true); left > 0; left--) {
    if (at + 2 > end) return 'lengths pass the end of the frame';
    const nameEnd = at + 2 + memory.getUint16(at, true);
    if (nameEnd > end) return 'lengths pass the end of the frame';
    if (!isText(memory, at + 2, nameEnd)) return 'a header name is not UTF-8';
    at = behindField(memory, nameEnd, end);
    if (at < 0) return fieldProblem(at);
  }
  return at === end ? undefined : 'bytes follow the last header';
}

const PASSES_END = -1;
const NEGATIVE = -2;

/** Where that ends which follows the length at `at`, or one of the two above. */
function behindField(memory: DataView, at: number, end: number): number {
  if (at + 4 > end) return PASSES_END;
  const length = memory.getInt32(at, true);
  if (length < -1) return NEGATIVE;
  const next = length < 0 ? at + 4 : at + 4 + length;
  return next > end ? PASSES_END : next;
}

function fieldProblem(found: number): BadReason {
  return found === NEGATIVE ? 'a length is negative' : 'lengths pass the end of the frame';
}

function isTime(low: number, high: number): boolean {
  return high >= 0 ? high <= LARGEST_HIGH : high === -1 && low === -1;
}

/** Names are short, and nearly always ASCII: a call costs more than they do. */
function isText(memory: DataView, start: number, end: number): boolean {
  let at = start;
  for (; at + 4 <= end; at += 4)
    if ((memory.getUint32(at, true) & 0x80808080) !== 0) return isUtf8(partOf(memory, start, end));
  for (; at < end; at++) if (memory.getUint8(at) > 0x7f) return isUtf8(partOf(memory, start, end));
  return true;
}

function partOf(memory: DataView, start: number, end: number): Uint8Array {
  return new Uint8Array(memory.buffer, start, end - start);
}

function int32(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

function uint16(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8);
}

// Of a sound full frame.

/** -1: chosen. */
export function partitionOf(bytes: Uint8Array, at: number): number {
  return int32(bytes, fixedAtOf(bytes, at));
}

/** Milliseconds since 1970; -1: the time of arrival. */
export function timestampOf(bytes: Uint8Array, at: number): number {
  const timeAt = fixedAtOf(bytes, at) + 4;
  return int32(bytes, timeAt + 4) * 0x1_0000_0000 + (int32(bytes, timeAt) >>> 0);
}

/** Where the key's length is; the key follows. */
export function keyAtOf(bytes: Uint8Array, at: number): number {
  return fixedAtOf(bytes, at) + FIXED_BYTES;
}

/** -1: the key is null. */
export function keyLengthOf(bytes: Uint8Array, at: number): number {
  return int32(bytes, keyAtOf(bytes, at));
}

function fixedAtOf(bytes: Uint8Array, at: number): number {
  return at + FULL_BUCKET_AT + 1 + bytes[at + FULL_BUCKET_AT]!;
}

/** The parts of a full frame, as views. */
export interface FullFrameParts {
  readonly bucket: Buffer;
  /** -1: chosen. */
  readonly partition: number;
  /** -1: the time of arrival. */
  readonly timestampMs: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly (readonly [name: string, value: Buffer | null])[];
}

/** The sound full frame at `at` as an object: for tools and tests, never on the hot path. */
export function readFullFrame(bytes: Buffer, at = 0): FullFrameParts {
  const fixedAt = fixedAtOf(bytes, at);
  const behind = (lengthAt: number): number => lengthAt + 4 + Math.max(0, int32(bytes, lengthAt));
  const field = (lengthAt: number): Buffer | null =>
    int32(bytes, lengthAt) < 0 ? null : bytes.subarray(lengthAt + 4, behind(lengthAt));
  const valueAt = behind(fixedAt + FIXED_BYTES);
  const headersAt = behind(valueAt);
  const headers: [string, Buffer | null][] = [];
  let next = headersAt + 2;
  for (let left = uint16(bytes, headersAt); left > 0; left--) {
    const nameEnd = next + 2 + uint16(bytes, next);
    headers.push([bytes.toString('utf8', next + 2, nameEnd), field(nameEnd)]);
    next = behind(nameEnd);
  }
  return {
    bucket: bytes.subarray(at + FULL_BUCKET_AT + 1, fixedAt),
    partition: partitionOf(bytes, at),
    timestampMs: timestampOf(bytes, at),
    key: field(fixedAt + FIXED_BYTES),
    value: field(valueAt),
    headers,
  };
}

/**
 * One full frame from its parts: for clients, tools and tests.
 * @throws RangeError what can't be in one
 */
export function encodeFullFrame(frame: FullFrame): Buffer {
  const bucket = Buffer.from(frame.bucket);
  const { partition = -1, timestampMs = -1, key = null, value, headers = [] } = frame;
  refuse(bucket.length < 1 || bucket.length > 255, `a bucket of ${bucket.length} bytes; 1 to 255 fit`);
  refuse(!isWithin(partition, 0x7fffffff), `partition ${partition}; 0 to 2147483647, or -1: chosen`);
  refuse(
    !isWithin(timestampMs, Number.MAX_SAFE_INTEGER),
    `timestamp ${timestampMs}; 0 to 2^53 - 1 ms, or -1`,
  );
  refuse(headers.length > MOST_HEADERS, `${headers.length} headers; at most ${MOST_HEADERS} fit`);
  const fixed = Buffer.alloc(FIXED_BYTES);
  fixed.writeInt32LE(partition, 0);
  fixed.writeBigInt64LE(BigInt(timestampMs), 4);
  const body = Buffer.concat([
    Buffer.from([0, FULL_KEY.length, ...FULL_KEY, bucket.length]),
    bucket,
    fixed,
    ...field(key),
    ...field(value),
    word(headers.length),
    ...headers.flatMap(([name, headerValue]) => [...named(name), ...field(headerValue)]),
  ]);
  const head = Buffer.alloc(PREFIX_BYTES);
  head.writeUInt32LE(body.length);
  return Buffer.concat([head, body]);
}

function isWithin(value: number, most: number): boolean {
  return Number.isInteger(value) && value >= -1 && value <= most;
}

function refuse(isWrong: boolean, what: string): void {
  if (isWrong) throw new RangeError(`a full frame can't have ${what}`);
}

function named(name: string): readonly Buffer[] {
  const bytes = Buffer.from(name);
  refuse(bytes.length > 0xffff, `a header name of ${bytes.length} bytes; at most 65535 fit`);
  return [word(bytes.length), bytes];
}

function word(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

function field(value: string | Uint8Array | null): readonly Buffer[] {
  const length = Buffer.alloc(4);
  if (value === null) {
    length.writeInt32LE(-1);
    return [length];
  }
  const bytes = Buffer.from(value);
  length.writeInt32LE(bytes.length);
  return [length, bytes];
}
