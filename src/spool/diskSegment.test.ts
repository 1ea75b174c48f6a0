import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type FakeClock, PATIENCE_MS, turn } from '../../support/fakeClock.js';
import { messagesIn } from '../../support/frames.js';
import type { SpoolSync } from '../config/env.js';
import { Batch } from '../frames/batch.js';
import { encodeFrame } from '../frames/frame.js';
import { MemoryBudget } from '../memory/memoryBudget.js';
import { type DiskCall } from '../../support/failingDisk.js';
import { newFolder } from '../../support/newFolder.js';
import { SILENT } from '../../support/bench.js';
import { SpoolBench, filesIn } from '../../support/spoolBench.js';
import { errnoOf, nodeFileSystem } from '../disk/fileSystem.js';
import { syncing } from '../disk/syncing.js';
import { recoverSegment } from './recover.js';
import { DiskSegment } from './diskSegment.js';

const SYNCS: readonly SpoolSync[] = ['never', 'batch', 'always'];

let folder: string;
let bench: SegmentBench;

beforeEach(() => {
  folder = newFolder();
  bench = new SegmentBench();
});

afterEach(async () => {
  await bench.end();
});

class SegmentBench extends SpoolBench {
  readonly stuck: string[] = [];
  bytes = 0;
  troubles: boolean[] = [];
  readonly #segments: DiskSegment[] = [];

  newBatch(sync: SpoolSync = 'batch', previous?: DiskSegment): GrowingBatch {
    const name = `0000000000001-${String(this.#segments.length + 1).padStart(8, '0')}`;
    const batch = new Batch('orders', this.budget);
    const segment = new DiskSegment(
      {
        pathOf: (attempt) => join(folder, 'orders', `${name}${attempt === 0 ? '' : `.${attempt}`}.bckstm`),
        folder: join(folder, 'orders'),
        batch,
        sync,
        fs: syncing(this.disk.fs, { place: folder, isSynced: sync !== 'never', log: SILENT }),
        clock: this.clock,
        log: this.log,
        onSize: (bytes) => (this.bytes += bytes),
        onTrouble: (isInTrouble) => this.troubles.push(isInTrouble),
        onStuck: (path) => void this.stuck.push(path),
        onGone: () => undefined,
      },
      previous,
    );
    this.#segments.push(segment);
    return new GrowingBatch(segment, batch, this.clock, name);
  }

  /** A millisecond at a time. */
  override until(what: string, isSo: () => boolean, stepMs = 1): Promise<void> {
    return super.until(what, isSo, stepMs);
  }

  async end(): Promise<void> {
    this.disk.heal();
    await Promise.all(this.#segments.map((segment) => segment.remove()));
  }

  get isInTrouble(): boolean {
    return this.troubles.filter(Boolean).length > this.troubles.filter((is) => !is).length;
  }

  get files(): string[] {
    return filesIn(join(folder, 'orders'));
  }

  /** What each file holds behind checkpoints, now: as a crash would leave it. */
  async recovered(): Promise<{ readonly messages: string[]; readonly times: [number, number][] }[]> {
    const copy = join(folder, 'copy');
    const names = this.#copyFiles(copy);
    return Promise.all(
      names.map(async (name) => {
        const { batch, damagedBytes } = await recoverSegment(join(copy, name), false, {
          fs: nodeFileSystem,
          budget: new MemoryBudget(1e8),
          log: SILENT,
        });
        expect(damagedBytes).toBe(0);
        if (batch === undefined) return { messages: [], times: [] };
        const { until, times } = batch.arrivals;
        return {
          messages: messagesIn(batch.view()),
          times: until.map((frames, i): [number, number] => [frames, times[i]!]),
        };
      }),
    );
  }

  /** Newest first, and anew when a file has just gone: the disk is at work meanwhile. */
  #copyFiles(to: string): string[] {
    for (;;) {
      rmSync(to, { recursive: true, force: true });
      mkdirSync(to);
      const names = this.files;
      try {
        for (const name of names.toReversed()) copyFileSync(join(folder, 'orders', name), join(to, name));
        return names;
      } catch (error) {
        if (errnoOf(error) !== 'ENOENT') throw error;
      }
    }
  }
}

