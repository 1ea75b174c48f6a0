// What Kahe is for: PHP-FPM workers write, and Kafka and the files have it all. Real PHP, real daemon, real
// Kafka.
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import {
  numberedFrames,
  range,
  readFiles,
  startDaemon,
  type Frame,
  type TestDaemon,
} from '../../support/daemon.js';
import { fileStream, kafkaStream, newTopic } from '../../support/daemonBuckets.js';
import { readTopic, type Message } from '../../support/kafkaReader.js';
import { PhpFpm } from '../../support/phpFpm.js';

const SEND = join(import.meta.dirname, '../../support/fpm/send.php');
const PARTITIONS = 3;
const FPM_WORKERS = 4;

const { bootstrap } = inject('kafka');

let fpm: PhpFpm;

beforeAll(async () => {
  fpm = await PhpFpm.start({ workers: FPM_WORKERS });
});

afterAll(async () => {
  await fpm.close();
});

/** One request to send.php: it names itself `worker` in every message. */
interface Request {
  readonly worker: string;
  readonly bucket: string;
  readonly count: number;
  readonly key?: string;
  readonly padding?: number;
  readonly mode?: 'one' | 'many' | 'plain';
  readonly receipt?: 1;
  readonly report?: 'safe' | 'settled';
  readonly persistent?: 1;
  readonly confirm?: 1;
  readonly bufferBytes?: number;
}

interface SendResult {
  readonly pid: number;
  readonly sent: number;
  readonly inFallback: number;
  readonly receipt: number | null;
  readonly report: {
    readonly frames: number;
    readonly outcomes: object;
    readonly reasons: readonly object[];
  } | null;
  readonly error: string | null;
}

async function send(daemon: TestDaemon, { worker, ...params }: Request): Promise<SendResult> {
  const { status, body } = await fpm.request(SEND, {
    socket: daemon.socketPath,
    deadlineMs: 20_000,
    receiptDeadlineMs: 20_000,
    prefix: worker,
    ...params,
  });
  if (status !== 200) throw new Error(`${SEND} answered ${status}: ${body}\n${await fpm.log()}`);
  return JSON.parse(body) as SendResult;
}

function toBoth(bucketIds: readonly string[]): object {
  return {
    streamsConfigs: {
      kafka: kafkaStream(bootstrap, { 'compression.codec': 'snappy' }),
      files: fileStream('data'),
    },
    buckets: bucketIds.map((id) => ({ id, streams: ['kafka', 'files'], batch: 500, batchTimeout: 100 })),
  };
}

/** What send.php wrote for a request, message by message. */
function expectedMessages({ worker, count, padding = 0 }: Request): string[] {
  const filler = padding > 0 ? { padding: 'x'.repeat(padding) } : {};
  return range(0, count).map((seq) => JSON.stringify({ worker, seq, ...filler }));
}

function byWorker<T>(items: readonly T[], messageOf: (item: T) => string): Map<string, T[]> {
  const found = new Map<string, T[]>();
  for (const item of items) {
    const { worker } = JSON.parse(messageOf(item)) as { worker: string };
    const list = found.get(worker);
    if (list === undefined) found.set(worker, [item]);
    else list.push(item);
  }
  return found;
}

function checkFile(frames: readonly Frame[], requests: readonly Request[], bucket: string): void {
  const found = byWorker(frames, ({ message }) => message);
  expect([...found.keys()].sort()).toEqual(requests.map(({ worker }) => worker).sort());
  for (const request of requests) {
    const own = found.get(request.worker)!;
    // Every message, once, in the order in which the worker wrote them.
    expect(own.map(({ message }) => message)).toEqual(expectedMessages(request));
    expect(new Set(own.map(({ key }) => key))).toEqual(new Set([request.key]));
    expect(new Set(own.map((frame) => frame.bucket))).toEqual(new Set([bucket]));
  }
}

