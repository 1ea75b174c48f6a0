// Reads frames as the daemon does, with the daemon's own FrameReader, and tells in words what they are.
// Answers receipts at once.
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { bodyLength, judgeBody, PREFIX_BYTES, type FenceLevel } from '../../src/frames/frame.js';
import { partsOf } from '../../src/frames/frameParts.js';
import { judgeFull } from '../../src/frames/fullFrame.js';
import { FrameReader, type FrameSink } from '../../src/frames/frameReader.js';
import { FrameError } from '../../src/errors.js';
import { MemoryBudget } from '../../src/memory/memoryBudget.js';

const MB = 1024 ** 2;

/** One connection's frames: what came, in words, in order. */
export class FrameTeller implements FrameSink {
  readonly told: string[] = [];
  frames = 0;
  readonly #reader = new FrameReader(16 * MB, new MemoryBudget(64 * MB));
  readonly #onQuestion: () => void;

  constructor(onQuestion: () => void = () => undefined) {
    this.#onQuestion = onQuestion;
  }

  /** False when the framing is lost. */
  read(chunk: Buffer): boolean {
    try {
      this.#reader.read(chunk, this);
      return true;
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.told.push(`connection closed: ${error.message}`);
      return false;
    }
  }

  run(chunk: Buffer, start: number, end: number, frames: number): void {
    this.frames += frames;
    for (let at = start; at < end; at += PREFIX_BYTES + bodyLength(chunk, at))
      this.told.push(describe(chunk, at));
  }

  bad(chunk: Buffer, start: number, _end: number, reason: string): void {
    const length = bodyLength(chunk, start);
    const kind = judgeBody(chunk, start, length);
    if (reason !== (kind === 'full frame' ? judgeFull(chunk, start, length) : kind))
      throw new Error(`two reasons for one frame, one of them ${reason}`);
    this.told.push(`bad frame: ${reason}`);
  }

  question(): void {
    this.told.push('question');
    this.#onQuestion();
  }

  reportQuestion(level: FenceLevel): void {
    this.told.push(`report question: ${level}`);
  }
}

function describe(bytes: Buffer, at: number): string {
  const { bucket, key, message, full } = partsOf(bytes, at);
  const quoted = (part: Buffer | null): string => (part === null ? 'null' : `"${part.toString()}"`);
  const keyText = key === null ? 'no key' : `key ${quoted(key)}`;
  const common = `bucket "${bucket.toString()}", ${keyText}, message ${quoted(message)}`;
  if (full === undefined) return `frame: ${common}`;
  const headers = full.headers.map(([name, value]) => `, header ${name}=${quoted(value)}`).join('');
  return `full frame: ${common}, partition ${full.partition}, time ${full.timestampMs}${headers}`;
}

/** A socket that behaves as the daemon's towards one program after another. */
export class FrameServer {
  readonly told: string[] = [];
  readonly #server: Server;

  private constructor() {
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#serve(socket));
  }

  static async start(path: string): Promise<FrameServer> {
    const server = new FrameServer();
    server.#server.listen(path);
    await once(server.#server, 'listening');
    return server;
  }

  close(): void {
    this.#server.close();
  }

  #serve(socket: Socket): void {
    const teller = new FrameTeller(() => {
      const answer = Buffer.alloc(8);
      answer.writeBigUInt64LE(BigInt(teller.frames));
      socket.write(answer);
    });
    socket.on('data', (chunk) => {
      const before = teller.told.length;
      if (!teller.read(chunk)) socket.destroy();
      this.told.push(...teller.told.slice(before));
    });
    socket.on('end', () => socket.end());
    socket.on('error', (error) => this.told.push(String(error)));
  }
}
