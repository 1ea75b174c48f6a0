// A stream whose destination does what the test says. A message `2:text` goes by lane 2, others by lane 0; as with partitions, a lane takes
// its frames in their order, so that writes may settle out of theirs.
import type { Batch } from '../../src/frames/batch.js';
import { DeliveryError, type DeliveryErrorCode, type Settled, type Stream } from '../../src/streams/stream.js';
import { messagesIn } from './frames.js';

interface Frame {
  readonly text: string;
  readonly lane: number;
  end: 'pending' | 'delivered' | 'rejected';
}

interface Write {
  readonly batch: Batch;
  readonly frames: readonly Frame[];
  readonly resolve: (settled: Settled) => void;
  readonly reject: (error: DeliveryError) => void;
}

export class FakeStream implements Stream {
  /** Every message that got there, in order. */
  readonly delivered: string[] = [];
  readonly rejected: string[] = [];
  /** What each call of `write` was given, in order. */
  readonly written: string[][] = [];
  opens = 0;
  closes: number[] = [];
  state: 'well' | 'failed' | 'closed' = 'well';
  /** While true, `close` with time left waits for what is outstanding. */
  isHanging = false;
  #writes: Write[] = [];
  #probes: { resolve: () => void; reject: (error: Error) => void }[] = [];

  constructor(readonly depth = 8, readonly onEnd: (text: string, end: 'delivered' | 'rejected') => void = () => undefined) {}

  get outstanding(): number {
    return this.#writes.length;
  }

  get probes(): number {
    return this.#probes.length;
  }

  async open(): Promise<void> {
    this.opens++;
  }

  write(batch: Batch): Promise<Settled> {
    const texts = messagesIn(batch.view());
    this.written.push(texts);
    return new Promise((resolve, reject) => {
      const frames = texts.map((text) => ({ text, lane: Number(/^(\d):/.exec(text)?.[1] ?? 0), end: 'pending' as const }));
      const write: Write = { batch, frames, resolve, reject };
      if (this.state === 'well') this.#writes.push(write);
      else handBack(write, this.state === 'closed' ? 'CLOSED' : 'UNREACHABLE', `it is ${this.state}`);
    });
  }

  probe(): Promise<void> {
    return new Promise((resolve, reject) => this.#probes.push({ resolve, reject }));
  }

  async close({ deadlineMs }: { readonly deadlineMs: number }): Promise<void> {
    this.closes.push(deadlineMs);
    this.state = 'closed';
    this.#handBackAll('CLOSED', 'it was closed');
  }

  /** The destination takes the next `most` frames of a lane, or of all. */
  deliver(lane?: number, most = Infinity): void {
    this.#end('delivered', lane, most);
  }

  /** It refuses the next frame of a lane for good. */
  refuse(lane?: number): void {
    this.#end('rejected', lane, 1);
  }

  /** What is outstanding, and all that follows, fails until a probe is answered well. */
  fail(message = 'nothing answers', code: DeliveryErrorCode = 'UNREACHABLE'): void {
    if (this.state === 'closed') return;
    this.state = 'failed';
    this.#handBackAll(code, message);
  }

  answerProbe(problem?: string): void {
    const probe = this.#probes.shift();
    if (problem !== undefined) return probe?.reject(new Error(problem));
    if (probe !== undefined && this.state === 'failed') this.state = 'well';
    probe?.resolve();
  }

  #end(end: 'delivered' | 'rejected', lane: number | undefined, most: number): void {
    let left = most;
    for (const frame of this.#writes.flatMap(({ frames }) => frames)) {
      if (left <= 0) break;
      if (frame.end !== 'pending' || (lane !== undefined && frame.lane !== lane)) continue;
      frame.end = end;
      (end === 'delivered' ? this.delivered : this.rejected).push(frame.text);
      this.onEnd(frame.text, end);
      left--;
    }
    for (const write of this.#writes.filter(isWhole)) {
      this.#writes.splice(this.#writes.indexOf(write), 1);
      write.resolve(settledOf(write));
    }
  }

  #handBackAll(code: DeliveryErrorCode, message: string): void {
    for (const write of this.#writes.splice(0)) handBack(write, code, message);
  }
}

function isWhole({ frames }: Write): boolean {
  return frames.every(({ end }) => end !== 'pending');
}

function settledOf({ frames }: Write): Settled {
  return { delivered: frames.filter(({ end }) => end === 'delivered').length, rejected: frames.filter(({ end }) => end === 'rejected').length };
}

function handBack(write: Write, code: DeliveryErrorCode, message: string): void {
  const { batch, frames } = write;
  const undelivered = frames.every(({ end }) => end === 'pending') ? batch.retain() : batch.pick((index) => frames[index]!.end === 'pending');
  write.reject(new DeliveryError(code, message, undelivered, settledOf(write)));
}
