// Kafka's records from frames, in AssemblyScript, which is compiled to WebAssembly: there 8 bytes are moved at a time, where JavaScript moves 4
// with checks for each. (SIMD would move 16 and gain a tenth, but not every machine has it.)
// `make encoder` writes it into recordEncoderCode.ts. Layouts: frames/frame.ts and recordBatch.ts. All addresses are of this module's memory.

/** Where `encode` leaves what it did besides writing: the frames it encoded, and where the next one starts. */
const FRAMES_AT: usize = 0;
const NEXT_AT: usize = 4;

/** For encodeMixed, as f64: the record batch's first time, the time of arrival, and the greatest time so far. */
const BASE_AT: usize = 8;
const ARRIVAL_AT: usize = 16;
const GREATEST_AT: usize = 24;
/** How many frames so far had a time of their own. */
const OWN_TIMES_AT: usize = 32;

const PREFIX_BYTES: usize = 4;
/** A full frame's, where a plain one's is at 4. */
const FULL_BUCKET_AT: usize = 11;
/** RECORD_OVERHEAD_BYTES of recordBatch.ts. */
const RECORD_OVERHEAD_BYTES: usize = 27;
/** Up to this the copying is cheaper than a call to copy. */
const SHORT_BYTES: usize = 256;

/**
 * Encodes the whole frames from `at` to `end` into `out`: at most `most`, and none that might not fit before `outEnd`.
 * @param index offset of the first one in its record batch; each next one has the next
 * @param delta its timestamp's, in milliseconds, the same for all
 * @returns where the next record goes
 */
export function encode(at: usize, end: usize, out: usize, outEnd: usize, index: u32, delta: u32, most: u32): usize {
  let frames: u32 = 0;
  while (frames < most && at + PREFIX_BYTES <= end) {
    const length = <usize>load<u32>(at);
    if (length > end - at - PREFIX_BYTES) break;
    if (length + RECORD_OVERHEAD_BYTES > outEnd - out) break;
    out = encodeHead(at, out, index + frames, delta);
    const next = at + PREFIX_BYTES + length;
    const value = valueOf(at);
    copy(out, value, next - value);
    out += next - value;
    store<u8>(out++, 0);
    at = next;
    frames++;
  }
  store<u32>(FRAMES_AT, frames);
  store<u32>(NEXT_AT, <u32>at);
  return out;
}

/** Encodes all of the record of the frame at `at` that comes before its value. Of the frame only the bytes before its message need be there. */
export function encodeHead(at: usize, out: usize, index: u32, delta: u32): usize {
  const key = keyOf(at);
  const keyLength = <u32>load<u8>(key - 1);
  const valueLength = load<u32>(at) - <u32>(key - at - PREFIX_BYTES) - keyLength;
  const keyBytes: u32 = keyLength == 0 ? 1 : varintSize(keyLength) + keyLength;
  out = putVarint(out, 2 + varintSize(delta) + varintSize(index) + keyBytes + varintSize(valueLength) + valueLength);
  store<u8>(out++, 0);
  out = putVarint(out, delta);
  out = putVarint(out, index);
  if (keyLength == 0) {
    store<u8>(out++, 1); // zigzag of -1: a null key
  } else {
    out = putVarint(out, keyLength);
    copy(out, key, keyLength);
    out += keyLength;
  }
  return putVarint(out, valueLength);
}

/**
 * As `encode`, of plain and full frames. A record's time may be any, so its delta has 64 bits.
 */
export function encodeMixed(at: usize, end: usize, out: usize, outEnd: usize, index: u32, most: u32): usize {
  const base = <i64>load<f64>(BASE_AT);
  let frames: u32 = 0;
  while (frames < most && at + PREFIX_BYTES <= end) {
    const length = <usize>load<u32>(at);
    if (length > end - at - PREFIX_BYTES) break;
    if (length + RECORD_OVERHEAD_BYTES > outEnd - out) break;
    const next = at + PREFIX_BYTES + length;
    out =
      load<u8>(at, PREFIX_BYTES) == 0
        ? encodeFull(at, out, index + frames, base)
        : encodePlain(at, next, out, index + frames, base);
    at = next;
    frames++;
  }
  store<u32>(FRAMES_AT, frames);
  store<u32>(NEXT_AT, <u32>at);
  return out;
}

function encodePlain(at: usize, next: usize, out: usize, index: u32, base: i64): usize {
  const key = keyOf(at);
  const keyLength = <i32>load<u8>(key - 1);
  const value = key + keyLength;
  const valueLength = <i32>(next - value);
  const delta = noteTime(<i64>load<f64>(ARRIVAL_AT)) - base;
  const keyField = keyLength == 0 ? -1 : keyLength;
  out = putVarint(out, 2 + varlongSize(delta) + varintSize(index) + fieldSize(keyField) + fieldSize(valueLength));
  out = putStart(out, delta, index);
  out = putField(out, key, keyField);
  out = putField(out, value, valueLength);
  store<u8>(out++, 0);
  return out;
}

