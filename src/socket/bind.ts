// The socket's file: bound under another name and renamed, so that it is never open wider than asked; a live daemon is left alone, a stale
// file is taken over, anything else refused. Exactly one of several starters wins.
import { chmodSync, chownSync, lstatSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, unlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { ConfigError } from '../errors.js';

export interface SocketPlace {
  readonly path: string;
  /** Permission bits of the socket, as 0o660. */
  readonly mode: number;
  /** Group id that owns the socket; undefined: the process's own. */
  readonly groupId: number | undefined;
  /** The setting that names the path, for messages. */
  readonly setting: 'SOCKET' | 'ADMIN';
}

/** Somebody answers on the socket: a daemon is at work there. */
export class AlreadyRunningError extends Error {
  override readonly name = 'AlreadyRunningError';
  readonly code = 'ALREADY_RUNNING';
}

export interface BoundSocket {
  readonly server: Server;
  /** Nobody new comes from here on: takes the file away, if it is ours. Harmless when called twice. */
  readonly unlink: () => void;
}

/** PHP-FPM connects in bursts; Node's 511 answers some of them with EAGAIN. The kernel cuts this to its own maximum. */
const BACKLOG = 4096;
/** A starter holds the lock for milliseconds; one older than this is of a starter that died. */
const LOCK_STALE_MS = 10_000;
const LONGEST_PATH = 107;

/**
 * @param server what is to listen there
 * @throws {AlreadyRunningError} a live daemon is there; {ConfigError} the path can't be used
 */
export async function bindSocket(place: SocketPlace, server: Server = newServer()): Promise<BoundSocket> {
  return inTurn(place, async () => {
    const temporary = await bindAside(place, server);
    const { dev, ino } = statSync(temporary);
    renameSync(temporary, place.path);
    return { server, unlink: () => unlinkOwn(place.path, dev, ino) };
  });
}

/**
 * All of it but the name: for those who want to know whether it could be bound. Nobody can connect, and nothing is left.
 * @throws as bindSocket
 */
export async function tryToBind(place: SocketPlace): Promise<void> {
  await inTurn(place, async () => {
    const server = createServer();
    await bindAside(place, server);
    await new Promise((resolve) => server.close(resolve));
  });
}

/** While no other starter does the same, and nobody is there. */
async function inTurn<T>(place: SocketPlace, bind: () => Promise<T>): Promise<T> {
  const { path, setting } = place;
  if (Buffer.byteLength(asideOf(path)) > LONGEST_PATH) throw new ConfigError(`${setting}: ${path} is too long for a Unix socket; ${LONGEST_PATH} bytes is the most, with ".${process.pid}" for starting`);
  const unlock = lock(`${path}.lock`, setting);
  try {
    await checkPlace(place);
    return await bind();
  } finally {
    unlock();
  }
}

/** Listens under another name, with the mode and the group that it is to have. @returns that name */
async function bindAside(place: SocketPlace, server: Server): Promise<string> {
  const temporary = asideOf(place.path);
  await listen(server, temporary, place);
  try {
    giveAway(temporary, place);
    return temporary;
  } catch (error) {
    // Closing takes the temporary file away too.
    server.close();
    throw error;
  }
}

function asideOf(path: string): string {
  return `${path}.${process.pid}`;
}

/** To those who may use it. */
function giveAway(temporary: string, { path, mode, groupId }: SocketPlace): void {
  try {
    if (groupId !== undefined) chownSync(temporary, process.getuid!(), groupId);
  } catch (error) {
    throw new ConfigError(`SOCKET_GROUP: can't give ${path} to group ${String(groupId)}: ${(error as Error).message}; the user Kahe runs as must be in that group`);
  }
  chmodSync(temporary, mode);
}

/**
 * Listens on the descriptors that systemd hands over (LISTEN_FDS), one at least; a connection to any of them comes to the one server. The
 * files are systemd's, and stay: `unlink` only takes nobody any more, so that who connects from then on waits for the next daemon.
 */
export async function inheritSockets(fds: readonly number[]): Promise<BoundSocket> {
  const servers = await Promise.all(fds.map((fd) => listenOn(fd)));
  const [server, ...others] = servers as [Server, ...Server[]];
  for (const other of others) {
    other.on('connection', (socket: Socket) => server.emit('connection', socket)).on('error', (error) => server.emit('error', error));
  }
  return { server, unlink: () => servers.forEach((each) => each.close()) };
}

async function listenOn(fd: number): Promise<Server> {
  const server = newServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    // As an option beside `fd` Node would not hear of the backlog, and cut systemd's to 511.
    server.listen({ fd }, BACKLOG, resolve);
  });
  return server;
}

