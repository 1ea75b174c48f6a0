// Can a folder be used, or made? Promise: it is found out by writing, and nothing is left or made.
import { type Stats, lstatSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { type FileSystem, errnoOf } from './fileSystem.js';
import { proveWritable } from './proof.js';

/** @returns the folder, or the one above it in which it can be made. @throws Error it can't be */
export async function tryFolder(fs: FileSystem, folder: string): Promise<string> {
  const there = nearestThere(folder);
  await proveWritable(fs, there, 0);
  return there;
}

/** The folder, or the nearest one above it that is there: Kahe makes what is missing. */
function nearestThere(folder: string): string {
  const facts = found(() => statSync(folder));
  const isMissing = facts === undefined && found(() => lstatSync(folder)) === undefined;
  if (isMissing && dirname(folder) !== folder) return nearestThere(dirname(folder));
  if (facts === undefined)
    throw new Error(`${folder} is a symlink that leads nowhere; remove it, or make what it leads to`);
  if (!facts.isDirectory()) throw new Error(`${folder} is not a folder; move it away`);
  return folder;
}

/** Below a file there is nothing. */
function found(look: () => Stats): Stats | undefined {
  try {
    return look();
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
}
