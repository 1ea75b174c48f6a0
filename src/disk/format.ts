// The format of what Kahe keeps on disk for its next run, the spool and journals of files. Promise: one that is
// newer than this Kahe is refused by name, before anything of it is read as something else.
import { ConfigError } from '../errors.js';
import { type FileSystem, errnoOf } from './fileSystem.js';
import { readWholeFile, replaceWholeFile } from './wholeFile.js';

/** 1: plain frames. 2: full frames too (frames/fullFrame.ts). Older ones are understood. */
export const FORMAT = 2;
const LONGEST_FILE = 1024;

/** @throws {ConfigError} what is in `place` is of a newer Kahe */
export function refuseNewer(format: unknown, place: string): void {
  if (typeof format !== 'number' || format <= FORMAT) return;
  throw new ConfigError(
    `${place} is in format ${format}, of a newer Kahe, and this one knows those up to ${FORMAT}: start the newer one again, and let it deliver what is there before you go back`,
  );
}

/**
 * Reads what a small file says: { "format": 2 }. There is none in what is older than formats.
 * @throws {ConfigError} it is newer
 */
export async function readFormat(fs: FileSystem, path: string): Promise<number | undefined> {
  try {
    const { format } = JSON.parse(await readWholeFile(fs, path, LONGEST_FILE)) as {
      readonly format?: unknown;
    };
    refuseNewer(format, path);
    return typeof format === 'number' ? format : undefined;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

export function writeFormat(fs: FileSystem, path: string): Promise<void> {
  return replaceWholeFile(fs, path, `${JSON.stringify({ format: FORMAT })}\n`, { lasts: true });
}
