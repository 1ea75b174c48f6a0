import { describe, expect, test } from 'vitest';
import { BufferPool, pooledSize } from './bufferPool.js';

const KIB = 1024;
const MIB = 1024 * KIB;

describe('BufferPool', () => {
  test('sizes are powers of two from 4 KiB to 1 MiB; what is larger is as it was asked for', () => {
    expect([0, 1, 4 * KIB, 4 * KIB + 1, 600 * KIB, MIB, MIB + 1].map(pooledSize)).toEqual([
      4 * KIB,
      4 * KIB,
      4 * KIB,
      8 * KIB,
      MIB,
      MIB,
      MIB + 1,
    ]);
  });

  test('gives the same memory again to who asks for its size', () => {
    const pool = new BufferPool(MIB);
    const first = pool.acquire(100 * KIB);
    expect(first.length).toBe(128 * KIB);
    pool.recycle(first);
    expect(pool.freeBytes).toBe(128 * KIB);
    expect(pool.acquire(64 * KIB).length).toBe(64 * KIB);
    expect(pool.acquire(128 * KIB)).toBe(first);
    expect(pool.freeBytes).toBe(0);
  });

  test('frees at once what is over its bound, and what is too large to be kept', () => {
    const pool = new BufferPool(2 * MIB);
    const buffers = [MIB, MIB, MIB, MIB + 1].map((bytes) => pool.acquire(bytes).fill(1));
    const before = process.memoryUsage().arrayBuffers;
    for (const buffer of buffers) pool.recycle(buffer);
    expect(buffers.map(({ length }) => length)).toEqual([MIB, MIB, 0, 0]);
    expect(before - process.memoryUsage().arrayBuffers).toBe(2 * MIB + 1);
    expect(pool.freeBytes).toBe(2 * MIB);
  });

  test('trim frees half of what nobody needed since the last one, the next time half of the rest', () => {
    const pool = new BufferPool(8 * MIB);
    const buffers = Array.from({ length: 8 }, () => pool.acquire(MIB));
    for (const buffer of buffers) pool.recycle(buffer);
    const kept = (): number => buffers.filter(({ length }) => length > 0).length;
    pool.trim();
    expect([kept(), pool.freeBytes]).toEqual([8, 8 * MIB]);
    pool.trim();
    expect([kept(), pool.freeBytes]).toEqual([4, 4 * MIB]);
    pool.recycle(pool.acquire(MIB));
    pool.trim();
    expect([kept(), pool.freeBytes]).toEqual([3, 3 * MIB]);
  });
});
