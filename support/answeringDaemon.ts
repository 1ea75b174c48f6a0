// A daemon that takes frames and answers as a test wants it, for commands that ask.
import { type Server, type Socket, createServer } from 'node:net';
import { FrameReader, type FrameSink } from '../src/frames/frameReader.js';
import { MemoryBudget } from '../src/memory/memoryBudget.js';
import { messagesIn } from './frames.js';

const MB = 1024 * 1024;

export interface Answering {
  /** Of each receipt, so many frames are missing: they were discarded. */
  readonly discarded?: number;
  /** Of all frames; the rest is delivered, once it is settled. */
  readonly rejected?: { readonly frames: number; readonly reason: string };
  /** It is too old: a report question is a bad frame to it. */
  readonly knowsReports?: boolean;
  /** Nothing is delivered: a report on what is settled is never answered. */
  readonly settles?: boolean;
  /** The first so many connections are closed when something comes. */
  readonly closes?: number;
}

export class AnsweringDaemon {
  /** All that came, by connection. */
  readonly got: Buffer[] = [];
  readonly messages: string[] = [];
  readonly #server: Server;

  private constructor(readonly answering: Answering) {
    this.#server = createServer((socket) => this.#serve(socket));
  }

  static async listen(path: string, answering: Answering = {}): Promise<AnsweringDaemon> {
    const daemon = new AnsweringDaemon(answering);
    await new Promise<void>((resolve) => daemon.#server.listen(path, resolve));
    return daemon;
  }

  get connections(): number {
    return this.got.length;
  }

  close(): void {
    this.#server.close();
  }

  #serve(socket: Socket): void {
    const number = this.got.push(Buffer.alloc(0)) - 1;
    const { closes = 0, discarded = 0, rejected, knowsReports = true, settles = true } = this.answering;
    let frames = 0;
    const answer = (bytes: Buffer): void => {
      for (const byte of bytes) socket.write(Buffer.from([byte]));
    };
    const sink: FrameSink = {
      run: (chunk, start, end, count) => {
        frames += count;
        this.messages.push(...messagesIn(chunk, start, end));
      },
      bad: () => undefined,
      question: () => {
        const receipt = Buffer.alloc(8);
        receipt.writeBigUInt64LE(BigInt(frames - discarded));
        answer(receipt);
      },
      reportQuestion: (level) => {
        if (!knowsReports || (level === 'settled' && !settles)) return;
        const [refused, good] = [rejected?.frames ?? 0, level === 'safe' ? 'safe' : 'delivered'];
        const report = {
          level,
          frames,
          outcomes: { [good]: frames - refused - discarded, rejected: refused, discarded },
          reasons: rejected === undefined ? [] : [{ outcome: 'rejected', ...rejected }],
        };
        const json = Buffer.from(JSON.stringify(report));
        const length = Buffer.alloc(4);
        length.writeUInt32LE(json.length);
        answer(Buffer.concat([length, json]));
      },
    };
    const reader = new FrameReader(16 * MB, new MemoryBudget(64 * MB));
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      this.got[number] = Buffer.concat([this.got[number]!, chunk]);
      if (number < closes) socket.end();
      else reader.read(chunk, sink);
    });
  }
}
