// Takes connections and keeps an eye on all of them: pauses them when memory is full, closes half frames that
// are too old, and at the end reads what clients had already sent before it lets them go.
import type { Socket } from 'node:net';
import { Actor, type ActorContext, type ActorRef, stopAll } from '../../actors/actor.js';
import type { RouterMessage } from '../../buckets/messages.js';
import type { Timer } from '../../clock.js';
import type { Origins } from '../../frames/origins.js';
import type { MemoryBudget, Pressure } from '../../memory/memoryBudget.js';
import { plural } from '../../plural.js';
import type { RejectedFrames } from '../../losses/rejection.js';
import type { BoundSocket } from '../../net/boundSocket.js';
import { Client, type ClientMessage, type SocketCounts } from './client.js';
import { Unfinished } from '../../memory/unfinished.js';
import { mostConnections } from '../../net/openFiles.js';
import type { ReadPacer } from './readPacer.js';
import { readShared } from './sharedRead.js';

export type ListenerMessage =
  | { readonly kind: 'connection'; readonly socket: Socket }
  | { readonly kind: 'gone'; readonly client: ActorRef<ClientMessage> }
  | { readonly kind: 'pressure'; readonly pressure: Pressure }
  | { readonly kind: 'sweep' }
  /** The clients of a failed predecessor. */
  | { readonly kind: 'inherit'; readonly clients: readonly ActorRef<ClientMessage>[] }
  /** While draining: frames that were read are settled, questions answered; clients may go. */
  | { readonly kind: 'release' }
  /** While draining: one turn of the event loop is over. */
  | { readonly kind: 'turn' };

export interface ListenerOptions {
  /** Listening already. Its `unlink` is called first of all at the end. */
  readonly socket: Pick<BoundSocket, 'server' | 'unlink' | 'close'>;
  readonly manager: ActorRef<RouterMessage>;
  readonly rejected: RejectedFrames;
  readonly origins: Origins;
  readonly budget: MemoryBudget;
  readonly maxFrameBytes: number;
  readonly counts: SocketCounts;
  readonly pacer: ReadPacer;
  /** With so many connections, a further one is turned away; default: see mostConnections. */
  readonly maxConnections?: number;
  /** At the end: how long clients are read at most. */
  readonly drainMs: number;
  readonly halfFrameTimeoutMs?: number;
  /**
   * At the end: all is read. Clients stay, for answers to what they asked, until the listener is told
   * `release`; without this they go at once.
   */
  readonly onQuiet?: () => void;
}

const HALF_FRAME_TIMEOUT_MS = 30_000;
const SWEEP_MS = 1_000;
const LOG_FULL_EVERY_MS = 10_000;
/**
 * So many turns of the event loop without a byte or a connection, one after another, and the sockets are
 * empty.
 */
const QUIET_TURNS = 3;
/** At the end: who connected so short a time ago is about to write, and knows nothing of the end. */
const NEWCOMER_MS = 100;

export class Listener extends Actor<ListenerMessage> {
  readonly #context: ActorContext<ListenerMessage>;
  readonly #options: ListenerOptions;
  readonly #clients = new Set<ActorRef<ClientMessage>>();
  readonly #endPressure: () => void;
  readonly #sweeper: Timer;
  readonly #halves = new Unfinished<ActorRef<ClientMessage>>();
  readonly #maxConnections: number;
  #accepted = 0;
  #loggedTurnedMs = -Infinity;
  #acceptedMs = -Infinity;
  #timesFull = 0;
  #loggedFullMs = -Infinity;
  /** Moves with each chunk and connection, so that a quiet turn can be told from a busy one. */
  #activity = 0;
  #drain: { seen: number; quietTurns: number; untilMs: number } | undefined;

  constructor(context: ActorContext<ListenerMessage>, options: ListenerOptions) {
    super();
    this.#context = context;
    this.#options = options;
    this.#maxConnections = options.maxConnections ?? mostConnections();
    options.socket.server.on('connection', this.#onConnection).on('error', this.#onError);
    this.#endPressure = options.budget.onPressure((pressure) =>
      context.self.tell({ kind: 'pressure', pressure }),
    );
    this.#sweeper = context.clock.every(SWEEP_MS, () => context.self.tell({ kind: 'sweep' }));
  }