class GrowingBatch {
  readonly sent: string[] = [];
  constructor(
    readonly segment: DiskSegment,
    readonly batch: Batch,
    readonly clock: FakeClock,
    readonly name: string,
  ) {}

  add(frames: number, bytes = 20): void {
    for (let i = 0; i < frames; i++) {
      const message = `${this.name}:${this.sent.length}:`.padEnd(bytes, 'x');
      const frame = encodeFrame('orders', null, message);
      this.batch.append(frame, 0, frame.length, 1, this.clock.now());
      this.sent.push(message);
    }
    this.segment.grow();
  }

  /** Counts how often it is called. */
  ask(): { calls: number; readonly frames: number } {
    const asked = { calls: 0, frames: this.sent.length };
    this.segment.whenSafe(this.batch.length, () => asked.calls++);
    return asked;
  }
}

describe('DiskSegment', () => {
  test('what came in one turn is one write, and safe after it', async () => {
    const growing = bench.newBatch();
    growing.add(1);
    growing.add(2);
    const asked = growing.ask();
    expect(asked.calls).toBe(0);
    await bench.until('it is safe', () => asked.calls === 1);
    expect(growing.segment.safeBytes).toBe(growing.batch.length);
    expect(bench.disk.count('write')).toBe(1);
    expect((await bench.recovered())[0]!.messages).toEqual(growing.sent);
    expect(bench.bytes).toBe(readFileSync(growing.segment.path).length);
  });

  test('after a write the next one waits a little, unless somebody waits for it', async () => {
    const growing = bench.newBatch();
    growing.add(1);
    await bench.until('it is written', () => growing.segment.safeBytes === growing.batch.length, 0);
    for (let i = 0; i < 50; i++) {
      growing.add(1);
      await turn();
    }
    expect(bench.disk.count('write')).toBe(1);
    const asked = growing.ask();
    await bench.until('it is safe', () => asked.calls === 1, 0);
    expect(bench.disk.count('write')).toBe(2);
    growing.add(1);
    bench.clock.advance(2);
    await bench.until('it is written', () => growing.segment.safeBytes === growing.batch.length, 0);
    expect((await bench.recovered())[0]!.messages).toEqual(growing.sent);
  });

  test('who asks when all is written is answered at once, and nothing is written for it', async () => {
    const growing = bench.newBatch();
    growing.add(1);
    await bench.until('it is written', () => growing.segment.safeBytes === growing.batch.length, 0);
    expect(growing.ask().calls).toBe(1);
    growing.segment.seal();
    await growing.segment.completed;
    expect(growing.ask().calls).toBe(1);
    expect(bench.disk.count('write')).toBe(1);
  });

  test('a clock that is set back by an hour does not hold a write up', async () => {
    const growing = bench.newBatch();
    growing.add(1);
    await bench.until('it is written', () => growing.segment.safeBytes === growing.batch.length, 0);
    const clock = bench.clock;
    const now = clock.now.bind(clock);
    clock.now = () => now() - 3_600_000;
    growing.add(1);
    await bench.until('it is written', () => growing.segment.safeBytes === growing.batch.length, 0);
    expect(bench.disk.count('write')).toBe(2);
  });

  test.each(SYNCS)('SPOOL_SYNC=%s: syncs as often as it says', async (sync) => {
    const growing = bench.newBatch(sync);
    for (let i = 0; i < 3; i++) {
      growing.add(2);
      const asked = growing.ask();
      await bench.until('it is safe', () => asked.calls === 1);
    }
    expect(bench.disk.count('datasync')).toBe({ never: 0, batch: 0, always: 3 }[sync]);
    growing.segment.seal();
    await bench.until('it is complete', () => growing.segment.copy === 'complete');
    expect(bench.disk.count('datasync')).toBe({ never: 0, batch: 1, always: 3 }[sync]);
    expect(bench.disk.count('sync', /orders$/)).toBe({ never: 0, batch: 1, always: 1 }[sync]);
    // The folder's own name.
    expect(bench.disk.count('sync', /kahe-[^/]*$/)).toBe({ never: 0, batch: 1, always: 1 }[sync]);
    expect(bench.disk.count('close', /bckstm$/)).toBe(1);
  });

  test('bytes that the kernel reads are not used again when the batch grows meanwhile', async () => {
    let goOn: () => void = () => undefined;
    bench.disk.fail({ call: 'write', times: 1, wait: new Promise<void>((resolve) => (goOn = resolve)) });
    const growing = bench.newBatch();
    growing.add(10, 300);
    await bench.until('the write has begun', () => bench.disk.count('write') === 1);
    // Outgrows its bytes; whoever gets those now would write over them.
    growing.add(40, 300);
    const others = Array.from({ length: 20 }, () => bench.budget.allocate(4096).fill(0xee));
    goOn();
    const asked = growing.ask();
    await bench.until('it is safe', () => asked.calls === 1);
    expect((await bench.recovered())[0]!.messages).toEqual(growing.sent);
    for (const other of others) bench.budget.free(other);
  });

  test('settled and released during a write: no file stays, and the bytes are free only after the write', async () => {
    let goOn: () => void = () => undefined;
    bench.disk.fail({ call: 'write', times: 1, wait: new Promise<void>((resolve) => (goOn = resolve)) });
    const growing = bench.newBatch();
    growing.add(10);
    const asked = growing.ask();
    await bench.until('the write has begun', () => bench.disk.count('write') === 1);
    const { bytes } = growing.batch;
    growing.batch.release();
    expect(bench.budget.allocate(bytes.length)).not.toBe(bytes);
    let isGone = false;
    void growing.segment.remove().then(() => (isGone = true));
    expect(asked.calls).toBe(1);
    await growing.segment.completed;
    await turn();
    expect(isGone).toBe(false);
    goOn();
    await bench.until('it is gone', () => isGone);
    expect(bench.files).toEqual([]);
    expect(bench.bytes).toBe(0);
    expect(asked.calls).toBe(1);
  });

  test('removed before anything was written it writes nothing', async () => {
    const growing = bench.newBatch();
    growing.add(1);
    await growing.segment.remove();
    bench.clock.advance(10_000);
    await turn();
    expect(bench.disk.calls).toEqual([]);
  });

  test.each(['batch', 'always'] as const)(
    'settled while its file is being made (SPOOL_SYNC=%s), it writes no checkpoint without frames',
    async (sync) => {
      let goOn: () => void = () => undefined;
      bench.disk.fail({ call: 'open', times: 1, wait: new Promise<void>((resolve) => (goOn = resolve)) });
      const growing = bench.newBatch(sync);
      growing.add(1);
      growing.segment.seal();
      await bench.until('its file is being made', () => bench.disk.count('open') === 1);
      growing.batch.release();
      let isGone = false;
      void growing.segment.remove().then(() => (isGone = true));
      goOn();
      await bench.until('it is gone', () => isGone);
      expect(bench.disk.count('write')).toBe(0);
      expect(bench.files).toEqual([]);
      expect(bench.disk.openFiles).toBe(0);
    },
  );

  test('is not written before the one before it is, so that a crash never costs the middle', async () => {
    const first = bench.newBatch();
    first.add(1);
    await bench.until('the first is written', () => first.segment.safeBytes > 0);
    bench.disk.fail({ call: 'write', code: 'ENOSPC', path: /-00000001/ });
    first.add(1);
    first.segment.seal();
    const second = bench.newBatch('batch', first.segment);
    second.add(1);
    const asked = second.ask();
    second.segment.seal();
    await bench.until('it is in trouble', () => bench.isInTrouble);
    bench.clock.advance(5_000);
    await turn();
    expect(bench.files).not.toContain('0000000000001-00000002.bckstm');
    expect(asked.calls).toBe(0);
    bench.disk.heal();
    await bench.until(
      'both are complete',
      () => first.segment.copy === 'complete' && second.segment.copy === 'complete',
      100,
    );
    expect(asked.calls).toBe(1);
    expect((await bench.recovered()).flatMap(({ messages }) => messages)).toEqual([
      ...first.sent,
      ...second.sent,
    ]);
  });

  test('goes on when the one before it is removed, written or not', async () => {
    const first = bench.newBatch();
    bench.disk.fail({ call: 'open', code: 'EIO', path: /-00000001/ });
    first.add(1);
    first.segment.seal();
    const second = bench.newBatch('batch', first.segment);
    second.add(1);
    const asked = second.ask();
    await bench.until('it is in trouble', () => bench.isInTrouble);
    await first.segment.remove();
    expect(bench.isInTrouble).toBe(false);
    await bench.until('the second is safe', () => asked.calls === 1);
  });

  test('frames that wait for the disk keep their times of arrival', async () => {
    bench.disk.fail({ call: 'write', code: 'ENOSPC', times: 3 });
    const growing = bench.newBatch();
    const startMs = bench.clock.now();
    for (let i = 0; i < 10; i++) {
      growing.add(2);
      await turn();
      bench.clock.advance(200);
    }
    growing.segment.seal();
    await bench.until('it is complete', () => growing.segment.copy === 'complete', 100);
    const [found] = await bench.recovered();
    expect(found!.messages).toEqual(growing.sent);
    expect(found!.times).toEqual(Array.from({ length: 10 }, (_, i) => [2 * (i + 1), startMs + 200 * i]));
  });

  test('a symlink in the place of its folder is not followed: clients wait until it is fixed', async () => {
    await nodeFileSystem.makeFolder(join(folder, 'elsewhere'), { parents: true });
    symlinkSync(join(folder, 'elsewhere'), join(folder, 'orders'));
    const growing = bench.newBatch();
    growing.add(3);
    growing.segment.seal();
    await bench.until('it is in trouble', () => bench.isInTrouble);
    expect(bench.lines.join()).toContain('is a symlink');
    unlinkSync(join(folder, 'orders'));
    await bench.until('it is complete', () => growing.segment.copy === 'complete', 100);
    expect(readdirSync(join(folder, 'elsewhere'))).toEqual([]);
    expect((await bench.recovered())[0]!.messages).toEqual(growing.sent);
  });

  test('a file of somebody else under its name is left alone', async () => {
    const growing = bench.newBatch();
    await nodeFileSystem.makeFolder(join(folder, 'orders'), { parents: true });
    const stranger = await nodeFileSystem.open(growing.segment.path, 0o101, 0o600);
    await stranger.write(Buffer.from('mine'), 0, 4);
    await stranger.close();
    growing.add(3);
    growing.segment.seal();
    await bench.until('it is complete', () => growing.segment.copy === 'complete', 100);
    expect(growing.segment.path).toMatch(/00000001\.1\.bckstm$/);
    await growing.segment.remove();
    expect(bench.files).toEqual(['0000000000001-00000001.bckstm']);
    expect(readFileSync(join(folder, 'orders', bench.files[0]!), 'utf8')).toBe('mine');
  });

  test('a folder that somebody removed is made again', async () => {
    const first = bench.newBatch();
    first.add(1);
    first.segment.seal();
    await bench.until('it is complete', () => first.segment.copy === 'complete');
    rmSync(join(folder, 'orders'), { recursive: true });
    const second = bench.newBatch('batch', first.segment);
    second.add(1);
    second.segment.seal();
    await bench.until('it is complete', () => second.segment.copy === 'complete');
    expect(bench.troubles).toEqual([]);
    await first.segment.remove();
    await second.segment.remove();
    expect(bench.files).toEqual([]);
  });
});

