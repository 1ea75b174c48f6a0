// The load: a process that writes to some connections as fast as they take it, as PHP workers with a blocking fwrite do.
//
// Each write is one system call: write(2) on the connection's descriptor, and when the kernel has no room, libuv waits for it and that
// connection writes nothing else meanwhile. (Socket.write alone would gather what it could not write at once, and send it as one.)
// What it costs itself: about 2.0 µs a write, nine tenths of it in the kernel, so one process writes 0.5 million frames a second, one a
// write: what some dozens of busy PHP workers do together. The lines called saturated have four of these, more than two cores can serve:
// then bytes heap up in the kernel, and every read, the floor's too, finds a hundred frames at once and costs least.
import { once } from 'node:events';
import { writeSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { MOST, monotonicMs } from './clock.js';
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
    /** When MOST was acknowledged on all connections, in milliseconds of the machine's monotonic clock; only with receipts. */
    readonly mostAtMs: number | undefined;
    readonly wrongAnswers: readonly string[];
  };

interface SendingSocket extends Socket {
  readonly _handle: { readonly fd: number };
}

/** What came of one connection. */
interface Outcome {
  readonly mostAtMs: number | undefined;
  readonly wrongAnswer: string | undefined;
}

/** A connection has this many writes in its turn, when it takes them all. */
const WRITES_PER_TURN = 32;
const QUESTION = Buffer.alloc(4);
const CONNECT_AT_ONCE = 100;

class Client {
  readonly #socket: SendingSocket;
  readonly #options: SenderOptions;
  readonly #writes: readonly Buffer[];
  readonly #onReady: () => void;
  readonly #most: { readonly writes: number; at: Promise<number> | undefined };
  readonly #answers: Answers;
  #next: number;
  #left: number;
  #bytes = 0;
  isBlocked = false;

  constructor(socket: Socket, options: SenderOptions, writes: readonly Buffer[], start: number, onReady: () => void) {
    this.#socket = socket as SendingSocket;
    this.#options = options;
    this.#writes = writes;
    this.#next = start;
    this.#left = options.writesPerClient;
    this.#most = { writes: options.finish === 'receipt' ? Math.floor(options.writesPerClient * MOST) : Infinity, at: undefined };
    this.#answers = new Answers(socket);
    this.#onReady = onReady;
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
      this.#write(bytes);
    }
    if (!this.isBlocked && this.#most.at === undefined && this.#options.writesPerClient - this.#left >= this.#most.writes) {
      this.#most.at = this.#answers.next().then(() => monotonicMs());
      this.#write(QUESTION);
    }
  }

  /** Resolves when all is acknowledged; to be called once, not blocked, after the last write. */
  async finish(): Promise<Outcome> {
    const { finish, writesPerClient, framesPerWrite } = this.#options;
    const answered = this.#answers.next();
    if (finish === 'receipt') this.#socket.write(QUESTION);
    else this.#socket.end();
    const answer = await answered;
    if (finish === 'receipt') this.#socket.end();
    const expected = finish === 'receipt' ? writesPerClient * framesPerWrite : finish === 'end' ? this.#bytes : undefined;
    return { mostAtMs: await this.#most.at, wrongAnswer: answer === expected ? undefined : `${expected} expected, ${answer} answered` };
  }

  #write(bytes: Buffer): void {
    const written = tryWrite(this.#socket._handle.fd, bytes);
    if (written === bytes.length) return;
    this.isBlocked = true;
    this.#socket.write(bytes.subarray(written), () => {
      this.isBlocked = false;
      this.#onReady();
    });
  }
}

/** The answers on a connection, 8 bytes each. */
class Answers {
  #bytes = Buffer.alloc(0);
  #isClosed = false;
  readonly #waiting: ((answer: number | undefined) => void)[] = [];

  constructor(socket: Socket) {
    socket.on('data', (chunk) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      this.#hand();
    });
    socket.on('close', () => {
      this.#isClosed = true;
      this.#hand();
    });
  }

  /** undefined: the connection was closed instead. */
  next(): Promise<number | undefined> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#hand();
    });
  }

  #hand(): void {
    while (this.#waiting.length > 0 && (this.#bytes.length >= 8 || this.#isClosed)) {
      const answer = this.#bytes.length >= 8 ? Number(this.#bytes.readBigUInt64LE()) : undefined;
      this.#bytes = this.#bytes.subarray(8);
      this.#waiting.shift()!(answer);
    }
  }
}

function tryWrite(fd: number, bytes: Buffer): number {
  try {
    return writeSync(fd, bytes);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return 0;
    throw error;
  }
}

async function connectAll(path: string, count: number): Promise<Socket[]> {
  const sockets: Socket[] = [];
  while (sockets.length < count) {
    const some = Math.min(CONNECT_AT_ONCE, count - sockets.length);
    sockets.push(...(await Promise.all(Array.from({ length: some }, () => connectOne(path)))));
  }
  return sockets;
}

/** Waits while the server's backlog is full, as a blocking connect does. */
async function connectOne(path: string): Promise<Socket> {
  for (;;) {
    const socket = connect(path);
    try {
      await once(socket, 'connect');
      return socket;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      await sleep(5);
    }
  }
}

/** Turns by turns, until all have written. */
function writeAll(sockets: readonly Socket[], options: SenderOptions, writes: readonly Buffer[]): Promise<Outcome[]> {
  return new Promise((resolve, reject) => {
    let isScheduled = false;
    const finished: Promise<Outcome>[] = [];
    const schedule = (): void => {
      if (isScheduled) return;
      isScheduled = true;
      setImmediate(turn);
    };
    const writing = new Set(sockets.map((socket, i) => {
      return new Client(socket, options, writes, Math.floor((i * writes.length) / sockets.length), schedule);
    }));
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
const sockets = await connectAll(options.path, options.clients);
process.once('message', () => {
  const before = process.cpuUsage();
  void writeAll(sockets, options, writes).then((outcomes) => {
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
