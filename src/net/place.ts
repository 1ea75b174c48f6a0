// Where the admin door is: listens on an address or a path of ADMIN, before the daemon begins, so that a
// place that is taken is known at once.
import type { Server } from 'node:net';
import type { AdminPlace, TcpPlace } from '../config/adminPlace.js';
import { AlreadyRunningError, ConfigError } from '../errors.js';
import type { BoundSocket } from './boundSocket.js';
import { bindSocket } from './namedSocket.js';

/** As the main socket's default. */
const SOCKET_MODE = 0o660;

const ADVICE: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program listens there; stop it, or give ADMIN another port',
  EADDRNOTAVAIL: 'this machine has no such address',
  EACCES: 'ports below 1024 need a privilege; take a higher one',
  ENOTFOUND: 'there is no host of that name',
};

/** @throws {ConfigError} it can't be had */
export async function bindAdmin(place: AdminPlace, server: Server): Promise<BoundSocket> {
  if ('port' in place) {
    await listen(place, server);
    return {
      server,
      problem: undefined,
      watch: () => undefined,
      unlink: () => undefined,
      close: () => void server.close(),
    };
  }
  try {
    return await bindSocket(
      { setting: 'ADMIN', path: place.path, mode: SOCKET_MODE, groupId: undefined },
      server,
    );
  } catch (error) {
    if (error instanceof AlreadyRunningError)
      throw new ConfigError(
        `ADMIN: somebody is listening on ${place.path} already; stop it, or give ADMIN another path`,
      );
    throw error;
  }
}

/** Only this machine can reach it. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

async function listen({ host, port }: TcpPlace, server: Server): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port }, resolve);
    });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new ConfigError(`ADMIN: can't listen on ${host}:${port}: ${ADVICE[code ?? ''] ?? message}`, {
      cause: error,
    });
  }
}
