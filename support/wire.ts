// Kafka's primitive types on the wire, read from and written to Buffers. Only for tests: plain and slow, so
// that it is easy to trust.

/** Reads one value after another; every read past the end throws a RangeError. */
export class WireReader {
  readonly buffer: Buffer;
  position: number;

  constructor(buffer: Buffer, position = 0) {
    this.buffer = buffer;
    this.position = position;
  }

  get remaining(): number {
    return this.buffer.length - this.position;
  }

  int8(): number {
    return this.buffer.readInt8(this.#advance(1));
  }

  int16(): number {
    return this.buffer.readInt16BE(this.#advance(2));
  }

  int32(): number {
    return this.buffer.readInt32BE(this.#advance(4));
  }

  uint32(): number {
    return this.buffer.readUInt32BE(this.#advance(4));
  }

  int64(): bigint {
    return this.buffer.readBigInt64BE(this.#advance(8));
  }

  /** A signed 64-bit integer as a number; throws when a number cannot hold it exactly. */
  safeInt64(): number {
    const value = Number(this.int64());
    if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is past what a number holds exactly`);
    return value;
  }

  boolean(): boolean {
    return this.int8() !== 0;
  }

  /** The next `length` bytes, not copied. */
  bytes(length: number): Buffer {
    const start = this.#advance(length);
    return this.buffer.subarray(start, start + length);
  }

  /** INT16 length and UTF-8; a length of -1 is null. */
  string(): string | null {
    const length = this.int16();
    return length < 0 ? null : this.bytes(length).toString('utf8');
  }

  /** INT32 count and that many of `element`; a count of -1 is null. */
  array<T>(element: (reader: WireReader) => T): T[] | null {
    const count = this.int32();
    return count < 0 ? null : Array.from({ length: count }, () => element(this));
  }

  /** A zigzag varint of up to 32 bits. */
  varint(): number {
    let raw = 0;
    for (let shift = 0; ; shift += 7) {
      if (shift > 28) throw new RangeError('a varint of more than 5 bytes');
      const byte = this.int8() & 0xff;
      raw = (raw | ((byte & 0x7f) << shift)) >>> 0;
      if (byte < 0x80) return (raw >>> 1) ^ -(raw & 1);
    }
  }

  /** A zigzag varlong, as a number; throws when a number cannot hold it exactly. */
  varlong(): number {
    let raw = 0n;
    for (let shift = 0n; ; shift += 7n) {
      if (shift > 63n) throw new RangeError('a varlong of more than 10 bytes');
      const byte = this.int8() & 0xff;
      raw |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    const value = Number((raw >> 1n) ^ -(raw & 1n));
    if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is past what a number holds exactly`);
    return value;
  }

  /** Varint length and bytes; a length of -1 is null. */
  varintBytes(): Buffer | null {
    const length = this.varint();
    return length < 0 ? null : this.bytes(length);
  }

  #advance(length: number): number {
    const start = this.position;
    if (length < 0 || start + length > this.buffer.length) {
      throw new RangeError(`${length} bytes wanted at ${start} of ${this.buffer.length}`);
    }
    this.position = start + length;
    return start;
  }
}

/** Collects values and returns them as one Buffer. Every method returns the writer itself. */
export class WireWriter {
  readonly #parts: Buffer[] = [];

  int8(value: number): this {
    return this.#write(1, (part) => part.writeInt8(value));
  }

  int16(value: number): this {
    return this.#write(2, (part) => part.writeInt16BE(value));
  }

  int32(value: number): this {
    return this.#write(4, (part) => part.writeInt32BE(value));
  }

  int64(value: number | bigint): this {
    return this.#write(8, (part) => part.writeBigInt64BE(BigInt(value)));
  }

  boolean(value: boolean): this {
    return this.int8(value ? 1 : 0);
  }

  bytes(value: Buffer): this {
    this.#parts.push(value);
    return this;
  }

  string(value: string | null): this {
    if (value === null) return this.int16(-1);
    const bytes = Buffer.from(value, 'utf8');
    return this.int16(bytes.length).bytes(bytes);
  }

  array<T>(values: readonly T[], element: (writer: WireWriter, value: T) => void): this {
    this.int32(values.length);
    for (const value of values) element(this, value);
    return this;
  }

  toBuffer(): Buffer {
    return Buffer.concat(this.#parts);
  }

  #write(length: number, put: (part: Buffer) => void): this {
    const part = Buffer.alloc(length);
    put(part);
    return this.bytes(part);
  }
}
