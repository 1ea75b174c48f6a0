// What the daemon needs of this machine, tried as its start does: the socket, ADMIN, the spool, REJECTED, the
// folders of files, the codecs. Promise: a start that would fail for one of them is found, with the words
// that the start has; nothing is started, made or left.
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { userInfo } from 'node:os';
import { dirname } from 'node:path';
import { bindAdmin } from '../net/place.js';
import { type AdminPlace, describePlace } from '../config/adminPlace.js';
import type { BackupConfig, BucketsConfig, StreamConfig } from '../config/buckets.js';
import type { Environment } from '../config/env.js';
import { type FileSystem, errnoOf, nodeFileSystem } from '../disk/fileSystem.js';
import { explained, isDiskFull } from '../disk/ioAdvice.js';
import { syncing } from '../disk/syncing.js';
import { tryFolder } from '../disk/trial.js';
import { AlreadyRunningError, messageOf } from '../errors.js';
import { tryToBind } from '../net/bind.js';
import { groupId } from '../net/names.js';
import { trySpool } from '../spool/trial.js';
import { compressorFor } from '../streams/kafka/compression.js';
import { Semaphore } from '../streams/kafka/semaphore.js';
import { isListenedAt, madeBySystemd } from '../systemd/units.js';
import type { Io } from './io.js';
import { type Probed, failure, ok, warning } from './probed.js';

/** @param fs another than the real disk, for tests */
export async function tryPlaces(
  environment: Environment,
  buckets: BucketsConfig,
  env: Io['env'],
  fs = nodeFileSystem,
): Promise<readonly Probed[]> {
  const socket = await trySocket(environment, env);
  const isRunning = socket.says === SOMEBODY_LISTENS;
  const admin: Probed[] = [];
  for (const place of environment.admin) admin.push(await tryAdmin(place, isRunning, env));
  const folders = foldersOf(environment, buckets).map((folder) =>
    tried(folder, env, ruledBy(folder, fs), (ruled) =>
      folder.isSpool ? trySpool(ruled, folder.path, isRunning) : tryFolder(ruled, folder.path),
    ),
  );
  return [socket, ...admin, ...(await Promise.all(folders)), ...(await tryCodecs(buckets))];
}

interface Folder {
  readonly what: string;
  readonly path: string;
  readonly isSynced: boolean;
  readonly isSpool?: true;
}

function foldersOf({ spool, rejected }: Environment, buckets: BucketsConfig): readonly Folder[] {
  return [
    ...(spool === undefined
      ? []
      : [{ what: 'SPOOL', path: spool.path, isSynced: spool.sync !== 'never', isSpool: true as const }]),
    { what: 'REJECTED', path: rejected.path, isSynced: rejected.isSynced },
    ...fileFolders(buckets),
  ];
}

interface RuledDisk {
  readonly fs: FileSystem;
  /** What the daemon would warn of. */
  readonly warnings: readonly string[];
}

/** With the syncs that the daemon has there: one that it does without is no failure. */
function ruledBy({ path, isSynced }: Folder, fs: FileSystem): RuledDisk {
  const warnings: string[] = [];
  const log = { warn: (text: string) => void warnings.push(text) };
  return { fs: syncing(fs, { place: path, isSynced, log }), warnings };
}

/** Streams and their backups, each with what it is called. */
export function targetsOf({ streamsConfigs }: BucketsConfig): {
  readonly name: string;
  readonly id: string;
  readonly target: StreamConfig | BackupConfig;
}[] {
  return Object.values(streamsConfigs).flatMap((stream) => {
    const { id, backup } = stream;
    return [
      { name: `stream ${id}`, id, target: stream },
      ...(backup === undefined ? [] : [{ name: `backup of stream ${id}`, id, target: backup }]),
    ];
  });
}

/** As whom all this is tried: what one user may, another may not. */
export function userText(): string {
  const { username, uid } = userInfo();
  return uid === 0
    ? 'tried as root, who may write everywhere: run it as the user of the daemon, if that is another'
    : `tried as ${username} (${uid}): run it as the user of the daemon`;
}

