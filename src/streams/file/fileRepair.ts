// A file that was open when the daemon ended: half a frame at its end is cut off, what is damaged is left as
// it is (the rule is that of frames/walk.ts), and an empty one goes. Promise: only a file that is still ours
// is touched, and what may be more than half a frame is kept.
import { dirname, join } from 'node:path';
import {
  CHANGE_FILE,
  FILE_MODE,
  type FileFacts,
  type FileSystem,
  NEW_FILE,
  READ_FILE,
  factsIfThere,
  readFully,
  unlinkIfThere,
  writeWhole,
} from '../../disk/fileSystem.js';
import { shortHash } from '../../disk/names.js';
import { PREFIX_BYTES } from '../../frames/frame.js';
import { type WholeFrames, countWhole } from '../../frames/walk.js';
import type { Log } from '../../log/log.js';
import { plural } from '../../plural.js';
import { NOTES_FOLDER } from './fileName.js';
import type { OwnFile } from './journal.js';

export interface RepairParts {
  /** The stream's own. */
  readonly path: string;
  readonly bucket: string;
  readonly fs: FileSystem;
  readonly log: Log;
}

const COPY_BYTES = 256 * 1024;

/**
 * Afterwards the file's counts are right.
 * @returns is it kept? Otherwise it is another's now, or had no whole frame and was removed
 */
export async function repairFile(file: OwnFile, parts: RepairParts): Promise<boolean> {
  const { fs, log } = parts;
  const path = join(parts.path, file.name);
  const facts = await factsIfThere(fs, path);
  if (facts === undefined || !isStillOurs(file, facts)) {
    const now = facts === undefined ? 'gone' : 'another file now';
    log.warn(`${path}, open when the daemon ended, is ${now}: Kahe no longer counts it as its own`, {
      file: path,
    });
    return false;
  }
  const whole = await countIn(fs, path, facts.size);
  if (whole.tail === 'half a frame') await cutEnd(file, whole, facts.size, parts);
  if (whole.tail === 'no length')
    log.error(
      `${path} is damaged behind byte ${whole.bytes}, after ${whole.frames} whole ${plural(whole.frames, 'frame')}: it stays as it is; look at it with kahe inspect, and check the disk`,
      { file: path, offset: whole.bytes, frames: whole.frames },
    );
  file.frames = whole.frames;
  file.bytes = whole.tail === 'no length' ? facts.size : whole.bytes;
  file.open = false;
  if (file.bytes === 0) await unlinkIfThere(fs, path);
  return file.bytes > 0;
}

/**
 * Inodes are used again, so of a closed file the size must be right too. The device is not asked: its number
 * may change when it is mounted again, or at a restart of the machine.
 */
export function isStillOurs(file: OwnFile, facts: FileFacts): boolean {
  return facts.kind === 'file' && facts.inode === file.inode && (file.open || facts.size === file.bytes);
}

async function countIn(fs: FileSystem, path: string, size: number): Promise<WholeFrames> {
  const handle = await fs.open(path, READ_FILE);
  try {
    return await countWhole(handle, size);
  } finally {
    await handle.close();
  }
}

async function cutEnd(file: OwnFile, whole: WholeFrames, size: number, parts: RepairParts): Promise<void> {
  const { fs, log } = parts;
  const path = join(parts.path, file.name);
  const aside = (await mayHoldMore(path, whole.bytes, parts))
    ? await keepEnd(file, whole.bytes, size, parts)
    : undefined;
  await cut(fs, path, whole.bytes);
  log.warn(
    `${path} ended in half a frame, as after a crash: Kahe cut it from ${size} to ${whole.bytes} bytes, ${whole.frames} ${plural(whole.frames, 'frame')}`,
    { file: path, bytes: whole.bytes, frames: whole.frames },
  );
  if (aside !== undefined)
    log.error(
      `${path}: the end that was cut off may hold whole frames behind a damaged length: it is kept in ${aside}; look at it with kahe inspect`,
      { file: path, keptIn: aside },
    );
}

/** Half a frame names its bucket once. */
async function mayHoldMore(path: string, from: number, { fs, bucket }: RepairParts): Promise<boolean> {
  const handle = await fs.open(path, READ_FILE);
  try {
    const bytes = Buffer.alloc(COPY_BYTES);
    const end = bytes.subarray(0, await readFully(handle, bytes, from));
    const name = Buffer.from(bucket);
    return end.indexOf(Buffer.concat([Buffer.from([name.length]), name]), PREFIX_BYTES + 1) >= 0;
  } finally {
    await handle.close();
  }
}

/** For a person to look at. */
async function keepEnd(file: OwnFile, from: number, to: number, parts: RepairParts): Promise<string> {
  const { fs, path } = parts;
  const aside = join(path, NOTES_FOLDER, `${shortHash(file.name)}.${from}.cut`);
  await unlinkIfThere(fs, aside);
  const source = await fs.open(join(path, file.name), READ_FILE);
  const target = await fs.open(aside, NEW_FILE, FILE_MODE).catch(async (error: unknown) => {
    await source.close();
    throw error;
  });
  try {
    const bytes = Buffer.allocUnsafe(COPY_BYTES);
    for (let at = from; at < to;) {
      const got = await source.read(bytes, at);
      if (got === 0) break;
      await writeWhole(target, bytes.subarray(0, got));
      at += got;
    }
    // Only then is it cut off there.
    await target.datasync();
    await fs.syncFolder(dirname(aside));
  } finally {
    await source.close();
    await target.close();
  }
  return aside;
}

async function cut(fs: FileSystem, path: string, length: number): Promise<void> {
  const handle = await fs.open(path, CHANGE_FILE);
  try {
    await handle.truncate(length);
    await handle.datasync();
  } finally {
    await handle.close();
  }
}
