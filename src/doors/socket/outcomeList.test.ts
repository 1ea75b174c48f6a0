// How each frame of a connection has ended: in order, once, bounded.
import { expect, test } from 'vitest';
import type { RecordOutcome } from '../../intake/ticket.js';
import { MemoryBudget } from '../../memory/memoryBudget.js';
import { OutcomeList } from './outcomeList.js';

const REJECTED = { kind: 'rejected', code: 'TOO_LARGE', reason: 'too large' } as const;
const BAD = { kind: 'rejected', code: 'BAD_FRAME', reason: 'no bucket' } as const;

function delivered(partition: number, baseOffset: bigint): RecordOutcome {
  return { kind: 'delivered', stream: 'kafka', partition, baseOffset };
}

test('frames are told in order, neighbours of one end as one; the memory is given back', () => {
  const budget = new MemoryBudget(1e6);
  const list = new OutcomeList(budget);
  let complete = 0;
  expect([list.follow(4)?.first, list.follow(3)?.first]).toEqual([0, 4]);
  list.ended(list.follow(1)!.first, 1, BAD);
  list.ask(() => complete++);
  list.ended(4, 2, delivered(1, 12n));
  list.ended(2, 2, delivered(1, 10n));
  list.ended(6, 1, REJECTED);
  expect([list.isComplete, complete]).toEqual([false, 0]);
  list.ended(0, 2, delivered(0, 5n));
  expect([list.isComplete, complete, list.frames]).toEqual([true, 1, 8]);
  expect(list.take()).toEqual([
    { first: 0, frames: 2, outcome: delivered(0, 5n) },
    { first: 2, frames: 4, outcome: delivered(1, 10n) },
    { first: 6, frames: 1, outcome: REJECTED },
    { first: 7, frames: 1, outcome: BAD },
  ]);
  expect(budget.heldBytes).toBe(0);
});

test('nothing came: nothing is waited for', () => {
  const list = new OutcomeList(new MemoryBudget(1e6));
  expect([list.isComplete, list.take()]).toEqual([true, []]);
});

test('what was never asked for is bounded, and behind the bound not known', () => {
  const list = new OutcomeList(new MemoryBudget(1e9));
  list.ended(list.follow(99_999)!.first, 99_999, delivered(0, 0n));
  expect([list.follow(2), list.follow(1)]).toEqual([undefined, undefined]);
  expect(list.isComplete).toBe(true);
  expect(list.take()).toEqual([
    { first: 0, frames: 99_999, outcome: delivered(0, 0n) },
    { first: 99_999, frames: 3, outcome: { kind: 'unknown' } },
  ]);
});

test('what ends after its connection takes no memory', () => {
  const budget = new MemoryBudget(1e6);
  const list = new OutcomeList(budget);
  list.follow(2);
  list.ended(0, 1, REJECTED);
  list.drop();
  list.ended(1, 1, REJECTED);
  expect(budget.heldBytes).toBe(0);
});
