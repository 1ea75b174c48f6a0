// The actor between a bucket and its destination: in which of two streams a batch ends, in which order, and
// what the counts say of it.
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { turn } from '../../support/fakeClock.js';
import { messagesIn } from '../../support/frames.js';
import {
  StreamActorBench as Bench,
  type StreamActorChoice as Choice,
} from '../../support/streamActorBench.js';
import type { Batch } from '../frames/batch.js';
import { type Fates, Origins } from '../frames/origins.js';
import { newAccount } from './account.js';
import type { StreamMessage } from './streamMessage.js';

describe('StreamActor: normal', () => {
  let bench: Bench;
  beforeEach(async () => void (bench = await Bench.opened()));

  test('writes nothing before both streams are open', async () => {
    const early = new Bench();
    early.tell('a');
    expect(early.primary.written).toEqual([]);
    await turn();
    expect(early.primary.written).toEqual([['a']]);
    expect([early.primary.opens, early.backup.opens]).toEqual([1, 1]);
  });

  test('writes batches to the primary in their order, at most `depth` at once', async () => {
    const narrow = await Bench.opened({ depth: 2 });
    for (const text of ['a', 'b', 'c', 'd']) narrow.tell(text);
    expect(narrow.primary.written).toEqual([['a'], ['b']]);
    narrow.primary.deliver(0, 1);
    await turn();
    expect(narrow.primary.written).toEqual([['a'], ['b'], ['c']]);
    expect(narrow.settled).toEqual(['a']);
  });

  test('counts what was delivered and what was rejected, and gives the memory back', async () => {
    bench.tell('a', 'b', 'c');
    bench.primary.deliver(0, 1);
    bench.primary.refuse();
    bench.primary.deliver();
    await turn();
    expect(bench.account).toEqual({ ...newAccount(), received: 3, delivered: 2, rejected: 1 });
    expect(bench.settled).toEqual(['a,b,c']);
    expect(bench.budget.heldBytes).toBe(0);
  });

  test('holds a batch that is settled before its elders until they are settled too', async () => {
    bench.tell('0:slow');
    bench.tell('1:fast');
    bench.primary.deliver(1);
    await turn();
    expect(bench.account.delivered).toBe(1);
    expect(bench.settled).toEqual([]);
    bench.primary.deliver(0);
    await turn();
    expect(bench.settled).toEqual(['0:slow', '1:fast']);
  });

  test('a stream that throws before it has made a promise loses nothing and doubles nothing', async () => {
    const write = bench.primary.write.bind(bench.primary);
    bench.primary.write = () => {
      throw new Error('a fault of its own');
    };
    bench.tell('a');
    await turn();
    expect(bench.actor.mode).toBe('backup');
    bench.primary.write = write;
    bench.backup.deliver();
    await turn();
    expect(bench.backup.delivered).toEqual(['a']);
    expect(bench.account).toEqual({ ...newAccount(), received: 1, backedUp: 1 });
    expect(bench.budget.heldBytes).toBe(0);
  });
});

