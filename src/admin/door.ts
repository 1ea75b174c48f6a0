// The admin door as the process opens and closes it: its place, its server, and what is measured only while it is open.
import { type Clock, systemClock } from '../clock.js';
import type { AdminPlace } from '../config/env.js';
import type { Log } from '../log.js';
import { type EventLoopDelay, EventLoopWatch } from './eventLoopDelay.js';
import { bindAdmin, describePlace, isLoopback } from './place.js';
import { AdminServer } from './server.js';
import type { Snapshot } from './snapshot.js';

export class AdminDoor {
  readonly #server: AdminServer;
  readonly #unlink: () => void;
  readonly #eventLoop: EventLoopWatch;

  /** @throws {ConfigError} its place can't be had */
  static async open(place: AdminPlace, log: Log, clock = systemClock): Promise<AdminDoor> {
    const host = 'host' in place ? place.host : undefined;
    const server = new AdminServer({ log, loopbackHost: host !== undefined && isLoopback(host) ? host : undefined });
    const unlink = await bindAdmin(place, server.http);
    // From here on it can only be a connection that can't be taken.
    server.http.on('error', (error) => log.warn(`can't take a connection: ${error.message}`));
    if (host !== undefined && !isLoopback(host)) log.warn(`ADMIN: ${describePlace(place)} can be read from other machines, by everyone who reaches it; 127.0.0.1, or a socket's path, is for this one alone`);
    log.info(`metrics, health and the status page are on ${describePlace(place)}`);
    return new AdminDoor(server, unlink, clock);
  }

  private constructor(server: AdminServer, unlink: () => void, clock: Clock) {
    this.#server = server;
    this.#unlink = unlink;
    this.#eventLoop = new EventLoopWatch(clock);
  }

  get eventLoopDelay(): EventLoopDelay {
    return this.#eventLoop.delay;
  }

  show(snapshot: () => Snapshot): void {
    this.#server.show(snapshot);
  }

  close(): void {
    this.#eventLoop.stop();
    this.#unlink();
    this.#server.close();
  }
}
