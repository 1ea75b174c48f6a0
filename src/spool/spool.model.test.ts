// The spool against a model, an array of frames: whatever is written, settled, broken, full, rotten, killed
// or without power, what was safe and is not settled is found by the next run, once in its order, and
// nothing that was never written.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FakeClock, turn } from '../../support/fakeClock.js';
import { messagesIn } from '../../support/frames.js';
import { MemoryDisk } from '../../support/memoryDisk.js';
import type { SpoolSync } from '../config/env.js';
import { FailingDisk, type DiskCall } from '../../support/failingDisk.js';
import { ReadTurns } from '../memory/readTurns.js';
import { Batch } from '../frames/batch.js';
import { encodeFrame } from '../frames/frame.js';
import { Log } from '../log/log.js';
import { MemoryBudget } from '../memory/memoryBudget.js';
import { DiskSpool } from './diskSpool.js';
import type { GrowingSegment, Segment } from './spool.js';

type Action =
  | { readonly kind: 'append'; readonly bucket: number; readonly frames: number; readonly bytes: number }
  | { readonly kind: 'seal'; readonly bucket: number }
  | { readonly kind: 'ask'; readonly bucket: number }
  | { readonly kind: 'settle'; readonly bucket: number; readonly batches: number }
  | { readonly kind: 'turns'; readonly count: number }
  | { readonly kind: 'time'; readonly ms: number }
  | { readonly kind: 'fail'; readonly call: DiskCall; readonly times: number }
  | { readonly kind: 'nospace'; readonly room: number }
  | { readonly kind: 'corrupt'; readonly file: number; readonly at: number; readonly mask: number }
  | { readonly kind: 'crash'; readonly isPowerCut: boolean; readonly seed: number; readonly backMs: number }
  | { readonly kind: 'reopen' };

const SYNCS: readonly SpoolSync[] = ['never', 'batch', 'always'];
const BUCKETS = ['orders', '../a b'];
const SPOOL_MAX = 6 * 1024;
const FAULTS: readonly DiskCall[] = ['write', 'open', 'datasync', 'sync', 'close', 'unlink'];
const bucket = fc.nat(BUCKETS.length - 1);

const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 9,
    arbitrary: fc.record({
      kind: fc.constant('append' as const),
      bucket,
      frames: fc.integer({ min: 1, max: 4 }),
      bytes: fc.constantFrom(0, 20, 300),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('seal' as const), bucket }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('ask' as const), bucket }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('settle' as const),
      bucket,
      batches: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constant('turns' as const), count: fc.integer({ min: 1, max: 6 }) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('time' as const), ms: fc.constantFrom(1, 3, 15, 1_000) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('fail' as const),
      call: fc.constantFrom(...FAULTS),
      times: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('nospace' as const),
      room: fc.constantFrom(0, 10, 100, 1_000, 1_000_000),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('corrupt' as const),
      file: fc.nat(20),
      at: fc.nat(2_000),
      mask: fc.integer({ min: 1, max: 255 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('crash' as const),
      isPowerCut: fc.boolean(),
      seed: fc.nat(),
      backMs: fc.constantFrom(0, 0, 3_600_000),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'reopen' as const }) },
);

/** A frame of the model. */
interface ModelFrame {
  readonly message: string;
  /** So much of its batch must be in the file for it to be safe. */
  readonly until: number;
}

/** A batch of this run, or what a segment of a previous one held. */
interface ModelBatch {
  readonly frames: ModelFrame[];
  readonly batch: Batch | undefined;
  readonly segment: GrowingSegment | undefined;
  readonly left: Segment | undefined;
  isSealed: boolean;
  isSettled: boolean;
  /** A byte of its file was changed: what it holds may be lost in part. */
  isRotten: boolean;
  /** Of its frames, so many were promised to outlive a power cut in a previous run. */
  readonly lastingBefore: number;
}

type Ending = 'crash' | 'power' | 'end';

/**
 * A batch at the moment of an end: so many of its frames must be found, and so many after a power cut too.
 */
interface Promised extends Omit<ModelBatch, 'batch'> {
  readonly path: string;
  readonly promised: number;
  readonly lasting: number;
}

class Life {
  readonly failing: FailingDisk;
  readonly budget = new MemoryBudget(64 * 1024 * 1024);
  readonly lines: string[] = [];
  readonly spool: DiskSpool;
  /** By bucket, in the order in which they were opened. */
  readonly batches: ModelBatch[][] = BUCKETS.map(() => []);
  readonly removals: Promise<void>[] = [];