describe('StreamActor: backup', () => {
  let bench: Bench;
  beforeEach(async () => void (bench = await Bench.opened()));

  test('what the primary hands back comes first, then what waited, then what follows', async () => {
    const narrow = await Bench.opened({ depth: 2 });
    for (const text of ['a', 'b', 'c']) narrow.tell(text);
    narrow.primary.fail('the broker is away');
    narrow.tell('d');
    for (let i = 0; i < 4; i++) {
      await turn();
      narrow.backup.deliver();
    }
    expect(narrow.backup.delivered).toEqual(['a', 'b', 'c', 'd']);
    expect(narrow.primary.delivered).toEqual([]);
    expect(narrow.account.received).toBe(4);
    expect(narrow.logged('WARN')).toEqual([
      '/stream switched to backup: the broker is away; 4 queued frames and new ones go to the backup; next try in 10 s; nothing is lost',
    ]);
  });

  test('of a partial failure only what was not delivered goes to the backup', async () => {
    bench.tell('0:a', '1:b', '0:c', '1:d', '2:e');
    bench.tell('1:f', '0:g');
    bench.primary.deliver(0, 1);
    bench.primary.deliver(1);
    bench.primary.refuse(2);
    bench.primary.fail();
    await turn();
    bench.backup.deliver();
    await turn();
    expect(bench.backup.written).toEqual([['0:c'], ['0:g']]);
    expect(bench.account).toEqual({ ...newAccount(), received: 7, delivered: 4, rejected: 1, backedUp: 2 });
    expect(bench.settled).toEqual(['0:a,1:b,0:c,1:d,2:e', '1:f,0:g']);
    expect(bench.budget.heldBytes).toBe(0);
  });

  test('asks the primary every 10 s, and goes back once it answers and nothing is outstanding', async () => {
    bench.tell('a');
    bench.primary.fail();
    await turn();
    expect(bench.backup.written).toEqual([['a']]);
    await bench.advance(9_999);
    expect(bench.primary.probes).toBe(0);
    await bench.advance(1);
    expect(bench.primary.probes).toBe(1);
    bench.primary.answerProbe('still away');
    await turn();
    await bench.advance(10_000);
    bench.primary.answerProbe();
    await turn();
    // The backup still has `a`: nothing may pass it.
    bench.tell('b');
    await turn();
    expect([bench.primary.written, bench.backup.written]).toEqual([[['a']], [['a']]]);
    bench.backup.deliver();
    await turn();
    expect(bench.actor.mode).toBe('normal');
    expect(bench.primary.written).toEqual([['a'], ['b']]);
    expect(bench.logged('INFO')).toEqual(['/stream switched to normal: the primary is back']);
    bench.primary.deliver();
    await turn();
    expect(bench.ends).toEqual(['backup a', 'primary b']);
    expect(bench.clock.timers).toBe(0);
  });

  test('a backup that fails while the return is under way overrules it', async () => {
    bench.tell('a');
    bench.primary.fail();
    await turn();
    await bench.advance(10_000);
    bench.primary.answerProbe();
    await turn();
    bench.backup.fail('disk full', 'IO');
    await turn();
    expect(bench.actor.mode).toBe('error');
    await bench.advance(1_000);
    bench.primary.answerProbe();
    await turn();
    bench.primary.deliver();
    await turn();
    expect(bench.ends).toEqual(['primary a']);
    expect(bench.account).toEqual({ ...newAccount(), received: 1, delivered: 1 });
  });
});

describe('StreamActor: error', () => {
  test('with no backup batches wait, in their order, and the primary is asked every second', async () => {
    const bench = await Bench.opened({ hasBackup: false });
    bench.tell('a');
    bench.tell('b');
    bench.primary.fail('login refused', 'REFUSED');
    await turn();
    bench.tell('c');
    expect(bench.actor.mode).toBe('error');
    expect(bench.logged('ERROR')).toEqual([
      '/stream delivery stopped: login refused; 2 queued frames and new ones wait; next try in 1 s; when there is no more room, clients wait',
    ]);
    for (let second = 0; second < 5; second++) {
      await bench.advance(1_000);
      expect(bench.primary.probes).toBe(1);
      bench.primary.answerProbe('still refused');
      await turn();
    }
    expect(bench.primary.written).toEqual([['a'], ['b']]);
    await bench.advance(1_000);
    bench.primary.answerProbe();
    await turn();
    bench.primary.deliver();
    await turn();
    expect(bench.primary.delivered).toEqual(['a', 'b', 'c']);
    expect(bench.settled).toEqual(['a', 'b', 'c']);
    expect(bench.budget.heldBytes).toBe(0);
  });

  test('when the backup fails too, whichever answers first gets everything, in order', async () => {
    const bench = await Bench.opened();
    bench.tell('0:a', '1:b');
    bench.primary.fail();
    await turn();
    bench.backup.deliver(1);
    bench.backup.fail('disk full', 'IO');
    await turn();
    expect(bench.actor.mode).toBe('error');
    bench.tell('0:c');
    await bench.advance(1_000);
    bench.primary.answerProbe('away');
    await turn();
    bench.backup.answerProbe('full');
    await turn();
    await bench.advance(1_000);
    bench.primary.answerProbe('away');
    await turn();
    bench.backup.answerProbe();
    await turn();
    bench.backup.deliver();
    await turn();
    expect(bench.ends).toEqual(['backup 1:b', 'backup 0:a', 'backup 0:c']);
    expect(bench.actor.mode).toBe('backup');
    expect(bench.account).toEqual({ ...newAccount(), received: 3, backedUp: 3 });
    expect(bench.budget.heldBytes).toBe(0);
  });

  test('a stream that can not be opened: everything waits until it can be used', async () => {
    const refused = await Bench.opened({
      hasBackup: false,
      open: () => Promise.reject(new Error('the folder is not ours')),
    });
    refused.tell('a');
    expect(refused.primary.written).toEqual([]);
    expect(refused.logged('ERROR')).toEqual([
      '/stream delivery stopped: the folder is not ours; 0 queued frames and new ones wait; next try in 1 s; when there is no more room, clients wait',
    ]);
    await refused.advance(1_000);
    refused.primary.answerProbe();
    await turn();
    refused.primary.deliver();
    await turn();
    expect(refused.primary.delivered).toEqual(['a']);
  });
});

