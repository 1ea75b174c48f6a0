// A client of the daemon as applications write it: one connection, bytes out, receipts back.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { QUESTION, prefixed } from './daemonFrames.js';

const DEADLINE_MS = 75_000;

/** The answer to a report question. */
export interface Report {
  readonly level: string;
  readonly frames: number;
  readonly outcomes: Readonly<Record<string, number>>;
  readonly reasons: readonly { readonly outcome: string; readonly reason: string; readonly frames: number }[];
}

export class DaemonClient {
  readonly #socket: Socket;
  #answers = Buffer.alloc(0);
  #problem: Error | undefined;
  #wake: () => void = () => undefined;
  /** Resolves when the connection is gone, whoever ended it. */
  readonly closed: Promise<void>;
  #isEnded = false;

  /** @param isDeaf never reads, so that what the daemon answers stays in the kernel */
  private constructor(socket: Socket, isDeaf: boolean) {
    this.#socket = socket;
    if (isDeaf) socket.pause();
    else socket.on('data', (chunk: Buffer) => this.#hear(chunk));
    socket.on('error', (error) => (this.#problem = error));
    socket.on('end', () => this.#end());
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#end();
        resolve();
      });
    });
  }

  static async connect(
    path: string,
    { isDeaf = false }: { readonly isDeaf?: boolean } = {},
  ): Promise<DaemonClient> {
    const socket = connect(path);
    const client = new DaemonClient(socket, isDeaf);
    await once(socket, 'connect');
    return client;
  }

  /** Bytes that the kernel has not taken yet. */
  get unsentBytes(): number {
    return this.#socket.writableLength;
  }

  get isClosed(): boolean {
    return this.#socket.closed;
  }

  /** Resolves when the kernel has taken them all, so that they arrive whatever becomes of this process. */
  send(...pieces: readonly Buffer[]): Promise<void> {
    const bytes = pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
    return new Promise((resolve, reject) =>
      this.#socket.write(bytes, (error) => (error ? reject(error) : resolve())),
    );
  }

  /** Asks how far the daemon is; resolves with the answer: how many frames of this connection are safe. */
  async receipt(): Promise<number> {
    await this.send(QUESTION);
    return this.answer();
  }

  /** The next answer, to a question that was asked before. */
  async answer(deadlineMs = DEADLINE_MS): Promise<number> {
    return Number((await this.#take(8, deadlineMs)).readBigUInt64LE());
  }

  /** What became of the frames of this connection. @param level '': once they are safe */
  async report(level: '' | 'settled', deadlineMs = DEADLINE_MS): Promise<Report> {
    return (await this.#askReport(level, deadlineMs)) as Report;
  }

  /** How each frame since the last such question has ended; the first one begins it. */
  async each(deadlineMs = DEADLINE_MS): Promise<unknown> {
    return this.#askReport('each', deadlineMs);
  }

  async #askReport(mode: string, deadlineMs: number): Promise<unknown> {
    await this.send(prefixed(Buffer.concat([Buffer.from([0, 5]), Buffer.from(`kahe?${mode}`)])));
    const length = (await this.#take(4, deadlineMs)).readUInt32LE();
    return JSON.parse((await this.#take(length, deadlineMs)).toString()) as unknown;
  }

  /** The next bytes of what is answered. */
  async #take(bytes: number, deadlineMs: number): Promise<Buffer> {
    const timer = setTimeout(() => this.#fail(new Error(`no answer within ${deadlineMs} ms`)), deadlineMs);
    try {
      while (this.#answers.length < bytes) {
        if (this.#problem) throw this.#problem;
        if (this.#isEnded) throw new Error('the daemon ended the connection without an answer');
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      clearTimeout(timer);
    }
    const taken = this.#answers.subarray(0, bytes);
    this.#answers = this.#answers.subarray(bytes);
    return taken;
  }

  /** Answers that have come and were not asked for yet. */
  get answersWaiting(): number {
    return this.#answers.length / 8;
  }

  /** Half close: nothing more will be written; answers still come. */
  endWriting(): void {
    this.#socket.end();
  }

  /** Writes nothing more, and waits for the daemon to close too. */
  async close(): Promise<void> {
    this.#socket.end();
    await this.closed;
  }

  /**
   * Closes at once. With something from the daemon unread the kernel resets the connection: that is what
   * SO_LINGER 0 does elsewhere.
   */
  destroy(): void {
    this.#socket.destroy();
  }

  #hear(chunk: Buffer): void {
    this.#answers = Buffer.concat([this.#answers, chunk]);
    this.#wake();
  }

  #end(): void {
    this.#isEnded = true;
    this.#wake();
  }

  #fail(error: Error): void {
    this.#problem = error;
    this.#wake();
  }
}
