// The load: a process that writes to some connections as fast as they take it, as PHP workers with a blocking
// fwrite do.
//
// What it costs itself: about 2.0 µs a write, nine tenths of it in the kernel, so one process writes 0.5
// million frames a second, one a write: what some dozens of busy PHP workers do together. The lines called
// saturated have four of these, more than two cores can serve: then bytes heap up in the kernel, and every
// read, the floor's too, finds a hundred frames at once and costs least.
import { MOST, monotonicMs } from './clock.js';
import { Connection, QUESTION } from './connection.js';
import { makeWrites, type Payload, type Wire } from './payload.js';

/** How a connection ends, and what counts as its acknowledgement. */
export type Finish =
  /** Kahe: a receipt question, answered with the number of frames that are safe. */
  | 'receipt'
  /** The floor: end of writing, answered with the number of bytes read. */
  | 'end'
  /** rsyslog: end of writing, which nobody answers. */
  | 'silent';

export interface SenderOptions {
  readonly path: string;
  readonly clients: number;
  readonly writesPerClient: number;
  readonly framesPerWrite: number;
  readonly payload: Payload;
  readonly wire: Wire;
  readonly finish: Finish;
}

/** Sent to the parent: first when all are connected (who then says 'go'), then when all is acknowledged. */
export type SenderReport =
  | { readonly kind: 'connected' }
  | {
      readonly kind: 'done';
      readonly cpuSeconds: number;
      /**
       * When MOST was acknowledged on all connections, in milliseconds of the machine's monotonic clock; only
       * with receipts.
       */
      readonly mostAtMs: number | undefined;
      readonly wrongAnswers: readonly string[];
    };

/** What came of one connection. */
interface Outcome {
  readonly mostAtMs: number | undefined;
  readonly wrongAnswer: string | undefined;
}

/** A connection has this many writes in its turn, when it takes them all. */
const WRITES_PER_TURN = 32;

class Client {
  readonly #connection: Connection;
  readonly #options: SenderOptions;
  readonly #writes: readonly Buffer[];
  readonly #most: { readonly writes: number; at: Promise<number> | undefined };
  #next: number;
  #left: number;
  #bytes = 0;

  constructor(connection: Connection, options: SenderOptions, writes: readonly Buffer[], start: number) {
    this.#connection = connection;
    this.#options = options;
    this.#writes = writes;
    this.#next = start;
    this.#left = options.writesPerClient;
    this.#most = {
      writes: options.finish === 'receipt' ? Math.floor(options.writesPerClient * MOST) : Infinity,
      at: undefined,
    };
  }

  get isBlocked(): boolean {
    return this.#connection.isBlocked;
  }

  get hasWritten(): boolean {
    return this.#left === 0;
  }

  /** Writes until its turn is over or the kernel is full. */
  takeTurn(): void {
    for (let i = 0; i < WRITES_PER_TURN && this.#left > 0 && !this.isBlocked; i++) {
      const bytes = this.#writes[this.#next]!;
      this.#next = (this.#next + 1) % this.#writes.length;
      this.#left--;
      this.#bytes += bytes.length;
      this.#connection.write(bytes);
    }
    if (
      !this.isBlocked &&
      this.#most.at === undefined &&
      this.#options.writesPerClient - this.#left >= this.#most.writes
    ) {
      this.#most.at = this.#connection.answer().then(() => monotonicMs());
      this.#connection.write(QUESTION);
    }
  }

  /** Resolves when all is acknowledged; to be called once, not blocked, after the last write. */
  async finish(): Promise<Outcome> {
    const { finish, writesPerClient, framesPerWrite } = this.#options;
    const answered = finish === 'receipt' ? this.#connection.ask() : this.#connection.answer();
    if (finish !== 'receipt') this.#connection.end();
    const answer = await answered;
    if (finish === 'receipt') this.#connection.end();
    const expected =
      finish === 'receipt' ? writesPerClient * framesPerWrite : finish === 'end' ? this.#bytes : undefined;
    return {
      mostAtMs: await this.#most.at,
      wrongAnswer: answer === expected ? undefined : `${expected} expected, ${answer} answered`,
    };
  }
}

/** Turns by turns, until all have written. */
function writeAll(
  connections: readonly Connection[],
  options: SenderOptions,
  writes: readonly Buffer[],
): Promise<Outcome[]> {
  return new Promise((resolve, reject) => {
    let isScheduled = false;
    const finished: Promise<Outcome>[] = [];
    const schedule = (): void => {
      if (isScheduled) return;
      isScheduled = true;
      setImmediate(turn);
    };
    const writing = new Set(
      connections.map((connection, i) => {
        connection.onReady = schedule;
        return new Client(connection, options, writes, Math.floor((i * writes.length) / connections.length));
      }),
    );
    const turn = (): void => {
      isScheduled = false;
      for (const client of writing) {
        if (!client.isBlocked) client.takeTurn();
        if (client.isBlocked) continue;
        if (client.hasWritten) {
          writing.delete(client);
          finished.push(client.finish());
        } else schedule();
      }
      if (writing.size === 0) Promise.all(finished).then(resolve, reject);
    };
    schedule();
  });
}

function report(message: SenderReport): void {
  process.send!(message);
}

const options = JSON.parse(process.argv[2]!) as SenderOptions;
const writes = makeWrites(options.payload, options.wire, options.framesPerWrite);
const connections = await Connection.connectAll(options.path, options.clients);
process.once('message', () => {
  const before = process.cpuUsage();
  void writeAll(connections, options, writes).then((outcomes) => {
    const { user, system } = process.cpuUsage(before);
    const mostAtMs = outcomes.flatMap((outcome) => outcome.mostAtMs ?? []);
    report({
      kind: 'done',
      cpuSeconds: (user + system) / 1e6,
      mostAtMs: mostAtMs.length === outcomes.length ? Math.max(...mostAtMs) : undefined,
      wrongAnswers: outcomes.flatMap((outcome) => outcome.wrongAnswer ?? []),
    });
    process.disconnect();
  });
});
process.once('disconnect', () => process.exit(0));
report({ kind: 'connected' });
