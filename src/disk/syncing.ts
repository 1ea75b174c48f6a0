// What is synced to the disk, in one place: nothing where the configuration says so, and where the file
// system has no fsync (CIFS, FUSE, some mounts of containers) it is used all the same, and one warning says
// that a power cut is not covered. A sync that failed stays an error.
import { messageOf } from '../errors.js';
import type { Log } from '../log/log.js';
import { type FileSystem, errnoOf } from './fileSystem.js';

export interface SyncRule {
  /** The folder that the configuration names. */
  readonly place: string;
  /** false: nothing below it is ever synced. */
  readonly isSynced: boolean;
  readonly log: Pick<Log, 'warn'>;
}

/** The answers of a file system that has no fsync. Any other, as EIO, says that bytes may be lost. */
const HAS_NO_SYNC: readonly (string | undefined)[] = ['EINVAL', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP'];

/** Places that a warning has named: many streams may have the same one. */
const warned = new Set<string>();

/** The same file system, on which files and folders are synced as the rule says. */
export function syncing(fs: FileSystem, rule: SyncRule): FileSystem {
  const sync = rule.isSynced
    ? (run: () => Promise<void>) => run().catch((error: unknown) => pass(error, rule))
    : () => Promise.resolve();
  return {
    ...fs,
    open: async (path, flags, mode) => {
      const file = await fs.open(path, flags, mode);
      return { ...file, datasync: () => sync(() => file.datasync()), sync: () => sync(() => file.sync()) };
    },
    syncFolder: (folder) => sync(() => fs.syncFolder(folder)),
  };
}

function pass(error: unknown, { place, log }: SyncRule): void {
  if (!HAS_NO_SYNC.includes(errnoOf(error))) throw error;
  if (warned.has(place)) return;
  warned.add(place);
  const reason = messageOf(error);
  log.warn(
    `${place}: its file system has no fsync (${reason}): a file there survives a crash of Kahe, but a power cut may take it; use a local disk if that matters`,
    { reason, file: place },
  );
}