function checkTopic(
  partitions: ReadonlyMap<number, readonly Message[]>,
  requests: readonly Request[],
  since: number,
): void {
  expect(partitions.size).toBe(PARTITIONS);
  const all = [...partitions.values()].flat();
  expect(all).toHaveLength(requests.reduce((sum, { count }) => sum + count, 0));
  for (const { timestamp } of all) expect(timestamp >= since && timestamp <= Date.now()).toBe(true);
  const byPartition = [...partitions].map(([partition, messages]) => ({
    partition,
    found: byWorker(messages, valueOf),
  }));
  for (const request of requests) {
    const expected = expectedMessages(request);
    const own = byPartition.flatMap(({ partition, found }) =>
      found.has(request.worker) ? [{ partition, messages: found.get(request.worker)! }] : [],
    );
    // In each partition its messages are in the order in which they were written, and together they are all
    // of them, once.
    const place = new Map(expected.map((message, index) => [message, index]));
    for (const { messages } of own) {
      const places = messages.map((message) => place.get(valueOf(message))!);
      expect(places).toEqual([...places].sort((a, b) => a - b));
    }
    expect(own.flatMap(({ messages }) => messages.map(valueOf)).sort()).toEqual([...expected].sort());
    expect(new Set(own.flatMap(({ messages }) => messages.map(({ key }) => key?.toString())))).toEqual(
      new Set([request.key]),
    );
    // Where librdkafka's consistent_random, and so kahego, puts this key.
    if (request.key !== undefined)
      expect(own.map(({ partition }) => partition)).toEqual([crc32(request.key) % PARTITIONS]);
  }
}

function valueOf({ value }: Message): string {
  return value!.toString();
}

