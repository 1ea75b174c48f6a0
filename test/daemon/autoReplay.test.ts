// Kafka was away, frames are in the backup's files, Kafka comes back: nobody has to do anything.
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import {
  daemonFolder,
  filesOf,
  numberedFrames,
  range,
  startDaemon,
  type TestDaemon,
} from '../../support/daemon.js';
import { fileStream, kafkaStream, newTopic } from '../../support/daemonBuckets.js';
import { numbersOf, startShutKafka } from '../../support/daemonKafka.js';
import { allMessages, readTopic } from '../../support/kafkaReader.js';
import { type TcpProxy } from '../../support/tcpProxy.js';

const { bootstrap } = inject('kafka');
const MB = 1024 ** 2;

function bucketsTo(proxy: TcpProxy, topic: string, backupSettings = {}): object {
  const kafka = kafkaStream(
    `127.0.0.1:${proxy.port}`,
    { 'message.timeout.ms': 500 },
    { backup: fileStream('backup', backupSettings) },
  );
  return {
    streamsConfigs: { kafka },
    buckets: [{ id: topic, streams: ['kafka'], batch: 100, batchTimeout: 20 }],
  };
}

function backupFiles(daemon: TestDaemon): Promise<string[]> {
  return filesOf(join(daemon.folder, 'backup'));
}

async function untilReplayed(daemon: TestDaemon): Promise<void> {
  await daemon.line(/switched to normal: the primary is back, and has had what was backed up/, {
    deadlineMs: 40_000,
  });
  expect(await backupFiles(daemon)).toEqual([]);
}

test('everything reaches Kafka, once and in order, with its own times; no file is left', async () => {
  const [proxy, topic] = [await startShutKafka(), await newTopic(bootstrap, 'replayed')];
  const daemon = await startDaemon({ buckets: bucketsTo(proxy, topic, { sizeRotate: '64KB' }) });
  const client = await daemon.connect();
  const windows: { readonly fromMs: number; readonly toMs: number }[] = [];
  for (const from of range(0, 10)) {
    const fromMs = Date.now();
    await client.send(numberedFrames(topic, 'a', { from: from * 300, count: 300, bytes: 100 }));
    expect(await client.receipt()).toBe((from + 1) * 300);
    windows.push({ fromMs, toMs: Date.now() });
  }
  await daemon.line(/switched to backup/);
  expect((await backupFiles(daemon)).length).toBeGreaterThan(2);
  proxy.faults.refuse = false;
  await untilReplayed(daemon);
  await client.send(numberedFrames(topic, 'a', { from: 3000, count: 100, bytes: 100 }));
  const messages = allMessages(await readTopic(bootstrap, topic, { expected: 3100 }));
  expect(numbersOf(messages)).toEqual(new Map([['a', range(0, 3100)]]));
  messages.slice(0, 3000).forEach(({ timestamp }, i) => {
    // A note serves what came within 10 ms.
    expect(timestamp).toBeGreaterThanOrEqual(windows[Math.floor(i / 300)]!.fromMs - 10);
    expect(timestamp).toBeLessThanOrEqual(windows[Math.floor(i / 300)]!.toMs);
  });
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  expect(daemon.accounts.get(`${topic}/kafka`)).toEqual({
    received: 3100,
    delivered: 3100,
    queued: 0,
    backedUp: 0,
    slicedOut: 0,
    rejected: 0,
    discarded: 0,
  });
});

test('what earlier lives have left, one stopped and one killed, goes first', async () => {
  const [proxy, topic, folder] = [
    await startShutKafka(),
    await newTopic(bootstrap, 'lives'),
    await daemonFolder(),
  ];
  for (const life of [0, 1]) {
    const daemon = await startDaemon({ buckets: bucketsTo(proxy, topic), folder });
    const client = await daemon.connect();
    await client.send(numberedFrames(topic, 'a', { from: life * 500, count: 500, bytes: 100 }));
    expect(await client.receipt()).toBe(500);
    if (life === 0) await daemon.stop();
    else await daemon.kill9();
  }
  const daemon = await startDaemon({ buckets: bucketsTo(proxy, topic), folder });
  const client = await daemon.connect();
  await client.send(numberedFrames(topic, 'a', { from: 1000, count: 500, bytes: 100 }));
  expect(await client.receipt()).toBe(500);
  proxy.faults.refuse = false;
  await untilReplayed(daemon);
  expect(numbersOf(allMessages(await readTopic(bootstrap, topic, { expected: 1500 })))).toEqual(
    new Map([['a', range(0, 1500)]]),
  );
  await daemon.stop();
  expect(daemon.accounts.get(`${topic}/kafka`)).toMatchObject({
    received: 1500,
    delivered: 1500,
    backedUp: 0,
  });
});

