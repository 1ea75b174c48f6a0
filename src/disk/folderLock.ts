// Two daemons must not have one spool: each would send and remove what the other is writing. The lock is a name in the kernel (a Unix socket
// of the abstract kind, made from the folder's device and inode), so it is gone with its process, however that ends, and leaves no file.
import { createServer } from 'node:net';
import type { FileSystem } from './fileSystem.js';

/** @returns the way to give it back; undefined: another process has it */
export async function lockFolder(fs: FileSystem, folder: string): Promise<(() => void) | undefined> {
  // The abstract kind is Linux's; elsewhere two daemons in one folder are not found out.
  if (process.platform !== 'linux') return () => undefined;
  const { device, inode } = await fs.facts(folder);
  const server = createServer((socket) => socket.destroy());
  server.unref();
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => (error.code === 'EADDRINUSE' ? resolve(undefined) : reject(error)));
    server.listen(`\0kahe-folder-${device}-${inode}`, () => resolve(() => void server.close()));
  });
}
