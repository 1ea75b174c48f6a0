// The actor while a part of its primary is away: the others go on, and what is for that part gets there once
// and in order, whatever keeps it meanwhile.
import { expect, test } from 'vitest';
import { turn } from '../../support/fakeClock.js';
import { StreamActorBench as Bench } from '../../support/streamActorBench.js';

/** The primary takes all it is given, and the backup too. */
async function deliver(bench: Bench): Promise<void> {
  for (let i = 0; i < 3; i++) {
    bench.primary.deliver();
    bench.backup.deliver();
    await turn();
  }
}

/** What is away is back, and the primary says so when it is asked. */
async function comeBack(bench: Bench, afterMs = 10_000): Promise<void> {
  bench.primary.comeBack(1);
  await bench.advance(afterMs);
  bench.primary.answerProbe();
  await turn();
}

test('its frames go to the backup, others to the primary; once back, the backup goes first', async () => {
  const bench = await Bench.withReplay();
  bench.tell('0:a', '1:a', '0:b');
  bench.primary.goAway(1);
  bench.tell('1:b', '0:c');
  await deliver(bench);
  expect([bench.atPrimary, bench.backup.delivered]).toEqual([
    ['0:a', '0:b', '0:c'],
    ['1:a', '1:b'],
  ]);
  expect([bench.actor.mode, bench.stats.mode, bench.stats.lastProblem?.text]).toEqual([
    'backup',
    'backup',
    'lanes 1 are away',
  ]);
  expect(bench.settled).toEqual(['0:a,1:a,0:b', '1:b,0:c']);
  expect(bench.lines.filter((line) => /switched to|delivery stopped/.test(line))).toHaveLength(1);
  bench.expectBalance();

  // Asked and still away: nothing changes, and nothing is said.
  await bench.advance(10_000);
  bench.primary.answerProbe();
  await turn();
  bench.tell('0:d', '1:c');
  await deliver(bench);
  expect([bench.atPrimary.at(-1), bench.backup.delivered.at(-1)]).toEqual(['0:d', '1:c']);
  expect(bench.lines.filter((line) => /switched to|delivery stopped/.test(line))).toHaveLength(1);

  bench.tell('0:e');
  await comeBack(bench);
  // Nothing may be on its way when it is let in.
  expect(bench.replay.isRunning).toBe(false);
  bench.tell('1:d', '0:f');
  await deliver(bench);
  for (let i = 0; i < 3; i++) {
    bench.replay.go(100);
    await deliver(bench);
  }
  expect(bench.atPrimary.filter((text) => text.startsWith('1:'))).toEqual(['1:a', '1:b', '1:c', '1:d']);
  expect(bench.atPrimary.filter((text) => text.startsWith('0:'))).toEqual([
    '0:a',
    '0:b',
    '0:c',
    '0:d',
    '0:e',
    '0:f',
  ]);
  expect([bench.actor.mode, bench.primary.away, bench.account]).toMatchObject([
    'normal',
    undefined,
    { received: 10, delivered: 10, backedUp: 0 },
  ]);
});

test('without a backup its frames wait, which shows as an error, and the others go on', async () => {
  const bench = await Bench.withReplay([], false);
  bench.primary.goAway(1);
  for (let i = 0; i < 30; i++) {
    bench.tell(`0:${i}`, `1:${i}`);
    await deliver(bench);
  }
  const numbers = Array.from({ length: 30 }, (_, i) => i);
  expect(bench.atPrimary).toEqual(numbers.map((i) => `0:${i}`));
  expect([bench.actor.mode, bench.account.queued, bench.settled]).toEqual(['error', 30, []]);
  bench.expectBalance();
  await comeBack(bench, 1_000);
  bench.tell('1:last');
  for (let i = 0; i < 10; i++) await deliver(bench);
  expect(bench.atPrimary.filter((text) => text.startsWith('1:'))).toEqual([
    ...numbers.map((i) => `1:${i}`),
    '1:last',
  ]);
  expect(bench.actor.mode).toBe('normal');
  expect(bench.settled).toHaveLength(31);
});

test('the backup fails too: its frames wait in order, the others go on, until it can be written', async () => {
  const bench = await Bench.withReplay();
  bench.primary.goAway(1);
  for (let i = 0; i < 9; i++) {
    bench.tell(`1:${i}`, `0:${i}`);
    bench.primary.deliver();
    await turn();
  }
  // Four are being written to the backup, and more wait for that.
  expect(bench.backup.outstanding).toBe(4);
  bench.backup.fail();
  await turn();
  expect([bench.actor.mode, bench.atPrimary.length, bench.backup.delivered]).toEqual(['error', 9, []]);
  await bench.advance(1_000);
  bench.primary.answerProbe();
  await turn();
  bench.backup.answerProbe();
  await turn();
  await deliver(bench);
  expect(bench.backup.delivered).toEqual(Array.from({ length: 9 }, (_, i) => `1:${i}`));
  expect([bench.actor.mode, bench.account.backedUp, bench.account.queued]).toEqual(['backup', 9, 0]);
});

