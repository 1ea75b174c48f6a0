// The actor whose streams change while it works: what is not settled goes back to where it came from, and the
// new streams are fed from there, in order; and one that is taken out.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { turn } from '../../support/fakeClock.js';
import { StreamActorBench as Bench } from '../../support/streamActorBench.js';
import { newAccount } from './account.js';

const WITHIN_MS = 5_000;

describe('StreamActor: its streams change', () => {
  test('what is outstanding comes again to the new ones, whole batches and parts, and then what waited', async () => {
    const bench = await Bench.opened({ depth: 2 });
    for (const text of ['a', 'b', 'c', 'd']) bench.tell(`${text}1`, `${text}2`);
    bench.primary.deliver(0, 1);
    bench.change();
    await turn();
    expect(bench.primaries).toHaveLength(2);
    expect(bench.primaries[0]!.closes).toEqual([WITHIN_MS]);
    expect(bench.primary.written).toEqual([['a2'], ['b1', 'b2']]);
    bench.primary.deliver();
    await turn();
    bench.primary.deliver();
    await turn();
    expect(bench.ends).toEqual(
      ['a1', 'a2', 'b1', 'b2', 'c1', 'c2', 'd1', 'd2'].map((text) => `primary ${text}`),
    );
    expect(bench.backups.flatMap(({ written }) => written)).toEqual([]);
    expect(bench.account).toEqual({ ...newAccount(), received: 8, delivered: 8 });
    expect(bench.settled).toEqual(['a1,a2', 'b1,b2', 'c1,c2', 'd1,d2']);
    await bench.stopped();
    bench.expectClean();
  });

  test('what ends while they are being closed is settled, and the new ones begin once they are', async () => {
    const bench = await Bench.opened();
    let close = (): void => undefined;
    const old = bench.primary;
    old.close = () => new Promise((resolve) => (close = resolve));
    bench.tell('a');
    bench.tell('b');
    bench.change();
    await turn();
    old.deliver(0, 1);
    await turn();
    expect(bench.account).toMatchObject({ delivered: 1, queued: 1 });
    old.deliver();
    await turn();
    bench.tell('c');
    expect([bench.taken, bench.source.waiting, bench.account.queued]).toEqual([0, [['c']], 0]);
    close();
    await turn();
    expect([bench.taken, old.written, bench.primary.written]).toEqual([1, [['a'], ['b']], [['c']]]);
    bench.primary.deliver();
    await bench.stopped();
    expect(bench.ends).toEqual(['primary a', 'primary b', 'primary c']);
    bench.expectClean();
  });

  test('in mode backup: it begins in mode normal with what its backup had not taken', async () => {
    const bench = await Bench.opened();
    bench.tell('a');
    bench.primary.fail();
    await turn();
    bench.backup.deliver();
    bench.tell('b');
    await turn();
    bench.change();
    await turn();
    expect(bench.stats.mode).toBe('normal');
    bench.primary.deliver();
    await bench.stopped();
    expect(bench.ends).toEqual(['backup a', 'primary b']);
    bench.expectClean();
  });

  test('before it is open: it waits for that, and no longer than it may', async () => {
    const bench = new Bench();
    await turn();
    bench.gate = new Promise(() => undefined);
    bench.change();
    await turn();
    expect(bench.taken).toBe(1);
    bench.tell('a');
    bench.gate = Promise.resolve();
    bench.change();
    await turn();
    expect(bench.taken).toBe(1);
    await bench.advance(WITHIN_MS);
    await turn();
    expect(bench.taken).toBe(2);
    await turn();
    expect(bench.primary.written).toEqual([['a']]);
    bench.primary.deliver();
    await bench.stopped();
    bench.expectClean();
  });

  test('what was asked of the old streams is no answer of the new ones', async () => {
    const bench = await Bench.opened();
    bench.tell('a');
    bench.primary.fail();
    await turn();
    bench.backup.deliver();
    await bench.advance(10_000);
    const old = bench.primary;
    bench.change();
    await turn();
    bench.tell('b');
    bench.primary.fail();
    await turn();
    bench.backup.deliver();
    await turn();
    old.answerProbe();
    await turn();
    expect(bench.stats.mode).toBe('backup');
    await bench.stopped();
    bench.expectClean();
  });

  test('told of streams that it has, because it took over from an actor that failed, it goes on', async () => {
    const bench = await Bench.opened();
    bench.change();
    await turn();
    bench.configure();
    await turn();
    expect([bench.taken, bench.primaries.length, bench.primary.state]).toEqual([2, 2, 'well']);
    await bench.stopped();
    bench.expectClean();
  });

  test('stopped meanwhile, it drains with the new ones', async () => {
    const bench = await Bench.opened({ depth: 1 });
    bench.tell('a');
    bench.tell('b');
    bench.change();
    bench.stop();
    await turn();
    await turn();
    for (let i = 0; i < 3; i++) {
      bench.primary.deliver();
      await turn();
    }
    await bench.advance(0);
    expect(bench.ends).toEqual(['primary a', 'primary b']);
    bench.expectClean();
  });
});

