// The rate limit of a bucket: what is within it arrives, what is over it is where the configuration says, and
// the accounts add up.
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, inject, onTestFinished, test } from 'vitest';
import { checkAccounts, metricsOf, statusOf } from '../../support/adminDoor.js';
import { runHere } from '../../support/cliIo.js';
import {
  daemonFolder,
  filesOf,
  numberedFrames,
  numbersBySender,
  range,
  startDaemon,
  type Frame,
  type TestDaemon,
} from '../../support/daemon.js';
import { fileStream, kafkaStream, manualBackup, newTopic } from '../../support/daemonBuckets.js';
import { allMessages, readTopic } from '../../support/kafkaReader.js';
import { startProxy, type TcpProxy } from '../../support/tcpProxy.js';

const { bootstrap } = inject('kafka');
const ACCOUNT = {
  received: 0,
  delivered: 0,
  queued: 0,
  backedUp: 0,
  slicedOut: 0,
  rejected: 0,
  discarded: 0,
};
/** Longer than any test: what passes is just the limit. */
const AN_HOUR_MS = 3_600_000;

/** A Kafka that can't be reached until `refuse` is taken off. */
async function shutKafka(): Promise<TcpProxy> {
  const proxy = await startProxy({ target: { port: Number(bootstrap.split(':')[1]) } });
  proxy.faults.refuse = true;
  onTestFinished(() => proxy.close());
  return proxy;
}

/** Of a log line, ms since 1970. */
function timeOf(line: string): number {
  return Date.parse(`${/\| (\S+ \S+) \|/.exec(line)![1]!.replace(' ', 'T')}Z`);
}

function numbersOf(frames: readonly Pick<Frame, 'message'>[]): number[] {
  return numbersBySender(frames.map(({ message }) => message)).get('a') ?? [];
}

async function numbersInKafka(topic: string, expected: number): Promise<number[]> {
  const messages = allMessages(await readTopic(bootstrap, topic, { expected }));
  return numbersOf(messages.map(({ value }) => ({ message: value!.toString() })));
}

/** In runs of all sizes, from one frame to a few hundred. Resolves when they are safe. */
async function sendAll(daemon: TestDaemon, bucket: string, count: number, from = 0): Promise<void> {
  const client = await daemon.connect();
  for (let sent = 0, run = 1; sent < count; sent += run, run = (run * 3) % 257) {
    await client.send(
      numberedFrames(bucket, 'a', { from: from + sent, count: Math.min(run, count - sent), bytes: 60 }),
    );
  }
  expect(await client.receipt()).toBe(count);
}

async function reasonsOf(
  daemon: TestDaemon,
): Promise<{ readonly bucket: string; readonly reason: string; readonly frames: number }[]> {
  const folder = join(daemon.folder, 'rejected');
  const names = (await readdir(folder)).filter((name) => name.endsWith('.reasons.jsonl'));
  const texts = await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')));
  return texts
    .join('')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { bucket: string; reason: string; frames: number });
}

test('the first frames pass, to every stream; the others are kept with the reason before the receipt', async () => {
  const topic = await newTopic(bootstrap, 'limited');
  const buckets = {
    streamsConfigs: { kafka: kafkaStream(bootstrap), none: { ...fileStream('none'), slice: 0 } },
    buckets: [
      {
        id: topic,
        streams: ['kafka', 'none'],
        batchTimeout: 20,
        rateLimit: { frames: 1000, perMs: AN_HOUR_MS },
      },
    ],
  };
  const daemon = await startDaemon({ buckets, env: { ADMIN: './admin.sock', SPOOL: 'spool' } });
  const door = join(daemon.folder, 'admin.sock');
  await sendAll(daemon, topic, 3000);
  expect(numbersOf(await daemon.files('rejected'))).toEqual(range(1000, 3000));
  checkAccounts(await statusOf(door));
  const reasons = await reasonsOf(daemon);
  expect(new Set(reasons.map(({ bucket, reason }) => `${bucket}: ${reason}`))).toEqual(
    new Set([`${topic}: over the rate limit of the bucket: 1000 frames in ${AN_HOUR_MS} ms`]),
  );
  expect(reasons.reduce((sum, { frames }) => sum + frames, 0)).toBe(2000);
  expect(await numbersInKafka(topic, 1000)).toEqual(range(0, 1000));
  const metrics = await metricsOf(door);
  expect(metrics.get(`kahe_bucket_rate_limited_frames_total{bucket="${topic}",over="reject"}`)).toBe(2000);
  expect(metrics.get(`kahe_stream_frames_total{bucket="${topic}",stream="kafka",outcome="rejected"}`)).toBe(
    2000,
  );
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  expect(daemon.accounts.get(`${topic}/kafka`)).toEqual({
    ...ACCOUNT,
    received: 3000,
    delivered: 1000,
    rejected: 2000,
  });
  expect(daemon.accounts.get(`${topic}/none`)).toEqual({
    ...ACCOUNT,
    received: 3000,
    slicedOut: 1000,
    rejected: 2000,
  });
  // The first run over the limit at once, the rest together at the end.
  const lines = daemon.linesLike(/WARN .*rate limit: /);
  expect(lines).toHaveLength(2);
  expect(lines[1]).toMatch(
    new RegExp(
      `/bucket\\.${topic} rate limit: \\d+ frames over 1000 frames in ${AN_HOUR_MS} ms since 20.*Z, 2000 in all: they are kept in REJECTED; let the writers send less`,
    ),
  );
}, 60_000);

