// Which bucket a run comes to, which runs have none, and what holds while a bucket ends.
import { describe, expect, test, vi } from 'vitest';
import { FakeRejected } from '../../support/fakeRejected.js';
import { ActorBench, MB } from '../../support/bench.js';
import { turn } from '../../support/fakeClock.js';
import { framesOf, messagesIn } from '../../support/frames.js';
import { lend, newQuestion, runOf } from '../../support/runs.js';
import { Actor, type ActorContext, type ActorRef } from '../actors/actor.js';
import { parseBuckets, type BucketsConfig } from '../config/buckets.js';
import type { LeftBackup } from '../streams/backup/leftBackups.js';
import type { Place } from './bucketPlaces.js';
import { BucketRouter, type RoutedBucket, type RouterLasting } from './bucketRouter.js';
import { bucketName, keyOf, refuseName } from '../frames/bucketName.js';
import type { BucketMessage, RouterMessage } from './messages.js';
import { endRun, ownRun } from '../intake/run.js';
import type { BucketKey } from '../frames/bucketName.js';
import { Receipt } from '../intake/receipt.js';

/** Keeps what it is told, and stops when the test lets it. */
class HeldBucket extends Actor<BucketMessage> {
  readonly messages: string[] = [];
  readonly fences: Receipt[] = [];
  isDraining = false;

  constructor(
    readonly context: ActorContext<BucketMessage>,
    readonly key: BucketKey,
    readonly drainsAtOnce: () => boolean,
  ) {
    super();
  }

  receive(message: BucketMessage): void {
    if (message.kind === 'run') {
      this.messages.push(...messagesIn(message.chunk, message.start, message.end));
      endRun(message);
    }
    if (message.kind === 'fence') this.fences.push(message.receipt);
  }

  override keep(message: BucketMessage): BucketMessage {
    return message.kind === 'run' ? ownRun(message) : message;
  }

  drain(): void {
    this.isDraining = true;
    if (this.drainsAtOnce()) this.end();
  }

  end(): void {
    for (const receipt of this.fences.splice(0)) receipt.done();
    this.context.drained();
  }
}

/** Buckets that feed Kafka; `batch` tells configurations apart. */
function configOf(
  names: readonly string[],
  { hasDefault = true, batch = 10 }: { hasDefault?: boolean; batch?: number } = {},
): BucketsConfig {
  const bucket = { streams: ['kafka'], batch, batchTimeout: 500 };
  const config = {
    streamsConfigs: { kafka: { type: 'kafka', settings: { 'bootstrap.servers': 'localhost:9092' } } },
    buckets: names.map((id) => ({ id, ...bucket })),
    ...(hasDefault ? { defaultBucket: bucket } : {}),
  };
  return parseBuckets(JSON.stringify(config), 'buckets.json');
}

class RoutedBench implements RoutedBucket {
  /** What happened to it, in order. */
  readonly told: string[] = [];
  isQuiet = true;

  constructor(
    readonly ref: ActorRef<BucketMessage>,
    public place: Place,
  ) {}

  async reconfigure(place: Place): Promise<void> {
    if (place.bucket.batchFrames !== this.place.bucket.batchFrames) this.told.push('reconfigured');
    this.place = place;
  }

  takeOut(): void {
    this.told.push('taken out');
  }

  isAtRest(): boolean {
    return this.isQuiet;
  }

  forget(): void {
    this.told.push('forgotten');
  }
}

interface BenchOptions {
  readonly maxBuckets?: number;
  readonly config?: BucketsConfig;
  readonly left?: readonly BucketKey[];
  readonly leftBackups?: readonly LeftBackup[];
}

class Bench extends ActorBench {
  /** In the order of their making. */
  readonly buckets: HeldBucket[] = [];
  readonly routed: RoutedBench[] = [];
  readonly rejected: { messages: string[]; bucket: string; reason: string }[] = [];
  readonly ref: ActorRef<RouterMessage>;
  drainsAtOnce = true;
  reloads = 0;
  readonly reloadErrors: string[] = [];