  constructor(
    readonly disk: MemoryDisk,
    readonly sync: SpoolSync,
    readonly clock: FakeClock,
  ) {
    this.failing = new FailingDisk(disk.fs);
    const log = new Log('DEBUG', (line) => this.lines.push(line));
    this.spool = new DiskSpool(
      { path: '/spool', sync, maxBytes: SPOOL_MAX, whenFull: 'wait' },
      { log, clock, budget: this.budget, turns: new ReadTurns(this.budget, clock), fs: this.failing.fs },
    );
  }

  openOf(bucketIndex: number): ModelBatch | undefined {
    const last = this.batches[bucketIndex]!.at(-1);
    return last?.isSealed === false ? last : undefined;
  }

  append(bucketIndex: number, messages: readonly string[]): void {
    const name = BUCKETS[bucketIndex]!;
    let open = this.openOf(bucketIndex);
    if (open === undefined) {
      const batch = new Batch(name, this.budget);
      open = {
        frames: [],
        batch,
        segment: this.spool.newSegment(batch),
        left: undefined,
        isSealed: false,
        isSettled: false,
        isRotten: false,
        lastingBefore: 0,
      };
      this.batches[bucketIndex]!.push(open);
    }
    const batch = open.batch!;
    for (const message of messages) {
      const frame = encodeFrame(name, null, message);
      batch.append(frame, 0, frame.length, 1, this.clock.now());
      open.frames.push({ message, until: batch.length });
    }
    open.segment!.grow();
  }

  seal(bucketIndex: number): void {
    const open = this.openOf(bucketIndex);
    if (open === undefined) return;
    open.isSealed = true;
    open.segment!.seal();
  }

  /** Its frames are delivered: memory goes, and the file. */
  settle(bucketIndex: number, count: number): void {
    const due = this.batches[bucketIndex]!.filter(({ isSettled, isSealed }) => !isSettled && isSealed);
    for (const one of due.slice(0, count)) {
      one.isSettled = true;
      one.batch?.release();
      this.removals.push((one.segment ?? one.left!).remove());
    }
  }

  async until(what: string, isSo: () => boolean): Promise<void> {
    for (let tries = 0; !isSo(); tries++) {
      if (tries > 5_000) throw new Error(`never: ${what}\n${this.lines.slice(-20).join('')}`);
      await turn();
      this.clock.advance(20);
    }
  }
}

/** What must be there after a crash, what may, and in which order. */
class Model {
  life: Life;
  #made = 0;
  /** By bucket: a power cut may bring back what was settled and removed. */
  readonly #everMade = BUCKETS.map(() => new Set<string>());

  private constructor(life: Life) {
    this.life = life;
  }

  static async begin(sync: SpoolSync): Promise<Model> {
    const life = new Life(new MemoryDisk(), sync, new FakeClock());
    await life.spool.open();
    // Where the spool is to be is the operator's, and lasts.
    return new Model(
      new Life(
        life.disk.afterPowerCut((most) => most),
        sync,
        life.clock,
      ),
    );
  }

  async act(act: Action): Promise<void> {
    const { life } = this;
    switch (act.kind) {
      case 'append':
        life.append(act.bucket, this.#make(act));
        break;
      case 'seal':
        life.seal(act.bucket);
        break;
      case 'ask':
        this.#ask(act.bucket);
        break;
      case 'settle':
        life.settle(act.bucket, act.batches);
        break;
      case 'turns':
        for (let i = 0; i < act.count; i++) await turn();
        break;
      case 'time':
        life.clock.advance(act.ms);
        break;
      case 'fail':
        life.failing.fail({ call: act.call, code: 'EIO', times: act.times, path: /bckstm$|\/spool\// });
        break;
      case 'nospace':
        life.disk.capacity = act.room;
        break;
      case 'corrupt':
        this.#corrupt(act.file, act.at, act.mask);
        break;
      case 'crash':
        await this.#crash(act);
        break;
      case 'reopen':
        await this.reopen();
        break;
    }
  }

  #make({ bucket: of, frames, bytes }: Extract<Action, { kind: 'append' }>): string[] {
    const messages = Array.from({ length: frames }, () => `${this.#made++}:`.padEnd(bytes, 'x'));
    for (const message of messages) this.#everMade[of]!.add(message);
    return messages;
  }

  /** A receipt comes only when all of it is in a file, or it is settled. */
  #ask(bucketIndex: number): void {
    const newest = this.life.batches[bucketIndex]!.at(-1);
    if (newest?.segment === undefined || newest.isSettled) return;
    const until = newest.batch!.length;
    const { life } = this;
    newest.segment.whenSafe(until, () =>
      expect(newest.isSettled || safeBytes(newest) >= until || life !== this.life).toBe(true),
    );
  }

  #corrupt(file: number, at: number, mask: number): void {
    const files = [...this.life.disk.files].filter(
      ([path, bytes]) => path.endsWith('.bckstm') && bytes.length > 0,
    );
    const found = files[file % files.length];
    if (found === undefined) return;
    const [path, bytes] = found;
    bytes[at % bytes.length]! ^= mask;
    const stem = stemOf(path);
    for (const one of this.life.batches.flat())
      if (stemOf(one.segment?.path ?? one.left!.path) === stem) one.isRotten = true;
  }

