// A bucket with streams that the test settles: where batches are cut, when they close, and when a receipt is
// due.
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { ActorBench } from '../../support/bench.js';
import { turn } from '../../support/fakeClock.js';
import { FakeRejected } from '../../support/fakeRejected.js';
import { framesIn, framesOf, messagesIn, numbers } from '../../support/frames.js';
import { lend, newQuestion, runOf } from '../../support/runs.js';
import { Actor, type ActorContext, type ActorRef } from '../actors/actor.js';
import type { Batch } from '../frames/batch.js';
import type { StreamMessage } from '../streams/streamMessage.js';
import type { BatchSource } from '../streams/waiting.js';
import { newAccount } from '../streams/account.js';
import { NO_NOTES, NO_SPOOL } from '../spool/noSpool.js';
import { Backlog } from './backlog.js';
import { Bucket, type BucketOptions, type LastingParts } from './bucket.js';
import type { StreamChanges } from './generation.js';
import type { BucketMessage, BucketSettings, RouterMessage } from './messages.js';
import type { Run } from '../intake/run.js';
import { Receipt } from '../intake/receipt.js';
import { Taps } from './taps.js';

const KEY = 'orders';
const IDLE: RouterMessage = { kind: 'idle', bucket: KEY };
const NO_CHANGE: StreamChanges = { removed: [], changed: [], added: [] };

/** Keeps batches until the test lets them go. */
class HoldingStream extends Actor<StreamMessage> {
  readonly batches: string[][] = [];
  readonly arrivals: Batch['arrivals'][] = [];
  readonly held: Batch[] = [];
  source!: BatchSource;

  constructor(readonly context: ActorContext<StreamMessage>) {
    super();
  }

  receive(message: StreamMessage): void {
    if (message.kind !== 'batch') return;
    this.batches.push(messagesIn(message.batch.view()));
    this.arrivals.push({
      until: [...message.batch.arrivals.until],
      times: [...message.batch.arrivals.times],
    });
    expect(messagesIn(message.batch.view())).toHaveLength(message.batch.frames);
    this.held.push(message.batch);
  }

  /** The first of those held, or the one at `index`, is settled. */
  settle(index = 0): void {
    const [batch] = this.held.splice(index, 1);
    batch!.release();
    this.source.settled(batch!, undefined);
  }

  settleAll(): void {
    while (this.held.length > 0) this.settle();
  }

  drain(): void {
    this.settleAll();
    this.context.drained();
  }
}

class Bench extends ActorBench {
  readonly streams: HoldingStream[] = [];
  readonly abandoned: string[] = [];
  /** What it tells its router. */
  readonly idle: RouterMessage[] = [];
  /** What its streams were told to change, each time. */
  readonly changes: StreamChanges[] = [];
  failsToChange = false;
  readonly ref: ActorRef<BucketMessage>;

  constructor(choice: Partial<BucketOptions> & { streams?: number } = {}) {
    super();
    const { streams = 1, ...options } = choice;
    const refs = Array.from({ length: streams }, (_, i) =>
      this.system.spawn<StreamMessage>(`stream.${i}`, (context) => {
        const stream = new HoldingStream(context);
        this.streams.push(stream);
        return stream;
      }),
    );
    const backlog = new Backlog({
      streams: refs.map((ref, i) => ({ id: `stream_${i}`, ref, account: newAccount() })),
      spool: NO_SPOOL,
      notes: NO_NOTES,
      log: this.log,
      clock: this.clock,
      onLost: () => undefined,
      onSettled: () => {
        if (this.ref.state !== 'stopped') this.ref.tell({ kind: 'settled' });
      },
    });
    this.streams.forEach((stream, number) => (stream.source = backlog.sourceOf(number)));
    this.ref = this.system.spawn<BucketMessage>(
      'bucket',
      (context) =>
        new Bucket(
          context,
          {
            key: KEY,
            name: KEY,
            batchFrames: 10,
            batchBytes: 1_000,
            batchTimeoutMs: 500,
            budget: this.budget,
            spool: NO_SPOOL,
            rejected: new FakeRejected(
              ({ bytes, start, end }) => void this.abandoned.push(...messagesIn(bytes, start, end)),
            ),
            router: { tell: (message) => void this.idle.push(message) },
            ...options,
          },
          {
            streams: {
              reconfigure: async (changes) => {
                this.changes.push(changes);
                if (this.failsToChange) throw new Error('it does not change');
              },
              end: async () => {
                for (const ref of refs) ref.stop();
                await Promise.all(refs.map(({ stopped }) => stopped));
              },
            },
            backlog,
          },
        ),
    );
  }

