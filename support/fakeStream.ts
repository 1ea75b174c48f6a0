// A stream whose destination does what the test says. A message `2:text` goes by lane 2, others by lane 0; as
// with partitions, a lane takes its frames in their order, so that writes may settle out of theirs. A lane
// can be away while the others are not.
import type { Batch } from '../src/frames/batch.js';
import type { FrameOutcome, SettledRange } from '../src/intake/outcome.js';
import { DeliveryError, type DeliveryErrorCode, type Settled, type Stream } from '../src/streams/stream.js';
import { messagesIn } from './frames.js';

interface Frame {
  readonly text: string;
  readonly lane: number;
  end: 'pending' | 'delivered' | 'rejected' | 'away';
  /** In its lane, once it is delivered. */
  offset: number;
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
  /**
   * Lanes that can't be written now; those of which frames are handed back; and those that the last probe
   * found away.
   */
  readonly #gone = new Set<number>();
  #away = new Set<number>();
  #found: ReadonlySet<number> | undefined;
  #probes: { resolve: () => void; reject: (error: Error) => void }[] = [];

  constructor(
    readonly depth = 8,
    readonly onEnd: (text: string, end: 'delivered' | 'rejected') => void = () => undefined,
  ) {}

  get outstanding(): number {
    return this.#writes.length;
  }

  get away(): string | undefined {
    return this.#away.size === 0 ? undefined : `lanes ${[...this.#away].join()} are away`;
  }

  get hasReturned(): boolean {
    return [...this.#away].some((lane) => this.#found?.has(lane) === false);
  }

  readmit(): void {
    if (this.#writes.length > 0) throw new Error('something is outstanding');
    this.#away = new Set([...this.#away].filter((lane) => this.#found?.has(lane) !== false));
    this.#found = undefined;
  }

  isAway(lane: number): boolean {
    return this.#away.has(lane);
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
      const frames = texts.map((text) => ({ text, lane: laneOf(text), end: 'pending' as const, offset: -1 }));
      const write: Write = { batch, frames, resolve, reject };
      if (this.state === 'well') this.#begin(write);
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

  /** From now on what is outstanding for a lane, and what follows, is handed back. */
  goAway(lane: number): void {
    this.#gone.add(lane);
    this.#away.add(lane);
    this.#found = undefined;
    this.#end('away', lane, Infinity);
  }

  comeBack(lane: number): void {
    this.#gone.delete(lane);
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
    if (probe === undefined) return;
    if (this.state === 'failed') [this.state, this.#away] = ['well', new Set(this.#gone)];
    this.#found = new Set(this.#gone);
    probe.resolve();
  }

  #begin(write: Write): void {
    this.#writes.push(write);
    for (const lane of this.#away) this.#end('away', lane, Infinity);
  }

  #end(end: 'delivered' | 'rejected' | 'away', lane: number | undefined, most: number): void {
    let left = most;
    for (const frame of this.#writes.flatMap(({ frames }) => frames)) {
      if (left <= 0) break;
      if (frame.end !== 'pending' || (lane !== undefined && frame.lane !== lane)) continue;
      frame.end = end;
      left--;
      if (end === 'away') continue;
      if (end === 'delivered')
        frame.offset = this.delivered.filter((text) => laneOf(text) === frame.lane).length;
      (end === 'delivered' ? this.delivered : this.rejected).push(frame.text);
      this.onEnd(frame.text, end);
    }
    for (const write of this.#writes.filter(isWhole)) {
      this.#writes.splice(this.#writes.indexOf(write), 1);
      if (write.frames.some(({ end: how }) => how === 'away'))
        handBack(write, 'AWAY', this.away ?? 'a lane was away');
      else write.resolve(settledOf(write));
    }
  }

  #handBackAll(code: DeliveryErrorCode, message: string): void {
    for (const write of this.#writes.splice(0)) handBack(write, code, message);
  }
}

export function laneOf(text: string): number {
  return Number(/^(\d):/.exec(text)?.[1] ?? 0);
}

function isWhole({ frames }: Write): boolean {
  return frames.every(({ end }) => end !== 'pending');
}

function settledOf({ batch, frames }: Write): Settled {
  return {
    ...(batch.wantsOutcomes ? { ranges: frames.flatMap(rangeOf) } : {}),
    delivered: frames.filter(({ end }) => end === 'delivered').length,
    rejected: frames.filter(({ end }) => end === 'rejected').length,
  };
}

function rangeOf({ end, lane, offset }: Frame, index: number): SettledRange[] {
  if (end !== 'delivered' && end !== 'rejected') return [];
  const outcome: FrameOutcome =
    end === 'rejected'
      ? { kind: 'rejected', code: 'INVALID_RECORD', reason: 'it was refused' }
      : { kind: 'delivered', partition: lane, baseOffset: BigInt(offset) };
  return [{ first: index, frames: 1, outcome }];
}

function isLeft({ end }: Frame): boolean {
  return end === 'pending' || end === 'away';
}

function handBack(write: Write, code: DeliveryErrorCode, message: string): void {
  const { batch, frames } = write;
  const undelivered = frames.every(isLeft) ? batch.retain() : batch.pick((index) => isLeft(frames[index]!));
  write.reject(new DeliveryError(code, message, undelivered, settledOf(write)));
}
