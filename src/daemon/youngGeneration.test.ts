import { getHeapSpaceStatistics } from 'node:v8';
import { expect, test } from 'vitest';
import { keepYoungGenerationSmall } from './youngGeneration.js';

test('the young generation stays as large as it is, whatever is made and thrown away', () => {
  const before = youngBytes();
  keepYoungGenerationSmall();
  makeGarbage();
  expect(youngBytes()).toBeLessThanOrEqual(before);
});

function youngBytes(): number {
  return getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space')!.space_size;
}

/** Some 500 MB, of which at any time some are in use: that is what makes it grow. */
function makeGarbage(): void {
  const used: object[] = [];
  for (let i = 0; i < 5_000_000; i++) used[i % 20_000] = { i, list: [i] };
}
