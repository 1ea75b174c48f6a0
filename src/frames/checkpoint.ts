// The checkpoint frame, which stands in spool files after each piece that was written, so that a reader knows
// what is whole:
//
//   u32 LE 23 | u8 0 (no bucket) | u8 5 | "kahe1" | u64 LE time in ms | u32 LE frames | u32 LE CRC32C
//
// Time of arrival and count are of the bytes since the last checkpoint, or the file's start. The checksum
// (RFC 3720's) is of those bytes, lengths and all, and of the checkpoint itself up to the checksum: a wrong
// count would do more harm than a wrong message. Being a frame, it does no harm where plain frames are read:
// a socket accepts and ignores it.
import { crc32c } from '@node-rs/crc32';

export const CHECKPOINT_BYTES = 27;
const HEAD = Buffer.from([23, 0, 0, 0, 0, 5, ...Buffer.from('kahe1')]);
const TIME_AT = 11;
const FRAMES_AT = 19;
const CRC_AT = 23;

/**
 * @param bytes what was written since the last checkpoint
 * @param into 27 bytes to write it to
 */
export function encodeCheckpoint(
  bytes: Buffer,
  frames: number,
  timeMs: number,
  into = Buffer.allocUnsafe(CHECKPOINT_BYTES),
): Buffer {
  HEAD.copy(into);
  into.writeBigUInt64LE(BigInt(timeMs), TIME_AT);
  into.writeUInt32LE(frames, FRAMES_AT);
  into.writeUInt32LE(checksum(crc32c(bytes), into), CRC_AT);
  return into;
}

/** Does a checkpoint stand at `at`? */
export function isCheckpoint(bytes: Buffer, at: number): boolean {
  return (
    at + CHECKPOINT_BYTES <= bytes.length && bytes.compare(HEAD, 0, HEAD.length, at, at + HEAD.length) === 0
  );
}

/**
 * Where the next checkpoint stands, from `at` on, frame or not: a message may hold one; -1: there is none.
 */
export function findCheckpoint(bytes: Buffer, at: number): number {
  const found = bytes.indexOf(HEAD, at);
  return found >= 0 && isCheckpoint(bytes, found) ? found : -1;
}

/**
 * What the checkpoint at `at` says, and whether it and the bytes from `start` up to it are as they were
 * written. Of its head only the place counts: should that be what is damaged, the rest is as good.
 */
export function readCheckpoint(bytes: Buffer, start: number, at: number): CheckpointSays {
  return readCheckpointBehind(crc32c(bytes.subarray(start, at)), bytes.subarray(at, at + CHECKPOINT_BYTES));
}

export interface CheckpointSays {
  readonly timeMs: number;
  readonly frames: number;
  readonly isWhole: boolean;
}

export const NOTHING_SAID: CheckpointSays = { timeMs: 0, frames: 0, isWhole: false };

/** As readCheckpoint, of a piece that is known by its CRC32C alone: it need not be in memory. */
export function readCheckpointBehind(pieceCrc: number, checkpoint: Buffer): CheckpointSays {
  if (checkpoint.length !== CHECKPOINT_BYTES) return NOTHING_SAID;
  return {
    timeMs: Number(checkpoint.readBigUInt64LE(TIME_AT)),
    frames: checkpoint.readUInt32LE(FRAMES_AT),
    isWhole: checkpoint.readUInt32LE(CRC_AT) === checksum(pieceCrc, checkpoint),
  };
}

function checksum(pieceCrc: number, checkpoint: Buffer): number {
  return crc32c(checkpoint.subarray(TIME_AT, CRC_AT), crc32c(HEAD, pieceCrc));
}
