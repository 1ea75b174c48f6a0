// A client's connection as PHP workers with a blocking fwrite have it: each write is one system call, and
// while the kernel has no room the connection writes nothing else. (Socket.write alone would gather what it
// could not write at once, and send it as one.)
import { once } from 'node:events';
import { writeSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** The frame that asks for a receipt. */
export const QUESTION = Buffer.alloc(4);
const CONNECT_AT_ONCE = 100;

interface SendingSocket extends Socket {
  readonly _handle: { readonly fd: number };
}

export class Connection {
  readonly #socket: SendingSocket;
  readonly #answers: Answers;
  /** The kernel has no room: nothing may be written. */
  isBlocked = false;
  /** Called when it is blocked no more. */
  onReady: () => void = () => undefined;

  private constructor(socket: Socket) {
    this.#socket = socket as SendingSocket;
    this.#answers = new Answers(socket);
  }

  static async connectAll(path: string, count: number): Promise<Connection[]> {
    const connections: Connection[] = [];
    while (connections.length < count) {
      const some = Math.min(CONNECT_AT_ONCE, count - connections.length);
      connections.push(...(await Promise.all(Array.from({ length: some }, () => Connection.connect(path)))));
    }
    return connections;
  }

  /** Waits while the server's backlog is full, as a blocking connect does. */
  static async connect(path: string): Promise<Connection> {
    for (;;) {
      const socket = connect(path);
      try {
        await once(socket, 'connect');
        return new Connection(socket);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
        await sleep(5);
      }
    }
  }

  write(bytes: Buffer): void {
    const written = tryWrite(this.#socket._handle.fd, bytes);
    if (written === bytes.length) return;
    this.isBlocked = true;
    this.#socket.write(bytes.subarray(written), () => {
      this.isBlocked = false;
      this.onReady();
    });
  }

  /**
   * The next 8 bytes that come; to be called before what makes them come. undefined: the connection was
   * closed instead.
   */
  answer(): Promise<number | undefined> {
    return this.#answers.next();
  }

  /** Writes a question, behind all that waits. */
  ask(): Promise<number | undefined> {
    const answer = this.#answers.next();
    this.#socket.write(QUESTION);
    return answer;
  }

  end(): void {
    this.#socket.end();
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
