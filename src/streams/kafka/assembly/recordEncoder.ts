// Kafka's records from frames, in AssemblyScript, which is compiled to WebAssembly: there 8 bytes are moved at a time, where JavaScript moves 4
// with checks for each. (SIMD would move 16 and gain a tenth, but not every machine has it.)
// `make encoder` writes it into recordEncoderCode.ts. Layouts: frames/frame.ts and recordBatch.ts. All addresses are of this module's memory.

/** Where `encode` leaves what it did besides writing: the frames it encoded, and where the next one starts. */
const FRAMES_AT: usize = 0;
const NEXT_AT: usize = 4;

const PREFIX_BYTES: usize = 4;
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
