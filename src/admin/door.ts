// The admin door as the process opens and closes it: its places, a server at each, and what is measured only
// while it is open.
import { type Clock, systemClock } from '../clock.js';
import { type AdminPlace, describePlace } from '../config/adminPlace.js';
import type { Log } from '../log/log.js';
import type { BoundSocket } from '../net/boundSocket.js';
import { type EventLoopDelay, EventLoopWatch } from '../stats/eventLoopDelay.js';
import { bindAdmin, isLoopback } from '../net/place.js';
import { AdminServer, type Shown } from './server.js';
import { Tails } from './tail/tails.js';

/** A server, and where it listens. */
interface OpenPlace {
  readonly server: AdminServer;
  readonly bound: BoundSocket;
}

export class AdminDoor {
  readonly #places: readonly OpenPlace[];
  readonly #tails: Tails;
  readonly #eventLoop: EventLoopWatch;

  /** All places, or none. @throws {ConfigError} one of them can't be had */
  static async open(places: readonly AdminPlace[], log: Log, clock = systemClock): Promise<AdminDoor> {
    const tails = new Tails(clock);
    const open: OpenPlace[] = [];
    try {
      for (const place of places) open.push(await openPlace(place, tails, log));
      for (const { bound } of open) bound.watch(clock, log);
    } catch (error) {
      open.forEach(closePlace);
      throw error;
    }
    const address = places.map(describePlace).join(' and ');
    log.info(`metrics, health and the status page are on ${address}`, { address });
    return new AdminDoor(open, tails, clock);
  }

  private constructor(places: readonly OpenPlace[], tails: Tails, clock: Clock) {
    this.#places = places;
    this.#tails = tails;
    this.#eventLoop = new EventLoopWatch(clock);
  }

  get eventLoopDelay(): EventLoopDelay {
    return this.#eventLoop.delay;
  }

  /** Of sockets by which nobody can come in, a line each. */
  get problems(): readonly string[] {
    return this.#places.map(({ bound }) => bound.problem).filter((problem) => problem !== undefined);
  }

  show(shown: Shown): void {
    for (const { server } of this.#places) server.show(shown);
  }

  close(): void {
    this.#eventLoop.stop();
    this.#tails.end();
    this.#places.forEach(closePlace);
  }
}

async function openPlace(place: AdminPlace, tails: Tails, log: Log): Promise<OpenPlace> {
  const host = 'host' in place ? place.host : undefined;
  const server = new AdminServer({
    log,
    loopbackHost: host !== undefined && isLoopback(host) ? host : undefined,
    tails: host === undefined ? tails : undefined,
  });
  const bound = await bindAdmin(place, server.http);
  // From here on it can only be a connection that can't be taken.
  server.http.on('error', ({ message }) =>
    log.warn(`can't take a connection: ${message}`, { reason: message }),
  );
  if (host !== undefined && !isLoopback(host))
    log.warn(
      `ADMIN: ${describePlace(place)} can be read from other machines, by everyone who reaches it; 127.0.0.1 or a socket's path is for this machine alone`,
      { address: describePlace(place) },
    );
  return { server, bound };
}

function closePlace({ server, bound }: OpenPlace): void {
  bound.unlink();
  bound.close();
  server.close();
}
