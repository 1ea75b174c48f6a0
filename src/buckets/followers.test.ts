// Which record of which ticket a frame is, however the frames of a batch are scattered over ranges.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TicketBook } from '../../support/ticketBook.js';
import type { FrameOutcome, SettledRange } from '../intake/outcome.js';
import { MemoryBudget } from '../memory/memoryBudget.js';
import { Followers } from './followers.js';

const REJECTED: FrameOutcome = { kind: 'rejected', code: 'TOO_LARGE', reason: 'too large' };

function delivered(partition: number, baseOffset: bigint): FrameOutcome {
  return { kind: 'delivered', partition, baseOffset };
}

test('a range that goes over the frames of several tickets is told to each, with its own offsets', () => {
  const followers = new Followers(new MemoryBudget(1e6));
  const [a, b] = [new TicketBook(), new TicketBook()];
  followers.add(1, 2, { ticket: a, first: 0 });
  followers.add(3, 1, { ticket: b, first: 7 });
  followers.add(5, 2, { ticket: a, first: 2 });
  followers.settled(
    [
      { first: 0, frames: 6, outcome: delivered(3, 100n) },
      { first: 6, frames: 1, outcome: REJECTED },
    ],
    'kafka',
  );
  expect(a.told).toEqual([
    [0, 2, { kind: 'delivered', partition: 3, baseOffset: 101n, stream: 'kafka' }],
    [2, 1, { kind: 'delivered', partition: 3, baseOffset: 105n, stream: 'kafka' }],
    [3, 1, { ...REJECTED, stream: 'kafka' }],
  ]);
  expect(b.told).toEqual([[7, 1, { kind: 'delivered', partition: 3, baseOffset: 103n, stream: 'kafka' }]]);
});

test('a frame that no range tells of is not known, and never delivered', () => {
  const followers = new Followers(new MemoryBudget(1e6));
  const ticket = new TicketBook();
  followers.add(0, 3, { ticket, first: 0 });
  followers.settled([{ first: 0, frames: 2, outcome: delivered(0, 0n) }], 'kafka');
  expect([0, 1, 2].map((record) => ticket.kindOf(record))).toEqual(['delivered', 'delivered', 'unknown']);
});

test('a frame that two ranges tell of is told once', () => {
  const followers = new Followers(new MemoryBudget(1e6));
  const ticket = new TicketBook();
  followers.add(0, 4, { ticket, first: 0 });
  followers.settled(
    [
      { first: 1, frames: 2, outcome: REJECTED },
      { first: 0, frames: 4, outcome: delivered(0, 0n) },
    ],
    'kafka',
  );
  expect([0, 1, 2, 3].map((record) => ticket.kindOf(record))).toEqual([
    'delivered',
    'rejected',
    'rejected',
    'delivered',
  ]);
});

test('any spans, any ranges: each record is told once, as its frame ended; the memory is given back', () => {
  const frame = fc.record({ ticket: fc.nat(3), range: fc.nat(4) });
  fc.assert(
    fc.property(fc.array(frame, { minLength: 1, maxLength: 60 }), fc.boolean(), (frames, inOrder) => {
      const budget = new MemoryBudget(1e6);
      const followers = new Followers(budget);
      const tickets = [new TicketBook(), new TicketBook(), new TicketBook()];
      // Ticket 3: nobody follows. One run for each stretch of frames of the same ticket.
      const records = [0, 0, 0];
      const isRecord: [number, number][] = [];
      for (let at = 0; at < frames.length;) {
        const { ticket } = frames[at]!;
        let length = 1;
        while (frames[at + length]?.ticket === ticket) length++;
        if (ticket < 3) followers.add(at, length, { ticket: tickets[ticket]!, first: records[ticket]! });
        for (let i = 0; i < length; i++) isRecord.push([ticket, ticket < 3 ? records[ticket]!++ : -1]);
        at += length;
      }
      fc.pre(records.some((count) => count > 0));
      // Range `r` has the offsets from 1000 r on.
      const ranges = [0, 1, 2, 3, 4].map((r): SettledRange => {
        const indexes = frames.flatMap(({ range }, index) => (range === r ? [index] : []));
        const order = inOrder ? indexes : indexes.reverse();
        return {
          first: 1,
          frames: order.length,
          indexes: Uint32Array.from([99, ...order]),
          outcome: delivered(r, BigInt(1000 * r)),
        };
      });
      followers.settled(ranges, 'kafka');
      const seen = [0, 0, 0, 0, 0];
      const offsets = new Map<number, bigint>();
      for (const { first, frames: count, indexes, outcome } of ranges)
        for (let i = first; i < first + count; i++)
          offsets.set(
            indexes![i]!,
            (outcome as { baseOffset: bigint }).baseOffset +
              BigInt(seen[(outcome as { partition: number }).partition]!++),
          );
      isRecord.forEach(([ticket, record], at) => {
        if (ticket < 3)
          expect(tickets[ticket]!.deliveredAt(record)).toEqual([frames[at]!.range, offsets.get(at)]);
      });
      expect(tickets.map(({ records: told }) => told)).toEqual(records);
      expect(budget.heldBytes).toBe(0);
    }),
  );
});