test('each bucket that is made from defaultBucket has a limit of its own', async () => {
  const buckets = {
    streamsConfigs: { files: fileStream('data') },
    buckets: [{ id: 'free', streams: ['files'], batchTimeout: 20 }],
    defaultBucket: {
      streams: ['files'],
      batchTimeout: 20,
      rateLimit: { frames: 10, perMs: AN_HOUR_MS, over: 'reject' },
    },
  };
  const daemon = await startDaemon({ buckets });
  for (const bucket of ['one', 'two', 'free']) await sendAll(daemon, bucket, 25);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  for (const bucket of ['one', 'two']) {
    expect(numbersOf((await daemon.files('data')).filter((frame) => frame.bucket === bucket))).toEqual(
      range(0, 10),
    );
    expect(numbersOf((await daemon.files('rejected')).filter((frame) => frame.bucket === bucket))).toEqual(
      range(10, 25),
    );
    expect(daemon.accounts.get(`${bucket}/files`)).toEqual({
      ...ACCOUNT,
      received: 25,
      delivered: 10,
      rejected: 15,
    });
  }
  expect(daemon.accounts.get('free/files')).toEqual({ ...ACCOUNT, received: 25, delivered: 25 });
});

test('backup, manual: what is over the limit is in the backup of each stream, in order, and stays there', async () => {
  const topic = await newTopic(bootstrap, 'aside');
  const buckets = {
    streamsConfigs: {
      kafka: kafkaStream(bootstrap, {}, { backup: manualBackup('backup') }),
      files: { ...fileStream('data'), backup: manualBackup('other') },
      none: { ...fileStream('none'), slice: 0, backup: manualBackup('noBackup') },
    },
    buckets: [
      {
        id: topic,
        streams: ['kafka', 'files', 'none'],
        batchTimeout: 20,
        rateLimit: { frames: 400, perMs: AN_HOUR_MS, over: 'backup' },
      },
    ],
  };
  const daemon = await startDaemon({ buckets, env: { ADMIN: './admin.sock', SPOOL: 'spool' } });
  await sendAll(daemon, topic, 1500);
  // It is safe there, for the receipt has come.
  for (const folder of ['backup', 'other'])
    expect(numbersOf(await daemon.files(folder))).toEqual(range(400, 1500));
  expect(await numbersInKafka(topic, 400)).toEqual(range(0, 400));
  const metrics = await metricsOf(join(daemon.folder, 'admin.sock'));
  expect(metrics.get(`kahe_bucket_rate_limited_frames_total{bucket="${topic}",over="backup"}`)).toBe(1100);
  expect(metrics.get(`kahe_backup_written_frames_total{bucket="${topic}",stream="kafka"}`)).toBe(1100);
  expect(metrics.get(`kahe_stream_mode{bucket="${topic}",stream="kafka",mode="normal"}`)).toBe(1);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  expect(numbersOf(await daemon.files('data'))).toEqual(range(0, 400));
  expect(await daemon.files('rejected').catch(() => [])).toEqual([]);
  for (const stream of ['kafka', 'files'])
    expect(daemon.accounts.get(`${topic}/${stream}`)).toEqual({
      ...ACCOUNT,
      received: 1500,
      delivered: 400,
      backedUp: 1100,
    });
  // A backup gets what its stream would have.
  expect(daemon.accounts.get(`${topic}/none`)).toEqual({ ...ACCOUNT, received: 1500, slicedOut: 1500 });
  expect(daemon.linesLike(/ mode /)).toEqual([]);
}, 60_000);