interface FaultCase {
  readonly call: DiskCall;
  readonly code?: string;
  readonly short?: number;
  readonly path?: RegExp;
}

const FAULTS: readonly FaultCase[] = [
  { call: 'open', code: 'EMFILE', path: /bckstm$/ },
  { call: 'open', code: 'EACCES', path: /orders$/ },
  { call: 'write', code: 'ENOSPC' },
  { call: 'write', short: 0 },
  { call: 'write', short: 1 },
  { call: 'write', short: 61 },
  { call: 'datasync', code: 'EIO' },
  { call: 'sync', code: 'EIO' },
  { call: 'close', code: 'EIO', path: /bckstm$/ },
  { call: 'unlink', code: 'EIO' },
];

describe.each(SYNCS)('DiskSegment on a disk that fails, SPOOL_SYNC=%s', (sync) => {
  test.each(FAULTS)(
    '$call $code $short: what was once safe stays so at every moment, and in the end all is there',
    async ({ path, ...fault }) => {
      for (let after = 0; after < 7; after++) {
        for (const times of [1, 3]) {
          bench = new SegmentBench();
          rmSync(join(folder, 'orders'), { recursive: true, force: true });
          bench.disk.fail({ ...fault, ...(path === undefined ? {} : { path }), after, times });
          await life(sync, `${fault.call} fails ${times} times after ${after}`);
        }
      }
    },
  );
});

