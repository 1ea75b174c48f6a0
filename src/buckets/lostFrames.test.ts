// What those who follow a batch hear when the disk has lost it.
import { expect, test } from 'vitest';
import { TicketBook } from '../../support/ticketBook.js';
import { MemoryBudget } from '../memory/memoryBudget.js';
import type { Segment } from '../spool/spool.js';
import { newAccount } from '../streams/account.js';
import { type Entry, newEntry } from './entry.js';
import { Followers } from './followers.js';
import { LostFrames } from './lostFrames.js';
import type { BacklogStream } from './streamCursor.js';
import { StreamCursors } from './streamCursors.js';

/** Of two streams the first is heard; the second waits for a batch of three frames that is on disk alone. */
function lose(first: Entry['at'][number]): { readonly ticket: TicketBook; readonly entry: Entry } {
  const streams = ['heard', 'other'].map((id) => ({ id, account: newAccount() }) as BacklogStream);
  const cursors = new StreamCursors(streams);
  const ticket = new TicketBook();
  const followers = new Followers(new MemoryBudget(1e6));
  followers.add(0, 3, { ticket, first: 0 });
  const segment = { copy: 'complete', safeBytes: 100, isOfPreviousRun: false } as Segment;
  const { reporter } = cursors;
  const entry = newEntry({ batch: undefined, segment, followers, reporter, at: [first, 'waiting'] });
  entry.frames = 3;
  new LostFrames(cursors, { onLost: () => undefined }).all(entry, 'lost');
  return { ticket, entry };
}

test('the stream that is heard has not had it: it is discarded', () => {
  const { ticket } = lose('waiting');
  expect([0, 1, 2].map((record) => ticket.kindOf(record))).toEqual(['discarded', 'discarded', 'discarded']);
});

test('the stream that is heard holds what is left of it: nothing is told before that one has settled', () => {
  const { ticket, entry } = lose('told');
  expect(ticket.told).toEqual([]);
  const outcome = { kind: 'delivered', partition: 0, baseOffset: 5n } as const;
  entry.followers!.settled([{ first: 0, frames: 3, outcome }], 'heard');
  expect(ticket.deliveredAt(2)).toEqual([0, 7n]);
});
