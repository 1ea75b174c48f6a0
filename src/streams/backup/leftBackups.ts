// Backups that previous runs have left for buckets which are only made on demand: such a bucket may get no
// frame for days, and what lies in its backup is to be sent all the same. The journals in the backups'
// folders say whose they are.
import { join } from 'node:path';
import type { BucketsConfig } from '../../config/buckets.js';
import { ConfigError } from '../../errors.js';
import { type FileSystem } from '../../disk/fileSystem.js';
import { explained } from '../../disk/ioAdvice.js';
import type { Log } from '../../log/log.js';
import { backupId, streamOfBackup } from './backupId.js';
import { NOTES_FOLDER } from '../file/fileName.js';
import { type ParsedJournal, parseJournal } from '../file/journal.js';
import { readWholeFile } from '../../disk/wholeFile.js';

export interface LeftBackup {
  readonly bucket: string;
  /** The stream whose backup it is. */
  readonly stream: string;
  readonly journal: string;
  /** No stream of this configuration will send it: another template, or another name. */
  readonly isForeign: boolean;
}

interface Known {
  readonly path: string;
  readonly streamId: string;
  readonly fileNameTemplate: string;
}

const LONGEST_JOURNAL = 64 * 1024 * 1024;

/** Every journal below the folders of backups that are replayed, that knows of files. */
export async function findLeftBackups(
  { streamsConfigs }: Pick<BucketsConfig, 'streamsConfigs'>,
  fs: FileSystem,
  log: Log,
): Promise<readonly LeftBackup[]> {
  const known = Object.values(streamsConfigs).flatMap(({ id, backup }): Known[] => {
    return backup?.type === 'file' && backup.replay === 'auto'
      ? [{ ...backup.settings, streamId: backupId(id) }]
      : [];
  });
  const found: LeftBackup[] = [];
  for (const path of new Set(known.map((each) => each.path))) {
    const folder = join(path, NOTES_FOLDER);
    // Not there, or not to be read: who opens the stream says so.
    const names = await fs.list(folder).catch(() => []);
    for (const name of names.filter((each) => each.endsWith('.json'))) {
      const owner = await readOwner(fs, join(folder, name), log);
      if (owner === undefined) continue;
      const isForeign = !known.some(
        (each) =>
          each.path === path &&
          each.streamId === owner.streamId &&
          each.fileNameTemplate === owner.fileNameTemplate,
      );
      const stream = streamOfBackup(owner.streamId);
      // Of a file stream that is no backup, in the same folder.
      if (stream === undefined) continue;
      found.push({ bucket: owner.bucket, stream, journal: join(folder, name), isForeign });
    }
  }
  return found;
}

/** @returns undefined: it knows of no file, or can't be understood, which its stream will say */
async function readOwner(fs: FileSystem, journal: string, log: Log): Promise<ParsedJournal['owner']> {
  try {
    const parsed = parseJournal(await readWholeFile(fs, journal, LONGEST_JOURNAL), journal);
    if (parsed === undefined) log.debug(`${journal} is no journal of Kahe's`);
    return parsed !== undefined && parsed.files.length > 0 ? parsed.owner : undefined;
  } catch (error) {
    if (error instanceof ConfigError) log.warn(error.message, { file: journal });
    else log.debug(`${journal}: ${explained(error)}`);
    return undefined;
  }
}
