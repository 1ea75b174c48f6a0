// A server gets its path: bound under its own name, for cleaners of old files spare what is bound where it
// lies, and never open wider than asked; a live daemon is left alone, a stale file is taken over, anything
// else refused. Exactly one of several starters wins.
import { once } from 'node:events';
import { type Stats, chmodSync, chownSync, lstatSync, rmSync, statSync, unlinkSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { dirname, join } from 'node:path';
import { checkSocketPath } from '../config/socketPath.js';
import { errnoOf } from '../disk/fileSystem.js';
import { AlreadyRunningError, ConfigError, messageOf } from '../errors.js';
import { takeLock } from './startLock.js';
import { answerOf } from './answer.js';
import { whose } from './whose.js';

export interface SocketPlace {
  readonly path: string;
  /** Permission bits of the socket, as 0o660. */
  readonly mode: number;
  /** Group id that owns the socket; undefined: the process's own. */
  readonly groupId: number | undefined;
  /** The setting that names the path, for messages. */
  readonly setting: 'SOCKET' | 'ADMIN';
}

/**
 * What tells a file from others, as long as the socket that was bound there is open: until then its number is
 * given to no other.
 */
export interface FileId {
  readonly dev: number;
  readonly ino: number;
}

/**
 * PHP-FPM connects in bursts; Node's 511 answers some of them with EAGAIN. The kernel cuts this to its own
 * maximum.
 */
export const BACKLOG = 4096;
/**
 * For the owner alone, until it has its group and its mode. Other threads may be making folders, which need
 * their x.
 */
const NARROW_UMASK = 0o077;

/**
 * Makes the server listen at the place. One that listens already, at a path that is gone, listens there anew;
 * its connections stay.
 * @throws {AlreadyRunningError} a live daemon is there; {ConfigError} the path can't be used; whatever the
 * signal was aborted with
 */
export async function bindAt(place: SocketPlace, server: Server, signal?: AbortSignal): Promise<FileId> {
  return inTurn(place, async (found) => {
    signal?.throwIfAborted();
    if (found !== undefined) takeAway(place);
    return listen(server, place, place.path);
  });
}

/**
 * All of it but the name: for those who want to know whether it could be bound. Nobody can connect, and
 * nothing is left.
 * @throws as bindAt
 */
export async function tryToBind(place: SocketPlace): Promise<void> {
  const aside = join(dirname(place.path), `.${process.pid}`);
  await inTurn(place, async () => {
    const server = createServer();
    rmSync(aside, { force: true });
    await listen(server, place, aside);
    await new Promise((resolve) => server.close(resolve));
  });
}

/** While no other starter does the same, and nobody is there; a stale socket may be. */
async function inTurn<T>(place: SocketPlace, bind: (found: Stats | undefined) => Promise<T>): Promise<T> {
  const unlock = takeLock(`${checkSocketPath(place.path)}.lock`, place.setting);
  try {
    return await bind(await staleAt(place));
  } finally {
    unlock();
  }
}

/** Does the path lead to that file? */
export function leadsTo(path: string, file: FileId): boolean {
  try {
    const { dev, ino } = statSync(path);
    return dev === file.dev && ino === file.ino;
  } catch {
    return false;
  }
}

/** @returns undefined: nothing is there */
async function staleAt({ path, setting }: SocketPlace): Promise<Stats | undefined> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return undefined;
  if (!found.isSocket())
    throw new ConfigError(`${setting}: ${path} exists and is no socket; move it away or choose another path`);
  const answer = await answerOf(path);
  switch (answer) {
    // Nobody is there, or it has gone meanwhile.
    case 'ECONNREFUSED':
    case 'ENOENT':
      break;
    case 'EAGAIN':
    case undefined:
      throw new AlreadyRunningError(
        `a daemon is listening on ${path} already; stop it first, or give this one another ${setting}`,
      );
    case 'EACCES':
      throw new ConfigError(
        `${setting}: ${path} ${whose(path)}, so it can't be found out whether a daemon listens there; remove it if none does, or choose another path`,
      );
    case 'EPROTOTYPE':
      throw new ConfigError(
        `${setting}: another program listens on ${path}, which is a socket of another kind; stop it, or choose another path`,
      );
    // As EMFILE, when this process has no descriptor left to ask with: that says nothing of who listens.
    default:
      throw new ConfigError(
        `${setting}: it can't be found out whether a daemon listens on ${path}: ${answer}; remove it if none does, or choose another path`,
      );
  }
  if (isOthers(path, found.uid))
    throw new ConfigError(
      `${setting}: nobody listens on ${path}, but it can't be taken over: it ${whose(path)}, and only that user, the owner of ${dirname(path)} or root can remove it; remove it, or choose another path`,
    );
  return found;
}

/** In a folder as /tmp (its sticky bit is set) nobody takes another's file away. */
function isOthers(path: string, uid: number): boolean {
  const folder = statSync(dirname(path));
  const own = process.geteuid!();
  return (folder.mode & 0o1000) !== 0 && ![uid, folder.uid, 0].includes(own);
}

function takeAway({ path, setting }: SocketPlace): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT')
      throw new ConfigError(
        `${setting}: nobody listens on ${path}, and it can't be taken over: ${messageOf(error)}; it ${whose(path)}: remove it, or choose another path`,
      );
  }
}

/** All in one turn, so that a file that has the name has what it needs a moment later. */
async function listen(server: Server, place: SocketPlace, path: string): Promise<FileId> {
  // Closing a socket, libuv removes whatever has the path by then: now that is nothing, and later it would be
  // the new one.
  if (server.listening) server.close();
  const umask = process.umask(NARROW_UMASK);
  try {
    server.listen({ path, backlog: BACKLOG });
  } finally {
    process.umask(umask);
  }
  if (!server.listening) {
    const [error] = (await once(server, 'error')) as [Error];
    throw new ConfigError(
      `${place.setting}: can't bind ${path}: ${error.message}; the folder must exist and be writable`,
    );
  }
  try {
    return open(place, path);
  } catch (error) {
    // Takes the file away too.
    server.close();
    throw error;
  }
}

/** To those who may use it. */
function open({ mode, groupId, setting, path: name }: SocketPlace, path: string): FileId {
  try {
    if (groupId !== undefined) chownSync(path, process.getuid!(), groupId);
  } catch (error) {
    throw new ConfigError(
      `SOCKET_GROUP: can't give ${name} to group ${String(groupId)}: ${messageOf(error)}; the user Kahe runs as must be in that group`,
    );
  }
  try {
    chmodSync(path, mode);
    return lstatSync(path);
  } catch (error) {
    throw new ConfigError(`${setting}: can't open ${name} to those who may use it: ${messageOf(error)}`);
  }
}
