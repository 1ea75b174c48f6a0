// What `kahe top` shows: rates between two looks, what stands first, and what it says when there is nothing
// new.
import { describe, expect, test } from 'vitest';
import { FakeIo } from '../../../support/cliIo.js';
import { bucketSnapshot, snapshot, streamSnapshot } from '../../../support/snapshots.js';
import type { Snapshot } from '../../stats/snapshot.js';
import { type Account, newAccount } from '../../streams/account.js';
import { type Sort, TopView } from './view.js';

interface Flow extends Partial<Account> {
  readonly bytes?: number;
}

/** A daemon with one stream in each of these buckets. */
function daemon(
  takenAtMs: number,
  flows: Readonly<Record<string, Flow>>,
  more: Partial<Snapshot> = {},
): Snapshot {
  return snapshot({
    takenAtMs,
    buckets: Object.entries(flows).map(([name, { bytes = 0, ...account }]) =>
      bucketSnapshot(name, [
        streamSnapshot({
          account: { ...newAccount(), ...account },
          written: { primary: { batches: 0, frames: 0, bytes }, backup: { batches: 0, frames: 0, bytes: 0 } },
        }),
      ]),
    ),
    ...more,
  });
}

function viewOf(sort: Sort, ...looks: readonly Snapshot[]): TopView {
  const view = new TopView(sort);
  for (const look of looks) view.take({ snapshot: look, text: '' });
  return view;
}

const { out: PIPE } = new FakeIo({ cwd: '/' });

function rows(view: TopView): string[][] {
  return view.table(PIPE).map((line) => line.split(/ {2,}/));
}

const BEFORE = daemon(10_000, {
  a: { received: 100, delivered: 100, bytes: 1_000 },
  b: { received: 500, queued: 3 },
  c: { received: 0, backedUp: 9 },
});
const AFTER = daemon(12_000, {
  a: { received: 300, delivered: 200, bytes: 5_096 },
  b: { received: 1_500, queued: 7 },
  c: { received: 1, backedUp: 9 },
});

describe('rates', () => {
  test("are what came between two looks, by the daemon's own clock", () => {
    expect(rows(viewOf('name', BEFORE, AFTER)).slice(1)).toEqual([
      ['a', 'kafka', 'normal', '100', '50', '2.0 KB', '0', '0'],
      ['b', 'kafka', 'normal', '500', '0', '0 B', '7', '0'],
      ['c', 'kafka', 'normal', '0.5', '0', '0 B', '0', '9'],
    ]);
  });

  test('of one look there are none, nor of a daemon that was started anew; a bucket that is new had nothing', () => {
    expect(rows(viewOf('name', AFTER))[1]).toEqual(['a', 'kafka', 'normal', '-', '-', '-', '0', '0']);
    expect(rows(viewOf('name', BEFORE, { ...AFTER, startedAtMs: 11_000 }))[1]!.slice(3, 6)).toEqual([
      '-',
      '-',
      '-',
    ]);
    expect(
      rows(
        viewOf('name', BEFORE, daemon(11_000, { ...{ a: { received: 300 } }, new: { received: 40 } })),
      )[2]!.slice(0, 4),
    ).toEqual(['new', 'kafka', 'normal', '40']);
  });

  test('the sums stand above', () => {
    const view = viewOf(
      'name',
      { ...BEFORE, socket: { ...BEFORE.socket, received: 10 } },
      { ...AFTER, socket: { ...AFTER.socket, received: 5_010, open: 3 } },
    );
    expect(view.head(PIPE)[1]).toMatch(
      /^in 2,500\/s {3}out 50\/s, 2\.0 KB\/s {3}3 connections {3}memory 1 B of 100 B$/,
    );
  });
});

test.each([
  ['rate', ['b', 'a', 'c']],
  ['bytes', ['a', 'b', 'c']],
  ['queue', ['c', 'b', 'a']],
  ['name', ['a', 'b', 'c']],
] as const)('sorted by %s', (sort, names) => {
  expect(
    rows(viewOf(sort, BEFORE, AFTER))
      .slice(1)
      .map(([name]) => name),
  ).toEqual(names);
});

test('names and errors do nothing to the terminal, and every line fits it', () => {
  const hostile = bucketSnapshot('x\u001b]0;title\u0007\u001b[2J', [
    streamSnapshot({
      id: 'k\u009b1m',
      mode: 'error',
      lastProblem: { text: 'a\u001b[31m\nb '.repeat(30), atMs: 1_000 },
    }),
  ]);
  const wide = bucketSnapshot('日本語のバケツ🪣'.repeat(5), [streamSnapshot()]);
  const view = viewOf(
    'rate',
    snapshot({ buckets: [hostile, wide], program: { ...snapshot().program, hostname: 'h\u001b[1m' } }),
  );
  for (const columns of [10, 40, 80, 200]) {
    const { out } = new FakeIo({ cwd: '/', isTerminal: true, columns });
    const lines = [...view.head(out), ...view.table(out)];
    expect(lines.length).toBeGreaterThan(4);
    for (const line of lines) {
      expect(line).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
      expect(line.length).toBeLessThanOrEqual(columns);
    }
  }
});

test('when it does not answer, that is said with its time, and the last rows stay', () => {
  const view = viewOf('name', BEFORE, AFTER);
  expect(view.isAway).toBe(false);
  view.miss('nobody listens there', Date.UTC(2030, 0, 1, 12, 30, 45));
  view.miss('nobody listens there', Date.UTC(2030, 0, 1, 12, 31));
  expect([view.isAway, view.head(PIPE).at(-1), rows(view).length]).toEqual([
    true,
    'since 12:30:45 UTC, tried again at each look: nobody listens there',
    4,
  ]);
  view.take(undefined);
  expect(view.head(PIPE).at(-1)).toContain('the daemon is starting');
  view.take({ snapshot: AFTER, text: '' });
  expect([view.isAway, view.head(PIPE).at(-1)]).toEqual([false, 'ready']);
});
