// The replay of a backup's files: what the primary gets, in which order and with which times; and what is
// left on the disk.
import { appendFile, copyFile, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FakeRejected } from '../../../support/fakeRejected.js';
import { systemClock } from '../../clock.js';
import { ReadTurns } from '../../memory/readTurns.js';
import type { Batch } from '../../frames/batch.js';
import { type Account, newAccount } from '../account.js';
import type { FileStream } from '../file/fileStream.js';
import { Workbench } from '../../../support/fileWorkbench.js';
import { batchOf, messagesIn } from '../../../support/frames.js';
import { DeliveryError, type Settled, type Stream } from '../stream.js';
import { StreamStats } from '../streamStats.js';
import { Replay } from './replay.js';

const MB = 1024 * 1024;
const START_MS = 1_700_000_000_000;

/** Takes what it is given, until it is told to fail. */
class Primary implements Stream {
  readonly depth = 8;
  readonly delivered: string[] = [];
  readonly times: number[] = [];
  readonly pieces: number[] = [];
  /** So many frames are still taken. */
  left = Infinity;
  /** Lanes that are away: a message's number modulo 3. */
  readonly awayLanes = new Set<number>();

  get away(): string | undefined {
    return this.awayLanes.size === 0 ? undefined : `lanes ${[...this.awayLanes].join()} are away`;
  }

  async open(): Promise<void> {
    return;
  }

  async write(batch: Batch): Promise<Settled> {
    await new Promise((resolve) => setImmediate(resolve));
    const messages = messagesIn(batch.view());
    const { until, times } = batch.arrivals;
    const left = new Set<number>();
    let isFailing = false;
    for (const [frame, message] of messages.entries()) {
      const isAway = this.awayLanes.has(Number.parseInt(message, 10) % 3);
      isFailing ||= !isAway && this.left === 0;
      if (isAway || isFailing) left.add(frame);
      else this.#take(message, times[until.findIndex((end) => frame < end)]!);
    }
    const settled = { delivered: messages.length - left.size, rejected: 0 };
    if (left.size === 0) this.pieces.push(batch.length);
    if (left.size === 0) return settled;
    const undelivered = settled.delivered === 0 ? batch.retain() : batch.pick((index) => left.has(index));
    if (isFailing) throw new DeliveryError('UNREACHABLE', 'nothing answers', undelivered, settled);
    throw new DeliveryError('AWAY', this.away!, undelivered, settled);
  }

  #take(message: string, timeMs: number): void {
    this.delivered.push(message);
    this.times.push(timeMs);
    this.left--;
  }

  async probe(): Promise<void> {
    return;
  }

  async close(): Promise<void> {
    return;
  }
}

/** A life of the daemon: its backup, and the replay of it. */
class Life {
  readonly account: Account = newAccount();
  readonly stats = new StreamStats(() => 0);
  readonly primary = new Primary();
  readonly rejected: string[] = [];
  readonly lost: { frames: number; bytes: number; reason: string }[] = [];
  readonly store = new FakeRejected(({ reason }) => this.rejected.push(reason));
  readonly replay: Replay;

  private constructor(
    readonly bench: Workbench,
    readonly backup: FileStream,
  ) {
    const { budget, log } = bench;
    this.replay = new Replay({
      backup,
      primary: this.primary,
      bucket: 'orders',
      turns: new ReadTurns(budget, systemClock),
      rejected: this.store,
      account: this.account,
      stats: this.stats,
      onLost: (lost) => this.lost.push(lost),
      log,
    });
  }

  static async start(bench: Workbench, choice: Parameters<Workbench['stream']>[0] = {}): Promise<Life> {
    const found: number[] = [];
    const backup = bench.stream({ ...choice, onFound: (frames) => found.push(frames) });
    await backup.open();
    const life = new Life(bench, backup);
    life.account.received = life.account.backedUp = found.reduce((sum, frames) => sum + frames, 0);
    return life;
  }

  /** Backs up one batch of these messages, each with its time. */
  async backUp(
    messages: readonly string[],
    timeMs: (index: number) => number = () => START_MS,
  ): Promise<void> {
    const batch = batchOf('orders', messages, this.bench.budget, timeMs);
    await this.backup.write(batch);
    batch.release();
    this.account.received += messages.length;
    this.account.backedUp += messages.length;
  }