  constructor({
    maxBuckets = 5,
    config = configOf(['orders']),
    left = [],
    leftBackups = [],
  }: BenchOptions = {}) {
    super({ memoryBytes: MB });
    const lasting: RouterLasting = { config, leftBackups, buckets: new Map() };
    this.ref = this.system.spawn<RouterMessage>(
      '',
      (context) =>
        new BucketRouter(
          context,
          {
            rejected: new FakeRejected(({ bytes, start, end, frames, bucket, reason }) => {
              const messages = messagesIn(bytes, start, end);
              expect(messages).toHaveLength(frames);
              this.rejected.push({ messages, bucket, reason });
            }),
            maxBuckets,
            left: new Map(left.map((key) => [key, undefined])),
            make: (inner, key, place) => this.#make(inner, key, place),
          },
          lasting,
        ),
    );
  }

  #make(context: ActorContext<RouterMessage>, key: BucketKey, place: Place): RoutedBench {
    const ref = context.spawn<BucketMessage>(`bucket.${bucketName(key)}`, (of) => {
      const bucket = new HeldBucket(of, key, () => this.drainsAtOnce);
      this.buckets.push(bucket);
      return bucket;
    });
    const routed = new RoutedBench(ref, place);
    this.routed.push(routed);
    return routed;
  }

  reload(config: BucketsConfig): void {
    this.ref.tell({
      kind: 'reload',
      config,
      leftBackups: [],
      onTaken: (error) => {
        this.reloads++;
        if (error !== undefined) this.reloadErrors.push(String(error));
      },
    });
  }

  run(bucket: BucketKey, ...messages: string[]): void {
    lend(runOf(this, bucket, messages), (run) => this.ref.tell(run));
  }

  ask(buckets: readonly BucketKey[] | 'all'): () => boolean {
    const { receipt, isAnswered } = newQuestion();
    this.ref.tell({ kind: 'fence', receipt, buckets: buckets === 'all' ? 'all' : new Set(buckets) });
    return isAnswered;
  }

  /** Each bucket's messages, as `name: messages`, in the order of their making. */
  get contents(): string[] {
    return this.buckets.map(({ key, messages }) => `${bucketName(key)}: ${messages.join()}`);
  }
}

/** No router can take it. */
const poison: RouterMessage = {
  kind: 'idle',
  get bucket(): string {
    throw new Error('a fault of our own');
  },
};

describe('BucketRouter: routing', () => {
  test('configured buckets are there from the start; others are made when they are named, once', () => {
    const bench = new Bench();
    expect(bench.contents).toEqual(['orders: ']);
    bench.run('orders', '1');
    bench.run('other', '2');
    bench.run('orders', '3');
    bench.run('other', '4', '5');
    expect(bench.contents).toEqual(['orders: 1,3', 'other: 2,4,5']);
  });

  test('with no defaultBucket a run of an unknown name is rejected whole, with the reason', () => {
    const bench = new Bench({ config: configOf(['orders'], { hasDefault: false }) });
    bench.run('other', '1', '2');
    expect(bench.rejected).toEqual([
      { messages: ['1', '2'], bucket: 'other', reason: 'unknown bucket, and there is no defaultBucket' },
    ]);
  });

  test('MAXBUCKETS bounds them, the configured ones included; those there are go on', () => {
    const bench = new Bench({ maxBuckets: 3 });
    for (const name of ['a', 'b', 'c', 'a', 'd', 'orders']) bench.run(name, name);
    expect(bench.contents).toEqual(['orders: orders', 'a: a,a', 'b: b']);
    const reason = 'no room for one more bucket: 3 exist (MAXBUCKETS)';
    expect(bench.rejected).toEqual([
      { messages: ['c'], bucket: 'c', reason },
      { messages: ['d'], bucket: 'd', reason },
    ]);
  });

  test('MAXBUCKETS below the number of configured ones refuses none of these', () => {
    const bench = new Bench({ maxBuckets: 1, config: configOf(['a', 'b', 'c']) });
    expect(bench.contents).toHaveLength(3);
    bench.run('d', 'x');
    expect(bench.rejected).toHaveLength(1);
  });

  test('a bucket that has ended makes room again', async () => {
    const bench = new Bench({ maxBuckets: 2 });
    bench.run('a', '1');
    bench.run('b', '2');
    bench.ref.tell({ kind: 'idle', bucket: 'a' });
    await turn();
    bench.run('b', '3');
    expect(bench.contents).toEqual(['orders: ', 'a: 1', 'b: 3']);
  });

  test.each([
    ['../../etc/passwd'],
    ['a/b'],
    ['a\0b'],
    ['.'],
    ['..'],
    ['a b'],
    ['x'.repeat(250)],
    ['x'.repeat(255)],
    ['ä'],
    ['a\nERROR | forged'],
    ['__proto__\u0000'],
  ])('a name that no topic can have is rejected: %j', (name) => {
    const bench = new Bench();
    bench.run(keyOf(name), '1');
    expect(bench.rejected).toEqual([
      {
        messages: ['1'],
        bucket: name,
        reason: 'the bucket name is no valid topic: 1 to 249 of a-z A-Z 0-9 . _ -',
      },
    ]);
    expect(bench.contents).toEqual(['orders: ']);
  });

  test.each(['__proto__', 'constructor', 'toString', '...', '-', 'x'.repeat(249)])(
    '%s is a name like any other',
    (name) => {
      const bench = new Bench();
      bench.run(keyOf(name), '1');
      bench.run(keyOf(name), '2');
      expect(bench.contents).toEqual(['orders: ', `${name}: 1,2`]);
    },
  );
});

