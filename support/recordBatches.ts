// Ranges of a batch, encoded as record batches and decoded again by a decoder of our own.
import { expect } from 'vitest';
import type { Batch } from '../src/frames/batch.js';
import { PREFIX_BYTES, bodyLength } from '../src/frames/frame.js';
import {
  type FrameRange,
  HEADER_BYTES,
  putHeader,
  roomFor,
  skipFrames,
} from '../src/streams/kafka/recordBatch.js';
import { recordEncoder } from '../src/streams/kafka/recordEncoder.js';
import { type DecodedRecord, decodeRecordBatch } from './recordBatchDecoder.js';

export function wholeOf(batch: Batch): FrameRange {
  return { batch, picked: undefined, first: 0, at: 0, count: batch.frames, bytes: batch.length };
}

export function pickedFrom(batch: Batch, indexes: readonly number[]): FrameRange {
  const starts: number[] = [];
  for (let at = 0; at < batch.length; at += PREFIX_BYTES + bodyLength(batch.bytes, at)) starts.push(at);
  const picked = {
    offsets: Uint32Array.from(indexes, (i) => starts[i]!),
    indexes: Uint32Array.from(indexes),
  };
  const bytes = indexes.reduce((sum, i) => sum + PREFIX_BYTES + bodyLength(batch.bytes, starts[i]!), 0);
  return { batch, picked, first: 0, at: picked.offsets[0]!, count: indexes.length, bytes };
}

/**
 * As a partition queue does it: one record batch after the other until the range is empty. Memory behind each
 * must stay as it was.
 */
export function encodeAll(range: FrameRange, { maxBytes = 1_000_000, maxFrames = 10_000 } = {}): Buffer[] {
  const batches: Buffer[] = [];
  for (let rest = range; rest.count > 0;) {
    const room = roomFor(rest, maxBytes);
    const out = Buffer.alloc(room + 16, 0xa5);
    const encoded = recordEncoder().encode(rest, out.subarray(0, room), HEADER_BYTES, room, maxFrames);
    expect(encoded.frames).toBeGreaterThan(0);
    expect(HEADER_BYTES + encoded.length).toBeLessThanOrEqual(room);
    expect(out.subarray(room).equals(Buffer.alloc(16, 0xa5))).toBe(true);
    const end = HEADER_BYTES + encoded.length;
    putHeader(out, end, encoded, 0);
    batches.push(out.subarray(0, end));
    const next = skipFrames(rest, encoded.frames);
    expect(encoded.frameBytes).toBe(rest.bytes - next.bytes);
    if (rest.picked === undefined) expect(encoded.nextAt).toBe(next.at);
    rest = next;
  }
  return batches;
}

export function decode(batches: readonly Buffer[]): DecodedRecord[] {
  return batches.flatMap((bytes) => [...decodeRecordBatch(bytes).records]);
}