  expectBalance(): void {
    const { received, ...ends } = this.account;
    expect(Object.values(ends).reduce((a, b) => a + b, 0)).toBe(received);
    expect(this.account.delivered).toBe(this.primary.delivered.length);
    expect(this.account.backedUp).toBe(this.replay.leftFrames - (this.account.delivered - this.sentFrames));
  }

  /** Of the piece that is being sent, what the primary has had is delivered and not noted yet. */
  get sentFrames(): number {
    return this.account.received - this.account.rejected - this.account.discarded - this.replay.leftFrames;
  }
}

let bench: Workbench;
beforeEach(async () => void (bench = await Workbench.make()));
afterEach(() => bench.cleanup());

const out = (...names: string[]): string => join(bench.folder, 'out', ...names);
const numbered = (from: number, to: number, filler = ''): string[] =>
  Array.from({ length: to - from }, (_, i) => `${from + i}${filler}`);
/** The name of the only file. */
const onlyFile = async (): Promise<string> => out((await bench.names())[0]!);

describe('Replay', () => {
  test('sends all files, oldest first, with their own times, and none is left, nor a note of it', async () => {
    const life = await Life.start(bench, { sizeRotateBytes: 300 });
    for (let i = 0; i < 10; i++)
      await life.backUp(numbered(i * 10, i * 10 + 10), (index) => START_MS + i * 1000 + index * 20);
    expect((await bench.names()).length).toBeGreaterThan(3);
    await life.replay.send(0);
    expect(life.primary.delivered).toEqual(numbered(0, 100));
    expect(life.primary.times).toEqual(
      numbered(0, 100).map((_, i) => START_MS + Math.floor(i / 10) * 1000 + (i % 10) * 20),
    );
    expect(await bench.names()).toEqual([]);
    expect((await readdir(out('.kahe'))).filter((name) => name.endsWith('.times'))).toEqual([]);
    expect(life.account).toMatchObject({ received: 100, delivered: 100, backedUp: 0 });
    expect([life.replay.leftBytes, life.replay.leftFrames]).toEqual([0, 0]);
  });

  test('what comes after is written to a new file, and sent too', async () => {
    const life = await Life.start(bench);
    for (let i = 0; i < 3; i++) {
      await life.backUp(numbered(i * 10, i * 10 + 10));
      await life.replay.send(0);
    }
    expect(life.primary.delivered).toEqual(numbered(0, 30));
    expect(await bench.names()).toEqual([]);
  });

  test('while the backup grows it stops near its end; the open file stays', async () => {
    const life = await Life.start(bench);
    await life.backUp(numbered(0, 40, 'x'.repeat(100_000)));
    const sending = life.replay.send(2 * MB);
    await life.backUp(numbered(40, 50));
    await sending;
    expect(life.replay.leftBytes).toBeGreaterThan(0);
    expect(life.replay.leftBytes).toBeLessThanOrEqual(2 * MB);
    expect(await bench.names()).toHaveLength(1);
    life.expectBalance();
    await life.replay.send(0);
    expect(life.primary.delivered.map((text) => text.replace(/x+/, ''))).toEqual(numbered(0, 50));
    expect(Math.max(...life.primary.pieces)).toBeLessThanOrEqual(MB);
  });

  test('frames longer than a piece, and than the space they are read to', async () => {
    const life = await Life.start(bench);
    await life.backUp(['a', 'b'.repeat(1_100_000), 'c'.repeat(3_000_000), 'd']);
    await life.replay.send(0);
    expect(life.primary.delivered.map((text) => [text[0], text.length])).toEqual([
      ['a', 1],
      ['b', 1_100_000],
      ['c', 3_000_000],
      ['d', 1],
    ]);
  });

  test('a failure: what was not delivered of the piece comes first when it goes on, and nothing twice', async () => {
    const life = await Life.start(bench);
    await life.backUp(numbered(0, 100));
    for (const taken of [30, 0, 20]) {
      life.primary.left = taken;
      await expect(life.replay.send(0)).rejects.toThrow('nothing answers');
      life.expectBalance();
    }
    expect(life.account).toMatchObject({ received: 100, delivered: 50, backedUp: 50 });
    life.primary.left = Infinity;
    await life.replay.send(0);
    expect(life.primary.delivered).toEqual(numbered(0, 100));
    expect(await bench.names()).toEqual([]);
  });

  test('a piece of which nothing was delivered is not held until it goes on, but read again', async () => {
    const life = await Life.start(bench);
    await life.backUp(numbered(0, 10));
    life.primary.left = 0;
    for (let i = 0; i < 3; i++) {
      await expect(life.replay.send(0)).rejects.toThrow('nothing answers');
      expect(bench.budget.heldBytes).toBe(0);
    }
    life.primary.left = Infinity;
    await life.replay.send(0);
    expect(life.primary.delivered).toEqual(numbered(0, 10));
    life.expectBalance();
  });

  test('another life goes on where the last one stood: a crash repeats one piece at most', async () => {
    const first = await Life.start(bench);
    await first.backUp(numbered(0, 35, 'x'.repeat(100_000)));
    first.primary.left = 25;
    await expect(first.replay.send(0)).rejects.toThrow();
    // No end of any kind: as it lies there now.
    const second = await Life.start(bench);
    expect(second.account.backedUp).toBe(second.replay.leftFrames);
    await second.replay.send(0);
    const all = [...first.primary.delivered, ...second.primary.delivered].map((text) =>
      Number(text.replace(/x+/, '')),
    );
    expect([...new Set(all)]).toEqual(numbered(0, 35).map(Number));
    // Ten frames are a piece.
    expect(all.length - 35).toBeLessThanOrEqual(10);
    await first.replay.stop();
  });

  test('stopped, it gives its memory back, and the rest is for another life', async () => {
    const first = await Life.start(bench);
    await first.backUp(numbered(0, 10));
    first.primary.left = 3;
    await expect(first.replay.send(0)).rejects.toThrow();
    await first.replay.stop();
    expect(bench.budget.heldBytes).toBe(0);
    await bench.stop();
    const second = await Life.start(bench);
    await second.replay.send(0);
    expect(second.primary.delivered).toEqual(numbered(0, 10));
  });

  test('what earlier versions noted of their files, without a word of sending, is understood', async () => {
    const first = await Life.start(bench);
    await first.backUp(numbered(0, 10));
    await bench.stop();
    const name = (await readdir(out('.kahe'))).find((found) => found.endsWith('.json'))!;
    const journal = JSON.parse(await readFile(out('.kahe', name), 'utf8')) as {
      files: Record<string, unknown>[];
    };
    for (const file of journal.files) {
      delete file['sentFrames'];
      delete file['sentBytes'];
    }
    await writeFile(out('.kahe', name), JSON.stringify(journal));
    const second = await Life.start(bench);
    await second.replay.send(0);
    expect(second.primary.delivered).toEqual(numbered(0, 10));
  });

  test('maxFiles spares the file that is being sent, and counts of another only what was not sent', async () => {
    const life = await Life.start(bench, { sizeRotateBytes: 1, maxFiles: 2 });
    await life.backUp(numbered(0, 10));
    life.primary.left = 4;
    await expect(life.replay.send(2)).rejects.toThrow();
    for (const from of [10, 20, 30]) await life.backUp(numbered(from, from + 10));
    expect(bench.discarded.map(({ frames }) => frames)).toEqual([10]);
    life.primary.left = Infinity;
    await life.replay.send(0);
    expect(life.primary.delivered).toEqual([...numbered(0, 10), ...numbered(20, 40)]);
  });
});

