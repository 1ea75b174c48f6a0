// The actor and the replay of its backup: the primary gets everything once and in order, whoever sends it;
// and batches given back come again.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MB } from '../../support/bench.js';
import { turn } from '../../support/fakeClock.js';
import { laneOf } from '../../support/fakeStream.js';
import { StreamActorBench as Bench } from '../../support/streamActorBench.js';
import { newAccount } from './account.js';

const NUMBERS = Array.from({ length: 12 }, (_, i) => String(i));

describe('StreamActor with a replay', () => {
  test('the primary is back: the backup goes first, what comes joins its end, then the primary has all', async () => {
    const bench = await (await Bench.withReplay()).backedUp(...NUMBERS);
    await bench.primaryIsBack();
    expect(bench.replay.isRunning).toBe(true);
    bench.tell('a');
    await turn();
    expect(bench.backup.written.at(-1)).toEqual(['a']);
    expect(bench.primary.outstanding).toBe(0);
    bench.backup.deliver();
    await turn();
    bench.replay.go(10);
    await turn();
    // Near the end: what comes waits now.
    bench.tell('b');
    await turn();
    expect(bench.backup.written.at(-1)).toEqual(['a']);
    expect(bench.replay.calls).toEqual([2 * MB, 0]);
    bench.replay.go(10);
    await turn();
    expect(bench.actor.mode).toBe('normal');
    bench.primary.deliver();
    await turn();
    expect(bench.atPrimary).toEqual([...NUMBERS, 'a', 'b']);
    bench.expectBalance();
    expect(bench.account).toMatchObject({ received: 14, delivered: 14, backedUp: 0 });
  });

  test('what a previous run has left goes first', async () => {
    const bench = await Bench.withReplay(['x', 'y']);
    bench.tell('a');
    await turn();
    expect(bench.actor.mode).toBe('backup');
    bench.backup.deliver();
    // Asked at once, not after a while.
    bench.primary.answerProbe();
    await turn();
    for (let i = 0; i < 3; i++) {
      bench.replay.go(10);
      await turn();
    }
    expect(bench.atPrimary).toEqual(['x', 'y', 'a']);
    expect(bench.actor.mode).toBe('normal');
  });

  test('the primary fails again while it is sent to: the backup goes on growing, and it is tried again', async () => {
    const bench = await (await Bench.withReplay()).backedUp(...NUMBERS);
    await bench.primaryIsBack();
    bench.replay.go(3);
    bench.replay.fail();
    await turn();
    bench.tell('a');
    await turn();
    bench.backup.deliver();
    await turn();
    expect(bench.actor.mode).toBe('backup');
    await bench.primaryIsBack();
    for (let i = 0; i < 4; i++) {
      bench.replay.go(20);
      await turn();
    }
    expect(bench.atPrimary).toEqual([...NUMBERS, 'a']);
    expect(bench.actor.mode).toBe('normal');
  });

  test('it fails at the very end: what waited for the end goes to the backup', async () => {
    const bench = await (await Bench.withReplay()).backedUp(...NUMBERS);
    await bench.primaryIsBack();
    bench.replay.go(10);
    await turn();
    bench.tell('a');
    await turn();
    expect(bench.replay.calls.at(-1)).toBe(0);
    bench.replay.fail();
    await turn();
    bench.backup.deliver();
    await turn();
    expect(bench.backup.delivered.at(-1)).toBe('a');
    expect(bench.atPrimary).toEqual(NUMBERS.slice(0, 10));
    bench.expectBalance();
  });

  test('the backup fails too: what waits comes after what lies in it', async () => {
    const bench = await (await Bench.withReplay()).backedUp('0', '1');
    bench.tell('a');
    bench.backup.fail();
    await turn();
    expect(bench.actor.mode).toBe('error');
    await bench.advance(1_000);
    bench.primary.answerProbe();
    await turn();
    expect(bench.replay.calls).toEqual([0]);
    bench.replay.go(5);
    await turn();
    expect(bench.actor.mode).toBe('normal');
    bench.primary.deliver();
    await turn();
    expect(bench.atPrimary).toEqual(['0', '1', 'a']);
  });

  test('stopped during a replay: it ends after the piece, what waits goes to the backup', async () => {
    const bench = await (await Bench.withReplay()).backedUp(...NUMBERS);
    await bench.primaryIsBack();
    bench.replay.go(1);
    bench.tell('a');
    bench.stop();
    await turn();
    expect(bench.replay.isRunning).toBe(false);
    bench.backup.deliver();
    await turn();
    await turn();
    expect(bench.ref.state).toBe('stopped');
    expect(bench.replay.left).toEqual([...NUMBERS.slice(1), 'a']);
    expect(bench.leftOver).toEqual([]);
    bench.expectBalance();
  });

  test('stopped at the very end of it, with a primary that hangs: the time to stop ends it', async () => {
    const bench = await (await Bench.withReplay()).backedUp(...NUMBERS);
    await bench.primaryIsBack();
    bench.replay.go(10);
    await turn();
    bench.tell('a');
    bench.stop();
    await turn();
    for (let i = 0; i < 25; i++) {
      await bench.advance(1_000);
      bench.backup.deliver();
      await turn();
    }
    expect(bench.ref.state).toBe('stopped');
    expect([...bench.atPrimary, ...bench.replay.left, ...bench.leftOver]).toEqual([...NUMBERS, 'a']);
    expect(bench.budget.heldBytes).toBe(0);
  });
});

