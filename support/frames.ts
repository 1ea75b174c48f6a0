// Frames to and from text, for tests.
import { Batch } from '../src/frames/batch.js';
import { PREFIX_BYTES, bodyLength, encodeFrame } from '../src/frames/frame.js';
import type { MemoryBudget } from '../src/memory/memoryBudget.js';

/** Each whole frame of these bytes. */
export function framesIn(bytes: Buffer): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = at + PREFIX_BYTES + bodyLength(bytes, at);
    if (end > bytes.length) throw new Error(`half a frame at ${at} of ${bytes.length} bytes`);
    frames.push(Buffer.from(bytes.subarray(at, end)));
    at = end;
  }
  return frames;
}

/** The messages of whole frames. */
export function messagesIn(bytes: Buffer): string[] {
  return framesIn(bytes).map((frame) => {
    const keyAt = 5 + frame[4]!;
    return frame.toString('utf8', keyAt + 1 + frame[keyAt]!);
  });
}

/** Frames of one bucket, one after another. */
export function framesOf(bucket: string, messages: readonly string[]): Buffer {
  return Buffer.concat(messages.map((message) => encodeFrame(bucket, null, message)));
}

export function batchOf(
  bucket: string,
  messages: readonly string[],
  budget: MemoryBudget,
  { nowMs = 0, origin }: { readonly nowMs?: number; readonly origin?: number } = {},
): Batch {
  const batch = new Batch(bucket, budget);
  if (origin !== undefined) batch.origin = origin;
  const bytes = framesOf(bucket, messages);
  if (messages.length > 0) batch.append(bytes, 0, bytes.length, messages.length, nowMs);
  return batch;
}
