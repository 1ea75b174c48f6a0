// Could a daemon start with this spool? Promise: the start's own words, and nothing is made or changed.
import { join } from 'node:path';
import type { FileSystem } from '../disk/fileSystem.js';
import { readFormat } from '../disk/format.js';
import { lockFolder } from '../disk/folderLock.js';
import { isDiskFull } from '../disk/ioAdvice.js';
import { tryFolder } from '../disk/trial.js';
import { formatFile, takenSpool, unusable } from './diskSpool.js';

/**
 * @param isTaken a daemon is running that may have it
 * @returns the folder, or the one above it in which it can be made
 * @throws {ConfigError} as `DiskSpool.lock` and `DiskSpool.open`; the system's own error where those go on, as with a
 * full disk
 */
export async function trySpool(fs: FileSystem, path: string, isTaken: boolean): Promise<string> {
  const there = await tryFolder(fs, path).catch((error: unknown) => {
    throw isDiskFull(error) ? error : unusable(path, error);
  });
  if (there !== path) return there;
  const unlock = await lockFolder(fs, path).catch((error: unknown) => {
    throw unusable(path, error);
  });
  unlock?.();
  if (unlock === undefined && !isTaken) throw takenSpool(path);
  await lookInto(fs, path);
  return there;
}

/** What previous runs have left is read at the start. */
async function lookInto(fs: FileSystem, path: string): Promise<void> {
  try {
    await readFormat(fs, formatFile(path));
    for (const name of await fs.list(path)) {
      const folder = join(path, name);
      if ((await fs.facts(folder)).kind === 'folder') await fs.list(folder);
    }
  } catch (error) {
    throw unusable(path, error);
  }
}