test('a replay that fails again and again for one reason is logged once, until something changes', async () => {
  const bench = await Bench.withReplay(NUMBERS);
  const said = (): number => bench.lines.filter((line) => line.includes('the backup is not sent yet')).length;
  const begun = (): number => bench.lines.filter((line) => line.includes('of the backup first')).length;
  for (let round = 0; round < 5; round++) {
    bench.primary.answerProbe();
    await turn();
    if (round === 3) bench.replay.go(1);
    bench.replay.fail();
    await turn();
    await bench.advance(10_000);
  }
  expect([said(), begun()]).toEqual([2, 1]);
});

describe('StreamActor: giving back', () => {
  test('in error mode what only waits is given back from the end, and asked for when it can be written', async () => {
    const bench = await Bench.withReplay();
    for (const text of ['a', 'b', 'c']) bench.tell(text);
    bench.primary.fail();
    await turn();
    bench.backup.fail();
    await turn();
    expect(bench.actor.mode).toBe('error');
    const readyBefore = bench.source.readies;
    bench.ref.tell({ kind: 'giveBack' });
    expect(bench.source.returnedBatches).toEqual(['c', 'b', 'a']);
    expect(bench.account).toEqual(newAccount());
    expect(bench.source.readies).toBe(readyBefore);
    await bench.advance(1_000);
    bench.primary.answerProbe();
    await turn();
    expect(bench.source.readies).toBe(readyBefore + 1);
    expect(bench.budget.heldBytes).toBe(0);
  });

  test('says that it is stuck when it comes to be, and of each batch that comes then', async () => {
    const bench = await Bench.withReplay();
    bench.tell('a');
    bench.primary.fail();
    await turn();
    expect(bench.source.stucks).toBe(0);
    bench.backup.fail();
    await turn();
    expect([bench.actor.mode, bench.source.stucks]).toEqual(['error', 1]);
    bench.tell('b');
    expect(bench.source.stucks).toBe(2);
    bench.ref.tell({ kind: 'giveBack' });
    expect(bench.source.returnedBatches).toEqual(['b', 'a']);
  });

  test('a batch of which a part is delivered is not given back', async () => {
    const bench = await Bench.withReplay();
    bench.tell('a', 'b');
    bench.tell('c');
    bench.primary.deliver(undefined, 1);
    bench.primary.fail();
    await turn();
    bench.backup.fail();
    await turn();
    bench.ref.tell({ kind: 'giveBack' });
    expect(bench.source.returnedBatches).toEqual(['c']);
    expect(bench.account).toMatchObject({ received: 2, delivered: 1, queued: 1 });
    await bench.stopped();
    expect(bench.leftOver).toEqual(['b']);
  });

  test('while batches are written, or will soon be, none is given back', async () => {
    const bench = await Bench.withReplay();
    bench.tell('a');
    bench.ref.tell({ kind: 'giveBack' });
    bench.primary.fail();
    bench.ref.tell({ kind: 'giveBack' });
    await turn();
    expect(bench.actor.mode).toBe('backup');
    bench.ref.tell({ kind: 'giveBack' });
    expect(bench.source.returnedBatches).toEqual([]);
    bench.backup.deliver();
    await turn();
    expect(bench.settled).toEqual(['a']);
  });
});

