// Spreads the frames of a batch over the partitions of a topic. Where all go to one, they stay one range of
// the batch; otherwise each partition gets the places of its frames, in their order. Numbers in typed arrays:
// still no object for a frame.
import type { Batch } from '../../frames/batch.js';
import {
  FRAME_OVERHEAD_BYTES,
  FULL_BUCKET_AT,
  PLAIN_BUCKET_AT,
  PREFIX_BYTES,
  bodyLength,
} from '../../frames/frame.js';
import type { Partitioner } from './partitioner.js';
import type { FrameRange } from './recordBatch.js';

/**
 * @param keylessPartition where frames go whose key doesn't matter
 * @returns by partition; at `partitions`, which is one too many: full frames for a partition that is not there
 */
export function partitionBatch(
  batch: Batch,
  partitions: number,
  partitioner: Partitioner,
  keylessPartition: number,
): Map<number, FrameRange> {
  const { hash } = partitioner;
  if (batch.hasFull) return partitionMixed(batch, partitions, partitioner, keylessPartition);
  if (partitions === 1 || hash === undefined)
    return new Map([[hash === undefined ? keylessPartition : 0, wholeOf(batch)]]);
  if (partitioner.spreadsKeyless && !hasKey(batch)) return new Map([[keylessPartition, wholeOf(batch)]]);
  const places = new Uint32Array(batch.frames);
  const targets = new Uint32Array(batch.frames);
  const counts = new Uint32Array(partitions);
  const source = batch.bytes;
  for (let index = 0, at = 0; index < batch.frames; index++) {
    const keyAt = at + 6 + source[at + 4]!;
    const keyLength = source[keyAt - 1]!;
    const isFree = keyLength === 0 && partitioner.spreadsKeyless;
    const target = isFree ? keylessPartition : hash(source, keyAt, keyAt + keyLength) % partitions;
    places[index] = at;
    targets[index] = target;
    counts[target]!++;
    at += PREFIX_BYTES + bodyLength(source, at);
  }
  return pick(batch, places, targets, counts);
}

/** Full frames may say their partition, whatever the partitioner, and their key may be null or empty. */
function partitionMixed(
  batch: Batch,
  partitions: number,
  partitioner: Partitioner,
  keylessPartition: number,
): Map<number, FrameRange> {
  const memory = new DataView(batch.bytes.buffer, batch.bytes.byteOffset);
  const targetOf = mixedTargets(batch, partitions, partitioner);
  let [free, freeEnd] = [0, 0];
  for (; free < batch.frames && targetOf(freeEnd) < 0; free++)
    freeEnd += PREFIX_BYTES + memory.getUint32(freeEnd, true);
  if (free === batch.frames) return new Map([[keylessPartition, wholeOf(batch)]]);
  const places = new Uint32Array(batch.frames);
  const targets = new Uint32Array(batch.frames);
  const counts = new Uint32Array(partitions + 1);
  for (let index = 0, at = 0; index < batch.frames; index++) {
    const target = targetOf(at);
    const partition = target < 0 ? keylessPartition : target;
    places[index] = at;
    targets[index] = partition;
    counts[partition]!++;
    at += PREFIX_BYTES + memory.getUint32(at, true);
  }
  return pick(batch, places, targets, counts);
}

/**
 * Of a batch that may have full frames: tells of the frame at a place the partition that it says, or that of
 * its key; -1: it may go to any. One that is not there is `partitions`.
 */
export function mixedTargets(
  { bytes }: Batch,
  partitions: number,
  { hash, spreadsKeyless, spreadsEmpty }: Partitioner,
): (at: number) => number {
  const memory = new DataView(bytes.buffer, bytes.byteOffset);
  const ofKey = (keyAt: number, length: number): number => {
    if (hash === undefined || (length < 0 ? spreadsKeyless : length === 0 && spreadsEmpty)) return -1;
    return hash(bytes, keyAt, keyAt + Math.max(0, length)) % partitions;
  };
  return (at) => {
    const bucketLength = memory.getUint8(at + PLAIN_BUCKET_AT);
    if (bucketLength > 0) {
      const keyAt = at + FRAME_OVERHEAD_BYTES + bucketLength;
      return ofKey(keyAt, memory.getUint8(keyAt - 1) || -1);
    }
    const fixedAt = at + FULL_BUCKET_AT + 1 + memory.getUint8(at + FULL_BUCKET_AT);
    const given = memory.getInt32(fixedAt, true);
    return given >= 0
      ? Math.min(given, partitions)
      : ofKey(fixedAt + 16, memory.getInt32(fixedAt + 12, true));
  };
}