describe('Replay: files that are not as they were', () => {
  test("a stranger's file is neither sent nor removed; nor is one in the place of an own one", async () => {
    const life = await Life.start(bench, { sizeRotateBytes: 1 });
    await life.backUp(numbered(0, 10));
    await life.backUp(numbered(10, 20));
    const [first] = await bench.names();
    await copyFile(out(first!), out('strange.bckstm'));
    await rename(out(first!), out('moved.bckstm'));
    await copyFile(out('moved.bckstm'), out(first!));
    await life.replay.send(0);
    expect(life.primary.delivered).toEqual(numbered(10, 20));
    expect(await bench.names()).toEqual(['moved.bckstm', first, 'strange.bckstm'].sort());
    expect(life.lost).toEqual([
      { frames: 10, bytes: 130, reason: expect.stringContaining('took it away') as string },
    ]);
    expect(life.account).toMatchObject({ received: 20, delivered: 10, discarded: 10, backedUp: 0 });
  });

  test('one that is gone: what follows goes on', async () => {
    const life = await Life.start(bench, { sizeRotateBytes: 1 });
    await life.backUp(numbered(0, 10));
    await life.backUp(numbered(10, 20));
    await rm(out((await bench.names())[0]!));
    await life.replay.send(0);
    expect(life.primary.delivered).toEqual(numbered(10, 20));
    life.expectBalance();
  });

  test("a frame to be rejected that can't be kept holds up the replay; nothing around it is sent twice", async () => {
    const life = await Life.start(bench);
    await life.backUp(numbered(0, 10));
    await bench.stop();
    const file = await onlyFile();
    const bytes = await readFile(file);
    bytes[3 * 13 + 11] = 200;
    await writeFile(file, bytes);
    const second = await Life.start(bench);
    second.store.problem = 'no room';
    await expect(second.replay.send(0)).rejects.toThrow("frames must be rejected and can't be kept: no room");
    await expect(second.replay.send(0)).rejects.toThrow('no room');
    expect([second.primary.delivered.length, second.account.backedUp, (await bench.names()).length]).toEqual([
      9, 1, 1,
    ]);
    second.store.heal();
    await second.replay.send(0);
    expect(second.primary.delivered).toEqual(numbered(0, 10).filter((_, i) => i !== 3));
    expect([second.rejected.length, second.account, await bench.names()]).toMatchObject([
      1,
      { received: 10, delivered: 9, rejected: 1, backedUp: 0 },
      [],
    ]);
  });

  test('a frame that is not as it was written is rejected with a reason, those around it are sent', async () => {
    const first = await Life.start(bench);
    await first.backUp(numbered(0, 10));
    await bench.stop();
    const path = await onlyFile();
    const bytes = await readFile(path);
    // Each is 13 bytes: prefix, bucket's length, orders, key's length, a digit. The fourth has a key longer
    // than itself now.
    bytes[3 * 13 + 11] = 200;
    await writeFile(path, bytes);
    const second = await Life.start(bench);
    await second.replay.send(0);
    expect(second.primary.delivered).toEqual(['0', '1', '2', '4', '5', '6', '7', '8', '9']);
    expect(second.rejected).toEqual([expect.stringContaining('not as it was written')]);
    expect(second.account).toMatchObject({ received: 10, delivered: 9, rejected: 1, backedUp: 0 });
    expect(await bench.names()).toEqual([]);
  });

  test('a length that is none: what stands before it is sent, the file stays, what follows goes on', async () => {
    const first = await Life.start(bench, { sizeRotateBytes: 1 });
    await first.backUp(numbered(0, 10));
    await first.backUp(numbered(10, 20));
    await bench.stop();
    const path = out((await bench.names())[0]!);
    const bytes = await readFile(path);
    bytes.writeUInt32LE(0xffffffff, 3 * 13);
    await writeFile(path, bytes);
    const second = await Life.start(bench, { sizeRotateBytes: 1 });
    await second.replay.send(0);
    expect(second.primary.delivered).toEqual([...numbered(0, 3), ...numbered(10, 20)]);
    expect(await readFile(path)).toEqual(bytes);
    expect(await bench.names()).toHaveLength(1);
    expect(second.account).toMatchObject({ received: 20, delivered: 13, discarded: 7, backedUp: 0 });
  });

  test("one that can't be read is tried some times and then passed over, where it is", async () => {
    const life = await Life.start(bench, { sizeRotateBytes: 1 });
    await life.backUp(numbered(0, 10));
    await life.backUp(numbered(10, 20));
    bench.disk.fail({ call: 'read', code: 'EIO', path: /orders$/ });
    for (let i = 1; i < 5; i++)
      await expect(life.replay.send(0)).rejects.toThrow(/orders can't be read: EIO/);
    await life.replay.send(0);
    expect(life.primary.delivered).toEqual(numbered(10, 20));
    expect(await bench.names()).toEqual(['orders']);
    expect(life.account).toMatchObject({ received: 20, delivered: 10, discarded: 10 });
  });

  test('for want of descriptors none is passed over, however long it takes', async () => {
    const life = await Life.start(bench, { sizeRotateBytes: 1 });
    await life.backUp(numbered(0, 10));
    await life.backUp(numbered(10, 20));
    bench.disk.fail({ call: 'open', code: 'EMFILE', path: /orders(-\d)?$/, times: 12 });
    for (let i = 0; i < 12; i++) await expect(life.replay.send(0)).rejects.toThrow(/EMFILE/);
    await life.replay.send(0);
    expect(life.primary.delivered).toEqual(numbered(0, 20));
    expect(life.lost).toEqual([]);
  });

  test('a folder that is away for a moment, as a disk that is not mounted: nothing is passed over', async () => {
    const life = await Life.start(bench, { sizeRotateBytes: 1 });
    await life.backUp(numbered(0, 10));
    await life.backUp(numbered(10, 20));
    await life.backup.finishFile();
    await rename(out(), `${out()}-away`);
    for (let i = 0; i < 7; i++)
      await expect(life.replay.send(0)).rejects.toThrow('the folder of the backup is not there');
    await rename(`${out()}-away`, out());
    await life.replay.send(0);
    expect(life.primary.delivered).toEqual(numbered(0, 20));
    expect(await bench.names()).toEqual([]);
  });

  test("a file that was sent and can't be removed does not stop those behind it", async () => {
    const life = await Life.start(bench, { sizeRotateBytes: 1 });
    for (const from of [0, 10, 20]) await life.backUp(numbered(from, from + 10));
    bench.disk.fail({ call: 'unlink', code: 'EROFS', path: /orders(-\d)?$/ });
    await life.replay.send(0);
    expect(life.primary.delivered).toEqual(numbered(0, 30));
    expect(bench.lines.filter((line) => line.includes("was sent and can't be removed"))).toHaveLength(3);
    expect(life.account).toMatchObject({ delivered: 30, backedUp: 0 });
  });

  test("a journal that can't be read at first: it is not taken for an empty backup", async () => {
    const first = await Life.start(bench);
    await first.backUp(numbered(0, 10));
    await bench.stop();
    bench.disk.fail({ call: 'open', code: 'EMFILE', path: /json$/, times: 2 });
    const second = await Life.start(bench);
    expect([second.replay.isKnown, second.replay.leftBytes]).toEqual([false, 0]);
    await expect(second.replay.send(0)).rejects.toThrow('EMFILE');
    await second.replay.send(0);
    expect(second.replay.isKnown).toBe(true);
    expect(second.primary.delivered).toEqual(numbered(0, 10));
  });

  test('a run that may drop the last file ends before one begins that may not', async () => {
    const life = await Life.start(bench, { sizeRotateBytes: 1 });
    for (const from of [0, 10, 20]) await life.backUp(numbered(from, from + 10));
    const last = life.replay.send(0);
    const other = life.replay.send(2 * MB);
    await life.backUp(numbered(30, 40));
    await Promise.all([last, other]);
    expect((await bench.names()).length).toBeGreaterThan(0);
    await life.replay.send(0);
    expect(life.primary.delivered).toEqual(numbered(0, 40));
  });

  test("where it stands can't be noted: it goes on, and says what that may cost", async () => {
    const life = await Life.start(bench);
    await life.backUp(numbered(0, 25, 'x'.repeat(100_000)));
    await life.backup.finishFile();
    bench.disk.fail({ call: 'rename', code: 'ENOSPC', times: 2 });
    await life.replay.send(0);
    expect(life.primary.delivered).toHaveLength(25);
    expect(bench.lines.filter((line) => line.includes('after a crash it is sent again'))).toHaveLength(2);
  });

  test('times that are lost, or torn, cost the times alone', async () => {
    for (const spoil of [
      (path: string) => rm(path),
      (path: string) => writeFile(path, Buffer.alloc(24, 0xff)),
      (path: string) => appendFile(path, 'xyz'),
    ]) {
      const first = await Life.start(bench);
      await first.backUp(numbered(0, 10), (index) => START_MS + index * 100);
      await bench.stop();
      const name = (await readdir(out('.kahe'))).find((found) => found.endsWith('.times'))!;
      await spoil(out('.kahe', name));
      const second = await Life.start(bench);
      await second.replay.send(0);
      expect(second.primary.delivered).toEqual(numbered(0, 10));
      expect(second.primary.times.every((time) => Number.isSafeInteger(time) && time >= START_MS)).toBe(true);
      await bench.stop();
    }
  });
});

describe('Replay: a part of the primary is away', () => {
  const of = (lanes: readonly number[], messages: readonly string[]): string[] =>
    messages.filter((message) => lanes.includes(Number.parseInt(message, 10) % 3));

  test('others get theirs; its frames stay in the backup with their times, and go first once it is back', async () => {
    const life = await Life.start(bench, { sizeRotateBytes: 300 });
    for (let i = 0; i < 10; i++)
      await life.backUp(numbered(i * 10, i * 10 + 10), (index) => START_MS + (i * 10 + index) * 20);
    life.primary.awayLanes.add(1);
    await life.replay.send(0);
    expect(life.primary.delivered).toEqual(of([0, 2], numbered(0, 100)));
    expect(life.account).toMatchObject({ received: 100, delivered: 67, backedUp: 33 });
    expect(life.replay.leftFrames).toBe(33);
    expect(
      (await Promise.all((await bench.names()).map((name) => bench.messages(name)))).flat().toSorted(),
    ).toEqual(of([1], numbered(0, 100)).toSorted());
    // What comes later for it lies behind that, and another that goes away too is kept beside it.
    await life.backUp(numbered(100, 130), (index) => START_MS + (100 + index) * 20);
    life.replay.rewind();
    life.primary.awayLanes.add(2);
    await life.replay.send(0);
    life.replay.rewind();
    life.primary.awayLanes.delete(1);
    await life.replay.send(0);
    life.replay.rewind();
    life.primary.awayLanes.delete(2);
    await life.replay.send(0);
    for (const lane of [0, 1, 2])
      expect(of([lane], life.primary.delivered)).toEqual(of([lane], numbered(0, 130)));
    life.primary.delivered.forEach((message, i) =>
      expect(life.primary.times[i]).toBe(START_MS + Number(message) * 20),
    );
    expect(await bench.names()).toEqual([]);
    expect((await readdir(out('.kahe'))).filter((name) => name.endsWith('.times'))).toEqual([]);
    life.expectBalance();
  });

  test('what is kept is passed over until rewind, and a run ends though the backup holds it', async () => {
    const life = await Life.start(bench);
    await life.backUp(numbered(0, 30));
    life.primary.awayLanes.add(1);
    await life.replay.send(1);
    await life.replay.send(0);
    life.primary.awayLanes.delete(1);
    await life.replay.send(0);
    expect(of([1], life.primary.delivered)).toEqual([]);
    life.replay.rewind();
    await life.replay.send(0);
    expect(of([1], life.primary.delivered)).toEqual(of([1], numbered(0, 30)));
  });

  test('kept on the disk before it counts as sent: a crash at any call of the disk loses nothing', async () => {
    for (let calls = 1, isOver = false; !isOver; calls += 1) {
      const own = await Workbench.make();
      const first = await Life.start(own, { sizeRotateBytes: 900_000 });
      await first.backUp(numbered(0, 24, ':'.padEnd(100_000, 'x')));
      first.primary.awayLanes.add(1);
      // As if the process were no more: no call does anything from here on.
      for (const call of ['open', 'write', 'datasync', 'rename', 'unlink', 'truncate', 'sync'] as const)
        own.disk.fail({ call, code: 'EIO', after: calls });
      isOver = await first.replay.send(0).then(
        () => true,
        () => false,
      );
      await first.replay.stop();
      own.disk.heal();
      await own.stop();
      const second = await Life.start(own);
      await second.replay.send(0);
      for (const lane of [0, 1, 2]) {
        const all = [...of([lane], first.primary.delivered), ...of([lane], second.primary.delivered)].map(
          (text) => Number.parseInt(text, 10),
        );
        expect([...new Set(all)]).toEqual(of([lane], numbered(0, 24)).map(Number));
      }
      expect(second.account.received).toBe(second.account.delivered);
      await own.cleanup();
    }
  }, 60_000);

  test('a disk that does not take it holds the replay up, and loses nothing', async () => {
    const life = await Life.start(bench);
    await life.backUp(numbered(0, 30));
    life.primary.awayLanes.add(1);
    bench.disk.fail({ call: 'datasync', code: 'ENOSPC', times: 1, path: /orders/ });
    await expect(life.replay.send(0)).rejects.toThrow('frames of');
    life.expectBalance();
    expect(life.account).toMatchObject({ delivered: 20, backedUp: 10 });
    await life.replay.send(0);
    life.primary.awayLanes.clear();
    life.replay.rewind();
    await life.replay.send(0);
    for (const lane of [0, 1, 2])
      expect(of([lane], life.primary.delivered)).toEqual(of([lane], numbered(0, 30)));
    expect(await bench.names()).toEqual([]);
  });

  test('however often it is looked for, its frames lie in no more files than their bytes need', async () => {
    const life = await Life.start(bench, { maxFiles: 3 });
    life.primary.awayLanes.add(1);
    for (let from = 0; from < 100; from += 10) {
      await life.backUp(numbered(from, from + 10));
      life.replay.rewind();
      await life.replay.send(0);
      expect(await bench.names()).toHaveLength(1);
    }
    expect(bench.discarded).toEqual([]);
    life.primary.awayLanes.clear();
    life.replay.rewind();
    await life.replay.send(0);
    expect(of([1], life.primary.delivered)).toEqual(of([1], numbered(0, 100)));
    life.expectBalance();
  });

  test('what is left of a piece gives its memory back when another file takes its place', async () => {
    const life = await Life.start(bench, { sizeRotateBytes: 1 });
    await life.backUp(numbered(0, 12));
    await life.backUp(numbered(12, 24));
    life.primary.awayLanes.add(1).add(2);
    // Of the first file something is kept, and of the second a part is sent and the rest is not kept.
    bench.disk.fail({ call: 'datasync', code: 'ENOSPC', after: 1, times: 1, path: /orders/ });
    await expect(life.replay.send(0)).rejects.toThrow('frames of');
    // What was kept goes first, and of that a part is sent.
    life.primary.awayLanes.clear();
    life.primary.left = 4;
    life.replay.rewind();
    await expect(life.replay.send(0)).rejects.toThrow('nothing answers');
    life.primary.left = Infinity;
    await life.replay.send(0);
    for (const lane of [0, 1, 2])
      expect([...new Set(of([lane], life.primary.delivered))]).toEqual(of([lane], numbered(0, 24)));
    expect(bench.budget.heldBytes).toBe(0);
  });

  test('maxFiles takes no file for the one that keeps them, nor that one while it is written', async () => {
    const life = await Life.start(bench, { sizeRotateBytes: 1, maxFiles: 2 });
    await life.backUp(numbered(0, 10));
    await life.backUp(numbered(10, 20));
    life.primary.awayLanes.add(1);
    await life.replay.send(0);
    expect(bench.discarded).toEqual([]);
    expect(life.replay.leftFrames).toBe(of([1], numbered(0, 20)).length);
    for (const from of [20, 30]) await life.backUp(numbered(from, from + 10));
    expect(bench.discarded.reduce((sum, { frames }) => sum + frames, 0)).toBe(
      of([1], numbered(0, 20)).length,
    );
  });
});

describe('Replay: any history', () => {
  const FAULTS = ['read', 'rename', 'unlink', 'open', 'write', 'datasync'] as const;
  type Action =
    | { readonly kind: 'backUp'; readonly frames: number; readonly bytes: number }
    | { readonly kind: 'send'; readonly taken: number; readonly enough: number }
    | { readonly kind: 'fault'; readonly call: (typeof FAULTS)[number] }
    | { readonly kind: 'goAway' | 'comeBack'; readonly lane: number }
    | { readonly kind: 'crash' };
  const action: fc.Arbitrary<Action> = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('backUp' as const),
        frames: fc.integer({ min: 1, max: 8 }),
        bytes: fc.constantFrom(10, 500, 300_000),
      }),
    },
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constant('send' as const),
        taken: fc.constantFrom(0, 1, 3, 10, 1000),
        enough: fc.constantFrom(0, 0, 500_000),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constant('fault' as const), call: fc.constantFrom(...FAULTS) }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constantFrom('goAway' as const, 'comeBack' as const),
        lane: fc.constantFrom(0, 1, 2),
      }),
    },
    { weight: 1, arbitrary: fc.constant({ kind: 'crash' as const }) },
  );

  test('every frame is sent, in order, with its time; a crash repeats one piece at most; none is left', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(action, { minLength: 5, maxLength: 40 }), async (actions) => {
        const own = await Workbench.make();
        try {
          await run(own, actions);
        } finally {
          await own.cleanup();
        }
      }),
      {
        numRuns: 60,
        examples: [
          [
            [
              { kind: 'backUp', frames: 2, bytes: 10 },
              { kind: 'goAway', lane: 2 },
              { kind: 'backUp', frames: 3, bytes: 10 },
              { kind: 'backUp', frames: 5, bytes: 300_000 },
              { kind: 'backUp', frames: 6, bytes: 10 },
              { kind: 'send', taken: 10, enough: 0 },
              { kind: 'comeBack', lane: 2 },
              { kind: 'send', taken: 1, enough: 0 },
              { kind: 'backUp', frames: 1, bytes: 10 },
              { kind: 'send', taken: 0, enough: 0 },
              { kind: 'send', taken: 0, enough: 0 },
              { kind: 'send', taken: 0, enough: 0 },
            ],
          ],
          [
            [
              { kind: 'backUp', frames: 5, bytes: 300_000 },
              { kind: 'send', taken: 10, enough: 500_000 },
              { kind: 'fault', call: 'unlink' },
              { kind: 'send', taken: 0, enough: 0 },
            ],
          ],
        ],
      },
    );
  }, 240_000);

  /** A process that is killed does nothing more with its files, and so must one that is only said to be. */
  async function untilQuiet(own: Workbench): Promise<void> {
    for (let calls = -1, same = 0; same < 20; calls = own.disk.calls.length) {
      same = own.disk.calls.length === calls && own.disk.underWay === 0 ? same + 1 : 0;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  async function run(own: Workbench, actions: readonly Action[]): Promise<void> {
    let life = await Life.start(own, { sizeRotateBytes: 700_000 });
    const lives = [life];
    let made = 0;
    for (const act of actions) {
      switch (act.kind) {
        case 'backUp': {
          own.disk.heal();
          await life.backup.probe();
          const base = made;
          await life.backUp(
            numbered(made, (made += act.frames), ':'.padEnd(act.bytes, 'x')),
            (index) => START_MS + (base + index) * 50,
          );
          break;
        }
        case 'send':
          life.primary.left = act.taken;
          if (
            (await life.replay.send(act.enough).then(
              () => true,
              () => false,
            )) &&
            act.enough === 0
          )
            expect(life.replay.leftFrames).toBe(life.account.backedUp);
          life.expectBalance();
          break;
        case 'goAway':
          life.primary.awayLanes.add(act.lane);
          break;
        case 'comeBack':
          life.primary.awayLanes.delete(act.lane);
          life.replay.rewind();
          break;
        // Fewer than those after which a file is given up.
        case 'fault':
          own.disk.fail({ call: act.call, code: 'EIO', times: 1, path: /orders|json/ });
          break;
        case 'crash':
          own.disk.heal();
          await untilQuiet(own);
          life = await Life.start(own, { sizeRotateBytes: 700_000 });
          lives.push(life);
      }
    }
    own.disk.heal();
    life.primary.left = Infinity;
    life.primary.awayLanes.clear();
    life.replay.rewind();
    await life.replay.send(0);
    // One that could not be removed is somebody's to remove, and said so.
    const told = own.lines.flatMap(
      (line) => /(\S+) was sent and can't be removed/.exec(line)?.slice(1) ?? [],
    );
    expect((await own.names()).map((name) => join(own.folder, 'out', name))).toEqual(told.toSorted());
    const sent = lives.flatMap(({ primary }) =>
      primary.delivered.map((text, i) => ({ number: Number(text.split(':')[0]), timeMs: primary.times[i]! })),
    );
    for (const lane of [0, 1, 2]) {
      const numbers = [...new Set(sent.map(({ number }) => number))].filter((number) => number % 3 === lane);
      expect(numbers).toEqual(
        numbered(0, made)
          .map(Number)
          .filter((number) => number % 3 === lane),
      );
    }
    for (const { number, timeMs } of sent) expect(timeMs).toBe(START_MS + number * 50);
    for (const old of lives) {
      const repeated = old.primary.delivered.length - new Set(old.primary.delivered).size;
      expect(repeated, 'in one life nothing comes twice').toBe(0);
      await old.replay.stop();
    }
  }
});
