import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MB, SILENT } from '../../support/bench.js';
import { turn } from '../../support/fakeClock.js';
import { batchOf, messagesIn } from '../../support/frames.js';
import { newFolder } from '../../support/newFolder.js';
import { SpoolBench, notesIn, segmentsIn } from '../../support/spoolBench.js';
import type { ActorRef } from '../actors/actor.js';
import type { Batch } from '../frames/batch.js';
import { encodeFrame } from '../frames/frame.js';
import { MemoryBudget } from '../memory/memoryBudget.js';
import { recoverSegment } from '../spool/recover.js';
import { NO_SPOOL } from '../spool/noSpool.js';
import type { Segment, Spool } from '../spool/spool.js';
import type { Fault } from '../../support/failingDisk.js';
import { errnoOf, nodeFileSystem } from '../disk/fileSystem.js';
import type { StreamMessage } from '../streams/streamMessage.js';
import type { BatchSource } from '../streams/waiting.js';
import { type Account, newAccount } from '../streams/account.js';
import { Backlog } from './backlog.js';
import type { Lost } from './lostFrames.js';

const WINDOW = 16;
const BUCKET = 'orders';

let root: string;
let lives: Life[];

beforeEach(() => {
  root = newFolder();
  lives = [];
});

afterEach(async () => {
  for (const life of lives) await life.wipe();
});

/** What is left of a batch that it was told of. */
interface Aside {
  readonly told: Batch;
  readonly left: Batch;
}

/** Takes batches, and settles them when the test says so. */
class Destination implements ActorRef<StreamMessage> {
  readonly path = '/stream';
  readonly state = 'running';
  readonly stopped = new Promise<void>(() => undefined);
  /** Every message it was told, in that order. */
  readonly told: string[] = [];
  mostHeld = 0;
  /** Settles each batch before `tell` returns. */
  settlesAtOnce = false;
  /** It can't write: what it is told of waits, and is given back when asked for. */
  isStuck = false;
  gaveBack = 0;
  /** Every message it has settled. */
  readonly settled = new Set<string>();
  readonly #held: Batch[] = [];
  source!: BatchSource;

  get held(): number {
    return this.#held.length;
  }

  tell(message: StreamMessage): void {
    if (message.kind === 'giveBack') return this.#giveBack();
    if (message.kind !== 'batch') throw new Error(message.kind);
    this.told.push(...messagesIn(message.batch.view()));
    if (this.settlesAtOnce) return this.#end(message.batch);
    this.#held.push(message.batch);
    this.mostHeld = Math.max(this.mostHeld, this.#held.length);
  }

  stop(): void {
    return;
  }

  /** Which of those it holds is for the caller to choose. */
  settle(index = 0): void {
    if (this.isStuck) return;
    const [batch] = this.#held.splice(index, 1);
    for (const message of batch === undefined ? [] : messagesIn(batch.view())) this.settled.add(message);
    if (batch !== undefined) this.#end(batch);
  }

  #end(batch: Batch): void {
    batch.release();
    this.source.settled(batch, undefined);
  }

  /** Keeps of all it holds those frames alone, and gives them to the caller. */
  setAside(isAside: (index: number, message: string) => boolean): readonly Aside[] {
    return this.#held.splice(0).map((told) => {
      const messages = messagesIn(told.view());
      const left = told.pick((index) => isAside(index, messages[index]!));
      told.release();
      return { told, left };
    });
  }

  settleAside(aside: readonly Aside[]): void {
    this.source.aside(0);
    for (const { told, left } of aside) {
      left.release();
      this.source.settled(told, undefined);
    }
  }

  settleAll(): void {
    while (this.#held.length > 0 && !this.isStuck) this.settle();
  }

  /** From the end, what nothing that was told later has passed. */
  #giveBack(): void {
    while (this.isStuck && this.#held.length > 0) {
      const messages = messagesIn(this.#held.at(-1)!.view());
      if (this.told.slice(-messages.length).join() !== messages.join()) return;
      this.told.length -= messages.length;
      this.gaveBack++;
      const batch = this.#held.pop()!;
      batch.release();
      this.source.returned(batch);
    }
  }
}

/** What a process holds, and a spool in a folder of its own. */
class Life extends SpoolBench {
  readonly folder: string;
  readonly destinations: Destination[];
  readonly spool: Spool;
  readonly segments: Segment[] = [];
  settledEvents: number[] = [];
  readonly accounts: Account[];
  readonly lost: Lost[] = [];
  backlog!: Backlog;

  constructor(
    options: {
      readonly maxSpool?: number;
      readonly streams?: number;
      readonly hasSpool?: boolean;
      readonly memory?: number;
      readonly folder?: string;
      readonly nowMs?: number;
    } = {},
  ) {
    const { streams = 1, hasSpool = true, memory = 64 * MB, nowMs, maxSpool } = options;
    super({ memoryBytes: memory, ...(nowMs === undefined ? {} : { nowMs }) });
    this.folder = options.folder ?? join(root, `spool${lives.length}`);
    this.destinations = Array.from({ length: streams }, () => new Destination());
    this.accounts = this.destinations.map(() => newAccount());
    const full = maxSpool === undefined ? {} : { maxBytes: maxSpool, whenFull: 'drop-oldest' as const };
    this.spool = hasSpool ? this.newSpool(this.folder, full) : NO_SPOOL;
    lives.push(this);
  }

  async start(): Promise<this> {
    const left = await this.spool.open();
    this.backlog = new Backlog({
      streams: this.destinations.map((ref, index) => ({
        id: `stream_${index}`,
        ref,
        account: this.accounts[index]!,
      })),
      spool: this.spool,
      notes: this.spool.notes(BUCKET),
      log: this.log,
      clock: this.clock,
      onSettled: () => this.settledEvents.push(this.backlog.settled),
      onLost: (lost) => this.lost.push(lost),
    });
    this.destinations.forEach((one, number) => (one.source = this.backlog.sourceOf(number)));
    expect([...left.keys()].filter((key) => key !== BUCKET)).toEqual([]);
    for (const segment of left.get(BUCKET) ?? []) this.backlog.addLeft(segment);
    return this;
  }

