// A Kafka of its own that dies and comes back: what becomes of the frames meanwhile. Each test starts with
// the broker running.
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  numberedFrames,
  numbersBySender,
  range,
  readFiles,
  startDaemon,
  type DaemonClient,
  type TestDaemon,
} from '../../support/daemon.js';
import { manualBackup, kafkaStream, newTopic, newTopicName } from '../../support/daemonBuckets.js';
import { numbersOf } from '../../support/daemonKafka.js';
import { allMessages, readTopic } from '../../support/kafkaReader.js';
import { startKafka, type KafkaServer } from '../../support/kafkaServer.js';
import { createTopic } from '../../support/kafkaTopics.js';

const PARTITIONS = 3;
const BATCH = 100;

let kafka: KafkaServer;
let bootstrap: string;

beforeAll(async () => {
  kafka = await startKafka();
  bootstrap = kafka.bootstrap;
});

afterAll(async () => {
  await kafka.close();
});

afterEach(async () => {
  if (broker().state === 'stopped') await broker().start();
});

function broker(): KafkaServer['nodes'][number] {
  return kafka.nodes[0]!;
}

/** Gives up soon, so that tests are short. */
function hasty(more: Parameters<typeof kafkaStream>[2] = {}): object {
  return kafkaStream(bootstrap, { 'message.timeout.ms': 2000 }, more);
}

/** A client that writes numbered frames, some each few milliseconds, until it is told to end. */
class Writer {
  sent = 0;
  #isEnding = false;
  readonly #ended: Promise<void>;

  constructor(
    readonly client: DaemonClient,
    readonly bucket: string,
    readonly name: string,
    readonly key: (number: number) => string,
  ) {
    this.#ended = this.#write();
  }

  async end(): Promise<void> {
    this.#isEnding = true;
    await this.#ended;
  }

  async #write(): Promise<void> {
    while (!this.#isEnding) {
      const { bucket, name, key, sent: from } = this;
      await this.client.send(numberedFrames(bucket, name, { from, count: 10, bytes: 200, key }));
      this.sent += 10;
      // The pace of the load, and nothing that anybody waits for.
      await new Promise((resolve) => setTimeout(resolve, 8));
    }
  }
}

async function writers(
  daemon: TestDaemon,
  bucket: string,
  key: (number: number) => string,
): Promise<Writer[]> {
  const clients = await Promise.all(range(0, 3).map(() => daemon.connect()));
  return clients.map((client, index) => new Writer(client, bucket, `${bucket}-w${index}`, key));
}

/** Numbers of one sender in one partition: each first time that one is there, in order. */
function firstTimes(numbers: readonly number[]): number[] {
  return [...new Set(numbers)];
}

function ascending(numbers: readonly number[]): number[] {
  return [...numbers].sort((a, b) => a - b);
}