describe('StreamActor: slice', () => {
  test('is a probability per frame, and the rest is counted', async () => {
    const draws = [0.05, 0.1, 0.0999, 0.5, 0];
    const bench = await Bench.opened({ slice: 0.1, random: () => draws.shift()! });
    bench.tell('a', 'b', 'c', 'd', 'e');
    bench.primary.deliver();
    await turn();
    expect(bench.primary.delivered).toEqual(['a', 'c', 'e']);
    expect(bench.account).toEqual({ ...newAccount(), received: 5, slicedOut: 2, delivered: 3 });
    expect(bench.settled).toEqual(['a,b,c,d,e']);
    expect(bench.budget.heldBytes).toBe(0);
  });

  test('a batch of which nothing is left is settled at once', async () => {
    const bench = await Bench.opened({ slice: 0 });
    bench.tell('a', 'b');
    expect(bench.settled).toEqual(['a,b']);
    expect(bench.primary.written).toEqual([]);
    expect(bench.account).toEqual({ ...newAccount(), received: 2, slicedOut: 2 });
    expect(bench.budget.heldBytes).toBe(0);
  });

  test('1 copies nothing and asks for no number', async () => {
    const bench = await Bench.opened({ slice: 1, random: () => expect.unreachable() });
    bench.tell('a');
    bench.primary.deliver();
    await turn();
    expect(bench.account.delivered).toBe(1);
  });

  test('a tenth of many frames is about a tenth, and not the same frames each time', async () => {
    const bench = await Bench.opened({ slice: 0.1 });
    const all = Array.from({ length: 20_000 }, (_, i) => String(i));
    bench.tell(...all);
    bench.primary.deliver();
    await turn();
    const share = bench.primary.delivered.length / all.length;
    // Six standard deviations: red by chance once in half a milliard.
    expect(Math.abs(share - 0.1)).toBeLessThan(6 * Math.sqrt((0.1 * 0.9) / all.length));
    expect(new Set(bench.primary.delivered.map((text) => Number(text) % 10)).size).toBe(10);
  });

  test('what was sliced once is not sliced again on its way through the backup', async () => {
    const draws = [0, 1, 0];
    const bench = await Bench.opened({ slice: 0.5, random: () => draws.shift() ?? expect.unreachable() });
    bench.tell('a', 'b', 'c');
    bench.primary.fail();
    await turn();
    bench.backup.deliver();
    await turn();
    expect(bench.backup.delivered).toEqual(['a', 'c']);
    expect(bench.account).toEqual({ ...newAccount(), received: 3, slicedOut: 1, backedUp: 2 });
  });
});

