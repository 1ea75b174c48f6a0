// What a door brings to a bucket: runs of frames, and questions.
import { expect } from 'vitest';
import { type BucketKey, bucketName } from '../src/frames/bucketName.js';
import { Receipt } from '../src/intake/receipt.js';
import type { Run } from '../src/intake/run.js';
import type { Bench } from './bench.js';
import { framesOf } from './frames.js';

/** A run of these messages, in the middle of other bytes. */
export function runOf(
  bench: Pick<Bench, 'clock' | 'budget'>,
  bucket: BucketKey,
  messages: readonly string[],
  origin?: number,
): Run {
  const frames = framesOf(bucketName(bucket), messages);
  const chunk = Buffer.concat([Buffer.from('before'), frames, Buffer.from('after')]);
  return {
    kind: 'run',
    bucket,
    chunk,
    start: 6,
    end: 6 + frames.length,
    frames: messages.length,
    nowMs: bench.clock.now(),
    budget: bench.budget,
    ...(origin === undefined ? {} : { origin }),
  };
}

/** Tells of it; its bytes are only borrowed, and are others afterwards. */
export function lend(run: Run, tell: (run: Run) => void): void {
  tell(run);
  run.chunk.fill(0xee);
}

/** A question, and whether it has been answered (once). */
export function newQuestion(): { readonly receipt: Receipt; readonly isAnswered: () => boolean } {
  let answers = 0;
  const isAnswered = (): boolean => {
    expect(answers).toBeLessThanOrEqual(1);
    return answers === 1;
  };
  return { receipt: new Receipt(0, () => answers++), isAnswered };
}
