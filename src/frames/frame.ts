// The frame, as clients write it to the socket, as a batch holds it, and as it lies in every file:
//
//   u32 LE  length N of what follows
//   u8      bucketLength   | bucket bytes
//   u8      keyLength      | key bytes (0: no key, a null key in Kafka)
//           message        | the remaining N - 2 - bucketLength - keyLength bytes, may be empty
//
//   offset  0        4              5          5+b          6+b        6+b+k
//           | N (4)  | b (1)        | bucket   | k (1)      | key      | message … up to 4+N |
//
// N = 0 is the receipt question. A bucketLength of 0 with the key `kahe1` is a checkpoint (spool files),
// accepted and ignored; with the key `kahe2` it is a full frame, whose bucket is in its message
// (fullFrame.ts); with the key `kahe?` it is the report question, on a socket alone. A frame is never
// an object: code here gets the bytes and where the frame starts, and answers with numbers.

/** Bytes of the length prefix. */
export const PREFIX_BYTES = 4;
/** The smallest body: two length bytes. */
export const MIN_BODY_BYTES = 2;
/** Prefix and two length bytes: what a frame costs besides its bucket, key and message. */
export const FRAME_OVERHEAD_BYTES = PREFIX_BYTES + MIN_BODY_BYTES;

const CHECKPOINT_KEY = Buffer.from('kahe1');
export const FULL_KEY = Buffer.from('kahe2');
/** Where the bucket's length is: in a plain frame, and in a full one. */
export const PLAIN_BUCKET_AT = 4;
export const FULL_BUCKET_AT = 11;
/** From so far into it on, a full frame looks like a plain one up to the end of its bucket. */
export const FULL_SHIFT = FULL_BUCKET_AT - PLAIN_BUCKET_AT;
/** No bucket, the key's length and the key, in three numbers. */
const FULL_HEAD = { low: 0x616b_0500, middle: 0x6568, high: 0x32 } as const;
const REPORT_KEY = Buffer.from('kahe?');