describe('StreamActor: slice, and giving back', () => {
  const keepOdd = (): (() => number) => {
    let draws = 0;
    return () => (draws++ % 2 === 0 ? 0 : 0.9);
  };

  test('a written batch of which nothing is settled is given back whole, and sliced anew', async () => {
    const bench = await Bench.opened({ hasBackup: false, depth: 2, slice: 0.5, random: keepOdd() });
    bench.tell('a', 'b', 'c');
    bench.tell('d', 'e');
    bench.tell('f', 'g');
    bench.primary.fail();
    await turn();
    expect(bench.account).toEqual({ ...newAccount(), received: 7, queued: 5, slicedOut: 2 });
    bench.ref.tell({ kind: 'giveBack' });
    expect(bench.givenBack).toEqual(['a', 'b', 'c', 'd', 'e', 'f', 'g']);
    expect(bench.account).toEqual(newAccount());
    expect(bench.budget.heldBytes).toBe(0);
    await bench.advance(1_000);
    bench.primary.answerProbe();
    await turn();
    bench.primary.deliver();
    await turn();
    bench.primary.deliver();
    await turn();
    // Draws six to twelve of every other one.
    expect(bench.primary.delivered).toEqual(['b', 'd', 'f']);
    expect(bench.account).toEqual({ ...newAccount(), received: 7, delivered: 3, slicedOut: 4 });
    expect(bench.settled).toEqual(['a,b,c', 'd,e', 'f,g']);
    expect(bench.budget.heldBytes).toBe(0);
  });

  test('what is partly settled stays, and what came before it', async () => {
    const bench = await Bench.opened({ hasBackup: false, depth: 3, slice: 0.5, random: keepOdd() });
    bench.tell('0:a', 'x');
    bench.tell('1:b', 'x', '0:c');
    bench.tell('0:d', 'x');
    bench.primary.deliver(1);
    bench.primary.fail();
    await turn();
    bench.ref.tell({ kind: 'giveBack' });
    expect(bench.givenBack).toEqual(['0:d', 'x']);
    expect(bench.account).toEqual({ ...newAccount(), received: 5, delivered: 1, queued: 2, slicedOut: 2 });
  });
});

describe("StreamActor: rejected frames that can't be kept", () => {
  test('batches wait, also where there is a backup, until they can; the mode and the log say so', async () => {
    const bench = await Bench.opened();
    bench.tell('bad', 'a');
    bench.primary.fail("frames must be rejected and can't be kept: no room", 'REJECTED');
    await turn();
    bench.tell('b');
    expect([bench.actor.mode, bench.stats.lastProblem?.text]).toEqual([
      'error',
      "frames must be rejected and can't be kept: no room",
    ]);
    expect(bench.logged('ERROR')).toEqual([
      expect.stringContaining(
        "delivery stopped: frames must be rejected and can't be kept: no room; 2 queued frames and new ones wait",
      ),
    ]);
    for (let tries = 0; tries < 3; tries++) {
      await bench.advance(1_000);
      bench.primary.answerProbe('no room');
      await turn();
    }
    expect([bench.backup.written, bench.backup.probes, bench.account.queued]).toEqual([[], 0, 3]);
    await bench.advance(1_000);
    bench.primary.answerProbe();
    await turn();
    expect([bench.actor.mode, bench.primary.written.slice(1)]).toEqual(['normal', [['bad', 'a'], ['b']]]);
    bench.primary.refuse();
    bench.primary.deliver();
    bench.stop();
    await turn();
    expect(bench.account).toEqual({ ...newAccount(), received: 3, delivered: 2, rejected: 1 });
    bench.expectClean();
  });

  test('at the end what waits goes to the backup: it is safe there', async () => {
    const bench = await Bench.opened();
    bench.tell('bad');
    bench.primary.fail('no room', 'REJECTED');
    await turn();
    bench.tell('b');
    bench.stop();
    await bench.advance(17_000);
    expect([bench.backup.written, bench.leftOver]).toEqual([[['bad'], ['b']], []]);
    bench.backup.deliver();
    await turn();
    expect(bench.account).toEqual({ ...newAccount(), received: 2, backedUp: 2 });
    bench.expectClean();
  });

  test('without a backup it is left over, and what nothing keeps is discarded and never settled', async () => {
    const bench = await Bench.opened({ hasBackup: false, leftOverEnd: 'discarded' });
    bench.tell('bad');
    bench.primary.fail('no room', 'REJECTED');
    await turn();
    bench.stop();
    await bench.advance(20_000);
    expect([bench.leftOver, bench.settled, bench.ref.state]).toEqual([['bad'], [], 'stopped']);
    expect(bench.account).toEqual({ ...newAccount(), received: 1, discarded: 1 });
  });
});

