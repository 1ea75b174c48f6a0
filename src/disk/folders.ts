// The folders below those that are configured: `path` is the operator's and may be a symlink; below it
// everything is a real folder, made by us or found so.
import { dirname, join } from 'node:path';
import { errnoOf, factsIfThere } from './fileSystem.js';
import type { FileSystem } from './fileSystem.js';

/**
 * Makes `relative` below `root`, with `root` itself. Refuses a symlink on the way: it could lead a client's
 * file anywhere.
 */
export async function makeFolders(fs: FileSystem, root: string, relative: string): Promise<void> {
  await fs.makeFolder(root, { parents: true });
  let folder = root;
  for (const name of relative.split('/')) {
    if (name === '' || name === '.') continue;
    folder = join(folder, name);
    if ((await kindOf(fs, folder)) === undefined) await makeOne(fs, folder);
    const kind = await kindOf(fs, folder);
    if (kind === 'link')
      throw refusal(
        'ELOOP',
        `${folder} is a symlink; below ${root} only real folders are used: replace it by a folder`,
      );
    if (kind !== 'folder') throw refusal('ENOTDIR', `${folder} is not a folder; move it away`);
  }
}

/** @throws ELOOP there is a symlink in the place of this folder */
export async function refuseLink(fs: FileSystem, folder: string): Promise<void> {
  if ((await kindOf(fs, folder)) === 'link')
    throw refusal(
      'ELOOP',
      `${folder} is a symlink; only real folders are used there: replace it by a folder`,
    );
}

async function kindOf(fs: FileSystem, path: string): Promise<string | undefined> {
  return (await factsIfThere(fs, path))?.kind;
}

async function makeOne(fs: FileSystem, folder: string): Promise<void> {
  try {
    await fs.makeFolder(folder, { parents: false });
  } catch (error) {
    // Another stream with the same folder was faster.
    if (errnoOf(error) !== 'EEXIST') throw error;
  }
  await fs.syncFolder(dirname(folder));
}

function refusal(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}