  get stream(): HoldingStream {
    return this.streams[0]!;
  }

  /** One run of these messages, in the middle of other bytes. */
  run(...messages: string[]): void {
    lend(runOf(this, KEY, messages), (run) => this.ref.tell(run));
  }

  /** A question, as the manager puts it. Tells whether it has been answered. */
  ask(): () => boolean {
    const { receipt, isAnswered } = newQuestion();
    receipt.add();
    this.ref.tell({ kind: 'fence', receipt });
    receipt.done();
    return isAnswered;
  }

  /** Its streams are told that nothing changes for them. */
  reconfigure(
    settings: BucketSettings,
    onTaken: (error?: Error) => void,
    limiter?: LastingParts['limiter'],
  ): void {
    this.ref.tell({ kind: 'reconfigure', settings, streams: NO_CHANGE, limiter, onTaken });
  }

  async stop(): Promise<void> {
    this.ref.stop();
    await this.ref.stopped;
  }
}

describe('Bucket: who looks at its batches', () => {
  test('a tap sees each batch once, as it closes, until it ends; one that breaks holds up nothing', () => {
    const faults: unknown[] = [];
    const taps = new Taps((error) => faults.push(error));
    const bench = new Bench({ taps });
    const seen: string[][] = [];
    const streamHad: number[] = [];
    const look = (batch: Batch): void => {
      seen.push(messagesIn(batch.view()));
      streamHad.push(bench.stream.batches.length);
    };
    const ends = [
      taps.put(KEY, look),
      taps.put(KEY, () => seen.push(['second'])),
      taps.put('other', () => seen.push(['never'])),
    ];
    bench.run(...numbers(0, 12));
    expect(seen).toEqual([numbers(0, 10), ['second']]);
    ends[1]!();
    bench.clock.advance(500);
    expect(seen.slice(2)).toEqual([['10', '11']]);
    expect(streamHad).toEqual([0, 1]);
    ends[0]!();
    ends[0]!();
    bench.run(...numbers(12, 10));
    expect(seen).toHaveLength(3);
    expect(bench.stream.batches.flat()).toEqual(numbers(0, 22));
    const fault = new Error('broken');
    taps.put(KEY, () => {
      throw fault;
    });
    bench.run(...numbers(22, 10));
    expect([faults, bench.stream.batches.flat()]).toEqual([[fault], numbers(0, 32)]);
  });
});

