// Reads a segment of an earlier life. What stands between two checkpoints is whole or it is not: whole pieces become one batch with their
// times of arrival, a damaged piece is put aside, and what is behind the last checkpoint was never said to be safe.
import { basename, dirname, join } from 'node:path';
import { Batch } from '../frames/batch.js';
import { CHECKPOINT_BYTES, findCheckpoint, isCheckpoint, readCheckpoint } from '../frames/checkpoint.js';
import { MIN_BODY_BYTES, PREFIX_BYTES, bodyLength, bucketOf, judgeBody, sameBucket } from '../frames/frame.js';
import type { Log } from '../log.js';
import type { MemoryBudget } from '../memoryBudget.js';
import { FILE_MODE, type FileSystem, NEW_FILE, READ_FILE, unlinkIfThere, writeWhole } from '../streams/file/fileSystem.js';
import { explained } from '../streams/file/ioAdvice.js';

export interface RecoveredSegment {
  /** Undefined: not one piece was whole. */
  readonly batch: Batch | undefined;
  readonly damagedBytes: number;
  /** Behind the last checkpoint. */
  readonly tornBytes: number;
  /** False: a damaged piece could not be put aside, so the file must stay. */
  readonly mayGo: boolean;
}

interface Piece {
  readonly timeMs: number;
  readonly frames: number;
  /** Where its checkpoint starts. */
  readonly end: number;
}

/** A frame's length and its bucket. */
const HEAD_BYTES = 5 + 255;

/**
 * Reads a segment whole: a batch is about a megabyte, and so is its segment. Never throws for what is in it.
 * @throws Error the file can't be read
 */
export async function recoverSegment(fs: FileSystem, path: string, budget: MemoryBudget, log: Log): Promise<RecoveredSegment> {
  const { size } = await fs.facts(path);
  const space = budget.scratch(size);
  try {
    return await recoverBytes(await readWhole(fs, path, space.subarray(0, size)), { fs, path, budget, log });
  } finally {
    budget.recycle(space);
  }
}

async function recoverBytes(bytes: Buffer, place: { readonly fs: FileSystem; readonly path: string; readonly budget: MemoryBudget; readonly log: Log }): Promise<RecoveredSegment> {
  let batch: Batch | undefined;
  let damagedBytes = 0;
  let mayGo = true;
  let firstAt = -1;
  for (let at = 0; ;) {
    const piece = wholePiece(bytes, at, firstAt < 0 ? at : firstAt);
    if (piece !== undefined) {
      if (firstAt < 0) firstAt = at;
      batch ??= new Batch(bucketOf(bytes, at).toString(), place.budget, bytes.length);
      batch.append(bytes, at, piece.end, piece.frames, piece.timeMs);
      at = piece.end + CHECKPOINT_BYTES;
      continue;
    }
    const next = endOfDamage(bytes, at, firstAt);
    if (next === at) {
      const tornBytes = bytes.length - at;
      if (tornBytes > 0) place.log.info(`${place.path}: its last ${tornBytes} bytes were being written when the daemon died; nobody was told that they are safe`);
      return { batch, damagedBytes, tornBytes, mayGo };
    }
    damagedBytes += next - at;
    if (!(await putAside(place, bytes.subarray(at, next), at))) mayGo = false;
    at = next;
  }
}

/**
 * The piece from `start` to its checkpoint; undefined: what stands there is not as it was written. Frames are looked into, so that bytes
 * which only look like a piece (a message may hold anything) get no further than this.
 */
function wholePiece(bytes: Buffer, start: number, sameBucketAt: number): Piece | undefined {
  let frames = 0;
  let at = start;
  for (; at + PREFIX_BYTES < bytes.length && !isCheckpoint(bytes, at); frames++) {
    const length = bodyLength(bytes, at);
    if (length < MIN_BODY_BYTES || at + PREFIX_BYTES + length > bytes.length) return undefined;
    if (judgeBody(bytes, at, length) !== 'frame' || !sameBucket(bytes, sameBucketAt, bytes, at)) return undefined;
    at += PREFIX_BYTES + length;
  }
  if (frames === 0 || !isCheckpoint(bytes, at)) return undefined;
  const checkpoint = readCheckpoint(bytes, start, at);
  return checkpoint.isWhole && checkpoint.frames === frames ? { timeMs: checkpoint.timeMs, frames, end: at } : undefined;
}

/**
 * Where the next whole piece starts, or else where the last checkpoint ends; `start`: no checkpoint follows. A length may be what is
 * damaged, so checkpoints are looked for byte by byte; one may also stand in a message, and then no whole piece follows it.
 */
function endOfDamage(bytes: Buffer, start: number, firstAt: number): number {
  let end = start;
  for (let at = findCheckpoint(bytes, start); at >= 0; at = findCheckpoint(bytes, at + 1)) {
    end = at + CHECKPOINT_BYTES;
    if (wholePiece(bytes, end, firstAt < 0 ? end : firstAt) !== undefined) return end;
  }
  return end;
}

/** What a segment's first frame says its bucket is, unchecked; undefined: it is too short. */
export async function bucketOfSegment(fs: FileSystem, path: string): Promise<string | undefined> {
  const file = await fs.open(path, READ_FILE);
  try {
    const head = Buffer.alloc(HEAD_BYTES);
    const got = await file.read(head, 0);
    const isSound = got > PREFIX_BYTES && head[PREFIX_BYTES]! > 0 && got >= 5 + head[PREFIX_BYTES]!;
    return isSound ? bucketOf(head, 0).toString() : undefined;
  } finally {
    await file.close();
  }
}

/** Fills `bytes` from the file; what it is short of them is left out. */
async function readWhole(fs: FileSystem, path: string, bytes: Buffer): Promise<Buffer> {
  const file = await fs.open(path, READ_FILE);
  try {
    let length = 0;
    while (length < bytes.length) {
      const got = await file.read(bytes.subarray(length), length);
      if (got === 0) break;
      length += got;
    }
    return bytes.subarray(0, length);
  } finally {
    await file.close();
  }
}

/** Keeps a damaged piece for people to look at. False: it is only in the segment. */
async function putAside({ fs, path, log }: { readonly fs: FileSystem; readonly path: string; readonly log: Log }, piece: Buffer, offset: number): Promise<boolean> {
  const folder = join(dirname(path), 'damaged');
  const aside = join(folder, `${basename(path)}.${offset}`);
  log.error(`${path}: ${piece.length} bytes at offset ${offset} are damaged (the disk, or a hand); what is whole around them is delivered, they are kept in ${aside}`);
  try {
    await fs.makeFolder(folder, { parents: true });
    // An earlier reading may have left it, in part.
    await unlinkIfThere(fs, aside);
    const file = await fs.open(aside, NEW_FILE, FILE_MODE);
    await writeWhole(file, piece).finally(() => file.close());
    return true;
  } catch (error) {
    log.error(`${aside} can't be written: ${explained(error)}; the segment stays as it is, and what is whole in it is sent again after a restart`);
    return false;
  }
}