describe('StreamActor: what connections hear', () => {
  async function heard(
    choice: Choice,
    act: (bench: Bench) => void | Promise<void>,
  ): Promise<Readonly<Fates['counts']>> {
    const origins = new Origins();
    const fates = origins.open(() => undefined);
    const bench = await Bench.opened({ ...choice, origins, origin: fates.id });
    await act(bench);
    await turn();
    return fates.counts;
  }

  test('nothing of frames that the primary has delivered', async () => {
    expect(
      await heard({}, (bench) => {
        bench.tell('a', 'b');
        bench.primary.deliver();
      }),
    ).toEqual({ stored: 0, slicedOut: 0, rejected: 0, discarded: 0 });
  });

  test('that frames are in the backup, and no more than those that went there', async () => {
    expect(
      await heard({}, async (bench) => {
        bench.tell('a', '2:b', 'c');
        bench.primary.deliver(2);
        bench.primary.fail();
        await turn();
        bench.tell('d');
        bench.backup.deliver(0, 1);
        bench.backup.fail();
      }),
    ).toMatchObject({ stored: 1 });
  });

  test('that frames were sliced out', async () => {
    let n = 0;
    expect(
      await heard({ slice: 0.5, random: () => (n++ % 3 === 0 ? 0 : 0.9) }, (bench) => {
        bench.tell('a', 'b', 'c', 'd');
        bench.primary.deliver();
      }),
    ).toMatchObject({ slicedOut: 2 });
  });

  test('that frames were sliced out, once, though they were given back and came again', async () => {
    let n = 0;
    expect(
      await heard(
        { hasBackup: false, slice: 0.5, random: () => (n++ % 2 === 0 ? 0 : 0.9) },
        async (bench) => {
          bench.tell('a', 'b', 'c', 'd');
          bench.primary.fail();
          await turn();
          bench.ref.tell({ kind: 'giveBack' });
          await bench.advance(1_000);
          bench.primary.answerProbe();
          await turn();
          bench.primary.deliver();
        },
      ),
    ).toMatchObject({ slicedOut: 2 });
  });
});