  async #crash({ isPowerCut, seed, backMs }: Extract<Action, { kind: 'crash' }>): Promise<void> {
    let state = seed;
    const keeps = (most: number): number => (
      (state = (Math.imul(state, 1103515245) + 12345) >>> 0),
      (state >>> 8) % (most + 1)
    );
    const { disk, clock } = this.life;
    await this.#begin(
      isPowerCut ? disk.afterPowerCut(keeps) : disk.afterCrash(),
      isPowerCut ? 'power' : 'crash',
      new FakeClock(clock.now() - backMs),
    );
  }

  /** An orderly end: everything is written. */
  async reopen(): Promise<void> {
    const { life } = this;
    life.failing.heal();
    life.disk.capacity = Infinity;
    BUCKETS.forEach((_, i) => life.seal(i));
    const segments = life.batches
      .flat()
      .flatMap(({ segment, isSettled }) => (segment === undefined || isSettled ? [] : [segment]));
    await life.until('all is complete', () => segments.every((segment) => segment.copy === 'complete'));
    let isTidy = false;
    void Promise.all(life.removals).then(() => (isTidy = true));
    await life.until('what is settled is gone', () => isTidy);
    expect(life.failing.openFiles).toBe(0);
    expect(life.budget.isOver).toBe(life.budget.isOver && life.spool.bytes > SPOOL_MAX * 0.95);
    await this.#begin(life.disk.afterCrash(), 'end', life.clock);
  }

  /** The next run: reads what there is, and compares it. */
  async #begin(disk: MemoryDisk, why: Ending, clock: FakeClock): Promise<void> {
    const before = this.life;
    // What was promised by now: the run before may go on a little while this one begins, to no effect.
    const promises = before.batches.map((batches) =>
      batches.map((one): Promised => ({
        ...one,
        frames: [...one.frames],
        path: one.segment?.path ?? one.left!.path,
        promised: promisedFrames(one, before.sync, why),
        lasting: lastingFrames(one, before.sync),
      })),
    );
    const isExact = why === 'end' && !before.lines.some((line) => line.includes("can't be removed"));
    const life = (this.life = new Life(disk, before.sync, clock));
    const left = await life.spool.open();
    for (const [i, name] of BUCKETS.entries()) {
      const found: ModelBatch[] = [];
      for (const segment of left.get(Buffer.from(name).toString('latin1')) ?? [])
        found.push(await this.#readLeft(segment, promises[i]!, why));
      this.#compare(promises[i]!, found, {
        why,
        known: isExact ? unsettledOf(promises[i]!) : this.#everMade[i]!,
      });
      life.batches[i] = found;
    }
  }

  async #readLeft(segment: Segment, before: readonly Promised[], why: Ending): Promise<ModelBatch> {
    const { batch, mayGo } = await this.life.spool.read(segment);
    const messages = batch === undefined ? [] : messagesIn(batch.view());
    batch?.release();
    const same = before.find((one) => stemOf(one.path) === stemOf(segment.path));
    const lasting = why === 'power' ? messages.length : (same?.lasting ?? 0);
    return {
      frames: messages.map((message) => ({ message, until: 0 })),
      batch: undefined,
      segment: undefined,
      left: segment,
      isSealed: true,
      isSettled: false,
      isRotten: same?.isRotten === true || !mayGo,
      lastingBefore: lasting,
    };
  }

  #compare(
    batches: readonly Promised[],
    found: readonly ModelBatch[],
    { why, known }: { readonly why: Ending; readonly known: ReadonlySet<string> },
  ): void {
    const flat = [...new Set(found.flatMap(({ frames }) => frames.map(({ message }) => message)))];
    expect(
      flat.filter((message) => !known.has(message)),
      'nothing is invented',
    ).toEqual([]);
    expect(flat, 'in their order').toEqual([...flat].sort((a, b) => numberOf(a) - numberOf(b)));
    const there = new Set(flat);
    const unsettled = batches.filter(({ isSettled, isRotten }) => !isSettled && !isRotten);
    const must = unsettled.flatMap((one) => one.frames.slice(0, one.promised));
    expect(
      must.filter(({ message }) => !there.has(message)).map(({ message }) => message),
      'what was safe',
    ).toEqual([]);
    if (why === 'power' && this.life.sync !== 'always') return;
    // What a previous run had written and not synced, and was not promised, a power cut may take from before
    // what this one has synced.
    const all = unsettled
      .filter(({ left }) => why !== 'power' || left === undefined)
      .flatMap(({ frames }) => frames.map(({ message }) => message));
    const missing = all.findIndex((message) => !there.has(message));
    expect(
      missing < 0 ? [] : all.slice(missing).filter((message) => there.has(message)),
      'what is missing is the end',
    ).toEqual([]);
  }

  /** At last all is settled, and nothing is left. */
  async end(): Promise<void> {
    await this.reopen();
    const { life } = this;
    BUCKETS.forEach((_, i) => life.settle(i, Infinity));
    await Promise.all(life.removals);
    const files = [...life.disk.files.keys()].filter((path) => !path.includes('/damaged/'));
    expect(files.filter((path) => !path.endsWith('/format.json'))).toEqual([]);
    expect(life.spool.bytes).toBe(0);
    expect(life.budget.heldBytes).toBe(0);
    expect(life.budget.isOver).toBe(false);
    expect(life.disk.openFiles).toBe(0);
  }
}

