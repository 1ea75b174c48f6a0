// The few calls by which files are written, as one small interface: in the daemon node:fs/promises, in tests
// a disk that fails on demand.
import { constants } from 'node:fs';
import { lstat, mkdir, open, readdir, rename, rmdir, stat, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { FileHandle } from 'node:fs/promises';
import type { BigIntStats } from 'node:fs';

/**
 * What is known of a file. Device and inode together say which file it is, whatever its name; as text, for
 * both are 64 bits wide.
 */
export interface FileFacts {
  readonly kind: 'file' | 'folder' | 'link' | 'other';
  readonly size: number;
  readonly device: string;
  readonly inode: string;
  /** Names it has; 0 once it was removed while open. */
  readonly names: number;
}

export interface OpenFile {
  /** @returns how many bytes were written, which may be fewer than asked */
  write(bytes: Uint8Array, offset: number, length: number): Promise<number>;
  /**
   * Several pieces, one behind the other, in one call.
   * @returns how many bytes were written, which may be fewer than asked
   */
  writev(pieces: readonly Uint8Array[]): Promise<number>;
  /** @returns how many bytes were read into `into`; 0 at the end */
  read(into: Uint8Array, position: number): Promise<number>;
  datasync(): Promise<void>;
  sync(): Promise<void>;
  truncate(length: number): Promise<void>;
  facts(): Promise<FileFacts>;
  close(): Promise<void>;
}

export interface FileSystem {
  open(path: string, flags: number, mode?: number): Promise<OpenFile>;
  /** Of the name itself: a symlink is a link, not what it leads to. */
  facts(path: string): Promise<FileFacts>;
  makeFolder(path: string, options: { readonly parents: boolean }): Promise<void>;
  list(folder: string): Promise<string[]>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** @throws ENOTEMPTY there is something in it */
  removeFolder(path: string): Promise<void>;
  /**
   * Makes names in a folder last: a file that is synced while its name is not can be gone after a power cut.
   */
  syncFolder(folder: string): Promise<void>;
}

export const FILE_MODE = 0o640;
export const FOLDER_MODE = 0o750;

/**
 * A file that is surely new: never another's, never through a symlink, and nothing but the end can be
 * written.
 */
export const NEW_FILE =
  constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_APPEND | constants.O_NOFOLLOW;
export const READ_FILE = constants.O_RDONLY | constants.O_NOFOLLOW;
export const CHANGE_FILE = constants.O_RDWR | constants.O_NOFOLLOW;
const READ_FOLDER = constants.O_RDONLY | constants.O_DIRECTORY;

export const nodeFileSystem: FileSystem = {
  async open(path, flags, mode) {
    return openFile(await open(path, flags, mode));
  },
  async facts(path) {
    return factsOf(await lstat(path, { bigint: true }));
  },
  makeFolder: (path, { parents }) => (parents ? makeFolders(path) : makeFolder(path)),
  list: (folder) => readdir(folder),
  rename,
  unlink,
  removeFolder: rmdir,
  async syncFolder(folder) {
    const handle = await open(folder, READ_FOLDER);
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  },
};

async function makeFolder(path: string): Promise<void> {
  await mkdir(path, { mode: FOLDER_MODE });
}

/**
 * Node's own `recursive` never comes back where a parent is there and refuses with ENOENT, as /proc does, and
 * automounted folders.
 */
async function makeFolders(path: string): Promise<void> {
  try {
    await makeFolder(path).catch(async (error: unknown) => {
      if (errnoOf(error) !== 'ENOENT' || dirname(path) === path) throw error;
      await makeFolders(dirname(path));
      await makeFolder(path);
    });
  } catch (error) {
    const isThere = errnoOf(error) === 'EEXIST' && (await stat(path)).isDirectory();
    if (!isThere) throw error;
  }
}

function openFile(handle: FileHandle): OpenFile {
  return {
    write: async (bytes, offset, length) => (await handle.write(bytes, offset, length)).bytesWritten,
    writev: async (pieces) => (await handle.writev(pieces)).bytesWritten,
    read: async (into, position) => (await handle.read(into, 0, into.length, position)).bytesRead,
    datasync: () => handle.datasync(),
    sync: () => handle.sync(),
    truncate: (length) => handle.truncate(length),
    facts: async () => factsOf(await handle.stat({ bigint: true })),
    close: () => handle.close(),
  };
}

function factsOf(stats: BigIntStats): FileFacts {
  const kind = stats.isFile()
    ? 'file'
    : stats.isDirectory()
      ? 'folder'
      : stats.isSymbolicLink()
        ? 'link'
        : 'other';
  return {
    kind,
    size: Number(stats.size),
    device: String(stats.dev),
    inode: String(stats.ino),
    names: Number(stats.nlink),
  };
}

/** `ENOSPC` and its like; undefined for an error that no system call gave. */
export function errnoOf(error: unknown): string | undefined {
  const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}

/**
 * Writes all of `bytes`: a write may stop half-way (full disk, file size limit), and only the next one says
 * why.
 */
export async function writeWhole(file: OpenFile, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const written = await file.write(bytes, at, bytes.length - at);
    if (written === 0) throw new Error('the disk took no bytes and gave no reason');
    at += written;
  }
}

/**
 * Reads until `into` is full or the file ends: a read may stop half-way.
 * @returns how many bytes were read
 */
export async function readFully(file: OpenFile, into: Uint8Array, position: number): Promise<number> {
  let length = 0;
  while (length < into.length) {
    const got = await file.read(into.subarray(length), position + length);
    if (got === 0) break;
    length += got;
  }
  return length;
}

/** As writeWhole, for several pieces that stand one behind the other: nothing is copied. */
export async function writeAll(file: OpenFile, pieces: readonly Uint8Array[]): Promise<void> {
  let left = pieces.filter((piece) => piece.length > 0);
  while (left.length > 0) {
    let written = await file.writev(left);
    if (written === 0) throw new Error('the disk took no bytes and gave no reason');
    while (left.length > 0 && written >= left[0]!.length) {
      written -= left[0]!.length;
      left = left.slice(1);
    }
    if (written > 0) left = [left[0]!.subarray(written), ...left.slice(1)];
  }
}

/** The facts of `path`, or undefined when there is no such name. */
export async function factsIfThere(fs: FileSystem, path: string): Promise<FileFacts | undefined> {
  try {
    return await fs.facts(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Removes `path`; that it is gone already is as good. */
export async function unlinkIfThere(fs: FileSystem, path: string): Promise<void> {
  try {
    await fs.unlink(path);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}