describe('StreamActor: the end', () => {
  test('with nothing held it closes both streams and stops, before it is even open', async () => {
    const bench = new Bench();
    bench.stop();
    await turn();
    bench.expectClean();
    expect([bench.primary.closes, bench.backup.closes]).toEqual([[3_000], [3_000]]);
    expect(bench.lines).toEqual([]);
  });

  test('waits for what is outstanding', async () => {
    const bench = await Bench.opened();
    bench.tell('a');
    bench.stop();
    await turn();
    expect(bench.ref.state).toBe('draining');
    bench.primary.deliver();
    await turn();
    bench.expectClean();
    expect(bench.primary.delivered).toEqual(['a']);
  });

  test('a bucket that ends long before the daemon has all the time there is', async () => {
    const bench = await Bench.opened();
    bench.tell('a');
    bench.ref.stop();
    for (let hour = 0; hour < 3; hour++) await bench.advance(3_600_000);
    expect([bench.ref.state, bench.primary.closes]).toEqual(['draining', []]);
    // Only now does the daemon stop as well: the deadline holds here too.
    bench.stopAtMs = bench.clock.now() + 20_000;
    await bench.advance(18_000);
    expect(bench.primary.closes).toEqual([0]);
    bench.backup.deliver();
    await turn();
    bench.expectClean();
    expect(bench.ends).toEqual(['backup a']);
  });

  test('at the deadline what hangs in the primary goes to the backup', async () => {
    const bench = await Bench.opened({ depth: 1 });
    bench.tell('a');
    bench.tell('b');
    bench.stop(20_000);
    await bench.advance(16_999);
    expect(bench.primary.closes).toEqual([]);
    await bench.advance(1);
    expect(bench.primary.closes).toEqual([0]);
    for (let i = 0; i < 2; i++) {
      bench.backup.deliver();
      await turn();
    }
    expect(bench.backup.delivered).toEqual(['a', 'b']);
    bench.expectClean();
    expect(bench.account).toEqual({ ...newAccount(), received: 2, backedUp: 2 });
  });

  test('of little time to stop, the primary has half', async () => {
    const bench = await Bench.opened();
    bench.tell('a');
    bench.stop(2_000);
    await bench.advance(999);
    expect(bench.primary.closes).toEqual([]);
    await bench.advance(1);
    expect(bench.primary.closes).toEqual([0]);
    bench.backup.deliver();
    await turn();
    bench.expectClean();
  });

  test('at the deadline, with no backup, it is left over', async () => {
    const bench = await Bench.opened({ hasBackup: false, depth: 1 });
    bench.tell('0:a', '1:b');
    bench.tell('c');
    bench.primary.deliver(1);
    bench.stop(20_000);
    await bench.advance(17_000);
    expect(bench.leftOver).toEqual(['0:a', 'c']);
    expect(bench.reasons[0]).toBe('not delivered when the daemon stopped: it was closed');
    bench.expectClean();
    expect(bench.account).toEqual({ ...newAccount(), received: 3, delivered: 1, rejected: 2 });
    expect(bench.settled).toEqual(['0:a,1:b', 'c']);
  });

  test('in error mode the trying goes on until the deadline, then it is left over', async () => {
    const bench = await Bench.opened({ hasBackup: false });
    bench.tell('a');
    bench.primary.fail();
    await turn();
    bench.stop(20_000);
    expect(bench.primary.probes).toBe(1);
    bench.primary.answerProbe('away');
    await turn();
    await bench.advance(17_000);
    expect(bench.primary.probes).toBe(1);
    await bench.advance(1_000);
    expect(bench.leftOver).toEqual(['a']);
    expect(bench.reasons).toEqual(['not delivered when the daemon stopped: the time to stop was over']);
    bench.expectClean();
    // The answer that came too late matters to no one, and is not remarked upon.
    const lines = bench.lines.length;
    bench.primary.answerProbe();
    await turn();
    expect(bench.lines.length).toBe(lines);
  });

  test('a primary that comes back in time gets it still', async () => {
    const bench = await Bench.opened({ hasBackup: false });
    bench.tell('a');
    bench.primary.fail();
    await turn();
    bench.stop(20_000);
    bench.primary.answerProbe();
    await turn();
    bench.primary.deliver();
    await turn();
    bench.expectClean();
    expect(bench.ends).toEqual(['primary a']);
  });

  test('a backup that hangs has 3 s, then its frames are left over', async () => {
    const bench = await Bench.opened({ depth: 1 });
    bench.tell('a');
    bench.tell('b');
    bench.primary.fail();
    await turn();
    bench.stop(20_000);
    await bench.advance(17_000);
    expect(bench.ref.state).toBe('draining');
    await bench.advance(2_999);
    expect(bench.backup.closes).toEqual([]);
    await bench.advance(1);
    expect(bench.leftOver).toEqual(['a', 'b']);
    bench.expectClean();
  });

  test('a primary that answers after the deadline is not written to any more', async () => {
    const bench = await Bench.opened({ depth: 1 });
    bench.tell('a');
    bench.primary.fail();
    await turn();
    bench.stop(20_000);
    await bench.advance(17_000);
    bench.primary.answerProbe();
    await turn();
    expect(bench.actor.mode).toBe('backup');
    bench.backup.deliver();
    await turn();
    bench.expectClean();
    expect(bench.primary.written).toEqual([['a']]);
  });

  test('a stream that never opens does not hold up the end', async () => {
    const bench = await Bench.opened({ hasBackup: false, open: () => new Promise(() => undefined) });
    bench.tell('a');
    bench.stop(20_000);
    await bench.advance(17_000);
    expect(bench.leftOver).toEqual(['a']);
    bench.expectClean();
  });

  test('a batch told too late is left over, not lost', async () => {
    const bench = await Bench.opened();
    bench.stop();
    await turn();
    bench.tell('late');
    expect(bench.leftOver).toEqual(['late']);
    await turn();
    bench.expectClean();
  });

  test('so is one told while the streams are being closed', async () => {
    const bench = await Bench.opened();
    let closed: () => void = () => undefined;
    bench.primary.close = () => new Promise((resolve) => (closed = resolve));
    bench.stop();
    await turn();
    bench.tell('late');
    expect([bench.ref.state, bench.leftOver, bench.reasons]).toEqual([
      'draining',
      ['late'],
      ['it came when the stream was closing'],
    ]);
    closed();
    await turn();
    bench.expectClean();
    expect([bench.primary.written, bench.backup.written]).toEqual([[], []]);
  });
});

