// Proves that a folder can be written, by writing: asking for permissions says nothing of a full disk or one
// that fails.
import { join } from 'node:path';
import { randomName } from './names.js';
import { FILE_MODE, NEW_FILE, unlinkIfThere, writeWhole } from './fileSystem.js';
import type { FileSystem } from './fileSystem.js';

const BLOCK = Buffer.alloc(64 * 1024);

/**
 * Writes a file of at least `bytes` and lets it go: a disk with room for less than the batch that failed
 * would fail it again.
 */
export async function proveWritable(fs: FileSystem, folder: string, bytes: number): Promise<void> {
  const path = join(folder, `.kahe-probe-${randomName()}`);
  const file = await fs.open(path, NEW_FILE, FILE_MODE);
  try {
    // Its name goes first, so that a crash leaves no file behind: what is open is gone with the process.
    await unlinkIfThere(fs, path);
    for (let written = 0; written === 0 || written < bytes; written += BLOCK.length)
      await writeWhole(file, BLOCK);
    await file.datasync();
  } finally {
    await file.close();
  }
}
