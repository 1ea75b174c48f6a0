// A folder for what must lie on a disk: the spool, a backup. The system's folder for temporary files is often
// memory, where syncing costs nothing.
import { mkdirSync, mkdtempSync, statfsSync } from 'node:fs';
import path from 'node:path';

const PARENT = path.resolve(import.meta.dirname, '../.cache/bench');
/** As statfs(2) names them. */
const IN_MEMORY = new Map([
  [0x01021994, 'tmpfs'],
  [0x858458f6, 'ramfs'],
]);

/** @returns an empty folder, to be removed by the caller */
export function makeDiskFolder(name: string): string {
  mkdirSync(PARENT, { recursive: true });
  const inMemory = IN_MEMORY.get(statfsSync(PARENT).type);
  if (inMemory !== undefined)
    throw new Error(
      `${PARENT} lies in memory (${inMemory}): figures of the spool and of the backup need a disk; run the bench from a folder on one`,
    );
  return mkdtempSync(path.join(PARENT, `${name}-`));
}