describe('StreamActor: a failed one', () => {
  test('its successor writes again what was outstanding, before what waited, and nothing is counted twice', async () => {
    const bench = await Bench.opened({ depth: 1 });
    bench.tell('a');
    bench.tell('b');
    // A message that none can handle.
    bench.ref.tell(poison);
    expect(bench.ref.state).toBe('starting');
    bench.tell('c');
    for (let i = 0; i < 20; i++) {
      await bench.advance(10_000);
      bench.primary.deliver();
    }
    await turn();
    expect(bench.logged('ERROR')).toHaveLength(3);
    expect([...new Set(bench.primary.delivered)]).toEqual(['a', 'b', 'c']);
    expect(bench.settled).toEqual(['a', 'b', 'c']);
    expect(bench.account).toEqual({ ...newAccount(), received: 3, delivered: 3 });
    expect(bench.budget.heldBytes).toBe(0);
  });

  test('a batch that its successor has delivered stays as it is while a stream still reads it', async () => {
    const bench = await Bench.opened();
    const given: Batch[] = [];
    const write = bench.backup.write.bind(bench.backup);
    bench.backup.write = (batch) => {
      given.push(batch);
      return write(batch);
    };
    bench.primary.fail();
    bench.tell('a');
    await turn();
    bench.ref.tell(poison);
    bench.primary.state = 'well';
    await bench.advance(1_000);
    bench.primary.deliver();
    await turn();
    expect(bench.primary.delivered).toEqual(['a']);
    expect(given.map((batch) => messagesIn(batch.view()))).toEqual([['a']]);
    bench.backup.fail('the disk is full');
    await turn();
    expect(bench.settled).toEqual(['a']);
    expect(bench.account).toEqual({ ...newAccount(), received: 1, delivered: 1 });
    expect(bench.budget.heldBytes).toBe(0);
  });

  test('one that fails while it drains is followed by one that drains', async () => {
    const bench = await Bench.opened();
    bench.tell('a');
    bench.stop();
    bench.ref.tell(poison);
    for (let i = 0; i < 10; i++) {
      bench.primary.deliver();
      await bench.advance(500);
    }
    bench.expectClean();
    expect(new Set(bench.primary.delivered)).toEqual(new Set(['a']));
  });
});

/** A message that no actor can take. */
const poison: StreamMessage = {
  kind: 'probed',
  target: 'primary',
  get problem(): string {
    throw new Error('a fault of our own');
  },
};

type Step =
  | { readonly kind: 'batch'; readonly lanes: readonly number[] }
  | {
      readonly kind: 'deliver' | 'refuse';
      readonly to: 'primary' | 'backup';
      readonly lane: number;
      readonly most: number;
    }
  | { readonly kind: 'fail'; readonly to: 'primary' | 'backup' }
  | { readonly kind: 'probe'; readonly to: 'primary' | 'backup'; readonly isBack: boolean }
  | { readonly kind: 'tick'; readonly ms: number }
  | { readonly kind: 'giveBack' }
  | { readonly kind: 'stop' };

const target = fc.constantFrom('primary' as const, 'backup' as const);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('batch' as const),
      lanes: fc.array(fc.nat(2), { minLength: 1, maxLength: 5 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('deliver' as const),
      to: target,
      lane: fc.nat(2),
      most: fc.integer({ min: 1, max: 4 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('refuse' as const),
      to: target,
      lane: fc.nat(2),
      most: fc.constant(1),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('fail' as const), to: target }) },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('probe' as const), to: target, isBack: fc.boolean() }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('tick' as const), ms: fc.constantFrom(1_000, 3_000, 10_000) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('giveBack' as const) }) },
);

