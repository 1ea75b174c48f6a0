// Files that are read and replaced as a whole: journals and notes. After a crash there is the old one or the
// new one, never a part of either.
import { dirname } from 'node:path';
import {
  FILE_MODE,
  type FileSystem,
  NEW_FILE,
  READ_FILE,
  readFully,
  unlinkIfThere,
  writeWhole,
} from './fileSystem.js';

/**
 * @param longest of a file that is larger no more is read: nothing of ours is
 * @throws Error also ENOENT, and ELOOP for a symlink in its place
 */
export async function readWholeFile(fs: FileSystem, path: string, longest = Infinity): Promise<string> {
  const file = await fs.open(path, READ_FILE);
  try {
    const bytes = Buffer.alloc(Math.min((await file.facts()).size, longest));
    return bytes.toString('utf8', 0, await readFully(file, bytes, 0));
  } finally {
    await file.close();
  }
}

/**
 * @param lasts the new one outlives a power cut once this resolves; without it the old one may come back, or
 * an empty one
 */
export async function replaceWholeFile(
  fs: FileSystem,
  path: string,
  text: string,
  { lasts }: { readonly lasts: boolean },
): Promise<void> {
  const draft = `${path}.tmp`;
  await unlinkIfThere(fs, draft);
  const file = await fs.open(draft, NEW_FILE, FILE_MODE);
  try {
    await writeWhole(file, Buffer.from(text));
    if (lasts) await file.sync();
  } finally {
    await file.close();
  }
  await fs.rename(draft, path);
  if (lasts) await fs.syncFolder(dirname(path));
}