  readonly #onConnection = (socket: Socket): void => this.#context.self.tell({ kind: 'connection', socket });
  readonly #onError = (error: Error): void =>
    this.#context.log.error(
      `can't take a connection: ${error.message}; those that are open go on. If files are what is short, raise LimitNOFILE (ulimit -n)`,
    );

  get connections(): number {
    return this.#clients.size;
  }

  override receive(message: ListenerMessage): void {
    switch (message.kind) {
      case 'connection':
        return this.#accept(message.socket);
      case 'gone':
        return this.#forget(message.client);
      case 'pressure':
        return this.#onPressure(message.pressure);
      case 'sweep':
        return this.#sweep();
      case 'inherit':
        return message.clients.forEach((client) => this.#clients.add(client));
      case 'turn':
        return this.#onTurn();
      case 'release':
        return this.#release();
    }
  }

  override handBack(): readonly ListenerMessage[] {
    this.#options.socket.server.off('connection', this.#onConnection).off('error', this.#onError);
    this.#endPressure();
    this.#sweeper.cancel();
    return [{ kind: 'inherit', clients: [...this.#clients] }];
  }

  /** The file goes first, so that no one new connects; who is in the backlog is still taken and read. */
  override drain(): void {
    this.#options.socket.unlink();
    this.#drain = { seen: -1, quietTurns: 0, untilMs: this.#context.clock.now() + this.#options.drainMs };
    this.#nextTurn();
  }

  #accept(socket: Socket): void {
    this.#activity++;
    this.#options.pacer.accepted();
    if (this.#clients.size >= this.#maxConnections) return this.#turnAway(socket);
    this.#acceptedMs = this.#context.clock.now();
    const { manager, rejected, origins, budget, maxFrameBytes, counts, pacer } = this.#options;
    const halfFrameTimeoutMs = this.#options.halfFrameTimeoutMs ?? HALF_FRAME_TIMEOUT_MS;
    const reading = readShared(socket, (chunk) => {
      this.#activity++;
      const { received, awaited } = counts;
      client.tell({ kind: 'chunk', chunk });
      pacer.read(counts.received - received, chunk.length);
      if (counts.awaited > awaited) pacer.asked();
    });
    const client = this.#context.spawn<ClientMessage>(
      `client.${++this.#accepted}`,
      (context) =>
        new Client(context, {
          socket: reading,
          manager,
          rejected,
          origins,
          budget,
          maxFrameBytes,
          counts,
          halfFrameTimeoutMs,
          halves: this.#halves,
        }),
      () => reading.destroy(),
    );
    // A reset is how many clients leave; 'close' follows it.
    reading.on('error', () => undefined);
    reading.on('drain', () => client.state === 'running' && client.tell({ kind: 'flushed' }));
    reading.on('end', () => client.state === 'running' && client.tell({ kind: 'end' }));
    reading.on('close', () => {
      if (client.state !== 'stopped') client.tell({ kind: 'closed' });
      this.#context.self.tell({ kind: 'gone', client });
    });
    this.#clients.add(client);
    counts.accepted++;
    counts.open++;
    if (budget.isOver) client.tell({ kind: 'pause' });
  }

  #forget(client: ActorRef<ClientMessage>): void {
    if (this.#clients.delete(client)) this.#options.counts.open--;
  }

  #turnAway(socket: Socket): void {
    socket.on('error', () => undefined).destroy();
    this.#options.counts.turnedAway++;
    const nowMs = this.#context.clock.now();
    if (nowMs - this.#loggedTurnedMs < LOG_FULL_EVERY_MS) return;
    this.#context.log.warn(
      `a connection was turned away: ${this.#clients.size} ${plural(this.#clients.size, 'is', 'are')} open, and the other files that may be open are for the daemon itself; raise LimitNOFILE (ulimit -n); ${this.#options.counts.turnedAway} ${plural(this.#options.counts.turnedAway, 'time')} so far`,
    );
    this.#loggedTurnedMs = nowMs;
  }

  #onPressure(pressure: Pressure): void {
    const kind = pressure === 'over' ? 'pause' : 'resume';
    if (pressure === 'over') this.#logFull();
    for (const client of this.#clients) if (client.state === 'running') client.tell({ kind });
  }

  /** At a high load memory fills and empties many times a second: the log says so once in a while. */
  #logFull(): void {
    const { budget } = this.#options;
    const nowMs = this.#context.clock.now();
    this.#timesFull++;
    if (nowMs - this.#loggedFullMs < LOG_FULL_EVERY_MS) return;
    this.#context.log.warn(
      `memory is full (MAXMEMORY ${budget.limitBytes} bytes): clients wait until there is room; see which stream doesn't deliver, or raise MAXMEMORY; ${this.#timesFull} ${plural(this.#timesFull, 'time')} so far`,
    );
    this.#loggedFullMs = nowMs;
  }

  #sweep(): void {
    this.#options.budget.trim();
    const nowMs = this.#context.clock.now();
    for (const client of this.#clients) if (client.state === 'running') client.tell({ kind: 'sweep', nowMs });
    this.#halves.blocking(this.#options.budget)?.tell({ kind: 'finishFrame' });
  }

  get #hasNewcomer(): boolean {
    // Wall-clock time may step back.
    return Math.abs(this.#context.clock.now() - this.#acceptedMs) < NEWCOMER_MS;
  }

  #nextTurn(): void {
    // While clients are paused for memory there is nothing to read, nor from one that has only just come:
    // look again a little later.
    if (this.#options.budget.isOver || this.#hasNewcomer)
      this.#context.clock.after(5, () => this.#context.self.tell({ kind: 'turn' }));
    else setImmediate(() => this.#context.self.tell({ kind: 'turn' }));
  }

  #onTurn(): void {
    const drain = this.#drain!;
    const isQuiet = drain.seen === this.#activity && !this.#options.budget.isOver && !this.#hasNewcomer;
    drain.quietTurns = isQuiet ? drain.quietTurns + 1 : 0;
    drain.seen = this.#activity;
    if (drain.quietTurns < QUIET_TURNS && this.#context.clock.now() < drain.untilMs) return this.#nextTurn();
    this.#finish(drain.quietTurns < QUIET_TURNS);
  }

  #finish(isLate: boolean): void {
    if (isLate)
      this.#context.log.warn(
        `clients still wrote after ${this.#options.drainMs} ms; their connections are closed, and what had no receipt must be sent again; a longer STOP_TIMEOUT gives them more time`,
      );
    this.#endPressure();
    this.#sweeper.cancel();
    this.#options.socket.server.off('connection', this.#onConnection);
    this.#options.socket.close();
    for (const client of this.#clients) if (client.state === 'running') client.tell({ kind: 'stopReading' });
    if (this.#options.onQuiet === undefined) this.#release();
    else this.#options.onQuiet();
  }

  #release(): void {
    void stopAll([...this.#clients]).then(() => this.#context.drained());
  }
}