  /** A closed batch of these messages, and its segment. */
  add(...messages: string[]): void {
    const batch = batchOf(BUCKET, messages, this.budget, this.clock.now());
    const segment = this.spool.newSegment(batch);
    this.segments.push(segment);
    segment.seal();
    this.backlog.add(batch, segment);
  }

  /** All segments are whole on disk. */
  async onDisk(): Promise<void> {
    await this.until('all segments are complete', () =>
      this.segments.every(
        (segment) =>
          segment.copy !== 'growing' || this.backlog.entries.every((entry) => entry.segment !== segment),
      ),
    );
  }

  get inMemory(): number {
    return this.backlog.entries.filter(({ batch }) => batch !== undefined).length;
  }

  get files(): string[] {
    return segmentsIn(join(this.folder, BUCKET));
  }

  get notesFile(): string {
    return join(this.folder, BUCKET, 'settled.json');
  }

  get noted(): Record<string, string> | undefined {
    return notesIn(join(this.folder, BUCKET));
  }

  unstick(stream: number): void {
    this.destinations[stream]!.isStuck = false;
    this.backlog.ready(stream);
  }

  async deliverAll(): Promise<void> {
    this.destinations.forEach((_, stream) => this.unstick(stream));
    await this.until('an empty backlog', () => {
      for (const destination of this.destinations) destination.settleAll();
      return this.backlog.isEmpty;
    });
    await this.backlog.end();
  }

  /** Such a call of the disk waits. Returns the way to let it go on. */
  hold(fault: Fault): () => void {
    let goOn: () => void = () => undefined;
    this.disk.fail({ ...fault, wait: new Promise<void>((resolve) => (goOn = resolve)) });
    return goOn;
  }

  /** Begins the end. Returns whether it has come to it; the disk is real and the time is not. */
  ending(): () => boolean {
    let hasEnded = false;
    void this.backlog.end(3_600_000).then(() => (hasEnded = true));
    return () => hasEnded;
  }

  /** Ends what may be going on, so that the folder can be removed. */
  async wipe(): Promise<void> {
    this.disk.heal();
    await Promise.all(this.segments.map((segment) => segment.remove()));
  }
}

function numbers(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, i) => String(from + i));
}

