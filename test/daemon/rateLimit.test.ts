// The rate limit of a bucket: what is within it arrives, what is over it is where the configuration says, and
// the accounts add up.
import { readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import { checkAccounts, metricsOf, statusOf } from '../../support/adminDoor.js';
import { runHere } from '../../support/cliIo.js';
import {
  daemonFolder,
  numberedFrames,
  numbersBySender,
  range,
  startDaemon,
  type Frame,
  type TestDaemon,
} from '../../support/daemon.js';
import { fileStream, kafkaStream, newTopic } from '../../support/daemonBuckets.js';
import { startShutKafka } from '../../support/daemonKafka.js';
import { allMessages, readTopic } from '../../support/kafkaReader.js';

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
      `/bucket\\.${topic} rate limit: \\d+ frames over 1000 frames in ${AN_HOUR_MS} ms since 20.*Z, 2000 in all: they are kept in REJECTED; send less`,
    ),
  );
});

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

test('what a version before has left over a limit in a backup is told, and kahe replay sends it', async () => {
  const topic = await newTopic(bootstrap, 'left-over-limit');
  const folder = await daemonFolder();
  const kafka = kafkaStream(bootstrap, {}, { backup: fileStream('backup') });
  const buckets = {
    streamsConfigs: { kafka },
    buckets: [{ id: topic, streams: ['kafka'], batchTimeout: 20 }],
  };
  // Its backup is filled, and then bears the name that such files had.
  const proxy = await startShutKafka();
  const away = kafkaStream(
    `127.0.0.1:${proxy.port}`,
    { 'message.timeout.ms': 500 },
    { backup: fileStream('backup') },
  );
  const first = await startDaemon({ buckets: { ...buckets, streamsConfigs: { kafka: away } }, folder });
  await sendAll(first, topic, 40);
  expect(await first.stop()).toMatchObject({ code: 0 });
  const notes = join(folder, 'backup', '.kahe');
  for (const name of (await readdir(notes)).filter((each) => each.endsWith('.json'))) {
    const journal = await readFile(join(notes, name), 'utf8');
    expect(journal).toContain('"kafka.backup"');
    await writeFile(join(notes, `over-${name}`), journal.replace('"kafka.backup"', '"kafka.backup.over"'));
    await rm(join(notes, name));
  }
  const second = await startDaemon({ buckets, folder });
  await second.line(
    /WARN .*the backup of bucket .* belongs to no stream of this configuration: it is not sent; configure that stream again, or use kahe replay/,
  );
  const ran = await runHere(['replay', join(folder, 'backup')], {
    cwd: folder,
    env: { SOCKET: second.socketPath },
  });
  expect(ran.err).not.toMatch(/left out/);
  expect(await numbersInKafka(topic, 40)).toEqual(range(0, 40));
  expect(await second.stop()).toMatchObject({ code: 0 });
});
