// Files that a daemon sends by itself: its spool, and the files of backups with replay "auto" that its
// journals name. Sent by hand too, they would arrive twice.
import { readFileSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { join, sep } from 'node:path';
import { type BucketsConfig, loadBuckets } from '../../config/buckets.js';
import { type Environment, loadEnvironment } from '../../config/env.js';
import { backupId } from '../../streams/backup/backupId.js';
import { NOTES_FOLDER } from '../../streams/file/fileName.js';
import { parseJournal } from '../../streams/file/journal.js';
import type { Io } from '../io.js';

export interface Configured {
  readonly environment: Environment | undefined;
  readonly buckets: BucketsConfig | undefined;
}

/** What is configured here; nothing of what can't be read is an error, for a replay needs none of it. */
export function configuredHere({ cwd, env }: Pick<Io, 'cwd' | 'env'>): Configured {
  const environment = attempt(() => loadEnvironment({ cwd, env }));
  return {
    environment,
    buckets: environment && attempt(() => loadBuckets(environment.bucketsFile, { cwd, env })),
  };
}

export class DaemonsOwn {
  readonly #spool: string | undefined;
  /** Device and inode of each file that a journal names. */
  readonly #backups: ReadonlySet<string>;

  constructor({ environment, buckets }: Configured) {
    this.#spool = environment?.spool && attempt(() => realpathSync(environment.spool!.path));
    this.#backups = new Set(
      Object.values(buckets?.streamsConfigs ?? {}).flatMap(({ id, backup }) => {
        return backup?.type === 'file' && backup.replay === 'auto'
          ? filesOfJournals(backup.settings.path, backupId(id))
          : [];
      }),
    );
  }

  /** Why the daemon sends this file itself; undefined: it does not. */
  reason(file: string): string | undefined {
    const path = attempt(() => realpathSync(file));
    if (path === undefined) return undefined;
    if (this.#spool !== undefined && path.startsWith(this.#spool + sep))
      return `it lies in the spool (${this.#spool})`;
    const facts = attempt(() => statSync(path, { bigint: true }));
    return facts !== undefined && this.#backups.has(`${facts.dev}/${facts.ino}`)
      ? 'it is a file of a backup with replay "auto"'
      : undefined;
  }
}

function filesOfJournals(path: string, streamId: string): string[] {
  const folder = join(path, NOTES_FOLDER);
  const names = attempt(() => readdirSync(folder)) ?? [];
  return names
    .filter((name) => name.endsWith('.json'))
    .flatMap((name) => attempt(() => filesOf(readFileSync(join(folder, name), 'utf8'), streamId)) ?? []);
}

function filesOf(journal: string, streamId: string): string[] {
  const { owner, files } = parseJournal(journal, 'a journal') ?? { files: [] };
  return owner?.streamId === streamId ? files.map(({ device, inode }) => `${device}/${inode}`) : [];
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