describe('bucketName', () => {
  test('any bytes are a key without loss, and keys of text are told as text', () => {
    for (const name of ['orders', 'Grüße', '日本', 'a\0b']) expect(bucketName(keyOf(name))).toBe(name);
    expect(keyOf('ü')).toHaveLength(2);
  });

  test('what is not UTF-8 has no name, for two such would share one', () => {
    for (const key of ['\xff', 'a\xc3', '\xed\xa0\x80', '\xc0\xaf'])
      expect(refuseName(key, false)).toBe('the bucket name is not UTF-8');
    for (const name of ['ä', '日本', 'a/b', '../x', 'a b'])
      expect(refuseName(keyOf(name), false)).toBeUndefined();
  });
});

describe('BucketRouter: receipts', () => {
  test('those buckets are asked that the asker has touched, and the answer waits for all of them', () => {
    const bench = new Bench();
    for (const name of ['a', 'b', 'c']) bench.run(name, 'x');
    const isSafe = bench.ask(['a', 'b', 'never seen']);
    const [, a, b, c] = bench.buckets;
    expect([a, b, c].map((bucket) => bucket!.fences.length)).toEqual([1, 1, 0]);
    a!.fences[0]!.done();
    expect(isSafe()).toBe(false);
    b!.fences[0]!.done();
    expect(isSafe()).toBe(true);
  });

  test('nothing touched, or only rejected: safe at once', () => {
    const bench = new Bench();
    expect(bench.ask([])()).toBe(true);
    expect(bench.ask(['nowhere'])()).toBe(true);
  });

  test('one that has touched too many to tell them apart asks all', () => {
    const bench = new Bench();
    bench.run('a', 'x');
    const isSafe = bench.ask('all');
    for (const { fences } of bench.buckets) {
      expect(isSafe()).toBe(false);
      fences[0]!.done();
    }
    expect(isSafe()).toBe(true);
  });

  test('a bucket that hears of the question later is waited for all the same', () => {
    const bench = new Bench();
    bench.run('a', 'x');
    const [, a] = bench.buckets;
    // It fails: for a while it only keeps what it is told.
    const receive = a!.receive.bind(a);
    a!.receive = () => {
      throw new Error('a fault of our own');
    };
    bench.run('a', 'y');
    a!.receive = receive;
    const isSafe = bench.ask(['a']);
    expect(isSafe()).toBe(false);
    bench.clock.advance(100);
    expect(isSafe()).toBe(false);
    bench.buckets.at(-1)!.fences[0]!.done();
    expect(isSafe()).toBe(true);
  });
});