test('backup, auto: it is sent as the limit leaves room, never faster, in its own order; then no file is left', async () => {
  const topic = await newTopic(bootstrap, 'evened');
  const buckets = {
    streamsConfigs: { kafka: kafkaStream(bootstrap, {}, { backup: fileStream('backup') }) },
    buckets: [
      {
        id: topic,
        streams: ['kafka'],
        batchTimeout: 20,
        rateLimit: { frames: 200, perMs: 500, over: 'backup' },
      },
    ],
  };
  const daemon = await startDaemon({ buckets, env: { ADMIN: './admin.sock' } });
  const door = join(daemon.folder, 'admin.sock');
  const started = performance.now();
  const client = await daemon.connect();
  await client.send(numberedFrames(topic, 'a', { count: 1500 }));
  expect(await client.receipt()).toBe(1500);
  await daemon.until('all is delivered', async () => {
    const snapshot = await statusOf(door);
    checkAccounts(snapshot);
    return snapshot.buckets[0]!.streams[0]!.account.delivered === 1500;
  });
  // In any 500 ms 200 at most: the last of 1500 can't have been let through before the eighth such time
  // began.
  expect(performance.now() - started).toBeGreaterThan(7 * 500);
  await daemon.until(
    'no backup file is left',
    async () => (await filesOf(join(daemon.folder, 'backup'))).length === 0,
  );
  const found = await numbersInKafka(topic, 1500);
  const live = (await statusOf(door)).buckets[0]!.overLimit!.backup;
  expect(live).toBe(1300);
  expect(found).toEqual(range(0, 1500));
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  expect(daemon.accounts.get(`${topic}/kafka`)).toEqual({ ...ACCOUNT, received: 1500, delivered: 1500 });
}, 60_000);

test('an outage: what was within the limit and what was over it all arrive, each in its order, and not faster than the limit', async () => {
  const [proxy, topic] = [await shutKafka(), await newTopic(bootstrap, 'limited-outage')];
  const kafka = kafkaStream(
    `127.0.0.1:${proxy.port}`,
    { 'message.timeout.ms': 500 },
    { backup: fileStream('backup') },
  );
  const buckets = {
    streamsConfigs: { kafka },
    buckets: [
      {
        id: topic,
        streams: ['kafka'],
        batch: 100,
        batchTimeout: 20,
        rateLimit: { frames: 300, perMs: 1000, over: 'backup' },
      },
    ],
  };
  const daemon = await startDaemon({ buckets, env: { ADMIN: './admin.sock' } });
  const door = join(daemon.folder, 'admin.sock');
  const client = await daemon.connect();
  await client.send(numberedFrames(topic, 'a', { count: 1000 }));
  expect(await client.receipt()).toBe(1000);
  await daemon.line(/mode backup/);
  expect((await statusOf(door)).buckets[0]!.streams[0]!.account).toEqual({
    ...ACCOUNT,
    received: 1000,
    backedUp: 1000,
  });
  proxy.faults.refuse = false;
  const backMs = timeOf(
    await daemon.line(/the primary is back: 300 frames in the backup are sent to it first/, {
      deadlineMs: 40_000,
    }),
  );
  const endMs = await daemon.until('all is delivered', async () => {
    const snapshot = await statusOf(door);
    checkAccounts(snapshot);
    return snapshot.buckets[0]!.streams[0]!.account.delivered === 1000 && snapshot.takenAtMs;
  });
  // The last of 1000 is let through in the fourth second at the earliest.
  expect(endMs - backMs).toBeGreaterThan(3 * 1000);
  await daemon.until(
    'no backup file is left',
    async () => (await filesOf(join(daemon.folder, 'backup'))).length === 0,
  );
  const found = await numbersInKafka(topic, 1000);
  expect(found.filter((number) => number < 300)).toEqual(range(0, 300));
  expect(found.filter((number) => number >= 300)).toEqual(range(300, 1000));
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  expect(daemon.accounts.get(`${topic}/kafka`)).toEqual({ ...ACCOUNT, received: 1000, delivered: 1000 });
}, 90_000);

test('what a life that was killed has left over the limit, of a bucket made on demand too, the next one sends', async () => {
  const [topic, folder] = [await newTopic(bootstrap, 'limited-lives'), await daemonFolder()];
  const bucketsWith = (rateLimit: object): object => ({
    streamsConfigs: { kafka: kafkaStream(bootstrap, {}, { backup: fileStream('backup') }) },
    buckets: [{ id: 'other', streams: ['kafka'] }],
    defaultBucket: { streams: ['kafka'], batchTimeout: 20, rateLimit },
  });
  const first = await startDaemon({
    buckets: bucketsWith({ frames: 100, perMs: AN_HOUR_MS, over: 'backup' }),
    folder,
    env: { SPOOL: 'spool' },
  });
  await sendAll(first, topic, 700);
  // What was within the limit is delivered before the end.
  await numbersInKafka(topic, 100);
  await first.kill9();
  expect(numbersOf(await first.files('backup'))).toEqual(range(100, 700));

  const second = await startDaemon({
    buckets: bucketsWith({ frames: 1000, perMs: 100, over: 'backup' }),
    folder,
    env: { SPOOL: 'spool' },
  });
  await second.line(
    /600 frames in the backup are there because of the rate limit, and sent as it leaves room/,
  );
  const found = await numbersInKafka(topic, 700);
  expect([...new Set(found)].sort((a, b) => a - b)).toEqual(range(0, 700));
  expect(found.filter((number) => number >= 100)).toEqual(range(100, 700));
  await second.until(
    'no backup file is left',
    async () => (await filesOf(join(folder, 'backup'))).length === 0,
  );
  expect(await second.stop()).toMatchObject({ code: 0 });
}, 60_000);

