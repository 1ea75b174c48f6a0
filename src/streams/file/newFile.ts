// A new file of a stream. Promise: it never has the name of another, also of one that is gone.
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import type { Clock } from '../../clock.js';
import { FILE_MODE, type FileSystem, NEW_FILE, type OpenFile, errnoOf } from '../../disk/fileSystem.js';
import { makeFolders } from '../../disk/folders.js';
import { type FileName, expandTemplate } from './fileName.js';

export interface NewFileParts {
  readonly path: string;
  readonly fileNameTemplate: string;
  readonly bucket: string;
  readonly fs: FileSystem;
  readonly clock: Clock;
}

/**
 * Names whose numbers are remembered. One with {ts} or {rand} never comes again, so the oldest may be
 * forgotten.
 */
const MOST_NUMBERS = 1000;

export function nextName({ fileNameTemplate, bucket, clock }: NewFileParts): FileName {
  return expandTemplate(fileNameTemplate, { bucket, hostname: hostname(), nowMs: clock.now() });
}

/** @param numbers the greatest number each name was used with: the new file's is noted there */
export async function createFile(
  parts: NewFileParts,
  numbers: Map<string, number>,
): Promise<{ readonly name: string; readonly handle: OpenFile }> {
  const { fs, path } = parts;
  const next = nextName(parts);
  const base = next.numbered(1);
  await makeFolders(fs, path, dirname(base));
  for (let number = (numbers.get(base) ?? 0) + 1; ; number++) {
    const name = next.numbered(number);
    try {
      const handle = await fs.open(join(path, name), NEW_FILE, FILE_MODE);
      remember(numbers, base, number);
      return { name, handle };
    } catch (error) {
      // Somebody's file, or a symlink: never opened, never touched. The next number then.
      if (errnoOf(error) !== 'EEXIST') throw error;
    }
  }
}

function remember(numbers: Map<string, number>, base: string, number: number): void {
  numbers.delete(base);
  numbers.set(base, number);
  if (numbers.size > MOST_NUMBERS) numbers.delete(numbers.keys().next().value!);
}
