// The actor and the replay of its backup: the primary gets everything once and in order, whoever sends it; and batches given back come again.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FakeClock, turn } from '../../test/support/fakeClock.js';
import { FakeStream } from '../../test/support/fakeStream.js';
import { batchOf, messagesIn } from '../../test/support/frames.js';
import type { ActorRef } from '../actors/actor.js';
import { ActorSystem } from '../actors/system.js';
import type { Batch } from '../frames/batch.js';
import { Log } from '../log.js';
import { MemoryBudget } from '../memoryBudget.js';
import { type Account, move, newAccount } from './account.js';
import type { BackupReplay } from './stream.js';
import { StreamActor } from './streamActor.js';
import type { StreamMessage } from './streamMessage.js';
import { StreamWatch } from './streamWatch.js';

const MB = 1024 * 1024;

interface Run {
  readonly enough: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Sends what the backup has taken when the test says so. Each frame counts as half a megabyte. */
class FakeReplay implements BackupReplay {
  sent = 0;
  calls: number[] = [];
  isKnown = true;
  #run: Run | undefined;

  constructor(readonly backup: FakeStream, readonly account: Account, readonly deliver: (text: string) => void) {}

  get left(): readonly string[] {
    return this.backup.delivered.slice(this.sent);
  }

  get leftFrames(): number {
    return this.left.length;
  }

  get leftBytes(): number {
    return this.left.length * (MB / 2);
  }

  get isRunning(): boolean {
    return this.#run !== undefined;
  }

