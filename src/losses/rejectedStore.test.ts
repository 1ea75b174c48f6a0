import { readFileSync, renameSync } from 'node:fs';
import { mkdir, readFile, readdir, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Clock } from '../clock.js';
import { encodeFrame } from '../frames/frame.js';
import { Log } from '../log/log.js';
import { Origins } from '../frames/origins.js';
import { MemoryBudget } from '../memory/memoryBudget.js';
import { RejectedStore } from './rejectedStore.js';
import { FailingDisk } from '../../support/failingDisk.js';
import { messagesIn } from '../../support/frames.js';
import { newFolder } from '../../support/newFolder.js';
import type { Rejection } from './rejection.js';

/** Time that stands still until it is moved. */
class HandClock implements Clock {
  #now = Date.UTC(2026, 0, 31, 12);
  #timers: { readonly at: number; readonly run: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  after(delayMs: number, run: () => void): { cancel: () => void } {
    const timer = { at: this.#now + delayMs, run };
    this.#timers.push(timer);
    return { cancel: () => void (this.#timers = this.#timers.filter((other) => other !== timer)) };
  }

  every(): never {
    throw new Error('not used');
  }

  get waiting(): number {
    return this.#timers.length;
  }

  move(ms: number): void {
    this.#now += ms;
    const due = this.#timers.filter(({ at }) => at <= this.#now);
    this.#timers = this.#timers.filter(({ at }) => at > this.#now);
    for (const { run } of due) run();
  }
}

let root: string;
let path: string;
let budget: MemoryBudget;
let clock: HandClock;
let lines: string[];
let disk: FailingDisk;
let stores: RejectedStore[];
let origins: Origins;
let discarded: number;

beforeEach(() => {
  root = newFolder();
  path = join(root, 'deep', 'rejected');
  [origins, discarded, ends.length] = [new Origins(), 0, 0];
  [budget, clock, lines, disk, stores] = [
    new MemoryBudget(16 * 1024 * 1024),
    new HandClock(),
    [],
    new FailingDisk(),
    [],
  ];
});

afterEach(async () => {
  disk.heal();
  for (const store of stores) await store.close();
  expect(budget.heldBytes).toBe(0);
  expect(clock.waiting).toBe(0);
});

function open(maxBytes = 1e9, whenFull: 'hold' | 'drop' = 'hold', isSynced = true): RejectedStore {
  const store = new RejectedStore({
    path,
    maxBytes,
    whenFull,
    isSynced,
    budget,
    log: new Log('INFO', (line) => lines.push(line)),
    clock,
    fs: disk.fs,
    origins,
    onDiscarded: ({ frames }) => (discarded += frames),
  });
  stores.push(store);
  return store;
}

const ends: string[] = [];

function reject(store: RejectedStore, reason: string, ...messages: string[]): void {
  const { rejection, around } = rejectionOf(reason, messages);
  void store.reject(rejection).then((end) => ends.push(`${reason} ${end}`));
  around.fill(0);
}

/** As a stream does, which has the bytes until it hears what became of them. */
async function offer(store: RejectedStore, reason: string, ...messages: string[]): Promise<string> {
  return store.offer(rejectionOf(reason, messages).rejection);
}

function rejectionOf(reason: string, messages: readonly string[]): { rejection: Rejection; around: Buffer } {
  const frames = Buffer.concat(messages.map((message) => encodeFrame('orders', null, message)));
  const around = Buffer.concat([Buffer.from('before'), frames, Buffer.from('behind')]);
  return {
    around,
    rejection: {
      bytes: around,
      start: 6,
      end: 6 + frames.length,
      frames: messages.length,
      bucket: 'orders',
      reason,
    },
  };
}

/** The time passes after which it is tried again, and the disk has done what it was asked for. */
async function later(store: RejectedStore): Promise<void> {
  const calls = disk.calls.length;
  clock.move(1_000);
  await vi.waitUntil(
    () =>
      disk.calls.length > calls && disk.underWay === 0 && (clock.waiting > 0 || store.problem === undefined),
  );
  await store.flush();
}

async function kept(): Promise<{ names: string[]; messages: string[]; reasons: Record<string, unknown>[] }> {
  const names = (await readdir(path)).sort();
  const frames = await Promise.all(
    names.filter((name) => name.endsWith('.bckstm')).map((name) => readFile(join(path, name))),
  );
  const reasons = await Promise.all(
    names.filter((name) => name.endsWith('.jsonl')).map((name) => readFile(join(path, name), 'utf8')),
  );
  return {
    names,
    messages: frames.flatMap((file) => messagesIn(file)),
    reasons: reasons
      .flatMap((text) => text.split('\n').slice(0, -1))
      .map((line) => JSON.parse(line) as Record<string, unknown>),
  };
}

function errors(): string[] {
  return lines.filter((line) => line.startsWith('ERROR'));
}

describe('RejectedStore: keeping', () => {
  it('keeps the frames as they came, with a line for each rejection', async () => {
    const store = open();
    reject(store, 'no "such" topic\n', 'a', 'b');
    reject(store, 'too large', 'c');
    await store.flush();
    const { names, messages, reasons } = await kept();
    expect(names[0]).toMatch(/^20260131-[a-z0-9]{8}\.bckstm$/);
    expect(names[1]).toBe(names[0]!.replace('.bckstm', '.reasons.jsonl'));
    expect(messages).toEqual(['a', 'b', 'c']);
    const time = '2026-01-31T12:00:00.000Z';
    expect(reasons).toEqual([
      { time, bucket: 'orders', reason: 'no "such" topic\n', frames: 2, offset: 0, bytes: 26 },
      { time, bucket: 'orders', reason: 'too large', frames: 1, offset: 26, bytes: 13 },
    ]);
    expect((await stat(path)).mode & 0o777).toBe(0o750);
    for (const name of names) expect((await stat(join(path, name))).mode & 0o777).toBe(0o640);
  });

  it('makes no folder as long as nothing is rejected', async () => {
    await open().close();
    await expect(stat(path)).rejects.toThrow('ENOENT');
  });

  it('holds the copied bytes in the budget until they are on the disk', async () => {
    const store = open();
    const frame = encodeFrame('orders', null, Buffer.alloc(100_000));
    void store.reject({
      bytes: frame,
      start: 0,
      end: frame.length,
      frames: 1,
      bucket: 'orders',
      reason: 'r',
    });
    expect(budget.heldBytes).toBeGreaterThanOrEqual(100_000);
    await store.flush();
    expect(budget.heldBytes).toBe(0);
  });

  it('writes together what waits, one write at a time', async () => {
    const store = open();
    for (let i = 0; i < 1000; i++) reject(store, 'r', `${i}`);
    await store.flush();
    expect((await kept()).messages).toEqual(Array.from({ length: 1000 }, (_, i) => `${i}`));
    expect(disk.count('write', /bckstm$/)).toBe(1);
  });

  it('offsets lead to the frames, over several writes and files of 10 MB', async () => {
    const store = open();
    for (let i = 0; i < 13; i++) {
      reject(store, 'r', `${i}`.repeat(1_000_000), 'small');
      await store.flush();
    }
    const { names, reasons } = await kept();
    expect(names.length).toBeGreaterThanOrEqual(4);
    expect(reasons).toHaveLength(13);
    for (const name of names.filter((other) => other.endsWith('.bckstm'))) {
      const frames = await readFile(join(path, name));
      expect(frames.length).toBeLessThan(13e6);
      const own = (await readFile(join(path, name.replace('.bckstm', '.reasons.jsonl')), 'utf8'))
        .split('\n')
        .slice(0, -1);
      let end = 0;
      for (const { offset, bytes } of own.map(
        (line) => JSON.parse(line) as { offset: number; bytes: number },
      )) {
        expect(offset).toBe(end);
        expect(messagesIn(frames.subarray(offset, offset + bytes))[1]).toBe('small');
        end = offset + bytes;
      }
      expect(end).toBe(frames.length);
    }
  });

  it('begins a new file each day', async () => {
    const store = open();
    reject(store, 'r', 'a');
    await store.flush();
    clock.move(86_400_000);
    reject(store, 'r', 'b');
    await store.flush();
    expect((await kept()).names.map((name) => name.slice(0, 8))).toEqual([
      '20260131',
      '20260131',
      '20260201',
      '20260201',
    ]);
  });
});

describe('RejectedStore: full', () => {
  it("keeps no more than maxBytes, a previous run's included; the rest waits, in order, for room", async () => {
    await mkdir(path, { recursive: true });
    const old = join(path, '20250101-abcdefgh.bckstm');
    await writeFile(old, '');
    await truncate(old, 9500);
    await writeFile(join(path, 'stranger'), Buffer.alloc(100_000));
    const store = open(10_000);
    for (let i = 0; i < 50; i++) reject(store, 'r', `${i}`.padStart(3, '0'));
    await store.flush();
    const sizes = await Promise.all(
      (await readdir(path))
        .filter((name) => name.startsWith('2026'))
        .map(async (name) => (await stat(join(path, name))).size),
    );
    expect(sizes).toHaveLength(2);
    expect(sizes[0]! + sizes[1]!).toBeLessThanOrEqual(500);
    expect(ends.length).toBeGreaterThan(1);
    expect(ends.length).toBeLessThan(10);
    expect(store.problem).toMatch(/^the files in .* have \d+ of 10000 bytes \(REJECTED_MAX\)/);
    expect(errors()).toEqual([expect.stringContaining("rejected frames can't be kept: the files in ")]);
    expect(budget.heldBytes).toBeGreaterThan(0);

    await later(store);
    expect(store.problem).toBeDefined();
    await rm(old);
    await later(store);
    expect(store.problem).toBeUndefined();
    expect(ends).toEqual(Array.from({ length: 50 }, () => 'r kept'));
    expect((await kept()).messages.filter((message) => message !== '')).toEqual(
      Array.from({ length: 50 }, (_, i) => `${i}`.padStart(3, '0')),
    );
    expect(budget.heldBytes).toBe(0);
    expect([store.lostFrames, discarded]).toEqual([0, 0]);
    expect(lines.filter((line) => line.includes('can be kept again'))).toHaveLength(1);
    expect(errors()).toHaveLength(1);
  });

  it('who waits already is not told again with each one that comes', async () => {
    const store = open(10);
    let told = 0;
    const fates = origins.open(() => told++);
    const bytes = encodeFrame('a', null, 'x');
    const one = { bytes, start: 0, end: bytes.length, frames: 1, bucket: 'a', reason: 'r' };
    const from = new Map([[fates.id, 1]]);
    const first = store.reject({ ...one, from });
    await store.flush();
    expect([told, store.problem === undefined]).toEqual([1, false]);
    const others = Array.from({ length: 100 }, () => store.reject({ ...one, from: new Map() }));
    expect(told).toBe(1);
    await store.close();
    expect(await Promise.all([first, ...others])).toEqual(Array.from({ length: 101 }, () => 'discarded'));
  });

  it('an offer is refused and stays with its giver; it is taken when there is room for just that', async () => {
    const store = open(1_000);
    reject(store, 'first', 'a'.repeat(500));
    await store.flush();
    expect(await offer(store, 'r', 'b'.repeat(500))).toBe('refused');
    expect(store.problem).toBeDefined();
    // A small one would fit: but who could not be kept goes first.
    expect(await offer(store, 'r', 'c')).toBe('refused');
    await later(store);
    expect(store.problem).toBeDefined();
    await rm(path, { recursive: true });
    await later(store);
    expect(store.problem).toBeUndefined();
    expect(await offer(store, 'r', 'b'.repeat(500))).toBe('kept');
    expect((await kept()).messages).toEqual(['b'.repeat(500)]);
    expect([store.lostFrames, store.counts.get('r')?.frames]).toEqual([0, 1]);
  });

  it("REJECTED_FULL=drop: what can't be kept is counted as discarded, with the reason", async () => {
    const store = open(400, 'drop');
    reject(store, 'r', 'a'.repeat(200));
    await store.flush();
    reject(store, 'r', 'b'.repeat(200), 'b');
    expect(await offer(store, 'r', 'c'.repeat(200))).toBe('discarded');
    expect(ends).toEqual(['r kept', 'r discarded']);
    expect([store.lostFrames, discarded, store.problem]).toEqual([3, 3, undefined]);
    expect(errors()).toEqual([
      expect.stringMatching(/rejected frames are discarded: the files in .* of 400 bytes/),
    ]);
    await rm(path, { recursive: true });
    await later(store);
    expect(await offer(store, 'r', 'd'.repeat(200))).toBe('kept');
    expect(store.lostFrames).toBe(3);
  });

  it('connections are told what became of theirs, and that they wait', async () => {
    let changes = 0;
    const fates = origins.open(() => changes++);
    const other = origins.open(() => expect.unreachable());
    const store = open(400);
    const from = new Map([[fates.id, 1]]);
    await store.reject({ ...rejectionOf('r', ['a'.repeat(200)]).rejection, from });
    expect([fates.isKept, changes, fates.counts.rejected, other.counts.rejected]).toEqual([true, 1, 1, 0]);
    const second = store.reject({ ...rejectionOf('r', ['b'.repeat(200)]).rejection, from });
    await store.flush();
    expect([fates.isKept, fates.unkeptBytes > 200, changes, fates.counts.rejected]).toEqual([
      false,
      true,
      2,
      1,
    ]);
    await rm(path, { recursive: true });
    await later(store);
    await second;
    expect([fates.isKept, fates.unkeptBytes, fates.counts.rejected, fates.reasons]).toEqual([
      true,
      0,
      2,
      [{ outcome: 'rejected', reason: 'r', frames: 2 }],
    ]);
  });

  it('a file that somebody moves away gets nothing more, also when it is just being written', async () => {
    const store = open();
    const moved = join(root, 'moved.bckstm');
    const moveAway = async (): Promise<void> => {
      const [name] = (await kept()).names.filter((other) => other.endsWith('.bckstm'));
      renameSync(join(path, name!), moved);
    };
    reject(store, 'r', 'a');
    await store.flush();
    await moveAway();
    reject(store, 'r', 'b');
    await store.flush();
    expect([messagesIn(await readFile(moved)), (await kept()).messages]).toEqual([['a'], ['b']]);

    const [name] = (await readdir(path)).filter(
      (other) => other.endsWith('.bckstm') && readFileSync(join(path, other)).length > 0,
    );
    disk.fail({
      call: 'datasync',
      path: /bckstm$/,
      times: 1,
      onCall: () => renameSync(join(path, name!), moved),
    });
    reject(store, 'r', 'c');
    await store.flush();
    await later(store);
    expect([messagesIn(await readFile(moved)), (await kept()).messages, ends]).toEqual([
      ['b'],
      ['c'],
      ['r kept', 'r kept', 'r kept'],
    ]);
  });

  it('a disk that is slow costs nothing but time', async () => {
    let release = (): void => undefined;
    disk.fail({ call: 'open', times: 1, wait: new Promise<void>((resolve) => (release = resolve)) });
    const store = open();
    const half = 'x'.repeat(1.2e6);
    for (const letter of ['a', 'b', 'c']) reject(store, 'r', letter + half);
    release();
    await store.flush();
    expect((await kept()).messages.map((message) => message[0])).toEqual(['a', 'b', 'c']);
  });

  it('counts only so many reasons, however many a client makes up', async () => {
    const store = open();
    for (let i = 0; i < 1000; i++) reject(store, `reason ${i} ${'x'.repeat(10_000)}`, 'a');
    await store.flush();
    expect(store.counts.size).toBe(65);
    expect([...store.counts.values()].reduce((sum, { frames }) => sum + frames, 0)).toBe(1000);
    expect(store.counts.get('other reasons')?.frames).toBe(936);
    expect(Math.max(...[...store.counts.keys()].map((reason) => reason.length))).toBeLessThan(320);
    expect(lines.length).toBeLessThan(70);
  });

  it('a file system without fsync keeps them all the same, with one warning', async () => {
    for (const call of ['datasync', 'sync'] as const) disk.fail({ call, code: 'ENOTSUP' });
    const store = open();
    await store.prove();
    expect(errors()).toEqual([]);
    for (const message of ['a', 'b']) {
      reject(store, 'r', message);
      await store.flush();
    }
    expect(store.lostFrames).toBe(0);
    expect((await kept()).messages).toEqual(['a', 'b']);
    expect(lines.filter((line) => line.includes('no fsync'))).toHaveLength(1);
  });

  it('what is not to be synced is not', async () => {
    const store = open(1e9, 'hold', false);
    reject(store, 'r', 'a');
    await store.flush();
    expect((await kept()).messages).toEqual(['a']);
    expect(disk.count('datasync') + disk.count('sync')).toBe(0);
  });

  it.each(['write', 'datasync', 'open', 'makeFolder', 'sync'] as const)(
    'a failing %s loses nothing: it is tried again, and no half frame stays',
    async (call) => {
      const store = open();
      if (call === 'write') disk.fail({ call, times: 1, short: 5 });
      disk.fail({ call, after: call === 'write' ? 1 : 0, times: 1, code: 'EIO' });
      reject(store, 'r', 'first', 'with it');
      await store.flush();
      expect(store.problem).toMatch(/\(REJECTED\) can't be written: .*EIO/);
      expect([ends, store.lostFrames]).toEqual([[], 0]);
      reject(store, 'r', 'second');
      await later(store);
      expect(ends).toEqual(['r kept', 'r kept']);
      expect((await kept()).messages).toEqual(['first', 'with it', 'second']);
      expect((await kept()).reasons).toMatchObject([{ frames: 2, offset: 0 }, { frames: 1 }]);
    },
  );

  it("a folder that can't be written is told at the start, and made by nobody before the first rejection", async () => {
    const store = open();
    await store.prove();
    expect(lines).toEqual([]);
    await expect(stat(path)).rejects.toThrow('ENOENT');
    disk.fail({ call: 'write', code: 'EROFS' });
    await store.prove();
    expect(errors()).toEqual([expect.stringMatching(/\(REJECTED\) can't be written: .*EROFS/)]);
  });
});

describe('RejectedStore: reporting', () => {
  it('what waits when it is closed is tried once more, and then it is lost, counted', async () => {
    const store = open(400);
    reject(store, 'r', 'a'.repeat(200));
    await store.flush();
    reject(store, 'r', 'b'.repeat(200));
    await store.flush();
    expect(ends).toEqual(['r kept']);
    await store.close();
    expect([ends, store.lostFrames, discarded]).toEqual([['r kept', 'r discarded'], 1, 1]);
  });

  it('says the first of each reason at once, with its first bytes and its file, then folds', async () => {
    const store = open();
    for (let i = 0; i < 5; i++) reject(store, 'too large', 'abc');
    await store.flush();
    const hex = encodeFrame('orders', null, 'abc').toString('hex');
    expect(lines).toEqual([
      expect.stringMatching(
        new RegExp(
          `WARN .*rejected: too large: bucket "orders", 15 bytes, first ${hex}; kept in ${path}/20260131-[a-z0-9]{8}\\.bckstm`,
        ),
      ),
    ]);
    reject(store, 'bad topic', 'x'.repeat(1000));
    await store.flush();
    expect(lines[1]).toMatch(/rejected: bad topic: bucket "orders", 1012 bytes, first [0-9a-f]{64};/);
    clock.move(9999);
    expect(lines).toHaveLength(2);
    clock.move(1);
    expect(lines.slice(2)).toEqual([expect.stringContaining('rejected: too large: 4 more, 5 in all')]);
    expect(store.counts.get('too large')).toEqual({
      frames: 5,
      bytes: 75,
      firstMs: Date.UTC(2026, 0, 31, 12),
      lastMs: Date.UTC(2026, 0, 31, 12),
      sample: expect.any(String) as string,
    });
  });

  it('close writes what waits and says what was not said; what comes later is counted', async () => {
    const store = open();
    for (let i = 0; i < 3; i++) reject(store, 'r', `${i}`);
    await store.close();
    expect((await kept()).messages).toEqual(['0', '1', '2']);
    expect(lines.at(-1)).toContain('rejected: r: 2 more, 3 in all');
    reject(store, 'r', 'late');
    expect(store.lostFrames).toBe(1);
    expect(await offer(store, 'r', 'later')).toBe('refused');
    expect(store.counts.get('r')?.frames).toBe(3);
    expect(errors()).toEqual([expect.stringContaining('the daemon stopped')]);
  });
});
