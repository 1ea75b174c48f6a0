// Where a keyed frame goes, byte for byte as librdkafka decides, so that keys stay in the partitions where
// kahego put them. Source: librdkafka's rd_kafka_msg_partitioner_*; the truth is what it really chose, in
// test/fixtures/librdkafka-partitions.json.

import type { PartitionerName } from '../../config/kafka/settings.js';

export interface Partitioner {
  /**
   * Hash of the key `bytes[start..end)`, already free of its sign: the partition is this modulo the count.
   * Undefined: keys don't matter.
   */
  readonly hash: ((bytes: Uint8Array, start: number, end: number) => number) | undefined;
  /** Do frames without a key go where there is room? Otherwise the empty key is hashed like any other. */
  readonly spreadsKeyless: boolean;
  /** And those with an empty key, which only a full frame has? */
  readonly spreadsEmpty: boolean;
}

/**
 * librdkafka's names. The plain ones hash a missing key like an empty one, `_random` ones spread it, `random`
 * spreads all.
 */
export function partitionerNamed(name: PartitionerName): Partitioner {
  switch (name) {
    case 'random':
      return { hash: undefined, spreadsKeyless: true, spreadsEmpty: true };
    case 'consistent':
      return { hash: crc32, spreadsKeyless: false, spreadsEmpty: false };
    case 'consistent_random':
      return { hash: crc32, spreadsKeyless: true, spreadsEmpty: true };
    case 'murmur2':
      return { hash: murmur2, spreadsKeyless: false, spreadsEmpty: false };
    case 'murmur2_random':
      return { hash: murmur2, spreadsKeyless: true, spreadsEmpty: false };
    case 'fnv1a':
      return { hash: fnv1a, spreadsKeyless: false, spreadsEmpty: false };
    case 'fnv1a_random':
      return { hash: fnv1a, spreadsKeyless: true, spreadsEmpty: false };
  }
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c;
});

/**
 * CRC-32 (IEEE). A table in JavaScript: keys are short, and a call into native code costs more than they do.
 */
export function crc32(bytes: Uint8Array, start: number, end: number): number {
  let crc = 0xffffffff;
  for (let i = start; i < end; i++) crc = CRC_TABLE[(crc ^ bytes[i]!) & 0xff]! ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

/** Murmur2 as the Java client has it, its sign bit cleared. */
export function murmur2(bytes: Uint8Array, start: number, end: number): number {
  const m = 0x5bd1e995;
  const length = end - start;
  let h = 0x9747b28c ^ length;
  let i = start;
  for (; i + 4 <= end; i += 4) {
    let k = bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
    k = Math.imul(k, m);
    k ^= k >>> 24;
    h = Math.imul(h, m) ^ Math.imul(k, m);
  }
  const left = end - i;
  if (left === 3) h ^= bytes[i + 2]! << 16;
  if (left >= 2) h ^= bytes[i + 1]! << 8;
  if (left >= 1) h = Math.imul(h ^ bytes[i]!, m);
  h ^= h >>> 13;
  h = Math.imul(h, m);
  h ^= h >>> 15;
  return h & 0x7fffffff;
}

/** FNV-1a as Sarama has it: 32 bits, signed, made positive by its absolute value. */
export function fnv1a(bytes: Uint8Array, start: number, end: number): number {
  let h = 0x811c9dc5 | 0;
  for (let i = start; i < end; i++) h = Math.imul(h ^ bytes[i]!, 0x01000193);
  return Math.abs(h);
}