describe('Bucket: closes the batch', () => {
  let bench: Bench;
  beforeEach(() => void (bench = new Bench()));

  test('at exactly `batch` frames', () => {
    bench.run(...numbers(0, 9));
    expect(bench.stream.batches).toEqual([]);
    bench.run('9');
    expect(bench.stream.batches).toEqual([numbers(0, 10)]);
  });

  test('at exactly `batch` frames within a run that is longer, as often as it takes', () => {
    bench.run(...numbers(0, 25));
    expect(bench.stream.batches).toEqual([numbers(0, 10), numbers(10, 10)]);
    bench.run(...numbers(25, 8));
    expect(bench.stream.batches).toEqual([numbers(0, 10), numbers(10, 10), numbers(20, 10)]);
    bench.clock.advance(500);
    expect(bench.stream.batches.at(-1)).toEqual(numbers(30, 3));
  });

  test('at the byte limit: what would pass it goes to the next', () => {
    const frame = framesOf(KEY, ['x'.repeat(88)]).length;
    expect(frame).toBe(100);
    const message = (n: number): string => String(n).padStart(88, '0');
    const narrow = new Bench({ batchBytes: 350, batchFrames: 1_000 });
    narrow.run(...[0, 1, 2, 3, 4, 5, 6].map(message));
    expect(narrow.stream.batches).toEqual([[0, 1, 2].map(message), [3, 4, 5].map(message)]);
    narrow.run(message(7));
    narrow.run(message(8));
    narrow.run(message(9));
    expect(narrow.stream.batches.at(-1)).toEqual([6, 7, 8].map(message));
  });

  test('at the byte limit exactly, without waiting for more', () => {
    const full = new Bench({ batchBytes: 300, batchFrames: 1_000 });
    full.run(...['a', 'b', 'c'].map((text) => text.repeat(88)));
    expect(full.stream.batches).toHaveLength(1);
    expect(full.stream.batches[0]).toHaveLength(3);
  });

  test('a frame over the byte limit has a batch of its own, in its place', () => {
    const big = 'B'.repeat(5_000);
    bench.run('1', big, '2', '3');
    expect(bench.stream.batches).toEqual([['1'], [big]]);
    bench.clock.advance(500);
    expect(bench.stream.batches).toEqual([['1'], [big], ['2', '3']]);
    bench.run(big);
    bench.run(big, big);
    expect(bench.stream.batches.slice(3)).toEqual([[big], [big], [big]]);
  });

  test('`batchTimeout` after its first frame, and not after its last', () => {
    bench.run('1');
    bench.clock.advance(400);
    bench.run('2');
    bench.clock.advance(99);
    expect(bench.stream.batches).toEqual([]);
    bench.clock.advance(1);
    expect(bench.stream.batches).toEqual([['1', '2']]);
    bench.clock.advance(10_000);
    expect(bench.stream.batches).toHaveLength(1);
  });

  test('a batch closed by its frames has no timeout left that would close the next one early', () => {
    bench.run(...numbers(0, 9));
    bench.clock.advance(400);
    bench.run('9', 'next');
    bench.clock.advance(499);
    expect(bench.stream.batches).toHaveLength(1);
    bench.clock.advance(1);
    expect(bench.stream.batches[1]).toEqual(['next']);
    expect(bench.clock.timers).toBe(0);
  });

  test('`batch` 1: each frame by itself', () => {
    const single = new Bench({ batchFrames: 1 });
    single.run('a', 'b', 'c');
    expect(single.stream.batches).toEqual([['a'], ['b'], ['c']]);
    expect(single.clock.timers).toBe(0);
  });

  test('the arrival times are those of the runs', () => {
    const start = bench.clock.now();
    bench.run('1', '2');
    bench.clock.advance(30);
    bench.run('3');
    bench.clock.advance(470);
    expect(bench.stream.arrivals).toEqual([{ until: [2, 3], times: [start, start + 30] }]);
  });

  test('any runs: every frame once, in order, in batches as full as they can be', () => {
    const runs = fc.array(fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 40 }), {
      minLength: 1,
      maxLength: 10,
    });
    fc.assert(
      fc.property(
        runs,
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 1, max: 1_500 }),
        (sizes, batchFrames, batchBytes) => {
          const it = new Bench({ batchFrames, batchBytes });
          let next = 0;
          const sent: string[] = [];
          for (const run of sizes) {
            const messages = run.map((size) => `${next++}:${'x'.repeat(size)}`);
            sent.push(...messages);
            it.run(...messages);
          }
          it.clock.advance(500);
          const { batches } = it.stream;
          expect(batches.flat()).toEqual(sent);
          const bytes = (messages: readonly string[]): number => framesOf(KEY, messages).length;
          for (const [i, batch] of batches.entries()) {
            expect(batch.length).toBeLessThanOrEqual(batchFrames);
            if (batch.length > 1) expect(bytes(batch)).toBeLessThanOrEqual(batchBytes);
            // It was closed because it was full, or because the next frame did not fit.
            const follower = batches[i + 1]?.[0];
            if (follower !== undefined && batch.length < batchFrames && bytes(batch) < batchBytes)
              expect(bytes([...batch, follower])).toBeGreaterThan(batchBytes);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe('Bucket: memory', () => {
  test('a batch is held until every stream has let it go, then all of it comes back', async () => {
    const bench = new Bench({ streams: 3 });
    bench.run(...numbers(0, 10));
    for (const stream of bench.streams) {
      await turn();
      expect(bench.budget.heldBytes).toBeGreaterThan(0);
      expect(framesIn(stream.held[0]!.view())).toHaveLength(10);
      stream.settle();
    }
    await turn();
    expect(bench.budget.heldBytes).toBe(0);
  });

  test('one oversized frame does not make the batches after it big', async () => {
    const bench = new Bench();
    bench.run('B'.repeat(1_000_000));
    bench.stream.settleAll();
    await turn();
    bench.run('small');
    expect(bench.budget.heldBytes).toBeLessThan(100_000);
  });
});

describe('Bucket: receipts', () => {
  test('with nothing held the answer comes at once', () => {
    expect(new Bench().ask()()).toBe(true);
  });

  test('one that asks while a batch is open waits until that one is settled by every stream', async () => {
    const bench = new Bench({ streams: 2 });
    bench.run('1');
    const isSafe = bench.ask();
    bench.run('2');
    bench.clock.advance(500);
    bench.streams[0]!.settle();
    await turn();
    expect(isSafe()).toBe(false);
    bench.streams[1]!.settle();
    await turn();
    expect(isSafe()).toBe(true);
  });

  test('asking closes no batch', () => {
    const bench = new Bench();
    bench.run('1');
    bench.ask();
    expect(bench.stream.batches).toEqual([]);
  });

  test('an answer waits for all batches before, settled in whatever order, and answers keep theirs', async () => {
    const bench = new Bench({ batchFrames: 1 });
    const answers: (() => boolean)[] = [];
    for (const text of ['a', 'b', 'c']) {
      bench.run(text);
      answers.push(bench.ask(), bench.ask());
    }
    const safe = (): boolean[] => answers.map((isSafe) => isSafe());
    bench.stream.settle(2);
    await turn();
    expect(safe()).toEqual([false, false, false, false, false, false]);
    bench.stream.settle(0);
    await turn();
    expect(safe()).toEqual([true, true, false, false, false, false]);
    bench.stream.settle(0);
    await turn();
    expect(safe()).toEqual([true, true, true, true, true, true]);
    expect(bench.ask()()).toBe(true);
  });

  test('one that asks after a batch was closed waits for that one', async () => {
    const bench = new Bench({ batchFrames: 1 });
    bench.run('a');
    const isSafe = bench.ask();
    bench.run('b');
    expect(isSafe()).toBe(false);
    bench.stream.settle(0);
    await turn();
    expect(isSafe()).toBe(true);
  });
});

describe('Bucket: the end', () => {
  test('the open batch is closed, the streams are stopped, and all is answered', async () => {
    const bench = new Bench({ streams: 2, idleMs: 60_000 });
    bench.run('1', '2');
    const isSafe = bench.ask();
    await bench.stop();
    expect(bench.streams.map(({ batches }) => batches)).toEqual([[['1', '2']], [['1', '2']]]);
    expect(isSafe()).toBe(true);
    expect([bench.budget.heldBytes, bench.clock.timers, bench.ref.state]).toEqual([0, 0, 'stopped']);
  });

  test('a run that comes too late is abandoned with its bytes, not lost', async () => {
    const bench = new Bench();
    await bench.stop();
    bench.run('late');
    expect(bench.abandoned).toEqual(['late']);
    expect(bench.ask()()).toBe(true);
  });

  test('a bucket made on demand tells when it was idle for a whole period, and only then', async () => {
    const bench = new Bench({ idleMs: 60_000 });
    bench.run('1');
    bench.clock.advance(60_000);
    expect(bench.idle).toEqual([]);
    bench.stream.settleAll();
    await turn();
    bench.run('2');
    bench.clock.advance(60_000);
    expect(bench.idle).toEqual([]);
    // Held by its stream: not idle, however long.
    bench.clock.advance(600_000);
    expect(bench.idle).toEqual([]);
    bench.stream.settleAll();
    await turn();
    bench.clock.advance(60_000);
    expect(bench.idle).toEqual([IDLE]);
  });

  test('one that was configured never tells', () => {
    const bench = new Bench();
    bench.clock.advance(3_600_000);
    expect([bench.idle, bench.clock.timers]).toEqual([[], 0]);
  });
});

describe('Bucket: a failed one', () => {
  /** A message that no bucket can take. */
  const poison: BucketMessage = {
    kind: 'fence',
    get receipt(): Receipt {
      throw new Error('a fault of our own');
    },
  };

  test('its successor has the open batch, what is outstanding and the questions; nothing is lost or doubled', async () => {
    const bench = new Bench();
    bench.run(...numbers(0, 12));
    const first = bench.ask();
    bench.ref.tell(poison);
    expect(bench.ref.state).toBe('starting');
    bench.run(...numbers(12, 3));
    const second = bench.ask();
    expect(second()).toBe(false);
    bench.clock.advance(100);
    bench.clock.advance(200);
    bench.clock.advance(10_000);
    expect(bench.stream.batches).toEqual([numbers(0, 10), numbers(10, 5)]);
    expect([first(), second()]).toEqual([false, false]);
    bench.stream.settleAll();
    await turn();
    expect([first(), second()]).toEqual([true, true]);
    expect(bench.budget.heldBytes).toBe(0);
  });

  test('its successor alone watches for idleness', () => {
    const bench = new Bench({ idleMs: 60_000 });
    expect(bench.clock.timers).toBe(1);
    bench.ref.tell(poison);
    for (let i = 0; i < 5; i++) bench.clock.advance(1_000);
    expect([bench.ref.state, bench.clock.timers]).toEqual(['running', 1]);
  });

  test('a question that fails it again and again gets no answer while frames are not settled', async () => {
    const bench = new Bench();
    let reads = 0;
    let answers = 0;
    const tell = (): void => {
      const receipt = new Receipt(0, () => answers++);
      receipt.add();
      reads = 0;
      bench.ref.tell({
        kind: 'fence',
        get receipt(): Receipt {
          if (++reads <= 3) throw new Error('a fault of our own');
          return receipt;
        },
      });
      receipt.done();
      for (let i = 0; i < 5; i++) bench.clock.advance(10_000);
    };
    bench.run('a');
    tell();
    expect([reads, answers]).toEqual([3, 0]);
    bench.stream.settleAll();
    await turn();
    tell();
    expect([reads, answers]).toEqual([4, 1]);
  });

  test('a run that fails it once is taken by its successor, behind what was there before', async () => {
    const bench = new Bench({ batchBytes: 100_000 });
    bench.run('1');
    const allocate = bench.budget.allocate.bind(bench.budget);
    bench.budget.allocate = () => {
      bench.budget.allocate = allocate;
      throw new RangeError('no memory');
    };
    // The open batch has to grow for it, and can't.
    const big = 'B'.repeat(50_000);
    bench.run(big);
    expect(bench.ref.state).toBe('starting');
    bench.run('2');
    bench.clock.advance(100);
    bench.clock.advance(500);
    expect(bench.stream.batches).toEqual([['1', big, '2']]);
    bench.stream.settleAll();
    await turn();
    expect(bench.budget.heldBytes).toBe(0);
  });

  test('a question behind a batch that was settled out of order is still answered', async () => {
    const bench = new Bench({ batchFrames: 1 });
    bench.run('a');
    bench.run('b');
    const isSafe = bench.ask();
    bench.stream.settle(1);
    await turn();
    bench.ref.tell(poison);
    for (let i = 0; i < 5; i++) bench.clock.advance(1_000);
    bench.stream.settle(0);
    await turn();
    expect(isSafe()).toBe(true);
    bench.run('c');
    const next = bench.ask();
    bench.stream.settleAll();
    await turn();
    expect(next()).toBe(true);
  });

  test('what waits for it counts as held memory', () => {
    const bench = new Bench();
    bench.ref.tell(poison);
    expect(bench.budget.heldBytes).toBe(0);
    bench.run('x'.repeat(50_000));
    expect(bench.budget.heldBytes).toBeGreaterThan(50_000);
  });
});

describe('Bucket: is configured otherwise', () => {
  const settings = { batchFrames: 3, batchBytes: 1_000, batchTimeoutMs: 200 };

  test('an error under way is told to who asked, and the bucket goes on', async () => {
    const bench = new Bench();
    const errors: unknown[] = [];
    bench.failsToChange = true;
    bench.reconfigure(settings, (error) => errors.push(error));
    await turn();
    expect(errors).toEqual([new Error('it does not change')]);
    const breaks = {
      admit: (run: Run): Run => run,
      close: (): void => {
        breaks.close = () => undefined;
        throw new Error('the log is gone');
      },
    };
    bench.reconfigure(settings, (error) => errors.push(error), breaks);
    bench.reconfigure(settings, (error) => errors.push(error));
    bench.clock.advance(60_000);
    await turn();
    expect(errors).toHaveLength(3);
    bench.run(...numbers(0, 3));
    bench.clock.advance(500);
    expect(bench.stream.batches).toEqual([numbers(0, 3)]);
    await bench.stop();
  });

  test('what came before is closed for the streams that there were, and what comes keeps to the new limits', async () => {
    const bench = new Bench();
    bench.run(...numbers(0, 5));
    let taken = 0;
    bench.reconfigure(settings, () => taken++);
    expect([bench.stream.batches, bench.changes]).toEqual([[numbers(0, 5)], [NO_CHANGE]]);
    await turn();
    expect(taken).toBe(1);
    bench.run(...numbers(5, 7));
    expect(bench.stream.batches.slice(1)).toEqual([numbers(5, 3), numbers(8, 3)]);
    bench.clock.advance(200);
    expect(bench.stream.batches.slice(3)).toEqual([['11']]);
    await bench.stop();
  });

  test('it ends when idle, or does not any more', async () => {
    const bench = new Bench();
    const reconfigure = (idleMs?: number): void =>
      bench.reconfigure({ ...settings, idleMs }, () => undefined);
    reconfigure(1_000);
    bench.clock.advance(1_000);
    expect(bench.idle).toEqual([IDLE]);
    reconfigure();
    expect(bench.clock.timers).toBe(0);
    bench.clock.advance(10_000);
    expect(bench.idle).toEqual([IDLE]);
    await bench.stop();
  });

  test('one that ends, or has ended, says so and stays as it is', async () => {
    const bench = new Bench();
    await bench.stop();
    let taken = 0;
    bench.reconfigure(settings, () => taken++);
    expect([taken, bench.changes]).toEqual([1, []]);
  });
});