test('also of a bucket made on demand; what belongs to no configured stream is reported', async () => {
  const [proxy, topic, folder] = [
    await startShutKafka(),
    await newTopic(bootstrap, 'on-demand'),
    await daemonFolder(),
  ];
  const { streamsConfigs } = bucketsTo(proxy, topic) as { readonly streamsConfigs: object };
  const buckets = {
    streamsConfigs,
    buckets: [{ id: 'other', streams: ['kafka'] }],
    defaultBucket: { streams: ['kafka'], batchTimeout: 20 },
  };
  const first = await startDaemon({ buckets, folder });
  const client = await first.connect();
  await client.send(numberedFrames(topic, 'a', { count: 500, bytes: 100 }));
  expect(await client.receipt()).toBe(500);
  await first.stop();
  const renamed = await startDaemon({
    buckets: {
      streamsConfigs: { renamed: (streamsConfigs as Record<string, object>)['kafka']! },
      buckets: [{ id: 'other', streams: ['renamed'] }],
      defaultBucket: { streams: ['renamed'] },
    },
    folder,
  });
  await renamed.line(
    new RegExp(`the backup of bucket ${topic} in .* belongs to no stream of this configuration`),
  );
  await renamed.stop();
  proxy.faults.refuse = false;
  const daemon = await startDaemon({ buckets, folder });
  await untilReplayed(daemon);
  expect(numbersOf(allMessages(await readTopic(bootstrap, topic, { expected: 500 })))).toEqual(
    new Map([['a', range(0, 500)]]),
  );
  await daemon.stop();
  expect(daemon.accounts.get(`${topic}/kafka`)).toMatchObject({ received: 500, delivered: 500, backedUp: 0 });
});

test('killed in the middle of it, again and again: the next run goes on, and repeats a piece at most', async () => {
  const [proxy, topic, folder] = [
    await startShutKafka(),
    await newTopic(bootstrap, 'killed'),
    await daemonFolder(),
  ];
  const count = 60_000;
  const first = await startDaemon({ buckets: bucketsTo(proxy, topic), folder });
  const client = await first.connect();
  for (let from = 0; from < count; from += 5000)
    await client.send(numberedFrames(topic, 'a', { from, count: 5000, bytes: 500 }));
  expect(await client.receipt()).toBe(count);
  await first.stop();
  const bytes = (count * 500) / MB;
  expect(bytes).toBeGreaterThan(20);
  proxy.faults.refuse = false;
  const lives = 4;
  for (let life = 0; life < lives; life++) {
    const daemon = await startDaemon({ buckets: bucketsTo(proxy, topic), folder });
    const had = allMessages(await readTopic(bootstrap, topic)).length;
    await daemon.until(
      'some more in Kafka',
      async () =>
        allMessages(await readTopic(bootstrap, topic)).length > had ||
        (await backupFiles(daemon)).length === 0,
    );
    await daemon.kill9();
  }
  const last = await startDaemon({ buckets: bucketsTo(proxy, topic), folder });
  await last.until('nothing in the backup', async () => (await backupFiles(last)).length === 0, 40_000);
  await last.stop();
  const numbers = numbersOf(allMessages(await readTopic(bootstrap, topic))).get('a')!;
  expect([...new Set(numbers)]).toEqual(range(0, count));
  expect(numbers.length - count).toBeLessThanOrEqual(lives * Math.ceil(MB / 500));
});

test('under load: what comes while the backup is sent does not pass it, and there is an end', async () => {
  const [proxy, topic] = [await startShutKafka(), await newTopic(bootstrap, 'loaded')];
  const daemon = await startDaemon({ buckets: bucketsTo(proxy, topic) });
  const client = await daemon.connect();
  let sent = 0;
  const send = async (): Promise<void> => {
    await client.send(numberedFrames(topic, 'a', { from: sent, count: 200, bytes: 300 }));
    sent += 200;
  };
  await daemon.until('much in the backup', async () => {
    await send();
    return sent >= 40_000;
  });
  proxy.faults.refuse = false;
  await daemon.until(
    'it is normal',
    async () => {
      await send();
      return daemon.linesLike(/switched to normal/).length > 0;
    },
    40_000,
  );
  for (const end = sent + 5000; sent < end;) await send();
  expect(await client.receipt()).toBe(sent);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  expect(numbersOf(allMessages(await readTopic(bootstrap, topic, { expected: sent }))).get('a')).toEqual(
    range(0, sent),
  );
  expect(await backupFiles(daemon)).toEqual([]);
});