describe('Kafka → backup', () => {
  test('a broker killed under load: what it did not acknowledge is first in the backup, in order', async () => {
    const keyed = await newTopic(bootstrap, 'keyed', PARTITIONS);
    const keyless = await newTopic(bootstrap, 'keyless', PARTITIONS);
    const daemon = await startDaemon({
      buckets: {
        streamsConfigs: { kafka: hasty({ backup: manualBackup('backup') }) },
        buckets: [keyed, keyless].map((id) => ({ id, streams: ['kafka'], batch: BATCH, batchTimeout: 50 })),
      },
    });
    const all = [
      ...(await writers(daemon, keyed, (number) => `key-${number % 7}`)),
      ...(await writers(daemon, keyless, () => '')),
    ];
    const written = () => Math.min(...all.map(({ sent }) => sent));

    await daemon.until('1000 frames of each writer', () => written() >= 1000);
    await broker().kill();
    await Promise.all(
      [keyed, keyless].map((bucket) =>
        daemon.line(new RegExp(`/bucket.${bucket}/stream.kafka switched to backup`)),
      ),
    );
    const atBackup = written();
    await daemon.until('1000 more', () => written() >= atBackup + 1000);
    await broker().start();
    await Promise.all(
      [keyed, keyless].map((bucket) =>
        daemon.line(new RegExp(`/bucket.${bucket}/stream.kafka switched to normal`)),
      ),
    );
    const atNormal = written();
    await daemon.until('1000 more', () => written() >= atNormal + 1000);
    await Promise.all(all.map((writer) => writer.end()));
    expect(await daemon.stop()).toMatchObject({ code: 0 });

    expect(daemon.received).toEqual({ frames: all.reduce((sum, { sent }) => sum + sent, 0), bad: 0 });
    for (const bucket of [keyed, keyless]) {
      const partitions = await readTopic(bootstrap, bucket);
      const inPartitions = [...partitions.values()].map(numbersOf);
      const inKafka = allMessages(partitions);
      const backup = numbersBySender(
        (await readFiles(join(daemon.folder, 'backup', bucket))).map(({ message }) => message),
      );
      const counts = daemon.accounts.get(`${bucket}/kafka`)!;
      expect(counts).toMatchObject({ rejected: 0, queued: 0, discarded: 0, slicedOut: 0 });
      // One; more when the broker is so slow to start that Kafka seems to be away again.
      const outages = daemon.linesLike(
        new RegExp(`/bucket.${bucket}/stream.kafka switched to backup`),
      ).length;
      // At most one record batch a partition was on its way, and nobody can know whether it had arrived.
      expect(inKafka.length - counts.delivered).toBeGreaterThanOrEqual(0);
      expect(inKafka.length - counts.delivered).toBeLessThanOrEqual(outages * PARTITIONS * BATCH);
      for (const { name, sent, key } of all.filter((writer) => writer.bucket === bucket)) {
        const kept = backup.get(name)!;
        expect(kept, 'in the backup: in order, each once').toEqual(firstTimes(ascending(kept)));
        const inOrder = inPartitions.map((senders) => firstTimes(senders.get(name) ?? []));
        const found = new Set([...inOrder.flat(), ...kept]);
        expect(
          range(0, sent).filter((number) => !found.has(number)),
          'missing',
        ).toEqual([]);
        const isKept = new Set(kept);
        for (const delivered of inOrder)
          expect(delivered, 'in the partition: in order').toEqual(ascending(delivered));
        // By key, which is by partition or finer: delivered, then kept, then delivered again, and nothing
        // passed anything.
        for (const [, numbers] of groupByKey(range(0, sent), key)) {
          if (key(0) === '') continue;
          const fates = numbers.map((number) => (isKept.has(number) ? 'kept' : 'delivered'));
          const told = changes(fates);
          expect([told[0], told.at(-1)]).toEqual(['delivered', 'delivered']);
          const times = told.filter((fate) => fate === 'kept').length;
          expect(times).toBeGreaterThanOrEqual(1);
          expect(times).toBeLessThanOrEqual(outages);
        }
        expect(
          kept.at(-1)! - kept[0]!,
          'what was written while it was away is all there',
        ).toBeGreaterThanOrEqual(1000);
      }
    }
  });

  test('absent at the start: the backup has everything, and a stop while it is away loses nothing', async () => {
    const topic = await newTopic(bootstrap, 'never-there', PARTITIONS);
    await broker().kill();
    const daemon = await startDaemon({
      buckets: {
        streamsConfigs: { kafka: hasty({ backup: manualBackup('backup') }) },
        buckets: [{ id: topic, streams: ['kafka'], batch: BATCH }],
      },
      env: { STOP_TIMEOUT: '5s' },
    });
    const client = await daemon.connect();
    await client.send(numberedFrames(topic, 'first', { count: 2000, bytes: 300 }));
    await daemon.line(/switched to backup/);
    // A receipt counts what is safe, and in the backup it is.
    expect(await client.receipt()).toBe(2000);
    await client.send(numberedFrames(topic, 'last', { count: 2000, bytes: 300 }));
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(numbersBySender((await daemon.files('backup')).map(({ message }) => message))).toEqual(
      new Map([
        ['first', range(0, 2000)],
        ['last', range(0, 2000)],
      ]),
    );
    expect(daemon.accounts.get(`${topic}/kafka`)).toMatchObject({ delivered: 0, backedUp: 4000 });
    expect(daemon.linesLike(/ switched to | delivery stopped/)).toHaveLength(1);
  });

  test('stopped before it has given Kafka up: what is on its way goes to the backup', async () => {
    const topic = await newTopic(bootstrap, 'stopped-early', PARTITIONS);
    await broker().kill();
    const daemon = await startDaemon({
      buckets: {
        streamsConfigs: {
          kafka: kafkaStream(
            bootstrap,
            { 'message.timeout.ms': 600_000 },
            { backup: manualBackup('backup') },
          ),
        },
        buckets: [{ id: topic, streams: ['kafka'], batch: BATCH }],
      },
      env: { STOP_TIMEOUT: '4s' },
    });
    const client = await daemon.connect();
    await client.send(numberedFrames(topic, 'w', { count: 1050, bytes: 300 }));
    const { code, ms } = await daemon.stop();
    expect(code).toBe(0);
    expect(ms).toBeLessThan(8000);
    expect(numbersBySender((await daemon.files('backup')).map(({ message }) => message))).toEqual(
      new Map([['w', range(0, 1050)]]),
    );
  });
});