function encodeFull(at: usize, out: usize, index: u32, base: i64): usize {
  const fixed = at + FULL_BUCKET_AT + 1 + <usize>load<u8>(at, FULL_BUCKET_AT);
  const given = load<i64>(fixed, 4);
  if (given >= 0) store<u32>(OWN_TIMES_AT, load<u32>(OWN_TIMES_AT) + 1);
  const delta = noteTime(given >= 0 ? given : <i64>load<f64>(ARRIVAL_AT)) - base;
  const keyLength = load<i32>(fixed, 12);
  const key = fixed + 16;
  const valueAt = key + lengthOf(keyLength);
  const valueLength = load<i32>(valueAt);
  const value = valueAt + 4;
  const headersAt = value + lengthOf(valueLength);
  const count = <u32>load<u16>(headersAt);
  const headers = headersAt + 2;
  const size =
    1 + varlongSize(delta) + varintSize(index) + fieldSize(keyLength) + fieldSize(valueLength) + varintSize(count);
  out = putVarint(out, size + headersSize(headers, count));
  out = putStart(out, delta, index);
  out = putField(out, key, keyLength);
  out = putField(out, value, valueLength);
  out = putVarint(out, count);
  return putHeaders(out, headers, count);
}

/** Attributes and deltas. */
// @ts-ignore: decorator
@inline
function putStart(out: usize, delta: i64, index: u32): usize {
  store<u8>(out++, 0);
  out = putVarlong(out, delta);
  return putVarint(out, index);
}

function headersSize(at: usize, count: u32): u32 {
  let size: u32 = 0;
  for (let left = count; left > 0; left--) {
    const nameLength = <u32>load<u16>(at);
    at += 2 + nameLength;
    const valueLength = load<i32>(at);
    at += 4 + lengthOf(valueLength);
    size += varintSize(nameLength) + nameLength + fieldSize(valueLength);
  }
  return size;
}

function putHeaders(out: usize, at: usize, count: u32): usize {
  for (let left = count; left > 0; left--) {
    const nameLength = <i32>load<u16>(at);
    out = putField(out, at + 2, nameLength);
    at += 2 + nameLength;
    const valueLength = load<i32>(at);
    out = putField(out, at + 4, valueLength);
    at += 4 + lengthOf(valueLength);
  }
  return out;
}

// @ts-ignore: decorator
@inline
function noteTime(time: i64): i64 {
  if (<f64>time > load<f64>(GREATEST_AT)) store<f64>(GREATEST_AT, <f64>time);
  return time;
}

// @ts-ignore: decorator
@inline
function lengthOf(length: i32): usize {
  return length < 0 ? 0 : length;
}

/** -1 is null. */
// @ts-ignore: decorator
@inline
function fieldSize(length: i32): u32 {
  return length < 0 ? 1 : varintSize(length) + length;
}

// @ts-ignore: decorator
@inline
function putField(out: usize, from: usize, length: i32): usize {
  if (length < 0) {
    store<u8>(out, 1); // zigzag of -1
    return out + 1;
  }
  out = putVarint(out, length);
  copy(out, from, length);
  return out + length;
}

// @ts-ignore: decorator
@inline
function varlongSize(value: i64): u32 {
  return (70 - <u32>clz<u64>(<u64>((value << 1) ^ (value >> 63)) | 1)) / 7;
}

function putVarlong(out: usize, value: i64): usize {
  let rest = <u64>((value << 1) ^ (value >> 63));
  while (rest > 0x7f) {
    store<u8>(out++, <u8>(rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  store<u8>(out++, <u8>rest);
  return out;
}

// @ts-ignore: decorator
@inline
function keyOf(at: usize): usize {
  return at + 6 + <usize>load<u8>(at, 4);
}

// @ts-ignore: decorator
@inline
function valueOf(at: usize): usize {
  const key = keyOf(at);
  return key + <usize>load<u8>(key - 1);
}

/** May write, and read, up to 7 bytes behind the end. */
// @ts-ignore: decorator
@inline
function copy(to: usize, from: usize, length: usize): void {
  if (length > SHORT_BYTES) memory.copy(to, from, length);
  else for (let i: usize = 0; i < length; i += 8) store<u64>(to + i, load<u64>(from + i));
}

/** Size of a non-negative number as a zigzag varint. */
// @ts-ignore: decorator
@inline
function varintSize(value: u32): u32 {
  return value < 0x40 ? 1 : value < 0x2000 ? 2 : value < 0x100000 ? 3 : value < 0x8000000 ? 4 : 5;
}

/** Writes a non-negative number below 2^31 as a zigzag varint; returns where the next byte goes. */
// @ts-ignore: decorator
@inline
function putVarint(out: usize, value: u32): usize {
  let rest = value << 1;
  while (rest > 0x7f) {
    store<u8>(out++, (rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  store<u8>(out++, rest);
  return out;
}
