// SIGHUP with rate limits: a limit comes, changes and goes while frames do; none is lost, none is counted
// twice.
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, inject, test } from 'vitest';
import { checkAccounts, statusOf } from '../../support/adminDoor.js';
import { range, startDaemon, type Frame, type TestDaemon } from '../../support/daemon.js';
import { fileStream, kafkaStream, manualBackup, newTopic } from '../../support/daemonBuckets.js';
import { allMessages, readTopic } from '../../support/kafkaReader.js';
import { Writer, configure, numbersIn, reload } from '../../support/reloads.js';
import { numberedFrames } from '../../support/daemonFrames.js';

const { bootstrap } = inject('kafka');
/** Longer than any test: what passes is just the limit. */
const AN_HOUR_MS = 3_600_000;
const ZERO = { received: 0, delivered: 0, queued: 0, backedUp: 0, slicedOut: 0, rejected: 0, discarded: 0 };

function sorted(frames: readonly Pick<Frame, 'message'>[]): number[] {
  return (numbersIn(frames as readonly Frame[]).get('a') ?? []).toSorted((x, y) => x - y);
}

async function send(daemon: TestDaemon, bucket: string, from: number, to: number): Promise<void> {
  const client = await daemon.connect();
  await client.send(numberedFrames(bucket, 'a', { from, count: to - from, bytes: 60 }));
  expect(await client.receipt()).toBe(to - from);
}

async function inKafka(topic: string, expected: number): Promise<number[]> {
  return sorted(
    allMessages(await readTopic(bootstrap, topic, { expected })).map(({ value }) => ({
      message: value!.toString(),
    })),
  );
}

describe('a limit that rejects', () => {
  const buckets = (rateLimit?: object, streams = ['files']): object => ({
    streamsConfigs: { files: fileStream('data'), more: fileStream('more') },
    buckets: [{ id: 'orders', streams, batchTimeout: 20, ...(rateLimit === undefined ? {} : { rateLimit }) }],
  });

  test('comes, is raised, stays while a stream is added, and goes', async () => {
    const daemon = await startDaemon({ buckets: buckets() });
    await send(daemon, 'orders', 0, 50);
    expect(await reload(daemon, buckets({ frames: 10, perMs: AN_HOUR_MS }))).toBe(
      'changed buckets.orders (rateLimit)',
    );
    await send(daemon, 'orders', 50, 80);
    expect(await reload(daemon, buckets({ frames: 20, perMs: AN_HOUR_MS }))).toBe(
      'changed buckets.orders (rateLimit)',
    );
    // Ten of it were let through before.
    await send(daemon, 'orders', 80, 110);
    // The same limit, which has let through all that it may.
    expect(await reload(daemon, buckets({ frames: 20, perMs: AN_HOUR_MS }, ['files', 'more']))).toBe(
      'changed buckets.orders (new stream more)',
    );
    await send(daemon, 'orders', 110, 130);
    expect(await reload(daemon, buckets(undefined, ['files', 'more']))).toBe(
      'changed buckets.orders (rateLimit)',
    );
    await send(daemon, 'orders', 130, 150);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(sorted(await daemon.files('data'))).toEqual([
      ...range(0, 60),
      ...range(80, 90),
      ...range(130, 150),
    ]);
    expect(sorted(await daemon.files('rejected'))).toEqual([...range(60, 80), ...range(90, 130)]);
    expect(daemon.accounts.get('orders/files')).toEqual({
      ...ZERO,
      received: 150,
      delivered: 90,
      rejected: 60,
    });
    expect(daemon.accounts.get('orders/more')).toEqual({
      ...ZERO,
      received: 40,
      delivered: 20,
      rejected: 20,
    });
  });
});

