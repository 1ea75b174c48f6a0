// A TCP connection to a name that may have several addresses. Promise: an address that is slow keeps all the
// time there is; after a moment the next one is tried beside it, and the first that answers is taken (RFC
// 8305). Node's own way gives each but the last 250 ms, and then up.
import { promises as dns } from 'node:dns';
import * as net from 'node:net';
import type { KafkaBroker } from '../config/kafka/brokerList.js';

/** So long an address is tried alone, ms. */
const ALONE_MS = 250;

/** What it takes from the system. */
export interface Dialling {
  readonly addressesOf: (host: string) => Promise<readonly { readonly address: string }[]>;
  readonly connect: (address: string, port: number) => net.Socket;
}

const SYSTEM: Dialling = {
  addressesOf: (host) => dns.lookup(host, { all: true }),
  connect: (host, port) => net.connect({ host, port, noDelay: true }),
};

/**
 * @param signal ends it, and whatever is open then
 * @throws Error why no address answers; of several, an AggregateError with what each said
 */
export async function dial(
  { host, port }: KafkaBroker,
  signal: AbortSignal,
  { addressesOf, connect }: Dialling = SYSTEM,
): Promise<net.Socket> {
  const addresses = byTurns(await addressesOf(host));
  signal.throwIfAborted();
  const race = new Race(addresses, (address) => connect(address, port));
  const end = (): void => race.fail(signal.reason as Error);
  signal.addEventListener('abort', end);
  try {
    return await race.winner;
  } finally {
    signal.removeEventListener('abort', end);
    race.clear();
  }
}

class Race {
  readonly #waiting: string[];
  readonly #open: (address: string) => net.Socket;
  readonly #running = new Set<net.Socket>();
  readonly #failures: Error[] = [];
  #timer: NodeJS.Timeout | undefined;
  #take: (socket: net.Socket) => void = () => undefined;
  fail: (why: Error) => void = () => undefined;
  readonly winner = new Promise<net.Socket>(
    (resolve, reject) => ([this.#take, this.fail] = [resolve, reject]),
  );

  constructor(addresses: readonly string[], open: (address: string) => net.Socket) {
    this.#waiting = [...addresses];
    this.#open = open;
    this.#tryNext();
  }

  /** Ends all that still run. */
  clear(): void {
    clearTimeout(this.#timer);
    this.#waiting.length = 0;
    for (const socket of this.#running) socket.destroy();
  }

  #tryNext(): void {
    clearTimeout(this.#timer);
    const socket = this.#open(this.#waiting.shift()!);
    this.#running.add(socket);
    // The listener stays with the winner: nobody else listens yet.
    socket.on('error', (error) => this.#onFailed(socket, error));
    socket.once('connect', () => {
      this.#running.delete(socket);
      this.#take(socket);
    });
    if (this.#waiting.length > 0) this.#timer = setTimeout(() => this.#tryNext(), ALONE_MS);
  }

  #onFailed(socket: net.Socket, error: Error): void {
    if (!this.#running.delete(socket)) return;
    this.#failures.push(error);
    if (this.#waiting.length > 0) this.#tryNext();
    else if (this.#running.size === 0)
      this.fail(this.#failures.length === 1 ? error : new AggregateError(this.#failures));
  }
}

/**
 * IPv6 and IPv4 by turns, beginning with what the system has first: one of them may lead nowhere as a whole.
 */
function byTurns(found: readonly { readonly address: string }[]): string[] {
  const all = found.map(({ address }) => address);
  const like = all.filter((address) => net.isIP(address) === net.isIP(all[0]!));
  const other = all.filter((address) => !like.includes(address));
  const turns = Array.from({ length: Math.max(like.length, other.length) }, (_, i) => [like[i], other[i]]);
  return turns.flat().filter((address) => address !== undefined);
}
