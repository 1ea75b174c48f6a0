// One who looks at the frames of a bucket as they pass: a line of JSON each. Promise: the daemon never waits
// for him, and holds no more than a megabyte or two for him: what he does not read in time is counted, and
// that is told him once a second.
import type { Writable } from 'node:stream';
import type { Clock, Timer } from '../../clock.js';
import type { Batch } from '../../frames/batch.js';
import { bucketOf, endOfFrame } from '../../frames/frame.js';
import { type FrameJson, frameJson } from '../../frames/frameText.js';
import { Sampler, type SamplerOptions } from './sampler.js';

/** What he reads, a line each. */
export type TailLine =
  | FrameLine
  /** So many frames more have passed since the last such line. */
  | { readonly kind: 'unseen'; readonly frames: number };

export interface FrameLine extends FrameJson {
  readonly kind: 'frame';
  /** When it came: ISO 8601. */
  readonly time: string;
  /** The message goes on: `size` says how long it is. */
  readonly isCut?: true;
}

/** Of a message, what is shown at most. */
const MOST_MESSAGE_BYTES = 64 * 1024;
/** What waits for its turn to be written; the line that reaches it is the last one. */
const MOST_GATHERED = 256 * 1024;
const WRITE_MS = 100;
const WRITES_A_COUNT = 10;

export class Tail {
  readonly #out: Writable;
  readonly #clock: Clock;
  readonly #sampler: Sampler;
  readonly #timer: Timer;
  #text = '';
  #unseen = 0;
  #writes = 0;

  constructor(out: Writable, options: SamplerOptions, clock: Clock) {
    this.#out = out;
    this.#clock = clock;
    this.#sampler = new Sampler(options, clock.now());
    this.#timer = clock.every(WRITE_MS, () => this.#write());
  }

  look(batch: Batch): void {
    const { passed, chosen } = this.#sampler.choose(batch, this.#clock.now());
    this.#unseen += passed;
    for (const { at, index } of chosen) {
      if (this.#text.length >= MOST_GATHERED) return;
      this.#text += `${JSON.stringify(frameLine(batch, at, index))}\n`;
      this.#unseen--;
    }
  }

  /** He is gone. */
  stop(): void {
    this.#timer.cancel();
  }

  /** The daemon goes. */
  end(): void {
    this.stop();
    this.#out.end(`${this.#text}${this.#count()}`);
  }

  #write(): void {
    // Called for what its reader has not taken yet: it is asked again at the next turn.
    if (this.#out.writableNeedDrain) return;
    const text = this.#text + (++this.#writes % WRITES_A_COUNT === 0 ? this.#count() : '');
    this.#text = '';
    if (text !== '') this.#out.write(text);
  }

  #count(): string {
    const frames = this.#unseen;
    this.#unseen = 0;
    const line: TailLine = { kind: 'unseen', frames };
    return frames === 0 ? '' : `${JSON.stringify(line)}\n`;
  }
}

function frameLine(batch: Batch, at: number, index: number): FrameLine {
  const {
    bytes,
    arrivals: { until, times },
  } = batch;
  const bucket = bucketOf(bytes, at);
  const keyAt = at + 6 + bucket.length;
  const messageAt = keyAt + bytes[keyAt - 1]!;
  const size = endOfFrame(bytes, at) - messageAt;
  const message = bytes.subarray(messageAt, messageAt + Math.min(size, MOST_MESSAGE_BYTES));
  return {
    kind: 'frame',
    time: new Date(times[until.findIndex((frames) => index < frames)]!).toISOString(),
    ...frameJson({ bucket, key: messageAt > keyAt ? bytes.subarray(keyAt, messageAt) : null, size, message }),
    ...(message.length < size ? { isCut: true } : {}),
  };
}