describe('StreamActor with a replay: any history', () => {
  type Step =
    | { readonly kind: 'batch'; readonly lanes: readonly number[] }
    | {
        readonly kind: 'deliver';
        readonly to: 'primary' | 'backup';
        readonly lane: number | undefined;
        readonly most: number;
      }
    | { readonly kind: 'fail'; readonly to: 'primary' | 'backup' }
    | { readonly kind: 'probe'; readonly to: 'primary' | 'backup'; readonly isBack: boolean }
    | { readonly kind: 'goAway' | 'comeBack'; readonly lane: number }
    | { readonly kind: 'replay'; readonly frames: number }
    | { readonly kind: 'failReplay' }
    /** The primary is asked, and answers; what goes to the backup gets there. */
    | { readonly kind: 'round' }
    | { readonly kind: 'tick'; readonly ms: number };
  const LANES = [0, 1, 2];
  const lane = fc.constantFrom(...LANES);
  const target = fc.constantFrom('primary' as const, 'backup' as const);
  const others: fc.WeightedArbitrary<Step>[] = [
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('batch' as const),
        lanes: fc.array(lane, { minLength: 1, maxLength: 4 }),
      }),
    },
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('deliver' as const),
        to: target,
        lane: fc.constant(undefined),
        most: fc.integer({ min: 1, max: 6 }),
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({ kind: fc.constant('probe' as const), to: target, isBack: fc.boolean() }),
    },
    {
      weight: 6,
      arbitrary: fc.record({ kind: fc.constant('replay' as const), frames: fc.integer({ min: 1, max: 9 }) }),
    },
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constant('tick' as const), ms: fc.constantFrom(1_000, 10_000) }),
    },
  ];
  const failures: fc.WeightedArbitrary<Step>[] = [
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('fail' as const), to: target }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'failReplay' as const }) },
  ];
  const lanes: fc.WeightedArbitrary<Step>[] = [
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant('deliver' as const),
        to: fc.constant('primary' as const),
        lane,
        most: fc.integer({ min: 1, max: 6 }),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constantFrom('goAway' as const, 'comeBack' as const), lane }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('comeBack' as const), lane }) },
    { weight: 3, arbitrary: fc.constant({ kind: 'round' as const }) },
  ];

  test.each([
    ['whole failures', [...others, ...failures]],
    ['lanes that go away and come back', [...others, ...lanes]],
    ['all of it', [...others, ...failures, ...lanes]],
  ])(
    '%s: the primary has everything once, in order; the rest lies in the backup, in order',
    async (_, choice) => {
      const history = fc.record({
        steps: fc.array(fc.oneof(...choice), { minLength: 1, maxLength: 80 }),
        stopAt: fc.nat(100),
        found: fc.array(lane, { maxLength: 4 }),
        hasBackup: fc.boolean(),
      });
      await fc.assert(
        fc.asyncProperty(history, async ({ steps, stopAt, found, hasBackup }) => {
          const made: string[] = [];
          const next = (of: readonly number[]): string[] =>
            of.map((each) => {
              made.push(`${each}:${made.length}`);
              return made.at(-1)!;
            });
          const bench = await Bench.withReplay(hasBackup ? next(found) : [], hasBackup);
          for (const [i, now] of steps.entries()) {
            if (i === stopAt) bench.stop();
            if (i === stopAt) await turn();
            if (now.kind === 'batch' && i < stopAt) bench.tell(...next(now.lanes));
            else await take(bench, now);
            await turn();
            const { received, ...ends } = bench.account;
            expect(Object.values(ends).reduce((a, b) => a + b, 0)).toBe(received);
            expect(received).toBe(made.length);
            for (const each of LANES)
              expect(ofLane(bench.atPrimary, each)).toEqual(
                ofLane(made, each).slice(0, ofLane(bench.atPrimary, each).length),
              );
          }
          if (steps.length <= stopAt) bench.stop();
          for (let second = 0; second < 25; second++) await bench.advance(1_000);
          expect(bench.ref.state).toBe('stopped');
          expect(bench.account.backedUp).toBe(bench.replay.left.length);
          for (const each of LANES)
            expect(ofLane([...bench.atPrimary, ...bench.replay.left, ...bench.leftOver], each)).toEqual(
              ofLane(made, each),
            );
          expect(bench.budget.heldBytes).toBe(0);
          expect(bench.clock.timers).toBe(0);
        }),
        { numRuns: 1500 },
      );
    },
    90_000,
  );

  /** When all is well again, all gets there: nothing stays where it was put for a lane that was away. */
  test('lanes come and go, and then all is well: the primary has had everything, once, in order', async () => {
    const history = fc.record({
      steps: fc.array(fc.oneof(...others, ...failures, ...lanes), { minLength: 1, maxLength: 80 }),
      hasBackup: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(history, async ({ steps, hasBackup }) => {
        const made: string[] = [];
        const bench = await Bench.withReplay([], hasBackup);
        for (const now of steps) {
          const count = made.length;
          if (now.kind === 'batch') made.push(...now.lanes.map((each, i) => `${each}:${count + i}`));
          if (now.kind === 'batch') bench.tell(...made.slice(count));
          else await take(bench, now);
          await turn();
        }
        for (const each of LANES) bench.primary.comeBack(each);
        for (
          let round = 0;
          round < 60 && (bench.actor.mode !== 'normal' || bench.atPrimary.length < made.length);
          round++
        ) {
          await bench.advance(1_000);
          await playRound(bench);
          bench.primary.deliver();
          bench.replay.go(100);
          await turn();
        }
        for (const each of LANES) expect(ofLane(bench.atPrimary, each)).toEqual(ofLane(made, each));
        expect(bench.account).toEqual({ ...newAccount(), received: made.length, delivered: made.length });
        expect(
          bench.settled
            .join()
            .split(',')
            .filter((text) => text !== '')
            .sort(),
        ).toEqual([...made].sort());
        expect(bench.actor.mode).toBe('normal');
        expect(bench.budget.heldBytes).toBe(0);
        bench.stop();
        await turn();
      }),
      { numRuns: 1500 },
    );
  }, 90_000);

  async function playRound(bench: Bench): Promise<void> {
    await bench.advance(10_000);
    for (let i = 0; i < 4; i++) {
      bench.primary.answerProbe();
      bench.backup.answerProbe();
      bench.backup.deliver();
      await turn();
    }
  }

  async function take(bench: Bench, now: Step): Promise<void> {
    switch (now.kind) {
      case 'batch':
        return;
      case 'round':
        return playRound(bench);
      case 'deliver':
        bench[now.to].deliver(now.lane, now.most);
        return;
      case 'fail':
        bench[now.to].fail();
        return;
      case 'probe':
        bench[now.to].answerProbe(now.isBack ? undefined : 'away');
        return;
      case 'goAway':
        bench.primary.goAway(now.lane);
        return;
      case 'comeBack':
        bench.primary.comeBack(now.lane);
        return;
      case 'replay':
        bench.replay.go(now.frames);
        return;
      case 'failReplay':
        bench.replay.fail();
        return;
      case 'tick':
        bench.clock.advance(now.ms);
        return;
    }
  }

  function ofLane(texts: readonly string[], which: number): string[] {
    return texts.filter((text) => laneOf(text) === which);
  }
});