describe('Backlog', () => {
  test('without a spool each batch goes to every stream at once, and leaves in order', async () => {
    const life = await new Life({ streams: 2, hasSpool: false }).start();
    for (const number of numbers(0, 40)) life.add(number);
    const [first, second] = life.destinations as [Destination, Destination];
    expect(first.told).toEqual(numbers(0, 40));
    expect(second.told).toEqual(numbers(0, 40));
    first.settleAll();
    second.settle(1);
    await turn();
    expect(life.backlog.settled).toBe(0);
    second.settle(0);
    await turn();
    expect(life.backlog.settled).toBe(2);
    second.settleAll();
    await turn();
    expect([life.backlog.settled, life.backlog.added, life.backlog.isEmpty]).toEqual([40, 40, true]);
    expect(life.budget.heldBytes).toBe(0);
    await life.backlog.end();
  });

  test('a stream that settles at once gets all, in order, and nothing recurses', async () => {
    const life = await new Life().start();
    life.destinations[0]!.settlesAtOnce = true;
    for (const number of numbers(0, 3000)) life.add(number);
    await life.until('empty', () => life.backlog.isEmpty);
    expect(life.destinations[0]!.told).toEqual(numbers(0, 3000));
    await life.backlog.end();
    expect(life.files).toEqual([]);
    expect(life.budget.heldBytes).toBe(0);
  });

  test('with a spool a stream holds a window, and a slow stream never holds up a fast one', async () => {
    const life = await new Life({ streams: 2 }).start();
    const [slow, fast] = life.destinations as [Destination, Destination];
    for (const number of numbers(0, 100)) life.add(number);
    await life.until('both have a window', () => slow.held === WINDOW && fast.held === WINDOW);
    await life.until('the fast one has had all', () => {
      fast.settle();
      return fast.told.length === 100 && fast.held === 0;
    });
    expect(fast.told).toEqual(numbers(0, 100));
    expect(slow.told).toEqual(numbers(0, WINDOW));
    expect([slow.mostHeld, fast.mostHeld]).toEqual([WINDOW, WINDOW]);
    await life.deliverAll();
    expect(slow.told).toEqual(numbers(0, 100));
    expect(life.files).toEqual([]);
    expect(life.budget.heldBytes).toBe(0);
  });

  test.each([true, false])(
    'what waits for an away part takes no place in the window, and memory for itself alone (spool: %s)',
    async (hasSpool) => {
      const life = await new Life({ hasSpool }).start();
      const [only] = life.destinations as [Destination];
      const aside: Aside[] = [];
      for (const number of numbers(0, 3 * WINDOW)) life.add(`${number}:${'x'.repeat(100_000)}`, 'y');
      await life.onDisk();
      await life.until('all were told', () => {
        aside.push(...only.setAside((_, message) => message === 'y'));
        only.source.aside(aside.length);
        return aside.length === 3 * WINDOW;
      });
      expect(life.backlog.settled).toBe(0);
      expect(life.budget.heldBytes).toBe(aside.reduce((sum, { left }) => sum + left.bytes.length, 0));
      only.settleAside(aside);
      await life.until('empty', () => life.backlog.isEmpty);
      await life.backlog.end();
      expect([life.files, life.budget.heldBytes]).toEqual([[], 0]);
    },
  );

  test('no more is taken for the others than half of the memory holds of what waits', async () => {
    const life = await new Life({ memory: 4 * 1024 * 1024 }).start();
    const [only] = life.destinations as [Destination];
    const aside: Aside[] = [];
    const take = (): boolean => {
      aside.push(...only.setAside(() => true));
      only.source.aside(aside.length);
      return life.backlog.entries.every(({ batch, at }) => at[0] === 'told' || batch === undefined);
    };
    for (const number of numbers(0, 40)) {
      life.add(`${number}:${'x'.repeat(100_000)}`);
      await life.onDisk();
      await life.until('it has no more to take', take);
    }
    expect(life.budget.isOver).toBe(false);
    expect(aside.length).toBeGreaterThan(8);
    expect(aside.length).toBeLessThan(24);
    only.settleAside(aside);
    await life.deliverAll();
    expect(only.told).toHaveLength(40);
  });

  test('no stream has a batch before all of it is safe in the spool', async () => {
    const life = await new Life().start();
    const goOn = life.hold({ call: 'write', path: /bckstm$/ });
    for (const number of numbers(0, 3)) life.add(number);
    for (let i = 0; i < 10; i++) await turn();
    expect(life.destinations[0]!.told).toEqual([]);
    goOn();
    await life.until('it has them', () => life.destinations[0]!.told.length === 3);
    expect(life.destinations[0]!.told).toEqual(numbers(0, 3));
    await life.deliverAll();
  });

  test('while the disk fails batches are sent from memory, and in order', async () => {
    const life = await new Life().start();
    life.disk.fail({ call: 'write', path: /bckstm$/, code: 'EIO' });
    for (const number of numbers(0, 3)) life.add(number);
    await life.until('it has them', () => life.destinations[0]!.told.length === 3);
    expect(life.destinations[0]!.told).toEqual(numbers(0, 3));
    life.disk.heal();
    await life.deliverAll();
    expect(life.files).toEqual([]);
  });

  test('a file goes when all streams have settled its batch, and not before', async () => {
    const life = await new Life({ streams: 2 }).start();
    life.add('0');
    life.add('1');
    await life.onDisk();
    expect(life.files).toHaveLength(2);
    life.destinations[0]!.settleAll();
    await turn();
    expect(life.files).toHaveLength(2);
    life.destinations[1]!.settle();
    await life.until('one file', () => life.files.length === 1);
    await life.deliverAll();
    expect(life.files).toEqual([]);
    expect(life.spool.figures?.bytes).toBe(0);
  });

  test('when memory is short, what no stream holds is on disk alone, and read back in its turn', async () => {
    const life = await new Life({ streams: 2, memory: 16 * 1024 * 1024 }).start();
    const filler = 'x'.repeat(100_000);
    for (const number of numbers(0, 200)) {
      life.add(`${number}:${filler}`);
      await life.onDisk();
    }
    expect(life.budget.heldBytes).toBeLessThan(12 * 1024 * 1024);
    expect(life.inMemory).toBeLessThan(100);
    const [slow, fast] = life.destinations as [Destination, Destination];
    await life.until('the fast one has had all', () => {
      fast.settle();
      return fast.told.length === 200;
    });
    fast.settleAll();
    // What the fast one has let go, and the slow one has not been told of, must not stay in memory.
    expect(life.budget.heldBytes).toBeLessThan(12 * 1024 * 1024);
    await life.deliverAll();
    for (const destination of [slow, fast])
      expect(destination.told.map((message) => message.split(':')[0])).toEqual(numbers(0, 200));
    expect(life.budget.heldBytes).toBe(0);
    expect(life.files).toEqual([]);
  });

  test('a stuck stream gives back what it holds when memory is short, and gets it in order later', async () => {
    const life = await new Life({ streams: 2, memory: 16 * 1024 * 1024 }).start();
    const [stuck, well] = life.destinations as [Destination, Destination];
    stuck.isStuck = true;
    const filler = 'x'.repeat(450_000);
    for (const number of numbers(0, 40)) life.add(`${number}:${filler}`);
    await life.until('the other has had all', () => {
      well.settleAll();
      return well.told.length === 40;
    });
    await life.onDisk();
    life.budget.squeeze();
    await life.until('nothing is held', () => life.inMemory === 0);
    expect(stuck.held).toBe(0);
    expect(stuck.gaveBack).toBeGreaterThan(0);
    // It is told nothing more before it asks.
    await turn();
    expect(stuck.told).toEqual([]);
    await life.deliverAll();
    expect(stuck.told.map((text) => text.split(':')[0])).toEqual(numbers(0, 40));
    expect(life.budget.heldBytes).toBe(0);
  });

  test('a stream that gets stuck while memory is over its bound gives back at once', async () => {
    const life = await new Life({ memory: 16 * 1024 * 1024 }).start();
    const stuck = life.destinations[0]!;
    const filler = 'x'.repeat(450_000);
    life.add(`first:${filler}`);
    stuck.source.stuck();
    expect(stuck.gaveBack).toBe(0);
    for (const number of numbers(0, 40)) life.add(`${number}:${filler}`);
    await life.onDisk();
    // Until now it was writing; what it holds is asked for only once it can't.
    const other = life.budget.allocate(12 * 1024 * 1024);
    expect([life.budget.isOver, stuck.held > 0]).toEqual([true, true]);
    stuck.isStuck = true;
    stuck.source.stuck();
    await life.until('nothing is held', () => life.inMemory === 0);
    expect(stuck.held).toBe(0);
    life.budget.free(other);
    await life.deliverAll();
    expect(stuck.told.map((text) => text.split(':')[0])).toEqual(['first', ...numbers(0, 40)]);
  });

  test('a fast stream does not get again, after a restart, what a slow one has kept in the spool', async () => {
    const life = await new Life({ streams: 2 }).start();
    for (const number of numbers(0, 30)) life.add(number);
    await life.onDisk();
    const fast = life.destinations[1]!;
    await life.until('the fast one has had all', () => {
      fast.settleAll();
      return fast.told.length === 30;
    });
    await life.until('it is noted', () => life.noted?.['stream_1'] !== undefined);
    await life.backlog.end();
    const next = await new Life({ streams: 2, folder: life.folder }).start();
    await next.deliverAll();
    expect(next.destinations.map(({ told }) => told)).toEqual([numbers(0, 30), []]);
    expect(next.files).toEqual([]);
    expect(next.accounts.map(({ received }) => received)).toEqual([0, 0]);
  });

  test('a segment that could not be read stays for the next run, whatever is noted of those behind it', async () => {
    const life = await new Life({ streams: 2 }).start();
    for (const number of numbers(0, 30)) life.add(number);
    await life.onDisk();
    life.backlog.evict();
    life.disk.fail({ call: 'open', code: 'EIO', path: new RegExp(life.files[20]!) });
    const fast = life.destinations[1]!;
    await life.until('the fast one has had all but one', () => {
      fast.settleAll();
      return fast.told.length === 29;
    });
    life.clock.advance(1_000);
    await life.backlog.end();
    const next = await new Life({ streams: 2, folder: life.folder }).start();
    await next.deliverAll();
    expect(next.destinations[0]!.told).toEqual(numbers(0, 30));
    expect(next.destinations[1]!.told).toContain('20');
  });

  test('what is noted lies on disk: a note of a segment that is not there yet would not count after a crash', async () => {
    const first = await new Life({ streams: 2 }).start();
    for (const number of numbers(0, 5)) first.add(number);
    await first.onDisk();
    first.disk.fail({ call: 'write', path: /bckstm$/, code: 'EIO' });
    first.add('5');
    const [fast, stuck] = first.destinations as [Destination, Destination];
    stuck.isStuck = true;
    await first.until('it is sent, because the disk fails', () => fast.told.length === 6);
    fast.settleAll();
    const noted = (): string | undefined => first.noted?.['stream_0'];
    await first.until('it is noted', () => noted() !== undefined);
    expect(noted()).toBe(first.files[4]!.slice(0, 22));
    first.disk.heal();
    await first.until('the last one is noted too', () => noted() === first.files[5]?.slice(0, 22));
  });

  test('what is written only at the end is noted then', async () => {
    const first = await new Life({ streams: 2 }).start();
    first.disk.fail({ call: 'write', path: /bckstm$/, code: 'EIO' });
    first.add('0');
    await first.until('it is sent, because the disk fails', () => first.destinations[0]!.told.length === 1);
    first.destinations[0]!.settleAll();
    await turn();
    const hasEnded = first.ending();
    for (let i = 0; i < 10; i++) await turn();
    expect(hasEnded()).toBe(false);
    first.disk.heal();
    await first.until('the end', hasEnded);
    const next = await new Life({ streams: 2, folder: first.folder }).start();
    await next.deliverAll();
    expect(next.destinations.map(({ told }) => told)).toEqual([[], ['0']]);
  });

  test('a note of a segment that is newer than all there are is of another time', async () => {
    const life = await new Life({ streams: 2 }).start();
    for (const number of numbers(0, 5)) life.add(number);
    await life.onDisk();
    await life.backlog.end();
    writeFileSync(
      life.notesFile,
      JSON.stringify({ stream_0: '9999999999999-00000001', stream_1: life.files[1]!.slice(0, 22) }),
    );
    const next = await new Life({ streams: 2, folder: life.folder }).start();
    await next.deliverAll();
    expect(next.destinations.map(({ told }) => told)).toEqual([numbers(0, 5), numbers(2, 5)]);
  });

  test('a stream that the spool has no note of gets all', async () => {
    const life = await new Life({ streams: 2 }).start();
    for (const number of numbers(0, 5)) life.add(number);
    await life.onDisk();
    life.destinations[0]!.settleAll();
    await life.until('it is noted', () => life.noted !== undefined);
    await life.backlog.end();
    writeFileSync(life.notesFile, '{"stream_0": 7, "x": "9"');
    const next = await new Life({ streams: 2, folder: life.folder }).start();
    await next.deliverAll();
    expect(next.destinations.map(({ told }) => told)).toEqual([numbers(0, 5), numbers(0, 5)]);
    expect(next.lines.filter((line) => line.includes("settled.json can't be understood"))).toHaveLength(1);
  });

  test('what a fast stream releases over the memory bound gives its memory up, with nothing added', async () => {
    const life = await new Life({ streams: 2, memory: 16 * 1024 * 1024 }).start();
    const [slow, fast] = life.destinations as [Destination, Destination];
    const filler = 'x'.repeat(450_000);
    for (const number of numbers(0, 40)) life.add(`${number}:${filler}`);
    expect(life.budget.isOver).toBe(true);
    await life.onDisk();
    await life.until('the fast one has had all', () => {
      fast.settleAll();
      return fast.told.length === 40;
    });
    await life.until('there is room', () => !life.budget.isOver);
    expect(slow.held).toBeLessThanOrEqual(WINDOW);
    await life.deliverAll();
    expect(life.budget.heldBytes).toBe(0);
  });

  describe('SPOOL_FULL=drop-oldest', () => {
    const filler = 'x'.repeat(100_000);
    const MAX = 2_000_000;

    /** Two streams, of which one is stuck, and four times what the spool may hold. */
    async function overfull(): Promise<Life> {
      const life = await new Life({ streams: 2, maxSpool: MAX }).start();
      life.destinations[0]!.isStuck = true;
      for (const number of numbers(0, 80)) {
        life.add(`${number}:${filler}`);
        life.destinations[1]!.settleAll();
        await life.onDisk();
        await life.until('there is room', () => !life.spool.figures?.isFull && !life.budget.isOver);
      }
      return life;
    }

    test('the oldest go, the accounts and the report say how many, and the rest is delivered in order', async () => {
      const life = await overfull();
      const account = life.accounts[0]!;
      const dropped = account.discarded;
      expect(dropped).toBeGreaterThan(60);
      expect(account).toEqual({ ...newAccount(), received: dropped, discarded: dropped });
      expect(life.lost.reduce((sum, { frames }) => sum + frames, 0)).toBe(dropped);
      expect(new Set(life.lost.map(({ stream, reason }) => `${stream} ${reason}`))).toEqual(
        new Set(['stream_0 the spool was full (SPOOL_FULL=drop-oldest)']),
      );
      expect(life.files).toHaveLength(80 - dropped);
      expect(life.backlog.waiting[0]!.frames).toBe(80 - dropped);
      await life.deliverAll();
      expect(life.destinations.map(({ told }) => told.map((text) => text.split(':')[0]))).toEqual([
        numbers(dropped, 80),
        numbers(0, 80),
      ]);
      expect([life.files, life.spool.figures?.bytes, life.budget.heldBytes]).toEqual([[], 0, 0]);
    });

    /** A run that ends with so many batches in its spool. */
    async function earlier(batches = 15): Promise<Life> {
      const life = await new Life().start();
      for (const number of numbers(0, batches)) life.add(`${number}:${filler}`);
      await life.onDisk();
      await life.backlog.end();
      return life;
    }

    test('what a previous run has left goes first, and is counted too', async () => {
      const first = await earlier();
      const life = new Life({ maxSpool: MAX, folder: first.folder });
      life.destinations[0]!.isStuck = true;
      await life.start();
      for (const number of numbers(15, 30)) {
        life.add(`${number}:${filler}`);
        await life.onDisk();
        await life.until('there is room', () => !life.spool.figures?.isFull && !life.budget.isOver);
      }
      const dropped = life.accounts[0]!.discarded;
      expect(dropped).toBeGreaterThan(10);
      await life.deliverAll();
      expect(life.destinations[0]!.told.map((text) => text.split(':')[0])).toEqual(numbers(dropped, 30));
      expect(life.files).toEqual([]);
    });

    test('an entry that is gone is not noted: a note newer than all files would not count after a crash', async () => {
      const life = await new Life({ streams: 2, maxSpool: 16.5 * filler.length }).start();
      // Both streams hold all but the last, which is one too many.
      for (const number of numbers(0, 17)) life.add(`${number}:${filler}`);
      await life.until(
        'the oldest that nobody holds is gone',
        () => life.accounts[1]!.discarded === 1 && life.files.length === 16,
      );
      life.destinations[1]!.settleAll();
      await life.until('it is noted', () => life.noted !== undefined);
      expect(life.noted).toEqual({ stream_1: life.files[15]!.slice(0, 22) });
      await life.deliverAll();
      expect(life.destinations.map(({ told }) => told.map((text) => text.split(':')[0]))).toEqual([
        numbers(0, 16),
        numbers(0, 16),
      ]);
    });

    test('what a stream is busy with stays, and then clients wait', async () => {
      const life = await new Life({ maxSpool: MAX }).start();
      for (const number of numbers(0, 16)) life.add(`${number}:${filler}`);
      await life.onDisk();
      for (const number of numbers(16, 40)) life.add(`${number}:${filler}`);
      await life.until(
        'all is written',
        () => life.segments.at(-1)!.copy === 'complete' && !life.spool.figures?.isFull,
      );
      const dropped = life.accounts[0]!.discarded;
      expect(life.destinations[0]!.told).toHaveLength(16);
      await life.deliverAll();
      expect(life.destinations[0]!.told.map((text) => text.split(':')[0])).toEqual([
        ...numbers(0, 16),
        ...numbers(16 + dropped, 40),
      ]);
    });

    test('a disk that fails is no want of room: nothing goes', async () => {
      const life = await new Life({ maxSpool: 60_000_000 }).start();
      life.destinations[0]!.isStuck = true;
      for (const number of numbers(0, 80)) life.add(`${number}:${filler}`);
      await life.onDisk();
      life.disk.fail({ call: 'write', code: 'ENOSPC', times: 1 });
      life.disk.fail({ call: 'write', code: 'EIO', after: 0 });
      life.add(`80:${filler}`);
      await life.until('some went', () => life.accounts[0]!.discarded > 0);
      const dropped = life.accounts[0]!.discarded;
      const untilMs = life.clock.now() + 20_000;
      await life.until('20 seconds', () => life.clock.now() > untilMs);
      expect(life.accounts[0]!.discarded).toBeLessThanOrEqual(dropped + 45);
      expect(life.files.length).toBeGreaterThan(30);
      life.disk.heal();
      await life.deliverAll();
    });

    test("what can't be counted just now is not dropped uncounted", async () => {
      const first = await earlier();
      const life = new Life({ maxSpool: MAX, folder: first.folder });
      life.destinations[0]!.isStuck = true;
      life.disk.fail({
        call: 'read',
        code: 'EIO',
        path: new RegExp(`(${first.files.slice(3, 6).join('|')})$`),
        times: 3,
      });
      await life.start();
      for (const number of numbers(15, 40)) {
        life.add(`${number}:${filler}`);
        await life.until('it is written', () => life.segments.at(-1)!.copy === 'complete');
      }
      // Until then it goes on to drop.
      await life.until('there is room', () => !life.spool.figures?.isFull);
      const dropped = life.accounts[0]!.discarded;
      await life.deliverAll();
      expect(life.destinations[0]!.told.length + dropped).toBe(40);
      expect(life.lost.reduce((sum, { frames }) => sum + frames, 0)).toBe(dropped);
    });

    test("a stream that wants a batch while it is counted gets it, when it can't be dropped", async () => {
      const first = await earlier(WINDOW + 1);
      const last = new RegExp(`${first.files.at(-1)!}$`);
      const life = await new Life({ maxSpool: MAX, folder: first.folder }).start();
      const [only] = life.destinations as [Destination];
      await life.until('its hands are full', () => only.held === WINDOW);
      const goOn = life.hold({ call: 'read', path: last, times: 1, code: 'EIO' });
      for (const number of numbers(0, 5)) life.add(`more ${number}:${filler}`);
      await life.until('it is being counted', () => life.disk.count('read', last) === 1);
      only.settleAll();
      await turn();
      goOn();
      await life.until('it has had it', () => only.told.length > WINDOW);
      expect(only.told[WINDOW]!.split(':')[0]).toBe(String(WINDOW));
      await life.deliverAll();
    });

    test('a disk that is full makes room in the same way', async () => {
      const life = await new Life({ maxSpool: 1e9 }).start();
      life.destinations[0]!.isStuck = true;
      for (const number of numbers(0, 80)) life.add(`${number}:${filler}`);
      await life.onDisk();
      life.disk.fail({ call: 'write', code: 'ENOSPC', times: 1 });
      life.add(`80:${filler}`);
      await life.until('some went', () => life.accounts[0]!.discarded > 0);
      await life.onDisk();
      const dropped = life.accounts[0]!.discarded;
      // Once or twice what goes at a time, as fast as the disk takes the next batch; the newest stays.
      expect(dropped).toBeLessThan(81);
      await life.deliverAll();
      expect(life.destinations[0]!.told.map((text) => text.split(':')[0])).toEqual(numbers(dropped, 81));
    });
  });

  describe("a segment that can't be read", () => {
    async function evicted(): Promise<Life> {
      const life = await new Life({ streams: 2 }).start();
      for (const number of numbers(0, 40)) life.add(number);
      await life.onDisk();
      life.backlog.evict();
      return life;
    }

    test('is tried again; then order is kept', async () => {
      const life = await evicted();
      life.disk.fail({ call: 'read', code: 'EIO', times: 3 });
      await life.deliverAll();
      for (const { told } of life.destinations) expect(told).toEqual(numbers(0, 40));
      expect(life.files).toEqual([]);
    });

    test('for want of descriptors it is tried for as long as it takes', async () => {
      const life = await evicted();
      life.disk.fail({ call: 'open', code: 'EMFILE' });
      let tries = 0;
      await life.until('it was tried for a minute', () => {
        for (const destination of life.destinations) destination.settleAll();
        return ++tries > 6000;
      });
      expect(life.destinations.map(({ told }) => told.length)).toEqual([WINDOW, WINDOW]);
      life.disk.heal();
      await life.deliverAll();
      for (const { told } of life.destinations) expect(told).toEqual(numbers(0, 40));
    });

    test.each([
      ['EIO', 'it is left there'],
      ['ENOENT', 'it has been removed'],
    ])(
      'for good (%s): it is passed over and stays, what is behind it goes on in every stream',
      async (code, said) => {
        const life = await evicted();
        const [slow, fast] = life.destinations as [Destination, Destination];
        life.disk.fail({ call: 'open', code, path: new RegExp(`/${life.files[20]!}$`) });
        await life.until('the fast one has all', () => {
          fast.settle();
          return fast.told.length === 39;
        });
        await life.deliverAll();
        const all = numbers(0, 40).filter((number) => number !== '20');
        expect(fast.told).toEqual(all);
        expect(slow.told).toEqual(all);
        expect(life.files).toHaveLength(1);
        expect(life.lines.filter((line) => line.includes(said))).toHaveLength(1);
        expect(life.backlog.settled).toBe(40);
        expect(life.budget.heldBytes).toBe(0);
      },
    );

    test('of a previous run, with nothing whole in it, is taken away', async () => {
      const first = await new Life().start();
      for (const number of numbers(0, 3)) first.add(number);
      await first.onDisk();
      truncateSync(join(first.folder, BUCKET, first.files[1]!), 10);
      const second = await new Life({ folder: first.folder }).start();
      await second.deliverAll();
      expect(second.destinations[0]!.told).toEqual(['0', '2']);
      expect(second.files).toEqual([]);
    });
  });

  describe('the end', () => {
    test('handedOver resolves once all streams have been told of all, also by what is read back', async () => {
      const life = await new Life().start();
      for (const number of numbers(0, 40)) life.add(number);
      await life.onDisk();
      life.backlog.evict();
      let isHandedOver = false;
      void life.backlog.handedOver(Infinity).then(() => (isHandedOver = true));
      await turn();
      expect(isHandedOver).toBe(false);
      const [only] = life.destinations as [Destination];
      await life.until('all but the window is settled', () => {
        if (only.told.length < 40) only.settle();
        return only.told.length === 40;
      });
      await life.until('handed over', () => isHandedOver);
      expect(life.clock.timers).toBe(0);
      await life.deliverAll();
    });

    test('handedOver gives up when the time is over, and then nothing more is told', async () => {
      const life = await new Life().start();
      for (const number of numbers(0, 40)) life.add(number);
      await life.until('a window is told', () => life.destinations[0]!.held === WINDOW);
      let isOver = false;
      void life.backlog.handedOver(500).then(() => (isOver = true));
      life.clock.advance(499);
      await turn();
      expect(isOver).toBe(false);
      life.clock.advance(1);
      await turn();
      expect(isOver).toBe(true);
      life.destinations[0]!.settleAll();
      await turn();
      expect(life.destinations[0]!.told).toEqual(numbers(0, WINDOW));
      await life.until('what is settled is gone', () => life.files.length === 40 - WINDOW);
    });

    test('end waits for the files of the last settled batches to be gone', async () => {
      const life = await new Life().start();
      for (const number of numbers(0, 10)) life.add(number);
      await life.onDisk();
      const goOn = life.hold({ call: 'unlink' });
      life.destinations[0]!.settleAll();
      await turn();
      const hasEnded = life.ending();
      await turn();
      expect(hasEnded()).toBe(false);
      goOn();
      await life.until('the end', hasEnded);
      expect(life.files).toEqual([]);
    });

    test('end waits for what is not settled to be whole on disk', async () => {
      const life = await new Life().start();
      const goOn = life.hold({ call: 'write' });
      for (const number of numbers(0, 3)) life.add(number);
      const hasEnded = life.ending();
      for (let i = 0; i < 10; i++) await turn();
      expect(hasEnded()).toBe(false);
      goOn();
      await life.until('the end', hasEnded);
      const next = await new Life({ folder: life.folder }).start();
      await next.deliverAll();
      expect(next.destinations[0]!.told).toEqual(numbers(0, 3));
    });

    test('a disk that fails does not hold the end up for ever, and what is lost is told', async () => {
      const life = await new Life().start();
      life.disk.fail({ call: 'write', code: 'ENOSPC' });
      life.add('0');
      let hasEnded = false;
      void life.backlog.end(2_000).then(() => (hasEnded = true));
      await life.until('the end', () => hasEnded);
      expect(life.lines.filter((line) => line.includes('could not be ended within 2000 ms'))).toHaveLength(1);
    });

    test('after the end memory is none of its business', async () => {
      const life = await new Life().start();
      await life.backlog.end();
      let calls = 0;
      life.backlog.evict = () => calls++;
      life.budget.setBlocked(true);
      expect(calls).toBe(0);
    });
  });
});

