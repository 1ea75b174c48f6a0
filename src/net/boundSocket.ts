// A listening socket as the daemon has it: who comes in by it, whether anybody can, and how it ends.
import { createServer, type Server, type Socket } from 'node:net';
import type { Clock } from '../clock.js';
import type { Log } from '../log/log.js';

export interface BoundSocket {
  readonly server: Server;
  /** Why nobody new can come in just now; undefined: they can. Known once it is watched. */
  readonly problem: string | undefined;
  /**
   * Looks from now on, every second, whether its path still leads here; says so when it doesn't, and does
   * what can be done.
   */
  watch(clock: Clock, log: Log): void;
  /**
   * Nobody new comes from here on, but who waits in the kernel's queue: takes the file away, if it is ours.
   * Harmless when called twice.
   */
  unlink(): void;
  /** After `unlink`: takes nobody any more. */
  close(): void;
}

export const LOOK_MS = 1_000;

export function newServer(): Server {
  // Paused and half-open: see sharedRead.ts, and receipts are answered after the client has ended its side.
  return createServer({ pauseOnConnect: true, allowHalfOpen: true });
}

/**
 * Who connects before anybody listens to 'connection' (the spool is being opened) is kept until somebody
 * does: Node would forget them.
 */
export function holdUntilHeard(server: Server): void {
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
