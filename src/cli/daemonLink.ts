// A connection to the running daemon for those who want to know that frames are safe: each send is followed by the receipt question.
import { type Socket, createConnection } from 'node:net';
import { errnoOf } from '../disk/fileSystem.js';
import { refusedAt } from '../socket/whose.js';
import { CommandError } from './command.js';

/** Nobody answers, or the connection ended: nothing is known of what was not confirmed. */
export class AwayError extends Error {
  override readonly name = 'AwayError';
  readonly code = 'AWAY';
}

interface Question {
  /** Frames of this connection up to the question. */
  readonly frames: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

const QUESTION = Buffer.alloc(4);
const ANSWER_BYTES = 8;

export class DaemonLink {
  readonly #socket: Socket;
  readonly #path: string;
  #frames = 0;
  #questions: Question[] = [];
  #answers = Buffer.alloc(0);
  #end: AwayError | undefined;

  private constructor(socket: Socket, path: string) {
    this.#socket = socket;
    this.#path = path;
    socket.on('data', (chunk: Buffer) => this.#hear(chunk));
    socket.on('error', (error) => this.#fail(`${path}: ${error.message}`));
    socket.on('close', () => this.#fail(`${path}: the daemon closed the connection and did not confirm all frames; its log says why`));
  }

  /** @throws {AwayError} nobody is there; {CommandError} this user is not let in */
  static connect(path: string): Promise<DaemonLink> {
    return new Promise((resolve, reject) => {
      const socket = createConnection(path);
      socket.once('error', (error) => reject(explained(error, path)));
      socket.once('connect', () => {
        socket.removeAllListeners('error');
        resolve(new DaemonLink(socket, path));
      });
    });
  }

  /**
   * Sends whole frames, and resolves once they and all before them are safe.
   * @throws {AwayError}
   */
  send(bytes: Buffer, frames: number): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#end !== undefined) return reject(this.#end);
      this.#frames += frames;
      this.#questions.push({ frames: this.#frames, resolve, reject });
      this.#socket.cork();
      this.#socket.write(bytes);
      this.#socket.write(QUESTION);
      this.#socket.uncork();
    });
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #hear(chunk: Buffer): void {
    this.#answers = Buffer.concat([this.#answers, chunk]);
    while (this.#answers.length >= ANSWER_BYTES) {
      const safe = Number(this.#answers.readBigUInt64LE());
      this.#answers = this.#answers.subarray(ANSWER_BYTES);
      const question = this.#questions.shift();
      if (question?.frames === safe) question.resolve();
      else return this.#confused(question, safe);
    }
  }

  #confused(question: Question | undefined, safe: number): void {
    const error = new Error(`${this.#path}: it confirmed ${safe} frames where ${question?.frames ?? 'nothing'} were asked for; is that a Kahe?`);
    question?.reject(error);
    for (const { reject } of this.#questions.splice(0)) reject(error);
    this.#socket.destroy();
  }

  #fail(message: string): void {
    this.#end ??= new AwayError(message);
    for (const { reject } of this.#questions.splice(0)) reject(this.#end);
    this.#socket.destroy();
  }
}

function explained(error: Error, path: string): Error {
  if (errnoOf(error) === 'EACCES') return new CommandError(`${path}: ${refusedAt(path)}`);
  return new AwayError(`${path}: ${error.message}; is the daemon running? (start it with: kahe)`);
}
