// The disk under the spool, the files and the backup is full, has a limit, or fails now and then: nothing
// that was accepted is lost or torn, clients wait as long as it lasts, and the daemon goes on by itself.
import { spawnSync } from 'node:child_process';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, inject, test } from 'vitest';
import { Log } from '../../src/log/log.js';
import { MemoryBudget } from '../../src/memory/memoryBudget.js';
import { nodeFileSystem } from '../../src/disk/fileSystem.js';
import type { DiskCall } from '../../support/failingDisk.js';
import { recoverSegment } from '../../src/spool/recover.js';
import {
  daemonFolder,
  filesOf,
  numberedFrames,
  range,
  type DaemonClient,
  type TestDaemon,
} from '../../support/daemon.js';
import { fileStream, kafkaStream, newTopic } from '../../support/daemonBuckets.js';
import { kafkaAway, numbersInTopic, startShutKafka } from '../../support/daemonKafka.js';
import { isUp, launchReady, segments, standstill, untilSpoolEmpty } from '../../support/daemonStates.js';
import type { PlannedFault } from './badMachine.js';
import { bucketsTo, launchOnBadDisk, smallDisk } from './machines.js';
import {
  BATCH,
  BUCKET,
  WINDOW,
  bySender,
  judge,
  note,
  randomOf,
  record,
  senders,
  sentBy,
  sum,
  type Sender,
} from './senders.js';
import { isFull } from './sizes.js';

const { bootstrap } = inject('kafka');
const MB = 1024 ** 2;
const FRAME_BYTES = 2000;

/** Writes so many frames, each time when the kernel has taken the last, and asks at the end. */
class SteadyWriter {
  sent = 0;
  /** Resolves with the answer. */
  readonly done: Promise<number>;

  constructor(
    readonly client: DaemonClient,
    readonly bucket: string,
    readonly name: string,
    readonly count: number,
  ) {
    this.done = this.#write();
    this.done.catch(() => undefined);
  }

  async #write(): Promise<number> {
    for (; this.sent < this.count; this.sent += 50)
      await this.client.send(
        numberedFrames(this.bucket, this.name, { from: this.sent, count: 50, bytes: FRAME_BYTES }),
      );
    return this.client.receipt();
  }
}

/** How long it takes until the writer goes on, in ms. */
async function goesOn(daemon: TestDaemon, writer: SteadyWriter, make: () => void): Promise<number> {
  const [before, startedMs] = [writer.sent, Date.now()];
  make();
  await daemon.until('a writer that goes on', () => writer.sent > before);
  return Date.now() - startedMs;
}

/** Every segment is sound up to its last checkpoint; behind it may stand what the disk did not take whole. */
async function expectSoundSegments(folder: string): Promise<void> {
  for (const file of await filesOf(folder)) {
    const read = await recoverSegment(file, false, {
      fs: nodeFileSystem,
      budget: new MemoryBudget(1e9),
      log: new Log('FATAL', () => undefined),
    });
    read.batch?.release();
    expect(read, file).toMatchObject({ damagedBytes: 0 });
  }
}

