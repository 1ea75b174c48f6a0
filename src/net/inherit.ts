// Sockets that systemd holds and hands over (LISTEN_FDS): a connection to any of them comes to the one
// server. Their files are systemd's, and stay; one that goes is said, for only systemd can bind it again.
import { statSync } from 'node:fs';
import type { Server, Socket } from 'node:net';
import type { Clock, Timer } from '../clock.js';
import { ConfigError, messageOf } from '../errors.js';
import type { Log } from '../log/log.js';
import { BACKLOG, type FileId, leadsTo } from './bind.js';
import { type BoundSocket, LOOK_MS, holdUntilHeard, newServer } from './boundSocket.js';
import { kernelSocket } from './kernelSockets.js';

/**
 * @param fds one at least
 * @throws {ConfigError} one of them is nothing to listen on
 */
export async function inheritSockets(fds: readonly number[]): Promise<BoundSocket> {
  const paths = fds.map(checked).filter((path) => path !== undefined);
  const servers = await Promise.all(fds.map((fd) => listenOn(fd)));
  return new InheritedSockets(servers as [Server, ...Server[]], paths);
}

class InheritedSockets implements BoundSocket {
  readonly server: Server;
  readonly #servers: readonly Server[];
  readonly #paths: readonly string[];
  #problem: string | undefined;
  #timer: Timer | undefined;

  constructor(servers: readonly [Server, ...Server[]], paths: readonly string[]) {
    const [server, ...others] = servers;
    this.server = server;
    this.#servers = servers;
    this.#paths = paths;
    holdUntilHeard(server);
    for (const other of others) {
      other
        .on('connection', (socket: Socket) => server.emit('connection', socket))
        .on('error', (error) => server.emit('error', error));
    }
  }

  get problem(): string | undefined {
    return this.#problem;
  }

  watch(clock: Clock, log: Log): void {
    const files = new Map(this.#paths.map((path) => [path, fileAt(path)]));
    // It may be hidden from the service alone.
    for (const [path, file] of files)
      if (file === undefined)
        log.warn(
          `systemd's socket ${path} is not visible here: PrivateTmp= may hide it; if it is gone, make it again: systemctl restart kahe.socket`,
          { address: path },
        );
    this.#timer = clock.every(LOOK_MS, () => this.#look(files, log));
  }

  /** A client that connects from then on waits for the next daemon. */
  unlink(): void {
    this.#timer?.cancel();
    for (const server of this.#servers) server.close();
  }

  close(): void {
    // Done.
  }

  #look(files: ReadonlyMap<string, FileId | undefined>, log: Log): void {
    const lost = [...files]
      .filter(([path, file]) => file !== undefined && !leadsTo(path, file))
      .map(([path]) => path);
    const problem =
      lost.length === 0
        ? undefined
        : `the file of systemd's socket ${lost.join(' and ')} is gone: no client can connect until systemd makes it again (systemctl restart kahe.socket)`;
    if (problem === this.#problem) return;
    this.#problem = problem;
    if (problem === undefined) log.info("systemd's socket is there again");
    else log.error(`${problem}; open connections go on`, { reason: problem, address: lost.join(' and ') });
  }
}

/** @returns its path, if it has one. @throws {ConfigError} */
function checked(fd: number): string | undefined {
  const facts = kernelSocket(fd);
  if (facts === undefined) return undefined;
  const { path, type, isListening } = facts;
  const name = `LISTEN_FDS: descriptor ${fd}${path === undefined ? '' : ` (${path})`}`;
  if (type !== undefined && type !== 'stream')
    throw new ConfigError(
      `${name} is a ${type} socket, and Kahe reads streams: write ListenStream= into the .socket unit, instead of ${type === 'datagram' ? 'ListenDatagram=' : 'ListenSequentialPacket='}`,
    );
  if (!isListening)
    throw new ConfigError(
      `${name} is a single connection, not a socket to listen on: the .socket unit has Accept=yes; write Accept=no, with kahe.service in the place of kahe@.service`,
    );
  return path?.startsWith('/') === true ? path : undefined;
}

async function listenOn(fd: number): Promise<Server> {
  const server = newServer();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      // As an option beside `fd` Node would not hear of the backlog, and cut systemd's to 511.
      server.listen({ fd }, BACKLOG, resolve);
    });
  } catch (error) {
    throw new ConfigError(
      `LISTEN_FDS: can't listen on descriptor ${fd}: ${messageOf(error)}; the .socket unit must have ListenStream= and Accept=no`,
    );
  }
  return server;
}

function fileAt(path: string): FileId | undefined {
  try {
    return statSync(path);
  } catch {
    return undefined;
  }
}