describe('PHP workers under PHP-FPM', () => {
  test('what many of them write at once is in Kafka and in the files: all, once, each in order', async () => {
    const buckets = [
      await newTopic(bootstrap, 'php', PARTITIONS),
      await newTopic(bootstrap, 'php', PARTITIONS),
    ];
    const since = Date.now();
    const daemon = await startDaemon({ buckets: toBoth(buckets) });
    const kinds: Omit<Request, 'worker' | 'bucket'>[] = [
      { count: 600, mode: 'one' },
      { count: 600, mode: 'one', key: 'user-1', receipt: 1 },
      { count: 1200, mode: 'many', key: 'user-2', padding: 300 },
      { count: 1200, mode: 'many', receipt: 1 },
      // So few that the kernel's buffer has room for all: its 200 ms can't be over, however busy the machine
      // is.
      { count: 150, mode: 'plain', key: 'user-3' },
      { count: 150, mode: 'plain' },
      { count: 500, mode: 'one', persistent: 1, bufferBytes: 8192, key: 'user-4' },
      { count: 500, mode: 'one', persistent: 1, confirm: 1, key: '0' },
    ];
    const requests = range(0, 3).flatMap((round) => {
      return kinds.map((kind, index): Request => ({
        ...kind,
        worker: `w${round}-${index}`,
        bucket: buckets[(round + index) % 2]!,
      }));
    });
    const total = requests.reduce((sum, { count }) => sum + count, 0);
    expect(total).toBe(14_700);

    const results = await Promise.all(requests.map((request) => send(daemon, request)));

    expect(results.map(({ sent, inFallback, error }) => ({ sent, inFallback, error }))).toEqual(
      requests.map(({ count }) => ({ sent: count, inFallback: 0, error: null })),
    );
    expect(new Set(results.map(({ pid }) => pid)).size).toBe(FPM_WORKERS);
    const asked = requests.flatMap((request, index) =>
      request.receipt === 1 ? [{ count: request.count, answer: results[index]!.receipt }] : [],
    );
    expect(asked).toHaveLength(6);
    for (const { count, answer } of asked) expect(answer).toBe(count);

    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(daemon.received).toEqual({ frames: total, bad: 0 });
    for (const bucket of buckets) {
      const own = requests.filter((request) => request.bucket === bucket);
      checkTopic(await readTopic(bootstrap, bucket), own, since);
      checkFile(await readFiles(join(daemon.folder, 'data', bucket)), own, bucket);
    }
    // The first topics of a Kafka that has just started take long on a busy machine.
  });

  test('after a receipt the messages are in Kafka, while the daemon and the other workers go on', async () => {
    const bucket = await newTopic(bootstrap, 'php-receipt', PARTITIONS);
    const daemon = await startDaemon({ buckets: toBoth([bucket]) });
    const others = range(0, 3).map((index) =>
      send(daemon, { worker: `other-${index}`, bucket, count: 800, mode: 'many' }),
    );
    const { receipt } = await send(daemon, { worker: 'asker', bucket, count: 250, receipt: 1 });
    expect(receipt).toBe(250);
    const values = [...(await readTopic(bootstrap, bucket)).values()].flat().map(valueOf);
    const found = new Set(values);
    expect(
      expectedMessages({ worker: 'asker', bucket, count: 250 }).filter((message) => !found.has(message)),
    ).toEqual([]);
    await Promise.all(others);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(daemon.received.frames).toBe(3 * 800 + 250);
  });

  test('a report tells how many frames were delivered, and how many were rejected and why', async () => {
    const rateLimit = { frames: 10, perMs: 86_400_000 };
    const buckets = {
      streamsConfigs: { files: fileStream('data') },
      buckets: [{ id: 'limited', streams: ['files'], batchTimeout: 20, rateLimit }],
    };
    const daemon = await startDaemon({ buckets });
    const first = { worker: 'first', bucket: 'limited', count: 8, report: 'settled' } as const;
    expect((await send(daemon, first)).report).toMatchObject({
      level: 'settled',
      frames: 8,
      outcomes: { delivered: 8, rejected: 0 },
      reasons: [],
    });

    const second = await send(daemon, { ...first, worker: 'second', count: 30 });
    expect(second).toMatchObject({
      sent: 30,
      error: null,
      report: { level: 'settled', frames: 30, outcomes: { delivered: 2, rejected: 28, discarded: 0 } },
    });
    expect(second.report!.reasons).toEqual([
      { outcome: 'rejected', reason: expect.stringContaining('rate limit') as string, frames: 28 },
    ]);

    // Rejected frames are kept, so they are safe.
    const third = await send(daemon, { ...first, worker: 'third', count: 5, report: 'safe', receipt: 1 });
    expect(third).toMatchObject({
      receipt: 5,
      report: { level: 'safe', frames: 5, outcomes: { safe: 0, rejected: 5, discarded: 0 } },
    });
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    const written = (await daemon.files('data')).map(({ message }) => message);
    expect(written).toEqual([
      ...expectedMessages(first),
      ...expectedMessages({ ...first, worker: 'second', count: 2 }),
    ]);
  });

  test('a restart of the daemon between two requests of a persistent connection loses nothing', async () => {
    const bucket = await newTopic(bootstrap, 'php-restart', PARTITIONS);
    const first = await startDaemon({ buckets: toBoth([bucket]) });
    const request = (worker: string): Request => ({ worker, bucket, count: 50, persistent: 1 });
    const before = range(0, 8).map((index) => request(`before-${index}`));
    const after = range(0, 8).map((index) => request(`after-${index}`));
    await Promise.all(before.map((each) => send(first, each)));
    // Its idle persistent connections are not waited for.
    expect(await first.stop()).toMatchObject({ code: 0 });
    const second = await startDaemon({ buckets: toBoth([bucket]), folder: first.folder });
    const results = await Promise.all(after.map((each) => send(second, each)));
    expect(results.map(({ sent, error }) => ({ sent, error }))).toEqual(
      after.map(() => ({ sent: 50, error: null })),
    );
    expect(await second.stop()).toMatchObject({ code: 0 });
    checkFile(await second.files('data'), [...before, ...after], bucket);
    expect([...(await readTopic(bootstrap, bucket)).values()].flat()).toHaveLength(16 * 50);
  });

  test('a client that is no PHP writes the same bytes to the same socket', async () => {
    const bucket = await newTopic(bootstrap, 'php-mixed', PARTITIONS);
    const daemon = await startDaemon({ buckets: toBoth([bucket]) });
    const client = await daemon.connect();
    await Promise.all([
      send(daemon, { worker: 'php', bucket, count: 300 }),
      client.send(numberedFrames(bucket, 'other', { count: 300 })),
    ]);
    expect(await client.receipt()).toBe(300);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    const messages = (await daemon.files('data')).map(({ message }) => message);
    expect(messages.filter((message) => message.startsWith('other:'))).toEqual(
      range(0, 300).map((number) => `other:${number}:`),
    );
    expect(messages.filter((message) => !message.startsWith('other:'))).toEqual(
      expectedMessages({ worker: 'php', bucket, count: 300 }),
    );
  });
});
