// One record of a frame that is longer than the encoder's window, of a batch that has full frames: in
// JavaScript, because copying it is nearly all there is to do. Layouts: frames/fullFrame.ts and recordBatch.ts.
import { PREFIX_BYTES, bodyLength, isFull, plainKeyAt } from '../../frames/frame.js';
import { keyAtOf, timestampOf } from '../../frames/fullFrame.js';

/** What the full frame at `at` says its time is; undefined: it is that of its arrival. */
export function ownTimeOf(source: Buffer, at: number): number | undefined {
  const timeMs = isFull(source, at) ? timestampOf(source, at) : -1;
  return timeMs < 0 ? undefined : timeMs;
}

/** Room for the record's length, which is known when the rest is written. */
const LENGTH_BYTES = 5;

/** @returns where the next record goes */
export function putLongRecord(
  source: Buffer,
  at: number,
  { index, deltaMs }: { readonly index: number; readonly deltaMs: number },
  out: { readonly bytes: Buffer; readonly at: number },
): number {
  const bodyAt = out.at + LENGTH_BYTES;
  const writer = new Writer(source, out.bytes, bodyAt);
  writer.varint(0);
  writer.varint(deltaMs);
  writer.varint(index);
  if (isFull(source, at)) putFull(writer, source, at);
  else putPlain(writer, source, at);
  const end = writer.at;
  writer.at = out.at;
  writer.varint(end - bodyAt);
  out.bytes.copyWithin(writer.at, bodyAt, end);
  return writer.at + end - bodyAt;
}

function putPlain(writer: Writer, source: Buffer, at: number): void {
  const keyAt = plainKeyAt(source, at);
  const keyLength = source[keyAt - 1]!;
  writer.field(keyAt, keyLength === 0 ? -1 : keyLength);
  writer.field(keyAt + keyLength, at + PREFIX_BYTES + bodyLength(source, at) - keyAt - keyLength);
  writer.varint(0);
}

function putFull(writer: Writer, source: Buffer, at: number): void {
  const valueAt = writer.nullable(keyAtOf(source, at));
  const headersAt = writer.nullable(valueAt);
  const count = source.readUInt16LE(headersAt);
  writer.varint(count);
  let next = headersAt + 2;
  for (let left = count; left > 0; left--) {
    const nameLength = source.readUInt16LE(next);
    writer.field(next + 2, nameLength);
    next = writer.nullable(next + 2 + nameLength);
  }
}

/** Writes numbers, and bytes of the frame, one behind the other. */
class Writer {
  constructor(
    readonly source: Buffer,
    readonly out: Buffer,
    public at: number,
  ) {}

  /** What follows the length at `lengthAt`. Returns where that ends. */
  nullable(lengthAt: number): number {
    const length = this.source.readInt32LE(lengthAt);
    this.field(lengthAt + 4, length);
    return lengthAt + 4 + Math.max(0, length);
  }

  /** @param length -1: null */
  field(from: number, length: number): void {
    this.varint(length);
    if (length > 0) this.at += this.source.copy(this.out, this.at, from, from + length);
  }

  /** Zigzag. Times far apart have more bits than a number's operators take. */
  varint(value: number): void {
    if (value < -0x4000_0000 || value > 0x3fff_ffff) return this.#varlong(BigInt(value));
    let rest = ((value << 1) ^ (value >> 31)) >>> 0;
    for (; rest > 0x7f; rest >>>= 7) this.out[this.at++] = (rest & 0x7f) | 0x80;
    this.out[this.at++] = rest;
  }

  #varlong(value: bigint): void {
    let rest = value < 0n ? value * -2n - 1n : value * 2n;
    for (; rest > 0x7fn; rest >>= 7n) this.out[this.at++] = Number(rest & 0x7fn) | 0x80;
    this.out[this.at++] = Number(rest);
  }
}