describe('BucketRouter: a bucket that ends', () => {
  test('is not overtaken: what comes for it waits, in order, counts as held, and makes its successor', async () => {
    const bench = new Bench();
    bench.drainsAtOnce = false;
    bench.run('a', '1');
    bench.ref.tell({ kind: 'idle', bucket: 'a' });
    bench.ref.tell({ kind: 'idle', bucket: 'a' });
    bench.run('a', '2');
    bench.run('a', '3', '4');
    bench.run('orders', 'x');
    await turn();
    expect(bench.contents).toEqual(['orders: x', 'a: 1']);
    expect(bench.budget.heldBytes).toBe(framesOf('a', ['2', '3', '4']).length);
    bench.buckets[1]!.end();
    await turn();
    expect(bench.contents).toEqual(['orders: x', 'a: 1', 'a: 2,3,4']);
    expect(bench.budget.heldBytes).toBe(0);
  });

  test('what waits for it may be more than a call takes arguments: all of it comes', async () => {
    const runs = 150_000;
    const bench = new Bench();
    bench.drainsAtOnce = false;
    bench.run('a', '1');
    bench.ref.tell({ kind: 'idle', bucket: 'a' });
    const run = runOf(bench, 'a', ['x']);
    for (let i = 0; i < runs; i++) bench.ref.tell(run);
    bench.buckets[1]!.end();
    await turn();
    expect(bench.buckets[2]?.messages).toHaveLength(runs);
    expect(bench.budget.heldBytes).toBe(0);
  });

  test('a question about it is answered only when it has ended, and what waited for it is settled too', async () => {
    const bench = new Bench();
    bench.drainsAtOnce = false;
    bench.run('a', '1');
    bench.ref.tell({ kind: 'idle', bucket: 'a' });
    const about1 = bench.ask(['a']);
    bench.run('a', '2');
    const about2 = bench.ask('all');
    await turn();
    expect([about1(), about2()]).toEqual([false, false]);
    bench.buckets[1]!.end();
    await turn();
    // The successor has the frame that waited; only it can say when that is safe.
    expect(about2()).toBe(false);
    for (const bucket of bench.buckets) for (const receipt of bucket.fences.splice(0)) receipt.done();
    await turn();
    expect([about1(), about2()]).toEqual([true, true]);
  });
});

describe('BucketRouter: the end', () => {
  test('stops every bucket and waits for them', async () => {
    const bench = new Bench();
    bench.drainsAtOnce = false;
    bench.run('a', '1');
    bench.ref.stop();
    await turn();
    expect(bench.buckets.map(({ isDraining }) => isDraining)).toEqual([true, true]);
    bench.buckets[0]!.end();
    await turn();
    expect(bench.ref.state).toBe('draining');
    bench.buckets[1]!.end();
    await bench.ref.stopped;
  });

  test('waits also for a bucket that is ending already, and for what waits for that one', async () => {
    const bench = new Bench();
    bench.drainsAtOnce = false;
    bench.run('a', '1');
    bench.ref.tell({ kind: 'idle', bucket: 'a' });
    bench.run('a', '2');
    bench.ref.stop();
    bench.buckets[0]!.end();
    for (let i = 0; i < 5; i++) await turn();
    expect(bench.ref.state).toBe('draining');
    bench.buckets[1]!.end();
    for (let i = 0; i < 5; i++) await turn();
    expect(bench.contents).toEqual(['orders: ', 'a: 1', 'a: 2']);
    expect([bench.ref.state, bench.buckets[2]!.isDraining]).toEqual(['draining', true]);
    bench.buckets[2]!.end();
    await bench.ref.stopped;
    expect(bench.rejected).toEqual([]);
    expect(bench.budget.heldBytes).toBe(0);
  });

  test('a run that comes too late is rejected with the reason, not lost', async () => {
    const bench = new Bench();
    bench.ref.stop();
    await bench.ref.stopped;
    bench.run('orders', 'late');
    expect(bench.rejected).toEqual([
      {
        messages: ['late'],
        bucket: 'orders',
        reason: 'it could not be routed: Error: the actor has stopped',
      },
    ]);
  });
});