test('a limit that is taken away leaves its files to an operator, and says so', async () => {
  const [topic, folder] = [await newTopic(bootstrap, 'unlimited'), await daemonFolder()];
  const bucketsWith = (more: object): object => ({
    streamsConfigs: { kafka: kafkaStream(bootstrap, {}, { backup: fileStream('backup') }) },
    buckets: [{ id: topic, streams: ['kafka'], batchTimeout: 20, ...more }],
  });
  const first = await startDaemon({
    buckets: bucketsWith({ rateLimit: { frames: 10, perMs: AN_HOUR_MS, over: 'backup' } }),
    folder,
  });
  await sendAll(first, topic, 50);
  const ran = await runHere(['replay', join(folder, 'backup')], {
    cwd: folder,
    env: { SOCKET: first.socketPath },
  });
  expect(ran.err).toMatch(
    /\d+\.bckstm: it is a file of a backup with replay "auto": the running daemon sends it itself; it is left out here/,
  );
  await first.stop();
  expect(first.accounts.get(`${topic}/kafka`)).toEqual({
    ...ACCOUNT,
    received: 50,
    delivered: 10,
    backedUp: 40,
  });
  const second = await startDaemon({ buckets: bucketsWith({}), folder });
  await second.line(
    /WARN .*the backup of bucket .* belongs to no stream of this configuration: nobody sends it; give that stream back, or send it with kahe replay/,
  );
  await second.stop();
  expect(numbersOf(await second.files('backup'))).toEqual(range(10, 50));
}, 60_000);

/** With a spool, a hundred frames allowed, and a backup that can't be written. */
async function startBlocked(env: Readonly<Record<string, string>>): Promise<TestDaemon> {
  const buckets = {
    streamsConfigs: { files: { ...fileStream('data'), backup: manualBackup('backup') } },
    buckets: [
      {
        id: 'orders',
        streams: ['files'],
        batchTimeout: 20,
        rateLimit: { frames: 100, perMs: AN_HOUR_MS, over: 'backup' },
      },
    ],
  };
  const folder = await daemonFolder();
  await mkdir(join(folder, 'backup'));
  await writeFile(join(folder, 'backup', 'orders'), 'in the way of the folder');
  return startDaemon({ buckets, folder, env: { SPOOL: 'spool', ...env } });
}

test('a backup that can not be written: what is over the limit waits, without a receipt, the stream goes on, and nothing is lost', async () => {
  const daemon = await startBlocked({ ADMIN: './admin.sock' });
  const door = join(daemon.folder, 'admin.sock');
  const client = await daemon.connect();
  await client.send(numberedFrames('orders', 'a', { count: 500 }));
  const answer = client.receipt();
  await daemon.line(/ERROR .*\/bucket\.orders\/over\/stream\.files mode error: .*400 frames wait/);
  await daemon.untilFiled('data', 100);
  await daemon.until(
    'the first are settled',
    async () => (await statusOf(door)).buckets[0]!.streams[0]!.account.delivered === 100,
  );
  expect((await statusOf(door)).buckets[0]!.streams[0]).toMatchObject({
    mode: 'error',
    account: { ...ACCOUNT, received: 500, delivered: 100, queued: 400 },
  });
  expect(client.answersWaiting).toBe(0);
  await rm(join(daemon.folder, 'backup', 'orders'));
  expect(await answer).toBe(500);
  expect(numbersOf(await daemon.files('backup'))).toEqual(range(100, 500));
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  expect(daemon.accounts.get('orders/files')).toEqual({
    ...ACCOUNT,
    received: 500,
    delivered: 100,
    backedUp: 400,
  });
});

test('… and at the end it is kept in REJECTED', async () => {
  const daemon = await startBlocked({ STOP_TIMEOUT: '4s' });
  const client = await daemon.connect();
  await client.send(numberedFrames('orders', 'a', { count: 500 }));
  await daemon.line(/mode error: .*400 frames wait/);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  expect(numbersOf(await daemon.files('data'))).toEqual(range(0, 100));
  expect(numbersOf(await daemon.files('rejected'))).toEqual(range(100, 500));
  expect(daemon.accounts.get('orders/files')).toEqual({
    ...ACCOUNT,
    received: 500,
    delivered: 100,
    rejected: 400,
  });
});