describe('StreamActor: any history', () => {
  const history = fc.record({
    steps: fc.array(step, { minLength: 1, maxLength: 60 }),
    stopAt: fc.option(fc.nat(60), { nil: undefined }),
    depth: fc.constantFrom(1, 2, 8),
    hasBackup: fc.boolean(),
    slice: fc.constantFrom(1, 1, 0.5),
  });

  test('every frame ends once, each partition keeps its order, counts add up, all memory comes back', async () => {
    await fc.assert(fc.asyncProperty(history, checkHistory), { numRuns: 1500 });
  }, 60_000);

  async function checkHistory({
    steps,
    stopAt,
    depth,
    hasBackup,
    slice,
  }: {
    steps: Step[];
    stopAt: number | undefined;
    depth: number;
    hasBackup: boolean;
    slice: number;
  }): Promise<void> {
    const kept: boolean[] = [];
    const random = (): number => {
      kept.push(kept.length % 3 !== 1);
      return kept.at(-1)! ? 0 : 0.9;
    };
    const bench = await Bench.opened({ depth, hasBackup, slice, random });
    const sent: string[] = [];
    const batches: string[] = [];
    let isStopping = false;
    for (const [i, now] of steps.entries()) {
      if (i === stopAt) {
        isStopping = true;
        bench.stop(20_000);
      }
      if (now.kind === 'batch' && isStopping) continue;
      take(bench, now, sent, batches);
      await turn();
      checkCounts(bench, sent.length);
    }
    if (!isStopping) bench.stop(20_000);
    for (let second = 0; second < 25; second++) await bench.advance(1_000);
    checkCounts(bench, sent.length);
    bench.expectClean();
    const away = new Set(bench.givenBack);
    // In their order; one of which nothing was kept may have been settled between them.
    expect(bench.givenBack).toEqual(sent.filter((text) => away.has(text)));
    const told = sent.filter((text) => !away.has(text));
    checkEnds(
      bench,
      told,
      slice === 1 ? () => true : (i) => (bench.source.returnedBatches.length > 0 ? undefined : kept[i]!),
    );
    expect(bench.account.slicedOut).toBe(told.length - bench.ends.length);
    expect([...bench.settled, ...bench.source.waiting.map((messages) => messages.join())].sort()).toEqual(
      [...batches].sort(),
    );
  }

  function take(bench: Bench, now: Step, sent: string[], batches: string[]): void {
    const to = 'to' in now ? bench[now.to] : undefined;
    switch (now.kind) {
      case 'batch': {
        const messages = now.lanes.map((lane, i) => `${lane}:${sent.length + i}`);
        sent.push(...messages);
        batches.push(messages.join());
        return bench.tell(...messages);
      }
      case 'deliver':
        return to?.deliver(now.lane, now.most);
      case 'refuse':
        return to?.refuse(now.lane);
      case 'fail':
        return to?.fail();
      case 'probe':
        return to?.answerProbe(now.isBack ? undefined : 'away');
      case 'tick':
        return bench.clock.advance(now.ms);
      case 'giveBack':
        return bench.ref.tell({ kind: 'giveBack' });
      case 'stop':
        return bench.stop();
    }
  }

  /** What the actor says has ended never runs ahead of what has; the rest is queued. */
  function checkCounts(bench: Bench, sent: number): void {
    const { received, delivered, backedUp, rejected } = bench.account;
    expect(received).toBe(sent - bench.givenBack.length);
    expect(bench.ended).toBe(received);
    const ends = (place: string): number => bench.ends.filter((end) => end.startsWith(place)).length;
    expect(delivered).toBeLessThanOrEqual(ends('primary'));
    expect(backedUp).toBeLessThanOrEqual(ends('backup'));
    const refused = ends('rejected') + ends('left over');
    expect(rejected).toBeLessThanOrEqual(refused);
    // Nothing is outstanding: then all that came to an end is counted.
    if (bench.primary.outstanding + bench.backup.outstanding === 0)
      expect([delivered, backedUp, rejected]).toEqual([ends('primary'), ends('backup'), refused]);
  }

  /** @param isKept undefined: the frame was drawn more than once, and either is right */
  function checkEnds(
    bench: Bench,
    told: readonly string[],
    isKept: (index: number) => boolean | undefined,
  ): void {
    const ended = bench.ends.map((end) => end.slice(end.lastIndexOf(' ') + 1));
    const once = new Set(ended);
    expect(once.size).toBe(ended.length);
    const expected = told.filter((text, i) => isKept(i) ?? once.has(text));
    expect([...ended].sort()).toEqual([...expected].sort());
    for (const lane of ['0:', '1:', '2:']) {
      expect(ended.filter((text) => text.startsWith(lane))).toEqual(
        expected.filter((text) => text.startsWith(lane)),
      );
    }
  }
});
