// The checkpoint frame, which stands in spool files after each piece that was written, so that a reader knows what is whole:
//
//   u32 LE 23 | u8 0 (no bucket) | u8 5 | "kahe1" | u64 LE time in ms | u32 LE frames | u32 LE CRC32C
//
// Time of arrival, count and checksum (RFC 3720's, of lengths and all) are of the bytes since the last checkpoint, or the file's start.
// Being a frame, it does no harm where plain frames are read: a socket accepts and ignores it.
import { crc32c } from '@node-rs/crc32';

export const CHECKPOINT_BYTES = 27;
const HEAD = Buffer.from([23, 0, 0, 0, 0, 5, ...Buffer.from('kahe1')]);

/** @param bytes what was written since the last checkpoint */
export function encodeCheckpoint(bytes: Buffer, frames: number, timeMs: number): Buffer {
  const checkpoint = Buffer.allocUnsafe(CHECKPOINT_BYTES);
  HEAD.copy(checkpoint);
  checkpoint.writeBigUInt64LE(BigInt(timeMs), 11);
  checkpoint.writeUInt32LE(frames, 19);
  checkpoint.writeUInt32LE(crc32c(bytes), 23);
  return checkpoint;
}

/** Does a checkpoint stand at `at`? */
export function isCheckpoint(bytes: Buffer, at: number): boolean {
  return at + CHECKPOINT_BYTES <= bytes.length && bytes.compare(HEAD, 0, HEAD.length, at, at + HEAD.length) === 0;
}

/** Where the next checkpoint stands, from `at` on; -1: there is none. */
export function findCheckpoint(bytes: Buffer, at: number): number {
  for (let found = bytes.indexOf(HEAD, at); found >= 0; found = bytes.indexOf(HEAD, found + 1)) {
    if (isCheckpoint(bytes, found)) return found;
  }
  return -1;
}

/** What the checkpoint at `at` says, and whether the bytes from `start` up to it are those it was written for. */
export function readCheckpoint(bytes: Buffer, start: number, at: number): { readonly timeMs: number; readonly frames: number; readonly isWhole: boolean } {
  return {
    timeMs: Number(bytes.readBigUInt64LE(at + 11)),
    frames: bytes.readUInt32LE(at + 19),
    isWhole: bytes.readUInt32LE(at + 23) === crc32c(bytes.subarray(start, at)),
  };
}
