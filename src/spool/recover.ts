// Reads a segment of an earlier life. What stands between two checkpoints is whole or it is not: whole pieces become one batch with their
// times of arrival, a damaged piece is put aside, and what is behind the last checkpoint was never said to be safe.
import { basename, dirname, join } from 'node:path';
import { Batch } from '../frames/batch.js';
import { CHECKPOINT_BYTES, findCheckpoint, isCheckpoint, readCheckpoint } from '../frames/checkpoint.js';
import { MIN_BODY_BYTES, PREFIX_BYTES, bodyLength, bucketOf } from '../frames/frame.js';
import type { Log } from '../log.js';
import type { MemoryBudget } from '../memoryBudget.js';
import { FILE_MODE, type FileSystem, NEW_FILE, READ_FILE, errnoOf, writeWhole } from '../streams/file/fileSystem.js';

export interface RecoveredSegment {
  /** Undefined: not one piece was whole. */
  readonly batch: Batch | undefined;
  readonly damagedBytes: number;
  /** Behind the last checkpoint. */
  readonly tornBytes: number;
}

/** A frame's length and its bucket. */
const HEAD_BYTES = 5 + 255;

/** Reads a segment whole: a batch is about a megabyte, and so is its segment. Never throws for what is in it. */
export async function recoverSegment(fs: FileSystem, path: string, budget: MemoryBudget, log: Log): Promise<RecoveredSegment> {
  const bytes = await readWhole(fs, path);
  let batch: Batch | undefined;
  let damagedBytes = 0;
  let start = 0;
  for (;;) {
    const end = nextCheckpoint(bytes, start);
    const piece = end < 0 ? undefined : readCheckpoint(bytes, start, end);
    if (piece?.isWhole === true) {
      batch ??= new Batch(bucketOf(bytes, start).toString(), budget, bytes.length);
      batch.append(bytes, start, end, piece.frames, piece.timeMs);
      start = end + CHECKPOINT_BYTES;
      continue;
    }
    // A length may be what is damaged, so the next checkpoint is looked for byte by byte. Should a message hold one's words, what
    // follows it doesn't fit either, and this goes on to a true one.
    const resume = end >= 0 ? end : findCheckpoint(bytes, start);
    if (resume < 0) break;
    const next = resume + CHECKPOINT_BYTES;
    await putAside(fs, path, bytes.subarray(start, next), start, log);
    damagedBytes += next - start;
    start = next;
  }
  const tornBytes = bytes.length - start;
  if (tornBytes > 0) log.info(`${path}: its last ${tornBytes} bytes were being written when the daemon died; nobody was told that they are safe`);
  return { batch, damagedBytes, tornBytes };
}

/** The bucket of a segment's first frame; undefined: it has no whole one. */
export async function bucketOfSegment(fs: FileSystem, path: string): Promise<string | undefined> {
  const file = await fs.open(path, READ_FILE);
  try {
    const head = Buffer.alloc(HEAD_BYTES);
    const got = await file.read(head, 0);
    const isSound = got > PREFIX_BYTES && head[PREFIX_BYTES]! > 0 && got >= 5 + head[PREFIX_BYTES]!;
    return isSound ? bucketOf(head, 0).toString('latin1') : undefined;
  } finally {
    await file.close();
  }
}

/** Follows the frames to the next checkpoint; -1: they lead nowhere. */
function nextCheckpoint(bytes: Buffer, start: number): number {
  let at = start;
  while (at + PREFIX_BYTES < bytes.length) {
    if (isCheckpoint(bytes, at)) return at === start ? -1 : at;
    const length = bodyLength(bytes, at);
    if (length < MIN_BODY_BYTES) return -1;
    at += PREFIX_BYTES + length;
  }
  return -1;
}

async function readWhole(fs: FileSystem, path: string): Promise<Buffer> {
  const file = await fs.open(path, READ_FILE);
  try {
    const bytes = Buffer.allocUnsafeSlow((await file.facts()).size);
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

/** Keeps a damaged piece for people to look at. */
async function putAside(fs: FileSystem, path: string, piece: Buffer, offset: number, log: Log): Promise<void> {
  const folder = join(dirname(path), 'damaged');
  const aside = join(folder, `${basename(path)}.${offset}`);
  log.error(`${path}: ${piece.length} bytes at offset ${offset} are damaged (the disk, or a hand); what is whole around them is delivered, they are kept in ${aside}`);
  try {
    await fs.makeFolder(folder, { parents: true });
    const file = await fs.open(aside, NEW_FILE, FILE_MODE);
    await writeWhole(file, piece).finally(() => file.close());
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') log.error(`${aside} can't be written: ${(error as Error).message}; the segment itself stays as it is until its frames are delivered`);
  }
}