/** Each once, with whose files go there. */
function fileFolders(buckets: BucketsConfig): readonly Folder[] {
  const found = new Map<string, Folder>();
  for (const { name, target } of targetsOf(buckets)) {
    if (target.type !== 'file') continue;
    const { path, fsync } = target.settings;
    const other = found.get(path);
    found.set(path, {
      what: other === undefined ? name : `${other.what}, ${name}`,
      path,
      isSynced: fsync || other?.isSynced === true,
    });
  }
  return [...found.values()];
}

const SOMEBODY_LISTENS = 'somebody listens there: a daemon that is running, or systemd for it';
const MADE_BY_SYSTEMD = 'systemd makes it when it starts kahe';

async function trySocket({ socket: { path, mode, group } }: Environment, env: Io['env']): Promise<Probed> {
  const what = `SOCKET, ${path}`;
  if (isListenedAt(path)) return ok(what, SOMEBODY_LISTENS);
  try {
    await tryToBind({ setting: 'SOCKET', path, mode, groupId: groupId(group) });
    return ok(what, 'it can be made');
  } catch (error) {
    if (error instanceof AlreadyRunningError) return ok(what, SOMEBODY_LISTENS);
    return madeBySystemd(env).has(path) ? ok(what, MADE_BY_SYSTEMD) : failure(what, messageOf(error));
  }
}

async function tryAdmin(place: AdminPlace, isRunning: boolean, env: Io['env']): Promise<Probed> {
  const what = `ADMIN, ${describePlace(place)}`;
  if ('path' in place && isListenedAt(place.path)) return ok(what, SOMEBODY_LISTENS);
  const server = createServer();
  try {
    if ('path' in place)
      await tryToBind({ setting: 'ADMIN', path: place.path, mode: 0o600, groupId: undefined });
    else await bindAdmin(place, server);
    return ok(what, 'it can be had');
  } catch (error) {
    if (error instanceof AlreadyRunningError || (isRunning && isTaken(error)))
      return ok(what, SOMEBODY_LISTENS);
    return 'path' in place && isMadeBySystemd(dirname(place.path), env)
      ? ok(what, MADE_BY_SYSTEMD)
      : failure(what, messageOf(error));
  } finally {
    server.close();
  }
}

async function tried(
  { what: name, path }: Folder,
  env: Io['env'],
  { fs, warnings }: RuledDisk,
  attempt: (fs: FileSystem) => Promise<string>,
): Promise<Probed> {
  const what = `${name}, folder ${path}`;
  try {
    const there = await attempt(fs);
    if (warnings[0] !== undefined) return warning(what, warnings[0]);
    return ok(
      what,
      there === path
        ? 'it can be written'
        : `it is not there yet; it can be made, because ${there} can be written`,
    );
  } catch (error) {
    if (isDiskFull(error)) return warning(what, explained(error));
    return isMadeBySystemd(path, env) ? ok(what, MADE_BY_SYSTEMD) : failure(what, explained(error));
  }
}

/** It is not there, and will be. */
function isMadeBySystemd(folder: string, env: Io['env']): boolean {
  for (
    let missing = folder;
    !existsSync(missing) && dirname(missing) !== missing;
    missing = dirname(missing)
  ) {
    if (madeBySystemd(env).has(missing)) return true;
  }
  return false;
}

/** Those that can't be used. */
async function tryCodecs(buckets: BucketsConfig): Promise<Probed[]> {
  const probed = await Promise.all(
    targetsOf(buckets).map(async ({ name, target }) => {
      if (target.type !== 'kafka' || target.settings.compressionCodec === 'none') return undefined;
      const { compressionCodec, compressionLevel } = target.settings;
      try {
        await (
          await compressorFor(compressionCodec, compressionLevel, new Semaphore(1))
        )(SAMPLE);
        return undefined;
      } catch (error) {
        return failure(
          `${name}, compression.codec ${compressionCodec}`,
          `${messageOf(error)}; install Kahe anew with its packages, or choose another codec`,
        );
      }
    }),
  );
  return probed.filter((each) => each !== undefined);
}

const SAMPLE = Buffer.from('a frame');

/** Of ADMIN: another program has the port. */
function isTaken(error: unknown): boolean {
  return error instanceof Error && errnoOf(error.cause) === 'EADDRINUSE';
}