describe('Backlog and Spool against a model', () => {
  type Action =
    | { readonly kind: 'add'; readonly frames: number; readonly bytes: number }
    | { readonly kind: 'settle'; readonly stream: number; readonly index: number }
    | { readonly kind: 'evict' }
    | { readonly kind: 'squeeze' }
    | { readonly kind: 'stick'; readonly stream: number }
    | { readonly kind: 'unstick'; readonly stream: number }
    | { readonly kind: 'turns'; readonly count: number }
    | { readonly kind: 'time'; readonly ms: number }
    | { readonly kind: 'fault'; readonly call: 'read' | 'write' | 'open'; readonly times: number }
    | { readonly kind: 'crash'; readonly torn: number; readonly backMs: number };

  const action: fc.Arbitrary<Action> = fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({
        kind: fc.constant('add' as const),
        frames: fc.integer({ min: 1, max: 5 }),
        bytes: fc.constantFrom(10, 10, 300, 200_000),
      }),
    },
    {
      weight: 8,
      arbitrary: fc.record({ kind: fc.constant('settle' as const), stream: fc.nat(2), index: fc.nat(4) }),
    },
    { weight: 2, arbitrary: fc.constant({ kind: 'evict' as const }) },
    { weight: 2, arbitrary: fc.constant({ kind: 'squeeze' as const }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('stick' as const), stream: fc.nat(2) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('unstick' as const), stream: fc.nat(2) }) },
    {
      weight: 6,
      arbitrary: fc.record({ kind: fc.constant('turns' as const), count: fc.integer({ min: 1, max: 20 }) }),
    },
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constant('time' as const), ms: fc.constantFrom(1, 5, 1_000) }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('fault' as const),
        call: fc.constantFrom('read' as const, 'write' as const, 'open' as const),
        times: fc.integer({ min: 1, max: 3 }),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('crash' as const),
        torn: fc.nat(60),
        backMs: fc.constantFrom(0, 0, 3_600_000),
      }),
    },
  );

  test('whatever happens, each stream gets all that was safe, in order; only unsettled ones come twice', async () => {
    const seed = Number(process.env['KAHE_SEED'] ?? Date.now() % 1_000_000);
    console.log(`seed ${seed}`);
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 3 }),
        fc.array(action, { minLength: 20, maxLength: 120 }),
        async (streams, actions) => {
          await run(streams, actions);
          for (const life of lives.splice(0)) await life.wipe();
        },
      ),
      { numRuns: 150, seed },
    );
  }, 120_000);

  async function run(streams: number, actions: readonly Action[]): Promise<void> {
    const options = { streams, memory: 16 * 1024 * 1024 };
    let life = await new Life({ ...options, folder: mkdtempSync(join(root, 'life-')) }).start();
    let made = 0;
    // Of this run, by stream, what it must be told in the end, in order. After a crash: what was safe and
    // not settled by all.
    let expected: string[][] = Array.from({ length: streams }, () => []);
    /** By stream, what it has settled in any run. */
    const everSettled = Array.from({ length: streams }, () => new Set<string>());
    /** Of this run: batches whose segment was complete or partly safe are judged at the crash. */
    let batches: { readonly messages: string[]; readonly segment: Segment; readonly bytes: number }[] = [];
    let leftBatches: string[][] = [];

    for (const act of actions) {
      switch (act.kind) {
        case 'add': {
          const messages = Array.from({ length: act.frames }, () => `${made++}:`.padEnd(act.bytes, 'x'));
          life.add(...messages);
          batches.push({
            messages,
            segment: life.segments.at(-1)!,
            bytes: messages.reduce((sum, message) => sum + encodeFrame(BUCKET, null, message).length, 0),
          });
          for (const list of expected) list.push(...messages);
          break;
        }
        case 'settle':
          life.destinations[act.stream % streams]!.settle(act.index);
          break;
        case 'evict':
          life.backlog.evict();
          break;
        case 'squeeze':
          life.budget.squeeze();
          break;
        case 'stick':
          life.destinations[act.stream % streams]!.isStuck = true;
          break;
        case 'unstick':
          life.unstick(act.stream % streams);
          break;
        case 'turns':
          for (let i = 0; i < act.count; i++) await turn();
          break;
        case 'time':
          life.clock.advance(act.ms);
          break;
        case 'fault':
          life.disk.fail({ call: act.call, code: 'EIO', times: act.times, path: /bckstm$/ });
          break;
        case 'crash': {
          checkOrder();
          const settledBatches = life.backlog.settled;
          const leftGone = Math.min(settledBatches, leftBatches.length);
          const survivors = [
            ...leftBatches.slice(leftGone).map((messages) => ({ messages, isSafe: true })),
            ...batches
              .slice(settledBatches - leftGone)
              .map(({ messages, segment, bytes }) => ({ messages, isSafe: segment.safeBytes >= bytes })),
          ];
          const settledFrames = [
            ...leftBatches.slice(0, leftGone),
            ...batches.slice(0, settledBatches - leftGone).map(({ messages }) => messages),
          ].flat();
          const folder = crash(life, act.torn);
          const old = life;
          old.destinations.forEach(({ settled }, stream) =>
            settled.forEach((message) => everSettled[stream]!.add(message)),
          );
          const inFiles = await peek(folder);
          const noted = notedFrames(folder, inFiles, old);
          life = await new Life({ ...options, folder, nowMs: old.clock.now() - act.backMs }).start();
          // Files with nothing whole, and nothing else, are taken away at once.
          const found = life.backlog.added === 0 ? [] : inFiles;
          expect(found.length).toBe(life.backlog.added);
          expect(inFiles.flat()).toEqual(found.flat());
          // Nothing made up, no hole: what is there is some of the last settled ones (their files may not
          // have gone yet), then all that was safe, then perhaps more of what was not.
          const flat = withoutRepeats(found.flat());
          const isSettled = new Set(settledFrames);
          const unsettled = flat.filter((message) => !isSettled.has(message));
          const mustBe = survivors.filter(({ isSafe }) => isSafe).flatMap(({ messages }) => messages);
          expect(
            flat.slice(0, flat.length - unsettled.length).every((message) => isSettled.has(message)),
          ).toBe(true);
          expect(unsettled.map(numberOf)).toEqual(
            survivors
              .flatMap(({ messages }) => messages)
              .slice(0, unsettled.length)
              .map(numberOf),
          );
          expect(unsettled.length).toBeGreaterThanOrEqual(mustBe.length);
          leftBatches = found;
          batches = [];
          // What a stream is not given again it has had.
          expected = noted(streams, found);
          expected.forEach((list, stream) =>
            found
              .flat()
              .filter((message) => !list.includes(message))
              .forEach((message) => expect(everSettled[stream]).toContain(message)),
          );
          break;
        }
      }
      for (const destination of life.destinations) expect(destination.mostHeld).toBeLessThanOrEqual(WINDOW);
    }
    checkOrder();
    life.disk.heal();
    await life.deliverAll();
    life.destinations.forEach(({ told }, stream) =>
      expect(told.map(numberOf)).toEqual(expected[stream]!.map(numberOf)),
    );
    expect(life.backlog.settled).toBe(leftBatches.length + batches.length);
    expect(life.settledEvents).toEqual([...new Set(life.settledEvents)].sort((a, b) => a - b));
    expect(life.budget.heldBytes).toBe(0);
    expect(life.files).toEqual([]);
    expect(life.spool.figures?.bytes).toBe(0);
    expect(life.disk.openFiles).toBe(0);

    function checkOrder(): void {
      life.destinations.forEach(({ told }, stream) =>
        expect(told.map(numberOf)).toEqual(expected[stream]!.slice(0, told.length).map(numberOf)),
      );
    }
  }

  /** The files as they are at this moment, the newest with a torn end, in another folder. */
  function crash(life: Life, torn: number): string {
    const folder = mkdtempSync(join(root, 'life-'));
    mkdirSync(join(folder, BUCKET));
    const names = copyFiles(join(life.folder, BUCKET), join(folder, BUCKET), life);
    const newest = names.at(-1);
    if (newest !== undefined && torn > 0) appendFileSync(join(folder, BUCKET, newest), Buffer.alloc(torn));
    return folder;
  }

  /**
   * The disk is at work meanwhile, so newest first: then what is missing is at the end, as in a crash; and
   * anew when a file has just gone.
   */
  function copyFiles(from: string, to: string, life: Life): string[] {
    for (;;) {
      const names = life.files;
      try {
        for (const name of names.toReversed()) copyFileSync(join(from, name), join(to, name));
        if (existsSync(join(from, 'settled.json')))
          copyFileSync(join(from, 'settled.json'), join(to, 'settled.json'));
        return names;
      } catch (error) {
        if (errnoOf(error) !== 'ENOENT') throw error;
        for (const name of readdirSync(to)) rmSync(join(to, name));
      }
    }
  }

  /** By stream, what of the files is to be told in the next run: not what its note says it has settled. */
  function notedFrames(
    folder: string,
    inFiles: readonly string[][],
    old: Life,
  ): (streams: number, found: readonly string[][]) => string[][] {
    const path = join(folder, BUCKET);
    const [notes, names] = [notesIn(path) ?? {}, segmentsIn(path)];
    const newest = names.at(-1)?.slice(0, 22) ?? '';
    const noteOf = (stream: number): string => {
      const note = notes[`stream_${stream}`] ?? '';
      if (note <= newest) return note;
      // Its file was there, and has gone while one before it is just going.
      const segment = old.segments.find(({ path: file }) => basename(file).startsWith(note));
      expect(segment?.safeBytes).not.toBe(0);
      return '';
    };
    return (streams, found) =>
      Array.from({ length: streams }, (_, stream) =>
        found.length === 0
          ? []
          : inFiles.flatMap((messages, i) => (names[i]!.slice(0, 22) <= noteOf(stream) ? [] : messages)),
      );
  }

  /** What the files in a spool's folder hold, in their order; one that has nothing whole is empty. */
  async function peek(folder: string): Promise<string[][]> {
    const path = join(folder, BUCKET);
    return Promise.all(
      segmentsIn(path).map(async (name) => {
        const { batch } = await recoverSegment(join(path, name), false, {
          fs: nodeFileSystem,
          budget: new MemoryBudget(1e9),
          log: SILENT,
        });
        return batch === undefined ? [] : messagesIn(batch.view());
      }),
    );
  }
});

function withoutRepeats(messages: readonly string[]): string[] {
  return [...new Set(messages)];
}

function numberOf(message: string): string {
  return message.split(':')[0]!;
}
