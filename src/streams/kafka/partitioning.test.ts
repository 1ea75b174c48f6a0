// A batch spread over partitions: every frame goes to one, each partition has its own in their order, and a
// key has one partition.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { batchOf } from '../../../support/frames.js';
import { framesIn, type Frame } from '../../../support/kafkaWorkbench.js';
import { Batch } from '../../frames/batch.js';
import { PREFIX_BYTES, bodyLength, encodeFrame, endOfFrames } from '../../frames/frame.js';
import { type FullFrame, encodeFullFrame } from '../../frames/fullFrame.js';
import { MemoryBudget } from '../../memory/memoryBudget.js';
import { partitionerNamed } from './partitioner.js';
import { keylessOf, mixedTargets, partitionBatch } from './partitioning.js';
import { firstPlace, skipFrames, startOf, type FrameRange } from './recordBatch.js';
import { PARTITIONERS, type PartitionerName } from '../../config/kafka/settings.js';

const budget = new MemoryBudget(1e9);

function framesOf(range: FrameRange): Frame[] {
  const frames: Frame[] = [];
  for (let rest = range; rest.count > 0; rest = skipFrames(rest, 1)) {
    const at = startOf(rest);
    frames.push(
      ...framesIn(range.batch.bytes.subarray(at, at + PREFIX_BYTES + bodyLength(range.batch.bytes, at))),
    );
  }
  return frames;
}

function spread(
  frames: readonly Frame[],
  partitions: number,
  name: PartitionerName,
  keyless = 0,
): Map<number, Frame[]> {
  const ranges = partitionBatch(
    batchOf('requests', frames, budget),
    partitions,
    partitionerNamed(name),
    keyless,
  );
  for (const { bytes, ...range } of ranges.values())
    expect(bytes).toBe(
      framesOf({ bytes, ...range }).reduce(
        (sum, { key, message }) => sum + encodeFrame('requests', key, message).length,
        0,
      ),
    );
  return new Map([...ranges].map(([partition, range]) => [partition, framesOf(range)]));
}

describe('partitioning', () => {
  it('nothing is lost, nothing is there twice, and each partition keeps the order', () => {
    const frame = fc.record({
      key: fc.option(fc.string({ minLength: 1, maxLength: 20 }), { nil: null }),
      size: fc.nat(100),
    });
    fc.assert(
      fc.property(
        fc.array(frame, { minLength: 1, maxLength: 100 }),
        fc.integer({ min: 1, max: 20 }),
        fc.nat(),
        fc.constantFrom(...PARTITIONERS),
        (list, partitions, choice, name) => {
          const frames = list.map(({ key, size }, i) => ({ key, message: `${i} ${'x'.repeat(size)}` }));
          const keyless = choice % partitions;
          const spreadOut = spread(frames, partitions, name, keyless);
          const numberOf = ({ message }: Frame): number => Number(message.split(' ')[0]);
          expect([...spreadOut.values()].flat().sort((a, b) => numberOf(a) - numberOf(b))).toEqual(frames);
          const partitionOfKey = new Map<string | null, number>();
          for (const [partition, own] of spreadOut) {
            expect(partition).toBeLessThan(partitions);
            expect(own.length).toBeGreaterThan(0);
            expect(own.map(numberOf)).toEqual(own.map(numberOf).sort((a, b) => a - b));
            for (const { key } of own) {
              expect(partitionOfKey.get(key) ?? partition).toBe(partition);
              partitionOfKey.set(key, partition);
            }
          }
          if (name.endsWith('random') && partitionOfKey.has(null))
            expect(partitionOfKey.get(null)).toBe(keyless);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('keyless frames stick to the partition they are given; plain partitioners hash the empty key', () => {
    const frames = Array.from({ length: 30 }, (_, i) => ({ key: null, message: `${i}` }));
    for (const keyless of [0, 3, 6])
      expect(spread(frames, 7, 'consistent_random', keyless)).toEqual(new Map([[keyless, frames]]));
    // CRC32 of nothing is 0.
    expect(spread(frames, 7, 'consistent', 5)).toEqual(new Map([[0, frames]]));
    expect(spread(frames, 7, 'random', 4)).toEqual(new Map([[4, frames]]));
  });

  it('a batch that goes to one partition stays whole', () => {
    const batch = batchOf(
      'requests',
      ['1', '2'].map((message) => ({ key: 'a', message })),
      budget,
    );
    const [range, ...others] = partitionBatch(batch, 5, partitionerNamed('murmur2_random'), 0).values();
    expect(others).toEqual([]);
    expect(range).toEqual({ batch, picked: undefined, first: 0, at: 0, count: 2, bytes: batch.length });
  });

  it('full frames: what they say, or as their key does: null, empty, long, as librdkafka spreads them', () => {
    const full = (part: Partial<FullFrame>): Buffer =>
      encodeFullFrame({ bucket: 'requests', value: 'v', ...part });
    const frames = [
      encodeFrame('requests', 'k', 'plain'),
      full({ key: 'k' }),
      full({ key: 'k'.repeat(300) }),
      full({ key: null }),
      full({ key: '' }),
      full({ key: 'k', partition: 4 }),
      full({ partition: 7 }),
      full({ partition: 2 ** 31 - 1 }),
    ];
    const batch = new Batch('requests', budget);
    for (const bytes of frames) batch.append(bytes, 0, bytes.length, 1, 1);
    const partitions = 7;
    const keyless = 5;
    for (const name of PARTITIONERS) {
      const partitioner = partitionerNamed(name);
      const { hash } = partitioner;
      const hashed = (key: string): number =>
        hash === undefined ? keyless : hash(Buffer.from(key), 0, key.length) % partitions;
      const empty = name === 'consistent_random' ? keyless : hashed('');
      const none = name.endsWith('random') ? keyless : hashed('');
      const long = hashed('k'.repeat(300));
      const expected = [hashed('k'), hashed('k'), long, none, empty, 4, partitions, partitions];
      const targets: number[] = [];
      for (const [partition, range] of partitionBatch(batch, partitions, partitioner, keyless))
        for (let rest = range; rest.count > 0; rest = skipFrames(rest, 1))
          targets[firstPlace(rest).index] = partition;
      expect([name, targets]).toEqual([name, expected]);
      const hasUnknownPartition = (among: number): boolean => {
        const targetOf = mixedTargets(batch, among, partitioner);
        return frames.some((_, i) => targetOf(endOfFrames(batch.bytes, 0, i)) === among);
      };
      expect(hasUnknownPartition(2 ** 31 - 1)).toBe(true);
      expect(hasUnknownPartition(2 ** 31)).toBe(false);
      const free = keylessOf(batch, new Set([1, 3, 4, 5, 6]), partitioner);
      const mayBeEmpty = name === 'consistent_random' ? [3, 4] : [3];
      const ofKey = name.endsWith('random') ? mayBeEmpty : [];
      expect([...free]).toEqual(hash === undefined ? [1, 3, 4] : ofKey);
    }
  });
});
