// What two daemons must not have at the same time: a spool, or the files of one stream. Each would send, cut
// and remove what the other is writing. A lock is a name in the kernel (a Unix socket of the abstract kind,
// made from the folder's device and inode), so it is gone with its process, however that ends, and leaves no
// file. Two containers don't see each other's.
import { createServer } from 'node:net';
import type { FileSystem } from './fileSystem.js';

export type Unlock = () => void;

interface Shared {
  users: number;
  readonly taken: Promise<Unlock | undefined>;
}

/** Locks of this process that several parts of it may hold, by name. */
const shared = new Map<string, Shared>();

/** @returns the way to give it back; undefined: somebody has it */
export async function lockFolder(fs: FileSystem, folder: string): Promise<Unlock | undefined> {
  return take(`folder-${await identity(fs, folder)}`);
}

/**
 * Locks one thing in a folder against other processes: within this one it may be held more than once, as by a
 * stream and its successor.
 * @returns the way to give it back; undefined: another process has it
 */
export async function lockInFolder(
  fs: FileSystem,
  folder: string,
  thing: string,
): Promise<Unlock | undefined> {
  const name = `${thing}-${await identity(fs, folder)}`;
  const lock = shared.get(name) ?? { users: 0, taken: take(name) };
  shared.set(name, lock);
  lock.users++;
  let unlock: Unlock | undefined;
  const leave = (): void => {
    if (--lock.users > 0) return;
    shared.delete(name);
    unlock?.();
  };
  try {
    unlock = await lock.taken;
    return unlock && leave;
  } finally {
    if (unlock === undefined) leave();
  }
}

async function identity(fs: FileSystem, folder: string): Promise<string> {
  const { device, inode } = await fs.facts(folder);
  return `${device}-${inode}`;
}

async function take(name: string): Promise<Unlock | undefined> {
  // The abstract kind is Linux's; elsewhere two daemons in one folder are not found out.
  if (process.platform !== 'linux') return () => undefined;
  const server = createServer((socket) => socket.destroy());
  server.unref();
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(undefined) : reject(error),
    );
    server.listen(`\0kahe-${name}`, () => resolve(() => void server.close()));
  });
}