describe('a full disk', () => {
  test.each(['never', 'always'])(
    'under the spool, Kafka away (SPOOL_SYNC=%s): clients wait for room, and all arrives later',
    async (sync) => {
      const disk = smallDisk(16);
      const topic = await newTopic(bootstrap, 'faults-full');
      const kafka = await startShutKafka();
      writeFileSync(path.join(disk, 'ballast'), Buffer.alloc(8 * MB));
      const daemon = await launchReady({
        buckets: bucketsTo(kafkaStream(kafka.address, { 'message.timeout.ms': 500 }), {
          bucket: topic,
          batch: 10_000,
        }),
        env: { SPOOL: path.join(disk, 'spool'), SPOOL_SYNC: sync, MAXMEMORY: '32MB' },
      });
      const writer = new SteadyWriter(await daemon.connect(), topic, 'c', 20_000);
      await daemon.line(/can't be written: ENOSPC.*clients wait, nothing is lost/);
      await standstill(daemon, () => writer.sent);
      const atFull = writer.sent;
      await expectSoundSegments(path.join(disk, 'spool'));
      const roomMs = await goesOn(daemon, writer, () => rmSync(path.join(disk, 'ballast')));
      await standstill(daemon, () => writer.sent);
      const atFullAgain = writer.sent;
      expect(atFullAgain).toBeLessThan(writer.count);
      await expectSoundSegments(path.join(disk, 'spool'));
      const healMs = await goesOn(daemon, writer, () => kafka.heal());
      expect(await writer.done).toBe(writer.count);
      await daemon.until(
        'an empty spool',
        async () => (await filesOf(path.join(disk, 'spool'))).length === 0,
      );
      expect(await daemon.stop()).toMatchObject({ code: 0 });
      expect(await numbersInTopic(topic)).toEqual(new Map([['c', range(0, writer.count)]]));
      record("the spool's disk is full", 'spool', {
        runs: 2,
        sent: writer.count,
        duplicated: 0,
        recoverMs: roomMs,
      });
      note(`full disk, ${sync}`, {
        sent: writer.count,
        'at full': atFull,
        'at full again': atFullAgain,
        'ms after room': roomMs,
        'ms after Kafka': healMs,
      });
    },
    90_000,
  );

  test('under the spool, and killed: the next run starts on the full disk, and delivers what was receipted', async () => {
    const disk = smallDisk(16);
    const [folder, env] = [await daemonFolder(), { SPOOL: path.join(disk, 'spool'), MAXMEMORY: '32MB' }];
    const first = await launchReady({ buckets: bucketsTo(await kafkaAway(), { batch: 500 }), env, folder });
    const client = await first.connect();
    const all = { name: 'c', sent: 0, receipted: 0 };
    const writing = (async () => {
      for (;;) {
        all.sent += 50;
        await client.send(
          numberedFrames(BUCKET, 'c', { from: all.sent - 50, count: 50, bytes: FRAME_BYTES }),
        );
        all.receipted = await client.receipt();
      }
    })().catch(() => undefined);
    await first.line(/can't be written: ENOSPC/);
    await first.kill9();
    await writing;
    await expectSoundSegments(path.join(disk, 'spool'));
    writeFileSync(path.join(disk, 'the rest'), '');
    spawnSync('dd', ['if=/dev/zero', `of=${path.join(disk, 'the rest')}`, 'bs=4096']);
    const second = await launchReady({ buckets: bucketsTo(fileStream('data')), env, folder });
    await second.until('an empty spool', async () => (await filesOf(path.join(disk, 'spool'))).length === 0);
    expect(await second.stop()).toMatchObject({ code: 0 });
    expect(judge([all], bySender(await second.files('data')), 'killed on a full disk')).toBe(0);
    expect(all.receipted).toBeGreaterThan(5000);
    expect(readdirSync(disk).sort()).toEqual(['spool', 'the rest']);
  });

  test('under the backup, without a spool: clients wait, no file has half a frame, room lets it go on', async () => {
    const disk = smallDisk(16);
    const topic = await newTopic(bootstrap, 'faults-backup');
    const kafka = await startShutKafka();
    writeFileSync(path.join(disk, 'ballast'), Buffer.alloc(8 * MB));
    const backup = fileStream(path.join(disk, 'backup'), { sizeRotate: '2MB' });
    const daemon = await launchReady({
      buckets: bucketsTo(kafkaStream(kafka.address, { 'message.timeout.ms': 500 }, { backup }), {
        bucket: topic,
        batch: 100,
      }),
      env: { MAXMEMORY: '16MB' },
    });
    const writer = new SteadyWriter(await daemon.connect(), topic, 'c', 20_000);
    await daemon.line(/delivery stopped: .*ENOSPC/);
    await standstill(daemon, () => writer.sent);
    const atFull = writer.sent;
    const kept = await daemon.files(path.relative(daemon.folder, path.join(disk, 'backup')));
    const roomMs = await goesOn(daemon, writer, () => rmSync(path.join(disk, 'ballast')));
    await standstill(daemon, () => writer.sent);
    const healMs = await goesOn(daemon, writer, () => kafka.heal());
    expect(await writer.done).toBe(writer.count);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    // What is still in the backup came before what Kafka has.
    const inBackup =
      bySender(await daemon.files(path.relative(daemon.folder, path.join(disk, 'backup')))).get('c') ?? [];
    const all = [...inBackup, ...((await numbersInTopic(topic)).get('c') ?? [])];
    expect(all).toEqual(range(0, writer.count));
    expect(kept.length).toBeGreaterThan(2000);
    record("the backup's disk is full", 'backup', {
      runs: 2,
      sent: writer.count,
      duplicated: 0,
      recoverMs: roomMs,
    });
    note('full disk, backup', {
      sent: writer.count,
      'at full': atFull,
      'in the backup': inBackup.length,
      'ms after room': roomMs,
      'ms after Kafka': healMs,
    });
  });
});

test('killed at SPOOL_MAX: the next life waits there too, and goes on once delivery does', async () => {
  const [folder, env] = [await daemonFolder(), { SPOOL: './spool', SPOOL_MAX: '16MB', MAXMEMORY: '32MB' }];
  const topic = await newTopic(bootstrap, 'faults-max');
  const kafka = await startShutKafka();
  const buckets = bucketsTo(kafkaStream(kafka.address, { 'message.timeout.ms': 500 }), {
    bucket: topic,
    batch: 300,
  });
  const first = await launchReady({ buckets, env, folder });
  const early = new SteadyWriter(await first.connect(), topic, 'early', 20_000);
  await first.line(/the spool is full/);
  await standstill(first, () => early.sent);
  await first.kill9();
  const second = await launchReady({ buckets, env, folder });
  await second.line(/the spool is full/);
  const late = new SteadyWriter(await second.connect(), topic, 'late', 5_000);
  await standstill(second, () => late.sent);
  expect(late.sent).toBeLessThan(late.count);
  const healMs = await goesOn(second, late, () => kafka.heal());
  expect(await late.done).toBe(late.count);
  await untilSpoolEmpty(second);
  expect(await second.stop()).toMatchObject({ code: 0 });
  const found = await numbersInTopic(topic);
  const sent = [
    { name: 'early', sent: early.sent + 50, receipted: 0 },
    { name: 'late', sent: late.count, receipted: late.count },
  ];
  expect(judge(sent, found, 'SPOOL_MAX')).toBe(0);
  // 16 MB were on disk when it died.
  expect(found.get('early')!.length * FRAME_BYTES).toBeGreaterThan(15 * MB);
  record('SPOOL_MAX is reached, and the daemon killed there', 'spool', {
    runs: 1,
    sent: late.count + early.sent,
    duplicated: 0,
    recoverMs: healMs,
  });
  note('SPOOL_MAX', { 'at full': early.sent, 'ms after Kafka': healMs });
});

describe('a limit of the file size, 512 KiB', () => {
  // Of the soft one: it can be raised again by anybody.
  const under = ['prlimit', `--fsize=${512 * 1024}:`];

  test('files are ended before it, whole, and the next one is begun', async () => {
    const buckets = bucketsTo(fileStream('data', { sizeRotate: '10MB' }), { batch: 50 });
    const daemon = await launchReady({ buckets, env: { SPOOL: './spool' }, under });
    const writer = new SteadyWriter(await daemon.connect(), BUCKET, 'c', 1_000);
    expect(await writer.done).toBe(1_000);
    await untilSpoolEmpty(daemon, 60_000);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(await filesOf(path.join(daemon.folder, 'data'))).toHaveLength(4);
    expect(bySender(await daemon.files('data'))).toEqual(new Map([['c', range(0, 1_000)]]));
  });

  test('a segment over the limit: clients wait, nothing is torn, and it goes on once the limit is raised', async () => {
    const topic = await newTopic(bootstrap, 'faults-limit');
    const kafka = await startShutKafka();
    const buckets = bucketsTo(kafkaStream(kafka.address, { 'message.timeout.ms': 500 }), {
      bucket: topic,
      batch: 10_000,
      batchBytes: MB,
    });
    const daemon = await launchReady({ buckets, env: { SPOOL: './spool', MAXMEMORY: '16MB' }, under });
    const writer = new SteadyWriter(await daemon.connect(), topic, 'c', 5_000);
    await daemon.line(/can't be written: EFBIG.*LimitFSIZE/);
    await standstill(daemon, () => writer.sent);
    expect(writer.sent).toBeLessThan(writer.count);
    await expectSoundSegments(path.join(daemon.folder, 'spool'));
    const goneOnMs = await goesOn(daemon, writer, () =>
      expect(spawnSync('prlimit', ['--pid', String(daemon.pid), `--fsize=${64 * MB}:`]).status).toBe(0),
    );
    expect(await writer.done).toBe(writer.count);
    kafka.heal();
    await untilSpoolEmpty(daemon);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(await numbersInTopic(topic)).toEqual(new Map([['c', range(0, writer.count)]]));
    record('a segment over the limit of the file size', 'spool', {
      runs: 1,
      sent: writer.count,
      duplicated: 0,
      recoverMs: goneOnMs,
    });
    note('file size limit', { 'ms after it was raised': goneOnMs });
  });
});

describe('a file system without fsync', () => {
  /** As CIFS and FUSE answer: for files, or folders alone. */
  const without = (calls: readonly DiskCall[], code: string): readonly PlannedFault[] =>
    calls.map((call) => ({ call, code, path: '.' }));

  test.each([
    ['EINVAL, folders alone', without(['sync'], 'EINVAL')],
    ['EINVAL', without(['sync', 'datasync'], 'EINVAL')],
    ['ENOTSUP', without(['sync', 'datasync'], 'ENOTSUP')],
    ['ENOSYS', without(['sync', 'datasync'], 'ENOSYS')],
  ])(
    '%s: spool, backup and rejected frames go on, each warns once, and killed it loses nothing',
    async (_, faults) => {
      const [folder, env] = [
        await daemonFolder(),
        { SPOOL: './spool', SPOOL_SYNC: 'always', STOP_TIMEOUT: '8s' },
      ];
      const backup = { ...fileStream('backup'), replay: 'manual' };
      const first = await launchOnBadDisk(
        { buckets: bucketsTo(await kafkaAway({ backup }), { batch: 50 }), env, folder },
        faults,
      );
      await isUp(first);
      const client = await first.connect();
      await client.send(
        numberedFrames(BUCKET, 'c', { count: 400 }),
        numberedFrames('unknown', 'r', { count: 3 }),
      );
      expect(await client.receipt()).toBe(403);
      const warning = (place: string): RegExp =>
        new RegExp(`WARN.*${path.join(folder, place)}: its file system has no fsync`);
      for (const place of ['spool', 'backup', 'rejected']) await first.line(warning(place));
      await first.kill9();
      const next = await launchOnBadDisk(
        { buckets: bucketsTo(fileStream('data'), { batch: 50 }), env, folder },
        faults,
      );
      await isUp(next);
      const late = await next.connect();
      await late.send(numberedFrames(BUCKET, 'late', { count: 10 }));
      expect(await late.receipt()).toBe(10);
      await untilSpoolEmpty(next);
      expect(await next.stop()).toMatchObject({ code: 0 });
      expect(bySender(await next.files('data')).get('late')).toEqual(range(0, 10));
      const kept = [
        ...(bySender(await next.files('backup')).get('c') ?? []),
        ...(bySender(await next.files('data')).get('c') ?? []),
      ];
      expect([...new Set(kept)].sort((a, b) => a - b)).toEqual(range(0, 400));
      expect(kept.length - 400).toBeLessThanOrEqual(WINDOW * 50);
      expect(bySender(await next.files('rejected'))).toEqual(new Map([['r', range(0, 3)]]));
      for (const [daemon, place] of [
        [first, 'spool'],
        [first, 'backup'],
        [first, 'rejected'],
        [next, 'data'],
      ] as const)
        expect(daemon.linesLike(warning(place)), place).toHaveLength(1);
      record('the file system has no fsync, and the daemon is killed there', 'spool, backup', {
        runs: 1,
        sent: 410,
        duplicated: kept.length - 400,
      });
    },
    60_000,
  );

  test.each(['EINVAL', 'ENOTSUP'])(
    '%s, killed under load again and again: spool and files lose nothing, and EIO is an error still',
    async (code) => {
      const lives = isFull ? 20 : 2;
      const eio: readonly PlannedFault[] = ['spool', 'data'].map((place) => {
        return { call: 'datasync', code: 'EIO', path: `/${place}/`, after: 20, times: 1 };
      });
      const [folder, env] = [await daemonFolder(), { SPOOL: './spool', SPOOL_SYNC: 'always' }];
      const buckets = bucketsTo(fileStream('data', { sizeRotate: '200KB' }));
      const random = randomOf(20_310);
      const all: Sender[] = [];
      for (const life of range(0, lives)) {
        const faults = [...eio, ...without(['sync', 'datasync'], code)];
        const daemon = await launchOnBadDisk({ buckets, env, folder }, faults);
        await isUp(daemon);
        const own = await senders(daemon, `life${life}`, random);
        all.push(...own);
        for (const place of ['spool', 'data'])
          await daemon.line(new RegExp(`(WARN|ERROR) .*/${place}.*: EIO`));
        const before = sum(own.map(({ receipted }) => receipted));
        await daemon.until(
          'receipts behind the errors',
          () => sum(own.map(({ receipted }) => receipted)) > before + random(500),
        );
        await daemon.kill9();
        await Promise.all(own.map(({ ended }) => ended));
      }
      const last = await launchOnBadDisk({ buckets, env, folder }, without(['sync', 'datasync'], code));
      await untilSpoolEmpty(last);
      expect(await last.stop()).toMatchObject({ code: 0 });
      const repeated = judge(all, bySender(await last.files('data')), code);
      expect(repeated).toBeLessThanOrEqual(2 * lives * WINDOW * BATCH);
      const figures = { runs: lives, sent: sentBy(all), duplicated: repeated };
      record(`no fsync (${code}) and an EIO among it, and the daemon is killed there`, 'spool', figures);
    },
    240_000,
  );
});

describe('the nth call fails', () => {
  const FAULTS: readonly (readonly [DiskCall, string])[] = [
    ['write', 'EIO'],
    ['write', 'ENOSPC'],
    ['datasync', 'EIO'],
    ['rename', 'EIO'],
    ['unlink', 'EIO'],
    ['sync', 'EIO'],
    ['open', 'EMFILE'],
    ['close', 'EIO'],
  ];
  const numbers = isFull ? range(0, 50) : [0, 6, 20];
  /** Where frames are; with a format.json that can't be read, a start is refused. */
  const FRAMES = '/(spool|data)/(?!format\\.json)';
  /** Daemons at a time. */
  const AT_ONCE = 4;

  test.each(FAULTS)(
    '%s, %s, of the spool and of the files: all that was sent is delivered, in order',
    async (call, code) => {
      let repeated = 0;
      for (let at = 0; at < numbers.length; at += AT_ONCE) {
        const each = await Promise.all(
          numbers
            .slice(at, at + AT_ONCE)
            .map((after) => failOnce({ call, code, path: FRAMES, after, times: 1 + (after % 3) })),
        );
        repeated += each.reduce((a, b) => a + b, 0);
      }
      record(`the nth ${call} fails with ${code}`, 'spool', {
        runs: numbers.length,
        sent: 1200 * numbers.length,
        duplicated: repeated,
      });
      note(`nth ${call} ${code}`, { runs: numbers.length, lost: 0, 'came twice': repeated });
    },
    600_000,
  );

  /** @returns how many frames came twice */
  async function failOnce(fault: PlannedFault): Promise<number> {
    const what = JSON.stringify(fault);
    const [folder, env] = [
      await daemonFolder(),
      { SPOOL: './spool', SPOOL_SYNC: 'always', STOP_TIMEOUT: '8s' },
    ];
    const buckets = bucketsTo(fileStream('data', { sizeRotate: '20KB' }));
    const daemon = await launchOnBadDisk({ buckets, env, folder }, [fault]);
    await isUp(daemon);
    const random = randomOf(fault.after! + 1);
    await Promise.all(
      range(0, 3).map(async (i) => {
        const client = await daemon.connect();
        for (let sent = 0; sent < 400; sent += 20) {
          await client.send(
            numberedFrames(BUCKET, `c${i}`, { from: sent, count: 20, bytes: 30 + random(200) }),
          );
          if (random(3) === 0) await client.receipt();
        }
        expect(await client.receipt(), what).toBe(400);
      }),
    );
    expect(await daemon.stop(), what).toMatchObject({ code: 0 });
    const next = await launchReady({ buckets, env, folder });
    await untilSpoolEmpty(next);
    expect(await next.stop(), what).toMatchObject({ code: 0 });
    const repeated = judge(
      range(0, 3).map((i) => ({ name: `c${i}`, sent: 400, receipted: 400 })),
      bySender(await next.files('data')),
      what,
    );
    expect(repeated, what).toBeLessThanOrEqual(WINDOW * BATCH);
    expect(await segments(next), what).toEqual([]);
    return repeated;
  }
});