describe('BucketRouter: a failed one', () => {
  test('its buckets outlive it; what came meanwhile is routed in order, or rejected', () => {
    const bench = new Bench();
    bench.run('a', '1');
    bench.ref.tell(poison);
    bench.run('a', '2');
    bench.run('b', '3');
    expect(bench.contents).toEqual(['orders: ', 'a: 1']);
    for (let i = 0; i < 5; i++) bench.clock.advance(1_000);
    expect(bench.contents).toEqual(['orders: ', 'a: 1,2', 'b: 3']);
    expect(bench.budget.heldBytes).toBe(0);
  });

  test('its successor knows which buckets are ending, and what waits for them comes once', async () => {
    const bench = new Bench();
    bench.drainsAtOnce = false;
    bench.run('a', '1');
    bench.ref.tell({ kind: 'idle', bucket: 'a' });
    bench.run('a', '2');
    bench.ref.tell(poison);
    bench.run('a', '3');
    for (let i = 0; i < 5; i++) bench.clock.advance(1_000);
    bench.run('a', '4');
    await turn();
    expect(bench.contents).toEqual(['orders: ', 'a: 1']);
    bench.buckets[1]!.end();
    await turn();
    expect(bench.contents).toEqual(['orders: ', 'a: 1', 'a: 2,3,4']);
    expect(bench.budget.heldBytes).toBe(0);
  });

  test('while it routes what has waited: the rest comes in order, to the one successor of the bucket', async () => {
    const bench = new Bench();
    bench.drainsAtOnce = false;
    bench.run('a', '1');
    bench.ref.tell({ kind: 'idle', bucket: 'a' });
    bench.run('a', '2');
    const { receipt } = newQuestion();
    const add = vi.spyOn(receipt, 'add');
    bench.ref.tell({ kind: 'fence', receipt, buckets: new Set(['a']) });
    add.mockImplementationOnce(() => {
      throw new Error('a fault of our own');
    });
    bench.run('a', '3');
    bench.buckets[1]!.end();
    await turn();
    for (let i = 0; i < 5; i++) bench.clock.advance(1_000);
    await turn();
    bench.run('a', '4');
    expect(bench.contents).toEqual(['orders: ', 'a: 1', 'a: 2,3,4']);
    expect([bench.routed[2]!.told, bench.budget.heldBytes]).toEqual([[], 0]);
  });
});

describe('BucketRouter: another configuration', () => {
  const withoutDefault = (...names: string[]): BucketsConfig => configOf(names, { hasDefault: false });

  test('makes what is new, also over MAXBUCKETS; ends what is gone, and rejects what comes for it', async () => {
    const bench = new Bench({ maxBuckets: 1, config: withoutDefault('orders') });
    bench.drainsAtOnce = false;
    bench.run('orders', '1');
    bench.reload(withoutDefault('new'));
    bench.run('orders', '2');
    const isAnswered = bench.ask(['orders']);
    bench.run('new', '3');
    expect(bench.contents).toEqual(['orders: 1', 'new: 3']);
    expect([bench.buckets[0]!.isDraining, bench.routed[0]!.told]).toEqual([true, ['taken out']]);
    expect(bench.rejected).toEqual([
      { messages: ['2'], bucket: 'orders', reason: 'unknown bucket, and there is no defaultBucket' },
    ]);
    // What it had before is safe only once it has ended.
    expect(isAnswered()).toBe(false);
    bench.buckets[0]!.end();
    await turn();
    expect(isAnswered()).toBe(true);
    expect([bench.contents, bench.reloads]).toEqual([['orders: 1', 'new: 3'], 1]);
    expect(bench.budget.heldBytes).toBe(0);
  });

  test('a bucket that returns before it has ended: what comes waits for its successor', async () => {
    const bench = new Bench({ config: withoutDefault('orders', 'quiet') });
    bench.drainsAtOnce = false;
    bench.reload(withoutDefault('other'));
    bench.reload(withoutDefault('orders', 'quiet'));
    bench.run('orders', '1');
    expect(bench.contents).toEqual(['orders: ', 'quiet: ', 'other: ']);
    for (const bucket of bench.buckets.slice(0, 2)) bucket.end();
    await turn();
    expect(bench.contents).toEqual(['orders: ', 'quiet: ', 'other: ', 'orders: 1', 'quiet: ']);
    expect([bench.rejected, bench.reloads]).toEqual([[], 2]);
  });

  test('each bucket that goes on hears of it; one that fails on it is waited for no more', async () => {
    const bench = new Bench();
    bench.run('a', '1');
    bench.reload(configOf(['orders'], { batch: 20 }));
    await turn();
    expect([bench.routed.map(({ told }) => told), bench.reloads]).toEqual([
      [['reconfigured'], ['reconfigured']],
      1,
    ]);
    bench.routed[0]!.reconfigure = () => {
      throw new Error('a bug of our own');
    };
    bench.reload(configOf(['orders', 'new']));
    for (let i = 0; i < 5; i++) bench.clock.advance(1_000);
    await turn();
    expect([bench.reloads, bench.contents]).toEqual([2, ['orders: ', 'a: 1', 'new: ']]);
    expect(bench.reloadErrors).toEqual(['Error: a bug of our own']);
  });

  test('a router that fails goes on with the configuration that came last', () => {
    const bench = new Bench();
    bench.reload(withoutDefault('orders', 'new'));
    bench.ref.tell(poison);
    for (let i = 0; i < 5; i++) bench.clock.advance(1_000);
    bench.run('other', '1');
    bench.run('new', '2');
    expect([bench.contents, bench.rejected.length]).toEqual([['orders: ', 'new: 2'], 1]);
  });

  test('one that comes while all ends changes nothing, and is answered', async () => {
    const bench = new Bench();
    bench.drainsAtOnce = false;
    bench.ref.stop();
    bench.reload(configOf(['new']));
    expect([bench.contents, bench.reloads]).toEqual([['orders: '], 1]);
    bench.buckets[0]!.end();
    await bench.ref.stopped;
    bench.reload(configOf(['new']));
    expect(bench.reloads).toBe(2);
  });
});

