// Takes connections and keeps an eye on all of them: passes on to them that memory is full, closes half frames
// that are too old, and at the end reads what clients had already sent before it lets them go.
import type { Socket } from 'node:net';
import { Actor, type ActorContext, type ActorRef, stopAll } from '../../actors/actor.js';
import type { Timer } from '../../clock.js';
import type { Pressure } from '../../memory/memoryBudget.js';
import { plural } from '../../plural.js';
import type { BoundSocket } from '../../net/boundSocket.js';
import { mostConnections } from '../../net/openFiles.js';
import type { Entrance } from '../entrance.js';
import { Client, type ClientMessage } from './client.js';
import { readShared } from './sharedRead.js';

export type ListenerMessage =
  | { readonly kind: 'connection'; readonly socket: Socket }
  | { readonly kind: 'gone'; readonly client: ActorRef<ClientMessage> }
  | { readonly kind: 'pressure'; readonly pressure: Pressure }
  | { readonly kind: 'sweep' }
  /** The clients of a failed predecessor. */
  | { readonly kind: 'inherit'; readonly clients: readonly ActorRef<ClientMessage>[] }
  /** Nobody new; what clients have sent is read. */
  | Quiesce
  /** While that goes on: one turn of the event loop is over. */
  | { readonly kind: 'turn'; readonly of: Quiescing };

interface Quiesce {
  readonly kind: 'quiesce';
  readonly withinMs: number;
  /** All is read, or the time is over. Clients stay, for answers to what they asked, until the poison pill. */
  readonly onQuiet: () => void;
}

interface Quiescing {
  readonly asked: Quiesce;
  readonly untilMs: number;
  seen: number;
  quietTurns: number;
}

export interface ListenerSettings {
  /** Listening already. Its `unlink` is called first of all at the end. */
  readonly socket: Pick<BoundSocket, 'server' | 'unlink' | 'close' | 'problem'>;
  /** MAXFRAME */
  readonly maxFrameBytes: number;
  /** With so many connections, a further one is turned away; default: see mostConnections. */
  readonly maxConnections?: number;
  readonly halfFrameTimeoutMs?: number;
}

export interface ListenerOptions extends ListenerSettings {
  readonly entrance: Entrance;
}

