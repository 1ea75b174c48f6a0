// One who looks at the frames of a bucket as they pass: a line of JSON each. Promise: the daemon never waits
// for him, and holds no more than a megabyte or two for him: what he does not read in time is counted, and
// that is told him once a second.
import type { Writable } from 'node:stream';
import type { Clock, Timer } from '../../clock.js';
import type { Batch } from '../../frames/batch.js';
import { type FrameParts, partsOf } from '../../frames/frameParts.js';
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
  /** The message goes on: `size` says how long it is; or the key or headers do. */
  readonly isCut?: true;
}

/** Of a message, of a key, and of headers together, what is shown at most. */
const MOST_PART_BYTES = 64 * 1024;
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

type FullHeaders = NonNullable<FrameParts['full']>['headers'];
/** What a header costs besides, about. */
const HEADER_BYTES = 32;

function frameLine(batch: Batch, at: number, index: number): FrameLine {
  const {
    bytes,
    arrivals: { until, times },
  } = batch;
  const parts = partsOf(bytes, at);
  const shown = cutParts(parts);
  const isCut =
    shown.message?.length !== parts.message?.length ||
    shown.key?.length !== parts.key?.length ||
    shown.full?.headers.length !== parts.full?.headers.length;
  return {
    kind: 'frame',
    time: new Date(times[until.findIndex((frames) => index < frames)]!).toISOString(),
    ...frameJson({ ...shown, size: parts.message?.length ?? 0 }),
    ...(isCut ? { isCut } : {}),
  };
}

function cutParts({ bucket, key, message, full }: FrameParts): FrameParts {
  return {
    bucket,
    key: key?.subarray(0, MOST_PART_BYTES) ?? null,
    message: message?.subarray(0, MOST_PART_BYTES) ?? null,
    ...(full === undefined ? {} : { full: { ...full, headers: firstHeaders(full.headers) } }),
  };
}

function firstHeaders(headers: FullHeaders): FullHeaders {
  let bytes = 0;
  const end = headers.findIndex(([name, value]) => {
    bytes += HEADER_BYTES + name.length + (value?.length ?? 0);
    return bytes > MOST_PART_BYTES;
  });
  return end < 0 ? headers : headers.slice(0, end);
}