/** A batch's whole life: grows, is asked for, sealed, and removed. */
async function life(sync: SpoolSync, what: string): Promise<void> {
  const growing = bench.newBatch(sync);
  const questions: { calls: number; readonly frames: number }[] = [];
  const ask = () => questions.push(growing.ask());
  const check = async () => {
    const safe = Math.max(0, ...questions.filter(({ calls }) => calls > 0).map(({ frames }) => frames));
    const most = Math.max(
      0,
      ...(await bench.recovered()).map(({ messages }) => {
        expect(messages, what).toEqual(growing.sent.slice(0, messages.length));
        return messages.length;
      }),
    );
    expect(most, `${what}: what was said to be safe is on disk`).toBeGreaterThanOrEqual(safe);
  };
  for (let i = 0; i < 12; i++) {
    growing.add(1 + (i % 3));
    if (i % 2 === 1) ask();
    for (let j = 0; j < i % 4; j++) await turn();
    bench.clock.advance(i % 5 === 0 ? 1_000 : 1);
    await check();
  }
  growing.segment.seal();
  let isComplete = false;
  void growing.segment.completed.then(() => (isComplete = true));
  const deadline = Date.now() + PATIENCE_MS;
  for (let i = 0; !isComplete; i++) {
    await turn();
    bench.clock.advance(50);
    if (i % 10 === 0) await check();
    if (Date.now() > deadline) throw new Error(`${what}: never complete\n${bench.disk.calls.join('\n')}`);
  }
  expect(growing.segment.copy, what).toBe('complete');
  expect(
    questions.map(({ calls }) => calls),
    what,
  ).toEqual(questions.map(() => 1));
  const whole = (await bench.recovered()).at(-1)!;
  const last = (
    await recoverSegment(growing.segment.path, true, {
      fs: nodeFileSystem,
      budget: bench.budget,
      log: SILENT,
    })
  ).batch!;
  expect(messagesIn(last.view()), what).toEqual(growing.sent);
  last.release();
  expect(whole.messages.length, what).toBeGreaterThan(0);
  expect(bench.isInTrouble, what).toBe(false);
  neverTwiceAfterAFault(what);
  bench.disk.heal();
  await growing.segment.remove();
  growing.batch.release();
  expect(
    questions.map(({ calls }) => calls),
    what,
  ).toEqual(questions.map(() => 1));
  expect(bench.budget.heldBytes, what).toBe(0);
  // What could not be removed while it was in the way stays, and is told; all else is gone.
  const told = bench.stuck;
  expect(bench.files.length, what).toBe(told.length);
  expect(bench.bytes === 0, what).toBe(told.length === 0);
  expect(bench.disk.openFiles, what).toBe(0);
}

/** No file is written or synced again once a sync of it has failed. */
function neverTwiceAfterAFault(what: string): void {
  const { calls, failures } = bench.disk;
  for (const index of failures.filter((failed) => calls[failed]!.startsWith('datasync '))) {
    const path = calls[index]!.slice('datasync '.length);
    const again = calls
      .slice(index + 1)
      .filter((call) => call === `write ${path}` || call === `datasync ${path}`);
    expect(again, `${what}: ${path} after its sync failed`).toEqual([]);
  }
}