function unsettledOf(batches: readonly Promised[]): Set<string> {
  return new Set(
    batches
      .filter(({ isSettled }) => !isSettled)
      .flatMap(({ frames }) => frames.map(({ message }) => message)),
  );
}

function numberOf(message: string): number {
  return Number(message.split(':', 1)[0]);
}

/** A segment's name without its attempt. */
function stemOf(path: string): string {
  return path.replace(/(\.\d+)?\.bckstm$/, '');
}

function safeBytes({ segment }: ModelBatch): number {
  return segment?.safeBytes ?? 0;
}

function promisedFrames(one: ModelBatch, sync: SpoolSync, why: Ending): number {
  if (why === 'power') return lastingFrames(one, sync);
  if (why === 'end' || one.segment === undefined) return one.frames.length;
  return one.frames.filter(({ until }) => until <= safeBytes(one)).length;
}

/** How many of its frames a power cut may not take. */
function lastingFrames(one: ModelBatch, sync: SpoolSync): number {
  if (one.segment === undefined) return one.lastingBefore;
  if (sync === 'batch') return one.segment.copy === 'complete' ? one.frames.length : 0;
  return sync === 'always' ? one.frames.filter(({ until }) => until <= safeBytes(one)).length : 0;
}

async function run(sync: SpoolSync, actions: readonly Action[]): Promise<void> {
  const model = await Model.begin(sync);
  for (const act of actions) await model.act(act);
  await model.end();
}

/** Runs that failed once, with what was wrong. */
const ONCE_FAILED: readonly (readonly [string, SpoolSync, readonly Action[]])[] = [
  [
    "the name of a new bucket's folder was not synced",
    'batch',
    [
      { kind: 'append', bucket: 0, frames: 1, bytes: 0 },
      { kind: 'reopen' },
      { kind: 'crash', isPowerCut: true, seed: 0, backMs: 0 },
    ],
  ],
];

describe('Spool against a model', () => {
  test.each(ONCE_FAILED)('%s', async (_what, sync, actions) => run(sync, actions));

  test('2,000 runs of 64 actions: what was safe is found, in order, once and for all', async () => {
    const seed = Number(process.env['KAHE_SEED'] ?? Date.now() % 1_000_000);
    console.log(`seed ${seed}`);
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...SYNCS),
        fc.array(action, { minLength: 1, maxLength: 64, size: 'max' }),
        run,
      ),
      {
        numRuns: Number(process.env['KAHE_RUNS'] ?? 2_000),
        seed,
      },
    );
  }, 240_000);
});