describe('StreamActor: gives its primary up', () => {
  test('what the primary has, and what comes, goes to the backup; without one it is left over at once', async () => {
    for (const hasBackup of [true, false]) {
      const bench = await Bench.opened({ hasBackup, endReason: () => 'it was taken out' });
      bench.tell('a');
      bench.ref.tell({ kind: 'giveUpPrimary' });
      await turn();
      bench.tell('b');
      for (let i = 0; i < 3; i++) {
        bench.backup.deliver();
        await turn();
      }
      bench.tell('c');
      bench.backup.deliver();
      await turn();
      const place = hasBackup ? 'backup' : 'left over';
      expect(bench.ends).toEqual([`${place} a`, `${place} b`, `${place} c`]);
      if (!hasBackup)
        expect(new Set(bench.reasons)).toEqual(
          new Set(['not delivered when it was taken out: it was closed']),
        );
      await bench.stopped();
      bench.expectClean();
    }
  });

  test('the backup has time to end what it was given', async () => {
    const bench = await Bench.opened();
    bench.tell('a');
    bench.ref.tell({ kind: 'giveUpPrimary' });
    await turn();
    bench.stop(0);
    await bench.advance(2_000);
    bench.backup.deliver();
    await bench.advance(0);
    expect(bench.ends).toEqual(['backup a']);
    bench.expectClean();
  });
});

type Step =
  | { readonly kind: 'batch'; readonly lanes: readonly number[] }
  | {
      readonly kind: 'deliver';
      readonly to: 'primary' | 'backup';
      readonly lane: number;
      readonly most: number;
    }
  | { readonly kind: 'fail'; readonly to: 'primary' | 'backup' }
  | { readonly kind: 'probe'; readonly isBack: boolean }
  | { readonly kind: 'tick'; readonly ms: number }
  | { readonly kind: 'change' };

const to = fc.constantFrom('primary' as const, 'backup' as const);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('batch' as const),
      lanes: fc.array(fc.nat(2), { minLength: 1, maxLength: 4 }),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('deliver' as const),
      to,
      lane: fc.nat(2),
      most: fc.integer({ min: 1, max: 5 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('fail' as const), to }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('probe' as const), isBack: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('tick' as const), ms: fc.constantFrom(100, 1_000, 10_000) }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('change' as const) }) },
);

test('any history with changes: every frame ends once, each partition keeps its order, counts add up', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 50 }),
      fc.constantFrom(1, 2, 8),
      fc.boolean(),
      async (steps, depth, hasBackup) => {
        const bench = await Bench.opened({ depth, hasBackup });
        const sent: string[] = [];
        for (const now of steps) {
          take(bench, now, sent);
          await turn();
          const { received, ...ends } = bench.account;
          expect([received, Object.values(ends).reduce((sum, count) => sum + count, 0)]).toEqual([
            sent.length,
            sent.length,
          ]);
        }
        await bench.stopped();
        bench.expectClean();
        const ended = bench.ends.map((end) => end.slice(end.lastIndexOf(' ') + 1));
        expect([...ended].sort()).toEqual([...sent].sort());
        for (const lane of ['0:', '1:', '2:'])
          expect(ended.filter((text) => text.startsWith(lane))).toEqual(
            sent.filter((text) => text.startsWith(lane)),
          );
      },
    ),
    { numRuns: 1_000 },
  );
}, 60_000);

function take(bench: Bench, now: Step, sent: string[]): void {
  const stream = 'to' in now ? bench[now.to] : undefined;
  switch (now.kind) {
    case 'batch': {
      const messages = now.lanes.map((lane, i) => `${lane}:${sent.length + i}`);
      sent.push(...messages);
      return bench.tell(...messages);
    }
    case 'deliver':
      return stream?.deliver(now.lane, now.most);
    case 'fail':
      return stream?.fail();
    case 'probe':
      return bench.primary.answerProbe(now.isBack ? undefined : 'away');
    case 'tick':
      return bench.clock.advance(now.ms);
    case 'change':
      return bench.change();
  }
}
