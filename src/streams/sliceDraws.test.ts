import { expect, test } from 'vitest';
import { numbers, batchOf } from '../../support/frames.js';
import { MemoryBudget } from '../memory/memoryBudget.js';
import { drawsOf } from './sliceDraws.js';

const budget = new MemoryBudget(1e9);

function keptOf(name: string, count: number, seed?: number): number[] {
  const draw = drawsOf(
    batchOf(
      'orders',
      numbers(0, count).map((n) => `${name}:${n}`),
      budget,
    ),
    seed,
  );
  return Array.from({ length: count }, draw).flatMap((drawn, index) => (drawn < 0.5 ? [index] : []));
}

test('a batch that comes again is cut in the same way; another one, or another stream, otherwise', () => {
  expect(keptOf('a', 1000)).toEqual(keptOf('a', 1000));
  expect(keptOf('a', 1000, 1)).toEqual(keptOf('a', 1000, 1));
  expect(keptOf('b', 1000)).not.toEqual(keptOf('a', 1000));
  expect(keptOf('a', 1000, 1)).not.toEqual(keptOf('a', 1000));
});

test('over many small batches as in a large one, a slice takes its share', () => {
  // Eight standard deviations to either side.
  expect(Math.abs(keptOf('large', 10_000).length - 5_000)).toBeLessThan(400);
  const small = Array.from({ length: 10_000 }, (_, i) => keptOf(`small ${i}`, 1, 77).length);
  expect(Math.abs(small.reduce((sum, one) => sum + one) - 5_000)).toBeLessThan(400);
});
