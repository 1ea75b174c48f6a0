// Applications that go on whatever happens to the daemon: each opens connection after connection, as PHP-FPM
// workers do. Those with receipts send again what was not confirmed; the others send once and go. Promise:
// every attempt to connect that failed is counted.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { expect } from 'vitest';
import { QUESTION, numberedFrames, numbersBySender, range, type Frame } from './daemonFrames.js';

const FRAMES_PER_ROUND = 20;
const DEADLINE_MS = 180_000;
/**
 * Between two rounds of one that waits for no answer: nobody takes connections while a daemon starts, and
 * 4096 of them can wait.
 */
const TELL_EVERY_MS = 5;

export class SteadyLoad {
  readonly #path: string;
  readonly #bucket: string;
  /** What went wrong at connecting. */
  readonly refusals: string[] = [];
  /** Frames of each sender, so far: confirmed, or written where no receipt was asked for. */
  readonly sent = new Map<string, number>();
  /** Rounds that were sent again. */
  repeated = 0;
  readonly #workers: Promise<void>[];
  #isGoingOn = true;

  constructor(
    path: string,
    bucket: string,
    { asking = 4, telling = 2 }: { readonly asking?: number; readonly telling?: number } = {},
  ) {
    this.#path = path;
    this.#bucket = bucket;
    this.#workers = [
      ...range(0, asking).map((index) => this.#work(`asks${index}`, true)),
      ...range(0, telling).map((index) => this.#work(`tells${index}`, false)),
    ];
  }

  get total(): number {
    return [...this.sent.values()].reduce((a, b) => a + b, 0);
  }

  /** Resolves when every one of them has sent something more. */
  async progress(): Promise<void> {
    const before = new Map(this.sent);
    await expect
      .poll(() => [...this.sent].every(([sender, count]) => count > (before.get(sender) ?? 0)), {
        timeout: DEADLINE_MS,
        message: `more frames than ${JSON.stringify([...before])}`,
      })
      .toBe(true);
  }

  async end(): Promise<void> {
    this.#isGoingOn = false;
    await Promise.all(this.#workers);
  }

  /**
   * Each frame of those who ask is there, in order; only those of a round that was sent again may be there
   * twice. Of those who don't ask none is there twice, or out of order: that none is missing nobody can
   * promise them, for one may be stopped between connecting and writing.
   */
  check(frames: readonly Frame[]): void {
    const numbers = numbersBySender(frames.map(({ message }) => message));
    expect([...numbers.keys()].sort()).toEqual([...this.sent.keys()].sort());
    for (const [sender, count] of this.sent) {
      const list = numbers.get(sender)!;
      if (sender.startsWith('asks')) expect([...new Set(list)], sender).toEqual(range(0, count));
      else expect(list, sender).toEqual([...new Set(list)].sort((a, b) => a - b));
    }
    expect(frames.length - this.total).toBeLessThanOrEqual(this.repeated * FRAMES_PER_ROUND);
  }

  async #work(sender: string, isAsking: boolean): Promise<void> {
    this.sent.set(sender, 0);
    while (this.#isGoingOn) {
      const from = this.sent.get(sender)!;
      const socket = await this.#connect();
      if (socket === undefined) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        continue;
      }
      const frames = numberedFrames(this.#bucket, sender, { from, count: FRAMES_PER_ROUND });
      const isDone = isAsking ? await ask(socket, frames) : await tell(socket, frames);
      if (isDone) this.sent.set(sender, from + FRAMES_PER_ROUND);
      else this.repeated++;
    }
  }

  async #connect(): Promise<Socket | undefined> {
    const socket = connect(this.#path);
    try {
      await once(socket, 'connect');
      return socket;
    } catch (error) {
      this.refusals.push((error as Error).message);
      return undefined;
    }
  }
}

/** @returns whether all were confirmed */
function ask(socket: Socket, frames: Buffer): Promise<boolean> {
  return new Promise((resolve) => {
    let answer = Buffer.alloc(0);
    socket
      .on('error', () => undefined)
      .on('close', () => resolve(false))
      .on('data', (piece: Buffer) => {
        answer = Buffer.concat([answer, piece]);
        if (answer.length < 8) return;
        resolve(Number(answer.readBigUInt64LE()) === FRAMES_PER_ROUND);
        socket.destroy();
      });
    socket.write(Buffer.concat([frames, QUESTION]));
  });
}

/** Writes and closes; waits for nobody. */
async function tell(socket: Socket, frames: Buffer): Promise<boolean> {
  socket.on('error', () => undefined);
  socket.end(frames);
  await once(socket, 'finish');
  socket.destroy();
  await new Promise((resolve) => setTimeout(resolve, TELL_EVERY_MS));
  return true;
}
