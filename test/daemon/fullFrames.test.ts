// Full frames among plain ones, read back from Kafka: partitions, times, headers, null and empty and long keys,
// tombstones; over the socket, through a spool and kill -9, a backup and its replay, REJECTED and its replay.
import { describe, expect, inject, test } from 'vitest';
import { type FullFrame, encodeFullFrame } from '../../src/frames/fullFrame.js';
import { runCli } from '../../support/cliProcess.js';
import { daemonFolder, filesOf, frame, range, startDaemon } from '../../support/daemon.js';
import { fileStream, kafkaStream, newTopicName } from '../../support/daemonBuckets.js';
import { readBatches } from '../../support/kafkaReader.js';
import { createTopic } from '../../support/kafkaTopics.js';
import type { DecodedRecord } from '../../support/recordBatchDecoder.js';

const { bootstrap } = inject('kafka');
const NOWHERE = '127.0.0.1:1';
const PARTITIONS = 3;

type Part = Omit<FullFrame, 'bucket'>;

/** Frame n of the story; undefined: a plain one, without a key or with one. */
const KINDS: readonly ((n: number) => Part | undefined)[] = [
  () => undefined,
  (n) => ({
    partition: n % PARTITIONS,
    timestampMs: 1_000_000_000_000 + n,
    key: `key ${n}`,
    value: `m${n}`,
    headers: [
      ['traceparent', `00-${n}`],
      ['none', null],
    ],
  }),
  (n) => ({
    key: null,
    value: `m${n}`,
    headers: [
      ['empty', ''],
      ['größe', Buffer.from([0, 255])],
      ['', 'x'],
    ],
  }),
  (n) => ({ key: '', value: `m${n}`, timestampMs: n }),
  () => undefined,
  (n) => ({ key: `m${n}`, value: null, partition: (n * 7) % PARTITIONS }),
  (n) => ({ key: 'long '.repeat(80), value: `m${n}` }),
];

function part(n: number): Part | undefined {
  return KINDS[n % KINDS.length]!(n);
}

function plainKey(n: number): string {
  return n % 2 ? `k${n % 5}` : '';
}

function storyOf(topic: string, from: number, to: number): Buffer {
  return Buffer.concat(
    range(from, to).map((n) => {
      const full = part(n);
      return full === undefined
        ? frame(topic, `m${n}`, plainKey(n))
        : encodeFullFrame({ bucket: topic, ...full });
    }),
  );
}

interface Stored extends DecodedRecord {
  readonly partition: number;
}

async function recordsOf(topic: string, expected: number): Promise<readonly Stored[]> {
  const batches = await readBatches(bootstrap, topic, { expected, deadlineMs: 60_000 });
  return [...batches].flatMap(([partition, list]) =>
    list.flatMap(({ records }) => records.map((record) => ({ ...record, partition }))),
  );
}

function numberOf({ key, value }: DecodedRecord): number {
  return Number((value ?? key)!.toString().slice(1));
}

const shown = (bytes: string | Uint8Array | null | undefined): string | null =>
  bytes === null || bytes === undefined ? null : Buffer.from(bytes).toString('latin1');

/** What is stored is the story, each once and as it was sent, and in order within each partition. */
function expectStory(
  records: readonly Stored[],
  numbers: readonly number[],
  arrival: readonly [number, number],
): void {
  for (const partition of range(0, PARTITIONS)) {
    const inIt = records.filter((record) => record.partition === partition).map(numberOf);
    expect(inIt).toEqual([...inIt].sort((a, b) => a - b));
  }
  const byNumber = [...records].sort((a, b) => numberOf(a) - numberOf(b));
  expect(byNumber.map(numberOf)).toEqual(numbers);
  for (const record of byNumber) {
    const n = numberOf(record);
    const full = part(n);
    const key = full === undefined ? plainKey(n) || null : full.key;
    const isArrival = record.timestamp >= arrival[0] && record.timestamp <= arrival[1];
    expect({
      n,
      key: shown(record.key),
      value: shown(record.value),
      headers: record.headers.map((header) => [header.key, shown(header.value)]),
      partition: full?.partition === undefined ? 'any' : record.partition,
      timestamp: full?.timestampMs === undefined && isArrival ? 'arrival' : record.timestamp,
    }).toEqual({
      n,
      key: shown(key),
      value: full === undefined ? `m${n}` : shown(full.value),
      headers: (full?.headers ?? []).map(([name, value]) => [name, shown(value)]),
      partition: full?.partition ?? 'any',
      timestamp: full?.timestampMs ?? 'arrival',
    });
  }
}

async function topicOf(about: string): Promise<string> {
  const topic = newTopicName(about);
  await createTopic([bootstrap], topic, { partitions: PARTITIONS, config: { 'retention.ms': '-1' } });
  return topic;
}

function bucketsOf(topic: string, brokers = bootstrap, more: object = {}): object {
  return {
    streamsConfigs: { kafka: { ...kafkaStream(brokers, { 'message.timeout.ms': 500 }), ...more } },
    buckets: [{ id: topic, streams: ['kafka'], batch: 500, batchTimeout: 20 }],
  };
}

