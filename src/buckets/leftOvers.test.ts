// What a stream that is over could deliver nowhere, and who hears of it.
import { expect, test } from 'vitest';
import { ActorBench, MB } from '../../support/bench.js';
import { batchOf } from '../../support/frames.js';
import type { Discards } from '../losses/discards.js';
import type { RejectedEnd, RejectedFrames } from '../losses/rejection.js';
import { LeftOvers } from './leftOvers.js';

test.each<[RejectedEnd, string, number]>([
  ['kept', 'rejected', 0],
  ['refused', 'discarded', 1],
])('what REJECTED has %s is %s; connections hear of what nothing keeps', async (end, said, told) => {
  const { budget, log } = new ActorBench({ memoryBytes: MB });
  const heard: string[] = [];
  const leftOvers = new LeftOvers({
    spool: { safeWhen: 'settled' },
    rejected: { offer: async () => Promise.resolve(end) } as unknown as RejectedFrames,
    discards: { add: () => undefined } as unknown as Discards,
    origins: { ended: (_from, fate) => void heard.push(fate) },
  });
  const batch = batchOf('orders', ['1'], budget);
  expect(await leftOvers.leave(batch, 'its time was over', true, log)).toBe(said);
  expect(heard).toEqual(Array.from({ length: told }, () => 'discarded'));
});
