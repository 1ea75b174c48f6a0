// Frames to and from text, and batches of them, for tests.
import { Batch } from '../src/frames/batch.js';
import { PREFIX_BYTES, bodyLength, encodeFrame } from '../src/frames/frame.js';
import type { MemoryBudget } from '../src/memory/memoryBudget.js';

/** A message without a key, one with what else is in its frame, or a frame as it is. */
export type FrameOf =
  string | Buffer | { readonly key: string | Buffer | null; readonly message: string | Buffer };

/** Each whole frame of these bytes, copied; throws when they don't end with one. */
export function framesIn(bytes: Uint8Array, start = 0, end = bytes.length): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = start; at < end;) {
    const next = at + PREFIX_BYTES + bodyLength(bytes, at);
    if (next > end) throw new Error(`half a frame at ${at} of ${end} bytes`);
    frames.push(Buffer.from(bytes.slice(at, next)));
    at = next;
  }
  return frames;
}

/** The messages of whole frames. */
export function messagesIn(bytes: Uint8Array, start?: number, end?: number): string[] {
  return framesIn(bytes, start, end).map((frame) => {
    const keyAt = 5 + frame[4]!;
    return frame.toString('utf8', keyAt + 1 + frame[keyAt]!);
  });
}

/** Frames of one bucket, one after another. */
export function framesOf(bucket: string, frames: readonly FrameOf[]): Buffer {
  return Buffer.concat(frames.map((frame) => bytesOf(bucket, frame)));
}

/** @param timeMs when they came, or when each did */
export function batchOf(
  bucket: string,
  frames: readonly FrameOf[],
  budget: MemoryBudget,
  timeMs: number | ((index: number) => number) = 0,
): Batch {
  const batch = new Batch(bucket, budget);
  for (const [index, frame] of frames.entries()) {
    const bytes = bytesOf(bucket, frame);
    batch.append(bytes, 0, bytes.length, 1, typeof timeMs === 'number' ? timeMs : timeMs(index));
  }
  return batch;
}

/** As texts: `from`, and so many in all. */
export function numbers(from: number, count: number): string[] {
  return Array.from({ length: count }, (_, index) => String(from + index));
}

function bytesOf(bucket: string, frame: FrameOf): Buffer {
  if (Buffer.isBuffer(frame)) return frame;
  return typeof frame === 'string'
    ? encodeFrame(bucket, null, frame)
    : encodeFrame(bucket, frame.key, frame.message);
}
