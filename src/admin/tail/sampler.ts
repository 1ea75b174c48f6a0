// Chooses which frames of a batch are shown, so that they are no more than so many a second on the whole:
// spread over the batch, each frame with the same chance.
import type { Batch } from '../../frames/batch.js';
import { endOfFrame, isFull, plainKeyAt } from '../../frames/frame.js';
import { keyAtOf, keyLengthOf } from '../../frames/fullFrame.js';

export interface SamplerOptions {
  /** Frames a second; may be less than 1. After a quiet second as many at once. */
  readonly rate: number;
  /** Only frames with this key; undefined: all. */
  readonly key: Buffer | undefined;
  /** From 0 to 1, as Math.random. */
  readonly random?: () => number;
}

export interface Sample {
  /** Frames that might have been shown. */
  readonly passed: number;
  /** Those that are, by where they start and which they are in the batch; in their order. */
  readonly chosen: readonly { readonly at: number; readonly index: number }[];
}

export class Sampler {
  readonly #options: SamplerOptions;
  #allowed: number;
  #countedMs: number;

  constructor(options: SamplerOptions, nowMs: number) {
    this.#options = options;
    this.#allowed = this.#most;
    this.#countedMs = nowMs;
  }

  choose(batch: Batch, nowMs: number): Sample {
    const { key, random = Math.random } = this.#options;
    const passed = key === undefined ? batch.frames : fitting(batch, key);
    const count = Math.min(this.#allow(nowMs), passed);
    this.#allowed -= count;
    const draw = random();
    const wanted = Array.from({ length: count }, (_, i) => Math.floor(((i + draw) * passed) / count));
    return { passed, chosen: pick(batch, key, wanted) };
  }

  get #most(): number {
    return Math.max(1, this.#options.rate);
  }

  /** A clock that was set back allows nothing more. */
  #allow(nowMs: number): number {
    const elapsedMs = Math.max(0, nowMs - this.#countedMs);
    this.#countedMs = nowMs;
    this.#allowed = Math.min(this.#most, this.#allowed + (elapsedMs * this.#options.rate) / 1000);
    return Math.floor(this.#allowed);
  }
}

function fitting({ bytes, length }: Batch, key: Buffer): number {
  let count = 0;
  for (let at = 0; at < length; at = endOfFrame(bytes, at)) if (hasKey(bytes, at, key)) count++;
  return count;
}

/** @param wanted which of those that fit, rising */
function pick(
  { bytes, length }: Batch,
  key: Buffer | undefined,
  wanted: readonly number[],
): Sample['chosen'] {
  const chosen: { at: number; index: number }[] = [];
  let fits = 0;
  for (
    let at = 0, index = 0;
    at < length && chosen.length < wanted.length;
    at = endOfFrame(bytes, at), index++
  ) {
    if (key !== undefined && !hasKey(bytes, at, key)) continue;
    if (fits++ === wanted[chosen.length]) chosen.push({ at, index });
  }
  return chosen;
}

function hasKey(bytes: Buffer, at: number, key: Buffer): boolean {
  const keyAt = isFull(bytes, at) ? keyAtOf(bytes, at) + 4 : plainKeyAt(bytes, at);
  const length = isFull(bytes, at) ? keyLengthOf(bytes, at) : bytes[keyAt - 1];
  return length === key.length && key.compare(bytes, keyAt, keyAt + length) === 0;
}
