// Partitions as librdkafka chose them, key for key: a key that moved would break the order of what kahego
// wrote and we go on with.
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32, fnv1a, murmur2, partitionerNamed } from './partitioner.js';
import { PARTITIONERS, type PartitionerName } from '../../config/kafka/settings.js';

interface Choice {
  readonly key: string;
  readonly partitionOf3: number;
  readonly partitionOf7: number;
  readonly partitionOf12: number;
}

const fixture = new URL('../../../test/fixtures/librdkafka-partitions.json', import.meta.url);
const { partitioners } = JSON.parse(readFileSync(fixture, 'utf8')) as {
  partitioners: Record<PartitionerName, readonly Choice[]>;
};

describe.each(Object.entries(partitioners))('partitioner %s', (name, choices) => {
  const { hash } = partitionerNamed(name as PartitionerName);

  it('chooses as librdkafka does, for every key and number of partitions', () => {
    expect(choices.length).toBe(109);
    for (const { key, ...wanted } of choices) {
      // In the middle of other bytes, as keys stand in a batch.
      const bytes = Buffer.from(`xx${key}yy`);
      const hashed = hash!(bytes, 2, bytes.length - 2);
      expect({ key, partitionOf3: hashed % 3, partitionOf7: hashed % 7, partitionOf12: hashed % 12 }).toEqual(
        { key, ...wanted },
      );
    }
  });

  it('the plain one of the same name hashes alike', () => {
    const plain = partitionerNamed(name.replace('_random', '') as PartitionerName);
    for (const { key } of choices)
      expect(plain.hash!(Buffer.from(key), 0, Buffer.byteLength(key))).toBe(
        hash!(Buffer.from(key), 0, Buffer.byteLength(key)),
      );
    expect(plain.spreadsKeyless).toBe(false);
  });
});

describe('partitioners', () => {
  it('three of them were measured', () => {
    expect(Object.keys(partitioners).sort()).toEqual(['consistent_random', 'fnv1a_random', 'murmur2_random']);
  });

  it('any bytes give a whole number that is not negative', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 255 }), fc.nat(5), (key, before) => {
        const bytes = Buffer.concat([Buffer.alloc(before, 7), key]);
        for (const hash of [crc32, murmur2, fnv1a]) {
          const hashed = hash(bytes, before, bytes.length);
          expect(Number.isSafeInteger(hashed) && hashed >= 0).toBe(true);
          expect(hashed).toBe(hash(Buffer.from(key), 0, key.length));
        }
      }),
    );
  });

  it.each(PARTITIONERS)('%s says what it does without a key', (name) => {
    const { hash, spreadsKeyless } = partitionerNamed(name);
    expect(hash === undefined).toBe(name === 'random');
    expect(spreadsKeyless).toBe(name.endsWith('random'));
  });
});