describe('BucketRouter: what a previous run has left', () => {
  const backup = (bucket: string, stream: string): LeftBackup => ({
    bucket,
    stream,
    journal: `/backup/${bucket}.journal`,
    isForeign: false,
  });

  test('is taken on by its bucket, over MAXBUCKETS too, and else somebody hears of it', () => {
    const bench = new Bench({
      maxBuckets: 1,
      left: ['spooled', 'a b'],
      leftBackups: [backup('backed.up', 'kafka'), backup('orders', 'gone')],
    });
    expect(bench.contents).toEqual(['orders: ', 'spooled: ', 'backed.up: ']);
    expect(bench.lines.map((line) => line.replace(/^.*\| +/, '').trim())).toEqual([
      expect.stringMatching(/^the spool holds batches of bucket a b, which is no longer configured/),
      expect.stringMatching(/^the backup of bucket orders in \/backup\/orders.journal belongs to no/),
    ]);
  });
});

describe('BucketRouter: a bucket that says that it is idle', () => {
  test('stays while something of it lies where only its streams take it on', async () => {
    const bench = new Bench();
    bench.run('a', '1');
    bench.routed[1]!.isQuiet = false;
    bench.ref.tell({ kind: 'idle', bucket: 'a' });
    bench.ref.tell({ kind: 'idle', bucket: 'never made' });
    expect(bench.buckets[1]!.isDraining).toBe(false);
    bench.routed[1]!.isQuiet = true;
    bench.ref.tell({ kind: 'idle', bucket: 'a' });
    await turn();
    expect([bench.buckets[1]!.isDraining, bench.routed[1]!.told]).toEqual([true, ['forgotten']]);
  });

  test('of which a previous run has left something, it does not come again once that is delivered', async () => {
    const bench = new Bench({ left: ['a'] });
    expect(bench.contents).toEqual(['orders: ', 'a: ']);
    bench.ref.tell({ kind: 'idle', bucket: 'a' });
    await turn();
    expect([bench.contents, bench.routed[1]!.told]).toEqual([['orders: ', 'a: '], ['forgotten']]);
  });

  test('is not forgotten when a successor has come', async () => {
    const bench = new Bench();
    bench.drainsAtOnce = false;
    bench.run('a', '1');
    bench.ref.tell({ kind: 'idle', bucket: 'a' });
    bench.run('a', '2');
    bench.buckets[1]!.end();
    await turn();
    expect([bench.contents, bench.routed[1]!.told]).toEqual([['orders: ', 'a: 1', 'a: 2'], []]);
  });
});

describe('Receipt', () => {
  test('is answered once, when the asker and all who held it have let go', () => {
    const answers: number[] = [];
    const receipt = new Receipt(7, ({ frames }) => answers.push(frames));
    receipt.add();
    receipt.add();
    receipt.done();
    receipt.done();
    expect(answers).toEqual([]);
    receipt.done();
    expect(answers).toEqual([7]);
  });
});