test('a backup that fails is asked again, also when REJECTED had no room some time before', async () => {
  const bench = await Bench.withReplay();
  bench.tell('0:a');
  bench.primary.fail('REJECTED has no room', 'REJECTED');
  await turn();
  await bench.advance(1_000);
  bench.primary.answerProbe();
  await turn();
  await deliver(bench);
  bench.primary.goAway(1);
  bench.tell('1:a');
  await turn();
  bench.backup.fail();
  await turn();
  expect(bench.actor.mode).toBe('error');
  await bench.advance(1_000);
  bench.primary.answerProbe();
  await turn();
  bench.backup.answerProbe();
  await turn();
  await deliver(bench);
  expect([bench.actor.mode, bench.backup.delivered]).toEqual(['backup', ['1:a']]);
});

test('of how many batches frames wait for what is away is told, when no backup takes them', async () => {
  const bench = await Bench.withReplay([], false);
  bench.primary.goAway(1);
  for (let i = 0; i < 3; i++) {
    bench.tell(`0:${i}`, `1:${i}`);
    await deliver(bench);
  }
  expect(bench.source.asides).toEqual([1, 2, 3]);
  await comeBack(bench, 1_000);
  await deliver(bench);
  expect(bench.source.asides).toEqual([1, 2, 3, 0]);
});

test('a slow backup: no more of them are held than it can soon take', async () => {
  const bench = await Bench.withReplay();
  bench.primary.goAway(1);
  for (let i = 0; i < 60; i++) {
    bench.tell(`1:${i}`);
    await turn();
  }
  expect(bench.primary.written.length).toBeLessThan(30);
  for (let i = 0; i < 60; i++) await deliver(bench);
  expect(bench.backup.delivered).toEqual(Array.from({ length: 60 }, (_, i) => `1:${i}`));
});

test("a previous run's backup: the others get theirs, its frames stay, and go first once it is back", async () => {
  const bench = await Bench.withReplay(['0:a', '1:a', '2:a', '1:b']);
  bench.primary.goAway(1);
  bench.primary.answerProbe();
  await turn();
  bench.tell('0:b', '1:c');
  for (let i = 0; i < 4; i++) {
    bench.replay.go(100);
    await deliver(bench);
  }
  expect([bench.atPrimary, bench.replay.left]).toEqual([
    ['0:a', '2:a', '0:b'],
    ['1:a', '1:b', '1:c'],
  ]);
  expect([bench.actor.mode, bench.stats.lastProblem?.text]).toEqual(['backup', 'lanes 1 are away']);
  // On to the primary at once, not by way of the backup.
  bench.tell('2:b', '1:d');
  await deliver(bench);
  expect([bench.atPrimary.at(-1), bench.replay.left.at(-1)]).toEqual(['2:b', '1:d']);
  await comeBack(bench);
  for (let i = 0; i < 4; i++) {
    bench.replay.go(100);
    await deliver(bench);
  }
  expect(bench.atPrimary.slice(4)).toEqual(['1:a', '1:b', '1:c', '1:d']);
  expect(bench.actor.mode).toBe('normal');
});

test.each([true, false])(
  'stopped meanwhile (with a backup: %s): its frames are in the backup, or left over',
  async (hasBackup) => {
    const bench = await Bench.withReplay([], hasBackup);
    bench.primary.goAway(1);
    bench.tell('0:a', '1:a');
    bench.tell('1:b');
    bench.stop();
    await turn();
    for (let i = 0; i < 25; i++) {
      await deliver(bench);
      await bench.advance(1_000);
    }
    expect(bench.ref.state).toBe('stopped');
    expect(bench.atPrimary).toEqual(['0:a']);
    expect([bench.replay.left, bench.leftOver]).toEqual(
      hasBackup ? [['1:a', '1:b'], []] : [[], ['1:a', '1:b']],
    );
    bench.expectBalance();
    expect([bench.budget.heldBytes, bench.clock.timers]).toEqual([0, 0]);
  },
);

test('what is being written to the backup while the primary says that it is back goes to it first', async () => {
  const bench = await Bench.withReplay();
  bench.tell('a');
  bench.primary.fail();
  await turn();
  await bench.primaryIsBack();
  bench.tell('b');
  for (let i = 0; i < 4; i++) {
    await deliver(bench);
    bench.replay.go(100);
  }
  await deliver(bench);
  expect([bench.atPrimary, bench.actor.mode]).toEqual([['a', 'b'], 'normal']);
});