describe('full frames among plain ones', () => {
  test('over the socket, in any pieces; what the topic has no partition for is rejected alone', async () => {
    const topic = await topicOf('full');
    const daemon = await startDaemon({ buckets: bucketsOf(topic) });
    const sinceMs = Date.now();
    const client = await daemon.connect();
    const nowhere = [PARTITIONS, 2 ** 31 - 1].map((partition) =>
      encodeFullFrame({ bucket: topic, partition, value: 'nowhere' }),
    );
    const bad = Buffer.from(nowhere[0]!);
    bad.writeInt32LE(-2, 12 + topic.length);
    await client.send(storyOf(topic, 0, 1_000), nowhere[0]!, bad, storyOf(topic, 1_000, 2_000));
    const pieces = Buffer.concat([nowhere[1]!, storyOf(topic, 2_000, 2_100)]);
    for (let at = 0; at < pieces.length; at += 37) await client.send(pieces.subarray(at, at + 37));
    expect(await client.report('settled')).toMatchObject({
      frames: 2_103,
      outcomes: { delivered: 2_100, rejected: 3, stored: 0 },
      reasons: [
        { outcome: 'rejected', reason: 'the partition is negative', frames: 1 },
        {
          outcome: 'rejected',
          reason: `topic ${topic} has 3 partitions, not the one it is for`,
          frames: 2,
        },
      ],
    });
    expectStory(await recordsOf(topic, 2_100), range(0, 2_100), [sinceMs, Date.now()]);
    await daemon.stop();
    expect(daemon.accounts.get(`${topic}/kafka`)).toMatchObject({
      received: 2_102,
      delivered: 2_100,
      rejected: 2,
    });
  });

  test('a time that the topic refuses: that frame alone is rejected, times of arrival are not', async () => {
    const topic = newTopicName('full-times');
    const config = { 'message.timestamp.before.max.ms': String(3_600_000), 'retention.ms': '-1' };
    await createTopic([bootstrap], topic, { config });
    const daemon = await startDaemon({ buckets: bucketsOf(topic) });
    const client = await daemon.connect();
    const old = (value: string): Buffer => encodeFullFrame({ bucket: topic, timestampMs: 1, value });
    await client.send(frame(topic, 'm0'), old('old'), frame(topic, 'm1'), old('older'), frame(topic, 'm2'));
    expect(await client.report('settled')).toMatchObject({
      outcomes: { delivered: 3, rejected: 2 },
      reasons: [{ reason: `${topic}[0]: INVALID_TIMESTAMP`, frames: 2 }],
    });
    expect((await recordsOf(topic, 3)).map(numberOf)).toEqual([0, 1, 2]);
    await daemon.stop();
  });

  test('through the spool and kill -9, while Kafka is away', async () => {
    const topic = await topicOf('full-spool');
    const folder = await daemonFolder();
    const env = { SPOOL: './spool' };
    const sinceMs = Date.now();
    for (const [from, to] of [
      [0, 700],
      [700, 1_400],
    ] as const) {
      const daemon = await startDaemon({ buckets: bucketsOf(topic, NOWHERE), folder, env });
      const client = await daemon.connect();
      await client.send(storyOf(topic, from, to));
      expect(await client.receipt()).toBe(700);
      await daemon.kill9();
    }
    const untilMs = Date.now();
    const daemon = await startDaemon({ buckets: bucketsOf(topic), folder, env });
    expectStory(await recordsOf(topic, 1_400), range(0, 1_400), [sinceMs, untilMs]);
    await daemon.until('an empty spool', async () => (await filesOf(`${folder}/spool`)).length === 0);
    await daemon.stop();
  });

  test('through the backup and its replay', async () => {
    const topic = await topicOf('full-backup');
    const folder = await daemonFolder();
    const backup = { backup: fileStream('backup') };
    const sinceMs = Date.now();
    const away = await startDaemon({ buckets: bucketsOf(topic, NOWHERE, backup), folder });
    const client = await away.connect();
    await client.send(storyOf(topic, 0, 2_000));
    expect(await client.receipt()).toBe(2_000);
    const untilMs = Date.now();
    await away.stop();
    const daemon = await startDaemon({ buckets: bucketsOf(topic, bootstrap, backup), folder });
    expectStory(await recordsOf(topic, 2_000), range(0, 2_000), [sinceMs, untilMs]);
    await daemon.stop();
    expect(await filesOf(`${folder}/backup`)).toEqual([]);
  });

  test.each([
    ['the daemon', []],
    ['a stream', ['--stream', 'kafka']],
  ])(
    'through REJECTED, and kahe replay to %s',
    async (_name, to) => {
      const topic = await topicOf('full-rejected');
      const folder = await daemonFolder();
      const first = await startDaemon({ buckets: bucketsOf('another'), folder });
      const client = await first.connect();
      await client.send(storyOf(topic, 0, 300));
      expect(await client.report('')).toMatchObject({ outcomes: { rejected: 300 } });
      await first.stop();
      const files = await filesOf(`${folder}/rejected`);
      const daemon = await startDaemon({ buckets: bucketsOf(topic), folder });
      const sinceMs = Date.now();
      const replayed = await runCli(['replay', ...to, ...files], {
        cwd: folder,
        env: { SOCKET: daemon.socketPath },
      });
      expect(replayed).toMatchObject({ code: 0 });
      expectStory(await recordsOf(topic, 300), range(0, 300), [sinceMs, Date.now()]);
      await daemon.stop();
    },
    90_000,
  );
});