const HALF_FRAME_TIMEOUT_MS = 30_000;
const SWEEP_MS = 1_000;
const LOG_TURNED_EVERY_MS = 10_000;
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
  readonly #sweeper: Timer;
  readonly #maxConnections: number;
  #accepted = 0;
  #loggedTurnedMs = -Infinity;
  #acceptedMs = -Infinity;
  /** Moves with each chunk and connection, so that a quiet turn can be told from a busy one. */
  #activity = 0;
  #quiescing: Quiescing | undefined;

  constructor(context: ActorContext<ListenerMessage>, options: ListenerOptions) {
    super();
    this.#context = context;
    this.#options = options;
    this.#maxConnections = options.maxConnections ?? mostConnections();
    options.socket.server.on('connection', this.#onConnection).on('error', this.#onError);
    this.#sweeper = context.clock.every(SWEEP_MS, () => context.self.tell({ kind: 'sweep' }));
  }

  readonly #onConnection = (socket: Socket): void => this.#context.self.tell({ kind: 'connection', socket });
  readonly #onError = (error: Error): void =>
    this.#context.log.error(
      `can't take a connection: ${error.message}; open connections go on; if files are short, raise LimitNOFILE (ulimit -n)`,
      { reason: error.message },
    );

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
      case 'quiesce':
        return this.#quiesce(message);
      case 'turn':
        return this.#onTurn(message.of);
    }
  }

  override handBack(): readonly ListenerMessage[] {
    this.#options.socket.server.off('connection', this.#onConnection).off('error', this.#onError);
    this.#sweeper.cancel();
    const inherited: ListenerMessage = { kind: 'inherit', clients: [...this.#clients] };
    return this.#quiescing === undefined ? [inherited] : [inherited, this.#quiescing.asked];
  }

  override drain(): void {
    void stopAll([...this.#clients]).then(() => this.#context.drained());
  }

  /** The file goes first, so that no one new connects; who is in the backlog is still taken and read. */
  #quiesce(asked: Quiesce): void {
    this.#options.socket.unlink();
    const untilMs = this.#context.clock.now() + asked.withinMs;
    this.#quiescing = { asked, untilMs, seen: -1, quietTurns: 0 };
    this.#nextTurn(this.#quiescing);
  }

  #accept(socket: Socket): void {
    this.#activity++;
    const { entrance, maxFrameBytes } = this.#options;
    const { counts, pacer } = entrance;
    pacer.accepted();
    if (this.#clients.size >= this.#maxConnections) return this.#turnAway(socket);
    this.#acceptedMs = this.#context.clock.now();
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
      (context) => new Client(context, { socket: reading, entrance, maxFrameBytes, halfFrameTimeoutMs }),
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
    if (entrance.budget.isOver) client.tell({ kind: 'pause' });
  }

  #forget(client: ActorRef<ClientMessage>): void {
    if (this.#clients.delete(client)) this.#options.entrance.counts.open--;
  }

  #turnAway(socket: Socket): void {
    const { counts } = this.#options.entrance;
    socket.on('error', () => undefined).destroy();
    counts.turnedAway++;
    const nowMs = this.#context.clock.now();
    if (nowMs - this.#loggedTurnedMs < LOG_TURNED_EVERY_MS) return;
    const [connections, times] = [this.#clients.size, counts.turnedAway];
    this.#context.log.warn(
      `a connection was turned away: ${connections} ${plural(connections, 'is', 'are')} open, and Kahe needs the other files itself; raise LimitNOFILE (ulimit -n); ${times} ${plural(times, 'time')} so far`,
      { connections, times },
    );
    this.#loggedTurnedMs = nowMs;
  }

  #onPressure(pressure: Pressure): void {
    const kind = pressure === 'over' ? 'pause' : 'resume';
    for (const client of this.#clients) if (client.state === 'running') client.tell({ kind });
  }

  #sweep(): void {
    const nowMs = this.#context.clock.now();
    for (const client of this.#clients) if (client.state === 'running') client.tell({ kind: 'sweep', nowMs });
  }

  get #hasNewcomer(): boolean {
    // Wall-clock time may step back.
    return Math.abs(this.#context.clock.now() - this.#acceptedMs) < NEWCOMER_MS;
  }

  #nextTurn(of: Quiescing): void {
    const tell = (): void => this.#context.self.tell({ kind: 'turn', of });
    // While clients are paused for memory there is nothing to read, nor from one that has only just come:
    // look again a little later.
    if (this.#options.entrance.budget.isOver || this.#hasNewcomer) this.#context.clock.after(5, tell);
    else setImmediate(tell);
  }

  #onTurn(quiescing: Quiescing): void {
    // A failed predecessor's turns end here: this one has its own.
    if (quiescing !== this.#quiescing) return;
    const { isOver } = this.#options.entrance.budget;
    const isQuiet = quiescing.seen === this.#activity && !isOver && !this.#hasNewcomer;
    quiescing.quietTurns = isQuiet ? quiescing.quietTurns + 1 : 0;
    quiescing.seen = this.#activity;
    const isAllRead = quiescing.quietTurns >= QUIET_TURNS;
    if (!isAllRead && this.#context.clock.now() < quiescing.untilMs) return this.#nextTurn(quiescing);
    if (!isAllRead) this.#logLate(quiescing.asked);
    this.#stopReading();
    quiescing.asked.onQuiet();
  }

  #logLate({ withinMs }: Quiesce): void {
    this.#context.log.warn(
      `clients still wrote after ${withinMs} ms: their connections are closed; frames without a receipt must be sent again; a longer STOP_TIMEOUT gives more time`,
      { connections: this.#clients.size, timeoutMs: withinMs },
    );
  }

  #stopReading(): void {
    this.#sweeper.cancel();
    this.#options.socket.server.off('connection', this.#onConnection);
    this.#options.socket.close();
    for (const client of this.#clients) if (client.state === 'running') client.tell({ kind: 'stopReading' });
  }
}