/** Has any frame a key? A topic's frames often have none, and then nothing else need be known of them. */
function hasKey({ bytes, frames }: Batch): boolean {
  const memory = new DataView(bytes.buffer, bytes.byteOffset);
  for (let index = 0, at = 0; index < frames; index++) {
    if (memory.getUint8(at + 5 + memory.getUint8(at + 4)) > 0) return true;
    at += PREFIX_BYTES + memory.getUint32(at, true);
  }
  return false;
}

function wholeOf(batch: Batch): FrameRange {
  return { batch, picked: undefined, first: 0, at: 0, count: batch.frames, bytes: batch.length };
}

function pick(
  batch: Batch,
  places: Uint32Array,
  targets: Uint32Array,
  counts: Uint32Array,
): Map<number, FrameRange> {
  const only = targets[0]!;
  if (counts[only] === batch.frames) return new Map([[only, wholeOf(batch)]]);
  const offsets = Array.from(counts, (count) => new Uint32Array(count));
  const indexes = Array.from(counts, (count) => new Uint32Array(count));
  const bytes = new Float64Array(counts.length);
  const filled = new Uint32Array(counts.length);
  for (let index = 0; index < batch.frames; index++) {
    const target = targets[index]!;
    const slot = filled[target]!++;
    offsets[target]![slot] = places[index]!;
    indexes[target]![slot] = index;
    bytes[target]! += (places[index + 1] ?? batch.length) - places[index]!;
  }
  const ranges = new Map<number, FrameRange>();
  for (let target = 0; target < counts.length; target++) {
    const count = counts[target]!;
    if (count === 0) continue;
    const picked = { offsets: offsets[target]!, indexes: indexes[target]! };
    ranges.set(target, { batch, picked, first: 0, at: picked.offsets[0]!, count, bytes: bytes[target]! });
  }
  return ranges;
}

/** Notes which frames of its batch a range has. */
export function addIndexes(indexes: Set<number>, range: FrameRange): void {
  for (let i = 0; i < range.count; i++)
    indexes.add(range.picked?.indexes[range.first + i] ?? range.first + i);
}

/** Those of these frames that may go to any partition. */
export function keylessOf(batch: Batch, indexes: ReadonlySet<number>, partitioner: Partitioner): Set<number> {
  if (partitioner.hash === undefined && !batch.hasFull) return new Set(indexes);
  const found = new Set<number>();
  if (!partitioner.spreadsKeyless) return found;
  const targetOf = mixedTargets(batch, 1, partitioner);
  walk(batch, (index, at) => indexes.has(index) && targetOf(at) < 0 && found.add(index));
  return found;
}

/** These frames of a batch, in their order. */
export function rangeOf(batch: Batch, chosen: ReadonlySet<number>): FrameRange {
  const [offsets, indexes] = [new Uint32Array(chosen.size), new Uint32Array(chosen.size)];
  let [count, bytes] = [0, 0];
  walk(batch, (index, at, end) => {
    if (!chosen.has(index)) return;
    offsets[count] = at;
    indexes[count++] = index;
    bytes += end - at;
  });
  return { batch, picked: { offsets, indexes }, first: 0, at: offsets[0]!, count, bytes };
}

function walk({ bytes, frames }: Batch, visit: (index: number, at: number, end: number) => void): void {
  for (let index = 0, at = 0; index < frames; index++) {
    const end = at + PREFIX_BYTES + bodyLength(bytes, at);
    visit(index, at, end);
    at = end;
  }
}