describe('a limit that fills the backups', () => {
  const toFiles = (rateLimit?: object): object => ({
    streamsConfigs: { files: { ...fileStream('data'), backup: manualBackup('backup') } },
    buckets: [
      {
        id: 'orders',
        streams: ['files'],
        batchTimeout: 20,
        ...(rateLimit === undefined ? {} : { rateLimit }),
      },
    ],
  });

  test.each([
    ['without a spool', {}],
    ['with a spool', { SPOOL: './spool' }],
  ])(
    '%s: it comes, changes and goes again and again, while clients write',
    async (_what, env) => {
      const daemon = await startDaemon({ buckets: toFiles(), env: { ADMIN: './admin.sock', ...env } });
      const door = join(daemon.folder, 'admin.sock');
      const writer = await Writer.start(daemon, 'orders', 'a');
      for (let round = 0; round < 12; round++) {
        await writer.sends(daemon, 60);
        const over = ['backup', 'backup', 'reject', undefined][round % 4];
        await reload(
          daemon,
          toFiles(over === undefined ? undefined : { frames: 20 + round, perMs: AN_HOUR_MS, over }),
        );
        checkAccounts(await statusOf(door));
      }
      await writer.end();
      expect(await daemon.stop()).toMatchObject({ code: 0 });
      const [data, backup, rejected] = await Promise.all(
        ['data', 'backup', 'rejected'].map(async (folder) => sorted(await daemon.files(folder))),
      );
      expect([...data!, ...backup!, ...rejected!].toSorted((x, y) => x - y)).toEqual(range(0, writer.sent));
      expect(daemon.accounts.get('orders/files')).toEqual({
        ...ZERO,
        received: writer.sent,
        delivered: data!.length,
        backedUp: backup!.length,
        rejected: rejected!.length,
      });
      expect(backup!.length).toBeGreaterThan(0);
    },
    60_000,
  );

  test('what it has put into a backup that is replayed is counted once, whichever limit comes next, and arrives once there is room', async () => {
    const topic = await newTopic(bootstrap, 'reload-limit');
    const toKafka = (rateLimit?: object): object => ({
      streamsConfigs: { kafka: kafkaStream(bootstrap, {}, { backup: fileStream('backup') }) },
      buckets: [
        {
          id: topic,
          streams: ['kafka'],
          batchTimeout: 20,
          ...(rateLimit === undefined ? {} : { rateLimit }),
        },
      ],
    });
    const daemon = await startDaemon({
      buckets: toKafka({ frames: 10, perMs: AN_HOUR_MS, over: 'backup' }),
      env: { ADMIN: './admin.sock' },
    });
    const door = join(daemon.folder, 'admin.sock');
    const account = async (): Promise<object> => {
      const status = await statusOf(door);
      checkAccounts(status);
      return status.buckets.find(({ name }) => name === topic)!.streams[0]!.account;
    };
    await send(daemon, topic, 0, 50);
    await daemon.until(
      'all within the limit is delivered',
      async () => ((await account()) as { delivered: number }).delivered === 10,
    );
    expect(await account()).toEqual({ ...ZERO, received: 50, delivered: 10, backedUp: 40 });
    // The bucket is made anew, and finds its files.
    await reload(daemon, toKafka({ frames: 11, perMs: AN_HOUR_MS, over: 'backup' }));
    await send(daemon, topic, 50, 55);
    expect(await account()).toMatchObject({ received: 55 });
    await reload(daemon, toKafka());
    await daemon.line(/WARN .*belongs to no stream of this configuration/);
    await send(daemon, topic, 55, 60);
    expect(await account()).toMatchObject({ received: 60 });
    await reload(daemon, toKafka({ frames: 1000, perMs: 1000, over: 'backup' }));
    await daemon.until(
      'an empty backup',
      async () => ((await account()) as { delivered: number }).delivered === 60,
    );
    expect(await inKafka(topic, 60)).toEqual(range(0, 60));
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(daemon.accounts.get(`${topic}/kafka`)).toEqual({ ...ZERO, received: 60, delivered: 60 });
  }, 60_000);

  test.each([
    ['without a spool', {}],
    ['with a spool', { SPOOL: './spool' }],
  ])(
    '%s: while neither stream nor backup takes anything, what is within the limit waits, and arrives',
    async (_what, env) => {
      const broken = (batch: number): object => ({
        streamsConfigs: { files: { ...fileStream('data'), backup: manualBackup('backup') } },
        buckets: [
          {
            id: 'orders',
            streams: ['files'],
            batch,
            batchTimeout: 20,
            rateLimit: { frames: 50, perMs: AN_HOUR_MS, over: 'backup' },
          },
        ],
      });
      const daemon = await startDaemon({
        buckets: broken(100),
        env: { ADMIN: './admin.sock', STOP_TIMEOUT: '5s', ...env },
      });
      const door = join(daemon.folder, 'admin.sock');
      const inTheWay = ['data', 'backup'].map((folder) => join(daemon.folder, folder, 'orders'));
      for (const file of inTheWay) {
        await mkdir(dirname(file), { recursive: true });
        await writeFile(file, 'in the way of the folder');
      }
      const client = await daemon.connect();
      await client.send(numberedFrames('orders', 'a', { from: 0, count: 40, bytes: 60 }));
      await daemon.line(/orders\/stream\.files mode error/);
      expect(await reload(daemon, broken(200))).toBe('changed buckets.orders (batch)');
      for (const file of inTheWay) await rm(file);
      await daemon.untilFiled('data', 40);
      expect((await statusOf(door)).buckets[0]!.streams[0]).toMatchObject({
        account: { ...ZERO, received: 40, delivered: 40 },
      });
      expect(await daemon.stop()).toMatchObject({ code: 0 });
    },
    60_000,
  );

  test('a backup that was in error because of it is not so any more once it is gone', async () => {
    const daemon = await startDaemon({
      buckets: toFiles({ frames: 5, perMs: AN_HOUR_MS, over: 'backup' }),
      env: { ADMIN: './admin.sock', STOP_TIMEOUT: '5s' },
    });
    const door = join(daemon.folder, 'admin.sock');
    await mkdir(join(daemon.folder, 'backup'), { recursive: true });
    await writeFile(join(daemon.folder, 'backup', 'orders'), 'in the way of the folder');
    const client = await daemon.connect();
    await client.send(numberedFrames('orders', 'a', { from: 0, count: 20, bytes: 60 }));
    const mode = async (): Promise<string> => (await statusOf(door)).buckets[0]!.streams[0]!.mode;
    await daemon.until('the stream in error', async () => (await mode()) === 'error');
    await reload(daemon, toFiles());
    await daemon.until('the stream well again', async () => (await mode()) === 'normal');
    const status = await statusOf(door);
    checkAccounts(status);
    expect(status.buckets[0]).toMatchObject({
      overLimit: { backup: 15 },
      streams: [{ account: { ...ZERO, received: 20, delivered: 5, rejected: 15 } }],
    });
    await daemon.untilFiled('rejected', 15);
    expect(sorted(await daemon.files('rejected'))).toEqual(range(5, 20));
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  }, 60_000);

  test('its backup becomes another one and comes back: what lies there is counted once, told of while nobody sends it, and sent then', async () => {
    const topic = await newTopic(bootstrap, 'limit-place');
    const withBackup = (folder: string, frames: number, perMs: number): object => ({
      streamsConfigs: { kafka: kafkaStream(bootstrap, {}, { backup: fileStream(folder) }) },
      buckets: [
        { id: topic, streams: ['kafka'], batchTimeout: 20, rateLimit: { frames, perMs, over: 'backup' } },
      ],
    });
    const daemon = await startDaemon({
      buckets: withBackup('a', 10, AN_HOUR_MS),
      env: { ADMIN: './admin.sock' },
    });
    const door = join(daemon.folder, 'admin.sock');
    const received = async (): Promise<number> => {
      const status = await statusOf(door);
      checkAccounts(status);
      return status.buckets.find(({ name }) => name === topic)!.streams[0]!.account.received;
    };
    await send(daemon, topic, 0, 50);
    await reload(daemon, withBackup('b', 10, AN_HOUR_MS));
    await daemon.line(
      /WARN .*40 frames that were over the rate limit stay in the backup of stream kafka below .*\/a, and nobody sends them/,
    );
    await send(daemon, topic, 50, 80);
    expect(await received()).toBe(80);
    await reload(daemon, withBackup('a', 10, AN_HOUR_MS));
    await send(daemon, topic, 80, 85);
    expect(await received()).toBe(85);
    await reload(daemon, withBackup('a', 1000, 1000));
    expect(await inKafka(topic, 55)).toEqual([...range(0, 50), ...range(80, 85)]);
    await reload(daemon, withBackup('b', 1000, 1000));
    expect(await inKafka(topic, 85)).toEqual(range(0, 85));
    await daemon.until(
      'all in the account',
      async () =>
        (await statusOf(door)).buckets.find(({ name }) => name === topic)!.streams[0]!.account.delivered ===
        85,
    );
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(daemon.accounts.get(`${topic}/kafka`)).toEqual({ ...ZERO, received: 85, delivered: 85 });
  }, 60_000);

  test('a bucket that turns to defaultBucket, with the same settings, keeps its limit', async () => {
    const settings = {
      streams: ['files'],
      batchTimeout: 20,
      rateLimit: { frames: 10, perMs: AN_HOUR_MS, over: 'backup' },
    };
    const streamsConfigs = { files: { ...fileStream('data'), backup: manualBackup('backup') } };
    const buckets = (ids: readonly string[]): object => ({
      streamsConfigs,
      buckets: ids.map((id) => ({ id, ...settings })),
      defaultBucket: settings,
    });
    const daemon = await startDaemon({ buckets: buckets(['orders', 'others']) });
    await send(daemon, 'orders', 0, 15);
    expect(await reload(daemon, buckets(['others']))).toBe('removed buckets.orders');
    await send(daemon, 'orders', 15, 40);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(sorted(await daemon.files('data'))).toEqual(range(0, 10));
    expect(sorted(await daemon.files('backup'))).toEqual(range(10, 40));
    expect(daemon.accounts.get('orders/files')).toEqual({
      ...ZERO,
      received: 40,
      delivered: 10,
      backedUp: 30,
    });
  });

  test('a stop in the middle of it: what waited for the bucket to be made anew is not lost', async () => {
    const daemon = await startDaemon({
      buckets: toFiles({ frames: 30, perMs: AN_HOUR_MS, over: 'backup' }),
      env: { SPOOL: './spool' },
    });
    const writer = await Writer.start(daemon, 'orders', 'a');
    await writer.sends(daemon, 100);
    await configure(daemon, toFiles({ frames: 31, perMs: AN_HOUR_MS, over: 'backup' }));
    daemon.signal('SIGHUP');
    await writer.sends(daemon, 40);
    await writer.end();
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    const frames = [...(await daemon.files('data')), ...(await daemon.files('backup'))];
    expect(sorted(frames)).toEqual(range(0, writer.sent));
  });
});
