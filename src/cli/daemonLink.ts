// A connection to the running daemon for those who want to know that frames are safe, and what became of
// them: each send is followed by the receipt question, and at the end there may be a report.
import { type Socket, createConnection } from 'node:net';
import { type Clock, doneWithin } from '../clock.js';
import { errnoOf } from '../disk/fileSystem.js';
import { encodeFrame } from '../frames/frame.js';
import { refusedAt } from '../net/whose.js';
import { CommandError } from './command.js';
import type { Report } from './outcomes.js';
import { framesText } from './units.js';

/** Nobody answers, or the connection ended: nothing is known of what was not confirmed. */
export class AwayError extends Error {
  override readonly name = 'AwayError';
  readonly code = 'AWAY';
}

interface ReceiptQuestion {
  readonly kind: 'receipt';
  /** Frames of this connection up to the question. */
  readonly frames: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

interface ReportQuestion {
  readonly kind: 'report';
  readonly resolve: (report: Report) => void;
  readonly reject: (error: Error) => void;
}

type Question = ReceiptQuestion | ReportQuestion;

const QUESTION = Buffer.alloc(4);
const REPORT_QUESTIONS = {
  safe: encodeFrame('', 'kahe?', ''),
  settled: encodeFrame('', 'kahe?', 'settled'),
} as const;
const RECEIPT_BYTES = 8;
const LENGTH_BYTES = 4;
/** Longer than any report. */
const LONGEST_REPORT = 1024 * 1024;
/**
 * How long a report on what is safe, as all is by then, may take: a daemon that knows no reports never
 * answers.
 */
const REPORT_MS = 3_000;

export class DaemonLink {
  readonly #socket: Socket;
  readonly #path: string;
  #frames = 0;
  #confirmed = 0;
  #discarded = 0;
  #questions: Question[] = [];
  #answers = Buffer.alloc(0);
  #end: AwayError | undefined;

  private constructor(socket: Socket, path: string) {
    this.#socket = socket;
    this.#path = path;
    socket.on('data', (chunk: Buffer) => this.#hear(chunk));
    socket.on('error', (error) => this.#fail(`${path}: ${error.message}`));
    socket.on('close', () =>
      this.#fail(
        `${path}: the daemon closed the connection and did not confirm all frames; its log says why`,
      ),
    );
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
      this.#questions.push({ kind: 'receipt', frames: this.#frames, resolve, reject });
      this.#socket.cork();
      this.#socket.write(bytes);
      this.#socket.write(QUESTION);
      this.#socket.uncork();
    });
  }

  /** Frames that a receipt has covered. */
  get confirmed(): number {
    return this.#confirmed;
  }

  /** Of these, frames that the daemon has discarded (REJECTED_FULL=drop). */
  get discarded(): number {
    return this.#discarded;
  }

  /**
   * What became of the frames, once all are confirmed: as far as streams are done with them within `waitMs`,
   * or else what is safe.
   * @returns undefined: the daemon is too old to say
   */
  async outcome(waitMs: number, clock: Clock): Promise<Report | undefined> {
    const safe = await this.#report('safe', REPORT_MS, clock);
    if (safe === undefined || waitMs === 0) return safe;
    return (await this.#report('settled', waitMs, clock)) ?? safe;
  }

  async #report(level: Report['level'], waitMs: number, clock: Clock): Promise<Report | undefined> {
    let report: Report | undefined;
    const asked = this.#ask(level).then(
      (answer) => void (report = answer),
      () => undefined,
    );
    await doneWithin(clock, waitMs, asked);
    return report;
  }

  #ask(level: Report['level']): Promise<Report> {
    return new Promise((resolve, reject) => {
      if (this.#end !== undefined) return reject(this.#end);
      this.#questions.push({ kind: 'report', resolve, reject });
      this.#socket.write(REPORT_QUESTIONS[level]);
    });
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #hear(chunk: Buffer): void {
    this.#answers = Buffer.concat([this.#answers, chunk]);
    for (;;) {
      const question = this.#questions[0];
      const answer = this.#take(question?.kind ?? 'receipt');
      if (answer === undefined) return;
      this.#questions.shift();
      const problem =
        question?.kind === 'report'
          ? hearReport(question, answer)
          : this.#hearReceipt(question, Number(answer.readBigUInt64LE()));
      if (problem !== undefined) return this.#confused(question, problem);
    }
  }

  /** The next whole answer. */
  #take(kind: Question['kind']): Buffer | undefined {
    const head = kind === 'receipt' ? 0 : LENGTH_BYTES;
    if (this.#answers.length < head) return undefined;
    const end =
      kind === 'receipt'
        ? RECEIPT_BYTES
        : LENGTH_BYTES + Math.min(this.#answers.readUInt32LE(), LONGEST_REPORT);
    if (this.#answers.length < end) return undefined;
    const answer = this.#answers.subarray(head, end);
    this.#answers = this.#answers.subarray(end);
    return answer;
  }

  /** @returns what is wrong with it. Frames that are discarded are missing in it, and stay so. */
  #hearReceipt(question: ReceiptQuestion | undefined, safe: number): string | undefined {
    if (question === undefined || safe > question.frames)
      return `it confirmed ${framesText(safe)} where ${question?.frames ?? 'nothing'} were asked for; is that a Kahe?`;
    this.#discarded = Math.max(this.#discarded, question.frames - safe);
    this.#confirmed = question.frames;
    question.resolve();
    return undefined;
  }

  #confused(question: Question | undefined, problem: string): void {
    const error = new Error(`${this.#path}: ${problem}`);
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

/** @returns what is wrong with it */
function hearReport({ resolve }: ReportQuestion, answer: Buffer): string | undefined {
  try {
    resolve(JSON.parse(answer.toString()) as Report);
    return undefined;
  } catch {
    return 'its report makes no sense; is that a Kahe?';
  }
}

function explained(error: Error, path: string): Error {
  if (errnoOf(error) === 'EACCES') return new CommandError(`${path}: ${refusedAt(path)}`);
  return new AwayError(`${path}: ${error.message}; is the daemon running? (start it with: kahe)`);
}
