// Reads a segment of a previous run. What stands between two checkpoints is whole or it is not: whole pieces
// become one batch with their times of arrival, a damaged piece is put aside, and what is behind the last
// checkpoint was never said to be safe.
import { basename, dirname, join } from 'node:path';
import { Batch } from '../frames/batch.js';
import { NOBODY, UNKNOWN } from '../frames/origins.js';
import { CHECKPOINT_BYTES } from '../frames/checkpoint.js';
import { PREFIX_BYTES, bucketAt, bucketOf, hasFullHead, isFull } from '../frames/frame.js';
import { type Piece, endOfDamage, wholePiece } from '../frames/pieces.js';
import { HEAD_BYTES, inMemory } from '../frames/walk.js';
import type { Log } from '../log/log.js';
import type { MemoryBudget } from '../memory/memoryBudget.js';
import {
  FILE_MODE,
  type FileSystem,
  NEW_FILE,
  READ_FILE,
  unlinkIfThere,
  writeWhole,
  readFully,
} from '../disk/fileSystem.js';
import { refuseLink } from '../disk/folders.js';
import { explained } from '../disk/ioAdvice.js';
import { plural } from '../plural.js';

export interface RecoveredSegment {
  /** Undefined: not one piece was whole. */
  readonly batch: Batch | undefined;
  readonly damagedBytes: number;
  /** Behind the last checkpoint. */
  readonly tornBytes: number;
  /** False: a damaged piece could not be put aside, so the file must stay. */
  readonly mayGo: boolean;
}

interface Extent {
  readonly start: number;
  readonly end: number;
}

export interface RecoverParts {
  readonly fs: FileSystem;
  readonly budget: MemoryBudget;
  readonly log: Log;
  /** Where the file is read to, if it is large enough. */
  readonly space?: Buffer | undefined;
}

/**
 * Reads a segment whole: a batch is about a megabyte, and so is its segment. Never throws for what is in it.
 * @param wasClosed it was written to its end, so that no part of it can be torn, only damaged
 * @throws Error the file can't be read
 */
export async function recoverSegment(
  path: string,
  wasClosed: boolean,
  parts: RecoverParts,
): Promise<RecoveredSegment> {
  const { fs, budget, log } = parts;
  const bytes = await readWhole(path, parts);
  const { pieces, damages, tornAt } = divide(bytes);
  const tornBytes = bytes.length - tornAt;
  if (tornBytes > 0 && wasClosed) damages.push({ start: tornAt, end: bytes.length });
  else if (tornBytes > 0)
    log.info(
      `${path}: the daemon died while it wrote the last ${tornBytes} ${plural(tornBytes, 'byte')}: no receipt was given for them`,
      { file: path, bytes: tornBytes },
    );
  let mayGo = true;
  for (const { start, end } of damages)
    if (!(await putAside(fs, log, path, bytes.subarray(start, end), start))) mayGo = false;
  return {
    batch: batchOf(bytes, pieces, { budget, origin: wasClosed ? UNKNOWN : NOBODY }),
    damagedBytes: damages.reduce((sum, { start, end }) => sum + end - start, 0),
    tornBytes: wasClosed ? 0 : tornBytes,
    mayGo,
  };
}

function batchOf(
  bytes: Buffer,
  pieces: readonly Piece[],
  { budget, origin }: { readonly budget: MemoryBudget; readonly origin: number },
): Batch | undefined {
  if (pieces.length === 0) return undefined;
  const batch = new Batch(
    bucketOf(bytes, pieces[0]!.start).toString(),
    budget,
    pieces.reduce((sum, { start, end }) => sum + end - start, 0),
  );
  batch.origin = origin;
  for (const { start, end, frames, timeMs } of pieces) batch.append(bytes, start, end, frames, timeMs);
  batch.hasFull = pieces.some(({ hasFull }) => hasFull);
  return batch;
}

/** What is whole, what is damaged, and where the torn end starts: see frames/pieces.ts. */
function divide(bytes: Buffer): {
  readonly pieces: readonly Piece[];
  readonly damages: Extent[];
  readonly tornAt: number;
} {
  const source = inMemory(bytes);
  const pieces: Piece[] = [];
  const damages: Extent[] = [];
  let like: Buffer | undefined;
  for (let at = 0; ;) {
    const piece = wholePiece(source, at, like);
    if (piece !== undefined) {
      pieces.push(piece);
      like ??= bytes.subarray(piece.start);
      at = piece.end + CHECKPOINT_BYTES;
      continue;
    }
    const end = endOfDamage(source, at, like).at;
    if (end === at) return { pieces, damages, tornAt: at };
    damages.push({ start: at, end });
    at = end;
  }
}

/** What a segment's first frame says its bucket is, unchecked; undefined: it is too short. */
export async function bucketOfSegment(fs: FileSystem, path: string): Promise<string | undefined> {
  const file = await fs.open(path, READ_FILE);
  try {
    const head = Buffer.alloc(HEAD_BYTES);
    const got = await file.read(head, 0);
    if (isFull(head, 0) && !hasFullHead(head, 0, got - PREFIX_BYTES)) return undefined;
    const lengthAt = bucketAt(head, 0);
    const isSound = got > lengthAt && head[lengthAt]! > 0 && got > lengthAt + head[lengthAt]!;
    return isSound ? bucketOf(head, 0).toString() : undefined;
  } finally {
    await file.close();
  }
}

async function readWhole(path: string, { fs, space }: RecoverParts): Promise<Buffer> {
  const file = await fs.open(path, READ_FILE);
  try {
    const { size } = await file.facts();
    const bytes =
      space !== undefined && space.length >= size ? space.subarray(0, size) : Buffer.allocUnsafeSlow(size);
    return bytes.subarray(0, await readFully(file, bytes, 0));
  } finally {
    await file.close();
  }
}

/** Keeps damaged bytes for people to look at. False: they are only in the segment. */
async function putAside(
  fs: FileSystem,
  log: Log,
  path: string,
  bytes: Buffer,
  offset: number,
): Promise<boolean> {
  const folder = join(dirname(path), 'damaged');
  const aside = join(folder, `${basename(path)}.${offset}`);
  const count = bytes.length;
  log.error(
    `${path}: ${count} ${plural(count, 'byte')} at offset ${offset} ${plural(count, 'is', 'are')} damaged (by the disk, or edited by hand); the whole frames around are delivered, the damaged part is kept in ${aside}`,
    { file: path, offset, bytes: count, keptIn: aside },
  );
  try {
    await refuseLink(fs, folder);
    await fs.makeFolder(folder, { parents: true });
    // An earlier reading may have left it, in part.
    await unlinkIfThere(fs, aside);
    const file = await fs.open(aside, NEW_FILE, FILE_MODE);
    await writeWhole(file, bytes).finally(() => file.close());
    return true;
  } catch (error) {
    const reason = explained(error);
    log.error(
      `${aside} can't be written: ${reason}; the segment stays as it is, and a restart sends its whole frames again`,
      { reason, file: aside },
    );
    return false;
  }
}