function newServer(): Server {
  // Paused and half-open: see sharedRead.ts, and receipts are answered after the client has ended its side.
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true });
  holdUntilHeard(server);
  return server;
}

/** Who connects before anybody listens to 'connection' (the spool is being opened) is kept until somebody does: Node would forget them. */
function holdUntilHeard(server: Server): void {
  const early: Socket[] = [];
  const hold = (socket: Socket): void => void early.push(socket);
  server.on('connection', hold);
  server.on('newListener', function heard(event: string | symbol) {
    if (event !== 'connection') return;
    server.off('newListener', heard);
    server.off('connection', hold);
    process.nextTick(() => early.splice(0).forEach((socket) => server.emit('connection', socket)));
  });
}

async function listen(server: Server, path: string, { mode, setting }: SocketPlace): Promise<void> {
  // Left by a starter of the same pid that died in the middle.
  rmSync(path, { force: true });
  const umask = process.umask(0o777 & ~(mode & 0o600));
  try {
    // A pipe is bound within the call, so the umask holds for it and for nothing else.
    const listening = new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ path, backlog: BACKLOG }, resolve);
    });
    process.umask(umask);
    await listening;
  } catch (error) {
    throw new ConfigError(`${setting}: can't bind ${path}: ${(error as Error).message}; the folder must exist and be writable`);
  } finally {
    process.umask(umask);
  }
}

async function checkPlace({ path, setting }: SocketPlace): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw new ConfigError(`${setting}: ${path} exists and is no socket; move it away or choose another path`);
  if (await isAnswering(path)) throw new AlreadyRunningError(`a daemon is listening on ${path} already; stop it first, or give this one another ${setting}`);
  if (isOthers(path, found.uid)) throw new ConfigError(`${setting}: ${path} was left by user ${found.uid}, and only that user, the owner of ${dirname(path)} or root can remove it; remove it, or choose another path`);
}

/** In a folder as /tmp (its sticky bit is set) nobody takes another's file away. */
function isOthers(path: string, uid: number): boolean {
  const folder = statSync(dirname(path));
  const own = process.geteuid!();
  return (folder.mode & 0o1000) !== 0 && ![uid, folder.uid, 0].includes(own);
}

function isAnswering(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createConnection(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    // EAGAIN: its backlog is full, so somebody is there.
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'EAGAIN' || error.code === 'EACCES'));
  });
}

const TAKEN: ReadonlySet<string | undefined> = new Set(['EEXIST', 'ENOTEMPTY', 'ENOTDIR']);

/**
 * Makes a folder that names its holder, and gives it its name in one step, which only one can: the loser of a race finds it there. An empty
 * one, which a holder that was killed has left, gives way by itself.
 */
function lock(path: string, setting: string): () => void {
  const mine = `${path}.${process.pid}`;
  for (;;) {
    try {
      // Of an earlier starter with our pid.
      rmSync(mine, { recursive: true, force: true });
      mkdirSync(mine, { mode: 0o700 });
      mkdirSync(join(mine, String(process.pid)));
      renameSync(mine, path);
      return () => unlock(path, mine);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      rmSync(mine, { recursive: true, force: true });
      if (!TAKEN.has(code)) throw new ConfigError(`${setting}: can't make ${path}: ${message}; the folder must exist and be writable`);
      removeStale(path, setting);
    }
  }
}

/** In one step too: emptied in its place, the lock of the next one could come to lie in it. */
function unlock(path: string, aside: string): void {
  try {
    renameSync(path, aside);
  } catch {
    // Somebody took it for that of a dead one.
  }
  rmSync(aside, { recursive: true, force: true });
}

/** Removes the lock of a starter that died; one that is given back meanwhile is no concern. */
function removeStale(path: string, setting: string): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isDirectory()) throw new ConfigError(`${setting}: ${path} is needed for starting, and something else has that name; move it away or choose another path`);
  const busy = new AlreadyRunningError(`another daemon is just starting on this socket (${path} exists); if none is, remove that folder`);
  if (!isHolderDead(path) && Date.now() - found.mtimeMs < LOCK_STALE_MS) throw busy;
  const aside = `${path}.${process.pid}`;
  try {
    renameSync(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  if (lstatSync(aside).ino === found.ino) return rmSync(aside, { recursive: true });
  // Another starter was quicker, and this is its lock.
  renameSync(aside, path);
  throw busy;
}

/** The lock names its holder: one that was killed in the midst of starting must not keep its successor waiting. */
function isHolderDead(path: string): boolean {
  try {
    const pid = Number(readdirSync(path)[0]);
    if (!Number.isInteger(pid) || pid <= 0) return false;
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

function unlinkOwn(path: string, dev: number, ino: number): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found?.dev === dev && found.ino === ino) unlinkSync(path);
}