  send(enough: number): Promise<void> {
    if (enough === 0 && this.backup.outstanding > 0) throw new Error('something is being written to the backup still');
    this.calls.push(enough);
    return new Promise((resolve, reject) => (this.#run = { enough, resolve, reject }));
  }

  async stop(): Promise<void> {
    this.#end((run) => run.resolve());
  }

  /** So many frames go to the primary. */
  go(frames: number): void {
    if (this.#run === undefined) return;
    for (let i = 0; i < frames && this.left.length > 0; i++) {
      this.deliver(this.left[0]!);
      this.sent++;
      move(this.account, 1, 'backedUp', 'delivered');
    }
    if (this.leftBytes <= this.#run.enough) this.#end((run) => run.resolve());
  }

  fail(): void {
    this.#end((run) => run.reject(new Error('nothing answers')));
  }

  #end(how: (run: Run) => void): void {
    const run = this.#run;
    this.#run = undefined;
    if (run !== undefined) how(run);
  }
}

class Bench {
  readonly clock = new FakeClock();
  readonly budget = new MemoryBudget(64 * MB);
  readonly lines: string[] = [];
  /** What the primary has had, in order, by whichever way. */
  readonly atPrimary: string[] = [];
  readonly rejected: string[] = [];
  readonly leftOver: string[] = [];
  readonly settled: string[] = [];
  readonly account: Account = newAccount();
  readonly watch = new StreamWatch(() => 0);
  readonly primary = new FakeStream(4, (text, end) => {
    (end === 'delivered' ? this.atPrimary : this.rejected).push(text);
  });
  readonly backup = new FakeStream(4, (text, end) => {
    if (end === 'rejected') this.rejected.push(text);
  });
  readonly replay = new FakeReplay(this.backup, this.account, (text) => this.atPrimary.push(text));
  readonly ref: ActorRef<StreamMessage>;
  ready = 0;
  stuck = 0;
  readonly gaveBack: string[] = [];
  stopAtMs = Infinity;
  nearEndBytes: number | undefined;
  actor!: StreamActor;

  private constructor(found: readonly string[]) {
    for (const text of found) this.backup.delivered.push(text);
    this.account.received = this.account.backedUp = found.length;
    const log = new Log('INFO', (line) => this.lines.push(line));
    this.ref = new ActorSystem(this.clock, log).spawn<StreamMessage>('stream', (context) => (this.actor = new StreamActor(context, {
      primary: this.primary,
      backup: this.backup,
      replay: this.replay,
      nearEndBytes: () => this.nearEndBytes,
      slice: 1,
      retryMs: 10_000,
      errorRetryMs: 1_000,
      stopTimeoutMs: () => this.stopAtMs - this.clock.now(),
      onLeftOver: (batch) => {
        this.leftOver.push(...messagesIn(batch.view()));
        return Promise.resolve('queued');
      },
      onStuck: () => {
        this.stuck++;
      },
      onReady: () => {
        this.ready++;
      },
      account: this.account,
      watch: this.watch,
    })));
  }

  static async opened(found: readonly string[] = []): Promise<Bench> {
    const bench = new Bench(found);
    await turn();
    return bench;
  }

  tell(...messages: string[]): void {
    const batch = batchOf('orders', messages, this.budget);
    batch.onSettled(() => this.settled.push(messages.join()));
    this.ref.tell({ kind: 'batch', batch });
  }

  /** As the backlog does: a share, which may be given back. */
  tellShare(...messages: string[]): Batch {
    const batch = batchOf('orders', messages, this.budget);
    const share = batch.share();
    share.onSettled(() => (share.isGivenUp ? this.gaveBack : this.settled).push(messages.join()));
    this.ref.tell({ kind: 'batch', batch: share });
    return batch;
  }

  async advance(ms: number): Promise<void> {
    this.clock.advance(ms);
    await turn();
  }

  async stop(): Promise<void> {
    this.stopAtMs = this.clock.now() + 20_000;
    this.ref.stop();
    await turn();
  }

  /** In backup mode, with these in the backup. */
  async backedUp(...messages: string[]): Promise<this> {
    for (const message of messages) this.tell(message);
    this.primary.fail();
    await turn();
    this.backup.deliver();
    await turn();
    for (let i = 0; i < messages.length; i++) {
      this.backup.deliver();
      await turn();
    }
    expect(this.backup.delivered).toEqual(messages);
    return this;
  }

  async primaryIsBack(): Promise<void> {
    await this.advance(10_000);
    this.primary.answerProbe();
    await turn();
  }

  expectBalance(): void {
    const { received, ...ends } = this.account;
    expect(Object.values(ends).reduce((a, b) => a + b, 0)).toBe(received);
    expect(this.account.backedUp).toBe(this.replay.left.length);
  }
}

const NUMBERS = Array.from({ length: 12 }, (_, i) => String(i));

describe('StreamActor with a replay', () => {
  test.each([[MB / 2, MB / 2], [64 * MB, 2 * MB], [undefined, 2 * MB]])('a replay that a limit makes slow: what comes waits for no more of it than is said (%d)', async (said, enough) => {
    const bench = await (await Bench.opened()).backedUp(...NUMBERS);
    bench.nearEndBytes = said;
    await bench.primaryIsBack();
    expect(bench.replay.calls).toEqual([enough]);
    // So long as more than that is left, what comes joins the backup's end.
    bench.replay.go(NUMBERS.length - enough / (MB / 2) - 1);
    bench.tell('new');
    await turn();
    bench.backup.deliver();
    await turn();
    expect(bench.backup.delivered.at(-1)).toBe('new');
    bench.expectBalance();
  });

  test('the primary is back: the backup goes first, what comes meanwhile joins its end, then all goes to the primary', async () => {
    const bench = await (await Bench.opened()).backedUp(...NUMBERS);
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

  test('what an earlier life has left goes first', async () => {
    const bench = await Bench.opened(['x', 'y']);
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
    const bench = await (await Bench.opened()).backedUp(...NUMBERS);
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
    const bench = await (await Bench.opened()).backedUp(...NUMBERS);
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
    const bench = await (await Bench.opened()).backedUp('0', '1');
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

  test('stopped while it is sent: it ends after the piece, what waits goes to the backup, nothing is left over', async () => {
    const bench = await (await Bench.opened()).backedUp(...NUMBERS);
    await bench.primaryIsBack();
    bench.replay.go(1);
    bench.tell('a');
    await bench.stop();
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
    const bench = await (await Bench.opened()).backedUp(...NUMBERS);
    await bench.primaryIsBack();
    bench.replay.go(10);
    await turn();
    bench.tell('a');
    await bench.stop();
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

test('a replay that fails again and again for the same reason is told of once, until something has changed', async () => {
  const bench = await Bench.opened(NUMBERS);
  const said = (): number => bench.lines.filter((line) => line.includes('the backup is not sent yet')).length;
  const begun = (): number => bench.lines.filter((line) => line.includes('are sent to it first')).length;
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
  test('in error mode what only waits is given back, from the end, and asked for again when it can be written', async () => {
    const bench = await Bench.opened();
    const batches = ['a', 'b', 'c'].map((text) => bench.tellShare(text));
    bench.primary.fail();
    await turn();
    bench.backup.fail();
    await turn();
    expect(bench.actor.mode).toBe('error');
    const readyBefore = bench.ready;
    bench.ref.tell({ kind: 'giveBack' });
    expect(bench.gaveBack).toEqual(['c', 'b', 'a']);
    expect(bench.account).toEqual(newAccount());
    expect(bench.ready).toBe(readyBefore);
    await bench.advance(1_000);
    bench.primary.answerProbe();
    await turn();
    expect(bench.ready).toBe(readyBefore + 1);
    for (const batch of batches) batch.release();
    expect(bench.budget.heldBytes).toBe(0);
  });

  test('says that it is stuck when it comes to be, and of each batch that comes then', async () => {
    const bench = await Bench.opened();
    const batches = [bench.tellShare('a')];
    bench.primary.fail();
    await turn();
    expect(bench.stuck).toBe(0);
    bench.backup.fail();
    await turn();
    expect([bench.actor.mode, bench.stuck]).toEqual(['error', 1]);
    batches.push(bench.tellShare('b'));
    expect(bench.stuck).toBe(2);
    bench.ref.tell({ kind: 'giveBack' });
    expect(bench.gaveBack).toEqual(['b', 'a']);
    for (const batch of batches) batch.release();
  });

  test('a batch of which a part is delivered is not given back', async () => {
    const bench = await Bench.opened();
    const batches = [bench.tellShare('a', 'b'), bench.tellShare('c')];
    bench.primary.deliver(undefined, 1);
    bench.primary.fail();
    await turn();
    bench.backup.fail();
    await turn();
    bench.ref.tell({ kind: 'giveBack' });
    expect(bench.gaveBack).toEqual(['c']);
    expect(bench.account).toMatchObject({ received: 2, delivered: 1, queued: 1 });
    for (const batch of batches) batch.release();
    await bench.stop();
    for (let i = 0; i < 25; i++) await bench.advance(1_000);
    expect(bench.leftOver).toEqual(['b']);
  });

  test('while batches are written, or will soon be, none is given back', async () => {
    const bench = await Bench.opened();
    const batch = bench.tellShare('a');
    bench.ref.tell({ kind: 'giveBack' });
    bench.primary.fail();
    bench.ref.tell({ kind: 'giveBack' });
    await turn();
    expect(bench.actor.mode).toBe('backup');
    bench.ref.tell({ kind: 'giveBack' });
    expect(bench.gaveBack).toEqual([]);
    bench.backup.deliver();
    await turn();
    batch.release();
    expect(bench.settled).toEqual(['a']);
  });
});

describe('StreamActor with a replay: any history', () => {
  type Step =
    | { readonly kind: 'batch'; readonly frames: number }
    | { readonly kind: 'deliver'; readonly to: 'primary' | 'backup'; readonly most: number }
    | { readonly kind: 'fail'; readonly to: 'primary' | 'backup' }
    | { readonly kind: 'probe'; readonly to: 'primary' | 'backup'; readonly isBack: boolean }
    | { readonly kind: 'replay'; readonly frames: number }
    | { readonly kind: 'failReplay' }
    | { readonly kind: 'tick'; readonly ms: number };
  const target = fc.constantFrom('primary' as const, 'backup' as const);
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('batch' as const), frames: fc.integer({ min: 1, max: 4 }) }) },
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('deliver' as const), to: target, most: fc.integer({ min: 1, max: 6 }) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('fail' as const), to: target }) },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('probe' as const), to: target, isBack: fc.boolean() }) },
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('replay' as const), frames: fc.integer({ min: 1, max: 9 }) }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'failReplay' as const }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('tick' as const), ms: fc.constantFrom(1_000, 10_000) }) },
  );
  const history = fc.record({ steps: fc.array(step, { minLength: 1, maxLength: 80 }), stopAt: fc.nat(100), found: fc.nat(4) });

  test('the primary has everything once, in order; what it has not had lies in the backup, and behind that is what was left over', async () => {
    await fc.assert(fc.asyncProperty(history, async ({ steps, stopAt, found }) => {
      let made = 0;
      const next = (count: number): string[] => Array.from({ length: count }, () => String(made++));
      const bench = await Bench.opened(next(found));
      for (const [i, now] of steps.entries()) {
        if (i === stopAt) await bench.stop();
        if (now.kind === 'batch' && i < stopAt) bench.tell(...next(now.frames));
        else take(bench, now);
        await turn();
        const { received, ...ends } = bench.account;
        expect(Object.values(ends).reduce((a, b) => a + b, 0)).toBe(received);
        expect(received).toBe(made);
        checkOrder(bench);
      }
      if (steps.length <= stopAt) await bench.stop();
      for (let second = 0; second < 25; second++) await bench.advance(1_000);
      expect(bench.ref.state).toBe('stopped');
      expect([...bench.atPrimary, ...bench.replay.left, ...bench.leftOver]).toEqual(Array.from({ length: made }, (_, i) => String(i)));
      expect(bench.budget.heldBytes).toBe(0);
      expect(bench.clock.timers).toBe(0);
    }), { numRuns: 1500 });
  }, 60_000);

  function take(bench: Bench, now: Step): void {
    switch (now.kind) {
      case 'batch': return;
      case 'deliver': return bench[now.to].deliver(undefined, now.most);
      case 'fail': return bench[now.to].fail();
      case 'probe': return bench[now.to].answerProbe(now.isBack ? undefined : 'away');
      case 'replay': return bench.replay.go(now.frames);
      case 'failReplay': return bench.replay.fail();
      case 'tick': return bench.clock.advance(now.ms);
    }
  }

  /** What the primary has had is the beginning of it all, without a hole. */
  function checkOrder({ atPrimary }: Bench): void {
    expect(atPrimary).toEqual(atPrimary.map((_, i) => String(i)));
  }
});