/** N of the frame that starts at `at`: the bytes that follow the prefix. */
export function bodyLength(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

/**
 * Where the frame at `at` ends. These three are for bytes that are known to be whole frames, as in a batch;
 * of others walk.ts says what stands there. The frame reader and the encoders of record batches step by
 * themselves, because they read each word once.
 */
export function endOfFrame(bytes: Uint8Array, at: number): number {
  return at + PREFIX_BYTES + bodyLength(bytes, at);
}

/** Where the first `frames` frames from `start` on end. */
export function endOfFrames(bytes: Uint8Array, start: number, frames: number): number {
  let end = start;
  for (let i = 0; i < frames; i++) end = endOfFrame(bytes, end);
  return end;
}

export function countFrames(bytes: Uint8Array, start: number, end: number): number {
  let frames = 0;
  for (let at = start; at < end; at = endOfFrame(bytes, at)) frames++;
  return frames;
}

/**
 * What is asked about frames: `safe` once they can't be lost any more, or `settled` once every stream is done
 * with them.
 */
export type FenceLevel = 'safe' | 'settled';

/** What a report tells: counts, once frames are safe or settled; or how each has ended, once settled. */
export type ReportMode = FenceLevel | 'each';

/** Why a whole frame is bad: it goes no further, and the next one stands behind it. */
export const BAD_REASONS = [
  'no bucket',
  'lengths pass the end of the frame',
  'a length is negative',
  'the partition is negative',
  'the time is out of range',
  'a header name is not UTF-8',
  'bytes follow the last header',
] as const;
export type BadReason = (typeof BAD_REASONS)[number];

/** What is in the body of a whole frame. */
export type BodyKind = 'frame' | 'full frame' | 'checkpoint' | BadReason;

/**
 * Judges the whole frame at `at` by its bucket and key; N ≥ 2 is known. Lengths are plain numbers, so 200 +
 * 100 can't wrap. Of a full frame this is only what it means to be: `judgeFull` looks into it.
 */
export function judgeBody(bytes: Buffer, at: number, length: number): BodyKind {
  const bucketLength = bytes[at + 4]!;
  if (2 + bucketLength > length) return 'lengths pass the end of the frame';
  const keyLength = bytes[at + 5 + bucketLength]!;
  if (2 + bucketLength + keyLength > length) return 'lengths pass the end of the frame';
  if (bucketLength > 0) return 'frame';
  if (hasFullHead(bytes, at, length)) return 'full frame';
  return isKey(CHECKPOINT_KEY, bytes, at + 6, keyLength) ? 'checkpoint' : 'no bucket';
}

/** Is the whole frame at `at` one of those that judgeBody calls full? */
export function hasFullHead(bytes: Buffer, at: number, length: number): boolean {
  return isFullHead(memoryOf(bytes), bytes.byteOffset + at, length);
}

/** The same in memory, for there it is words that are compared. */
export function isFullHead(memory: DataView, at: number, length: number): boolean {
  return (
    length >= FULL_BUCKET_AT - PREFIX_BYTES &&
    memory.getUint32(at + 4, true) === FULL_HEAD.low &&
    memory.getUint16(at + 8, true) === FULL_HEAD.middle &&
    memory.getUint8(at + 10) === FULL_HEAD.high
  );
}

/** What the report question asks for; undefined: the whole frame at `at`, which names no bucket, is none. */
export function reportQuestion(bytes: Buffer, at: number, length: number): ReportMode | undefined {
  const keyLength = bytes[at + 5]!;
  if (bytes[at + 4] !== 0 || !isKey(REPORT_KEY, bytes, at + 6, keyLength)) return undefined;
  const message = bytes.toString('latin1', at + 6 + keyLength, at + PREFIX_BYTES + length);
  if (message === '') return 'safe';
  return message === 'settled' || message === 'each' ? message : undefined;
}

function isKey(key: Buffer, bytes: Uint8Array, at: number, length: number): boolean {
  return length === key.length && key.every((byte, i) => bytes[at + i] === byte);
}

/** Where the key of the sound plain frame at `at` starts; its length is in the byte before. */
export function plainKeyAt(bytes: Uint8Array, at: number): number {
  return at + FRAME_OVERHEAD_BYTES + bytes[at + PLAIN_BUCKET_AT]!;
}

/** Is the sound frame at `at` a full one? */
export function isFull(bytes: Uint8Array, at: number): boolean {
  return bytes[at + PLAIN_BUCKET_AT] === 0;
}

/** Where the sound frame at `at` has its bucket's length; the name follows. */
export function bucketAt(bytes: Uint8Array, at: number): number {
  return isFull(bytes, at) ? at + FULL_BUCKET_AT : at + PLAIN_BUCKET_AT;
}

/** The bucket's bytes of the sound frame at `at`, as a view. */
export function bucketOf(bytes: Buffer, at: number): Buffer {
  const lengthAt = bucketAt(bytes, at);
  return bytes.subarray(lengthAt + 1, lengthAt + 1 + bytes[lengthAt]!);
}

/** Are the bucket names of two sound frames the same bytes? */
export function sameBucket(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number): boolean {
  const aName = bucketAt(a, aAt);
  const bName = bucketAt(b, bAt);
  const length = a[aName]!;
  if (b[bName] !== length) return false;
  for (let i = 1; i <= length; i++) if (a[aName + i] !== b[bName + i]) return false;
  return true;
}

/**
 * Are the bucket names of two plain frames in this memory the same bytes? Words are compared, which takes a
 * third of the time that bytes do. Of two full frames, when each place is FULL_SHIFT behind the frame's.
 */
export function sameBucketIn(memory: DataView, a: number, b: number): boolean {
  const length = memory.getUint8(a + 4);
  if (memory.getUint8(b + 4) !== length) return false;
  const end = 5 + length;
  let i = 5;
  for (; i + 4 <= end; i += 4) if (memory.getUint32(a + i) !== memory.getUint32(b + i)) return false;
  for (; i < end; i++) if (memory.getUint8(a + i) !== memory.getUint8(b + i)) return false;
  return true;
}

/** Of the last bytes that were read, for most lie in the same memory: see sharedRead.ts. */
let lastMemory: DataView = new DataView(new ArrayBuffer(0));

/**
 * For reading words. It covers all the memory that `bytes` lie in: what is at 0 there is at
 * `bytes.byteOffset` here.
 */
export function memoryOf(bytes: Buffer): DataView {
  if (lastMemory.buffer !== bytes.buffer) lastMemory = new DataView(bytes.buffer);
  return lastMemory;
}

/** One frame from its parts: for clients, tools and tests, never on the hot path. */
export function encodeFrame(
  bucket: string | Uint8Array,
  key: string | Uint8Array | null,
  message: string | Uint8Array,
): Buffer {
  const [b, k, m] = [Buffer.from(bucket), Buffer.from(key ?? ''), Buffer.from(message)];
  if (b.length > 255) throw new RangeError(`bucket is ${b.length} bytes; at most 255 fit in a frame`);
  if (k.length > 255) throw new RangeError(`key is ${k.length} bytes; at most 255 fit in a frame`);
  const head = Buffer.alloc(PREFIX_BYTES);
  head.writeUInt32LE(MIN_BODY_BYTES + b.length + k.length + m.length);
  return Buffer.concat([head, Buffer.from([b.length]), b, Buffer.from([k.length]), k, m]);
}