describe('Kafka without a backup', () => {
  test('absent at the start: the daemon accepts at once, and Kafka gets each frame once, in order', async () => {
    const topic = await newTopic(bootstrap, 'late', PARTITIONS);
    await broker().kill();
    const daemon = await startDaemon({
      buckets: {
        streamsConfigs: { kafka: hasty() },
        buckets: [{ id: topic, streams: ['kafka'], batch: BATCH, batchTimeout: 50 }],
      },
    });
    const client = await daemon.connect();
    await client.send(
      numberedFrames(topic, 'early', { count: 5000, bytes: 200, key: (number) => `key-${number % 5}` }),
    );
    await daemon.line(/delivery stopped/);
    await client.send(
      numberedFrames(topic, 'waiting', { count: 1000, bytes: 200, key: (number) => `key-${number % 5}` }),
    );
    const answer = client.receipt();
    expect(client.answersWaiting).toBe(0);
    await broker().start();
    expect(await answer).toBe(6000);
    const partitions = await readTopic(bootstrap, topic);
    expect(allMessages(partitions)).toHaveLength(6000);
    for (const messages of partitions.values()) {
      for (const [, numbers] of numbersOf(messages)) expect(numbers).toEqual(firstTimes(ascending(numbers)));
    }
    const found = numbersOf(allMessages(partitions));
    expect(new Map([...found].map(([sender, numbers]) => [sender, ascending(numbers)]))).toEqual(
      new Map([
        ['early', range(0, 5000)],
        ['waiting', range(0, 1000)],
      ]),
    );
    expect(daemon.linesLike(/ switched to | delivery stopped/)).toHaveLength(2);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });

  test('a topic that is missing holds up its own bucket alone, and gets everything once it is made', async () => {
    const there = await newTopic(bootstrap, 'there', PARTITIONS);
    const missing = newTopicName('missing');
    const daemon = await startDaemon({
      buckets: {
        streamsConfigs: { kafka: hasty() },
        buckets: [there, missing].map((id) => ({ id, streams: ['kafka'], batch: BATCH, batchTimeout: 50 })),
      },
    });
    const [good, parked] = [await daemon.connect(), await daemon.connect()];
    await parked.send(numberedFrames(missing, 'm', { count: 3000, bytes: 200 }));
    const answer = parked.receipt();
    await good.send(numberedFrames(there, 't', { count: 3000, bytes: 200 }));
    expect(await good.receipt()).toBe(3000);
    expect(await daemon.line(/delivery stopped/)).toMatch(
      new RegExp(`/bucket.${missing}/stream.kafka delivery stopped: topic ${missing} does not exist`),
    );
    await good.send(numberedFrames(there, 't', { from: 3000, count: 3000, bytes: 200 }));
    expect(await good.receipt()).toBe(6000);
    expect(parked.answersWaiting).toBe(0);
    await createTopic([bootstrap], missing, { partitions: 1 });
    expect(await answer).toBe(3000);
    expect(numbersOf(allMessages(await readTopic(bootstrap, missing)))).toEqual(
      new Map([['m', range(0, 3000)]]),
    );
    const found = numbersOf(allMessages(await readTopic(bootstrap, there)));
    expect(ascending(found.get('t')!)).toEqual(range(0, 6000));
    expect(daemon.linesLike(new RegExp(`/bucket.${there}/.* (switched to|delivery stopped)`))).toEqual([]);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });
});

function groupByKey(numbers: readonly number[], key: (number: number) => string): Map<string, number[]> {
  const groups = new Map<string, number[]>();
  for (const number of numbers) {
    const group = groups.get(key(number));
    if (group === undefined) groups.set(key(number), [number]);
    else group.push(number);
  }
  return groups;
}

/** Without repetitions: a a b b a → a b a. */
function changes(words: readonly string[]): string[] {
  return words.filter((word, index) => word !== words[index - 1]);
}
