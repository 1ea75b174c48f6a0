// Three brokers, a topic of three partitions without replicas, and the broker of one of them dies and comes
// back: the two others get all that is theirs meanwhile, and in the end each partition has all of its frames,
// once and in order.
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { crc32 } from '../../src/streams/kafka/partitioner.js';
import { checkAccounts, statusOf } from '../../support/adminDoor.js';
import {
  numberedFrames,
  numbersBySender,
  range,
  startDaemon,
  type DaemonClient,
  type DaemonOptions,
  type TestDaemon,
} from '../../support/daemon.js';
import { fileStream, kafkaStream, newTopicName } from '../../support/daemonBuckets.js';
import { readTopic } from '../../support/kafkaReader.js';
import { startKafka, type KafkaNode, type KafkaServer } from '../../support/kafkaServer.js';

const PARTITIONS = 3;
const DEAD = 1;
const ROUND = 300;

let kafka: KafkaServer;

beforeAll(async () => {
  kafka = await startKafka({ brokers: 3 });
});

afterAll(async () => {
  await kafka.close();
});

afterEach(async () => {
  for (const node of kafka.nodes) if (node.state === 'stopped') await node.start();
});

const keyOf = (number: number): string => `k${number % 20}`;
const partitionOf = (number: number): number =>
  crc32(Buffer.from(keyOf(number)), 0, keyOf(number).length) % PARTITIONS;
const of = (partition: number, sent: number): number[] =>
  range(0, sent).filter((number) => partitionOf(number) === partition);

/** A topic, its one partition whose broker will die, and a daemon. */
class Scene {
  sent = 0;
  readonly daemon: TestDaemon;
  #client: DaemonClient | undefined;

  private constructor(
    readonly topic: string,
    readonly node: KafkaNode,
    readonly options: DaemonOptions,
    daemon: TestDaemon,
  ) {
    this.daemon = daemon;
  }

  static async set(
    name: string,
    { backup, spool }: { readonly backup: boolean; readonly spool: boolean },
  ): Promise<Scene> {
    const topic = newTopicName(name);
    await kafka.createTopic(topic, { partitions: PARTITIONS, replicationFactor: 1 });
    const stream = kafkaStream(
      kafka.bootstrap,
      { 'message.timeout.ms': 2_000 },
      backup ? { backup: fileStream('backup') } : {},
    );
    const options = {
      buckets: {
        streamsConfigs: { kafka: stream },
        buckets: [{ id: topic, streams: ['kafka'], batch: 50, batchTimeout: 20 }],
      },
      env: { ADMIN: './admin.sock', ...(spool ? { SPOOL: 'spool' } : {}) },
    };
    return new Scene(topic, await kafka.leaderOf(topic, DEAD), options, await startDaemon(options));
  }

  /** The same, in the daemon's next life. */
  async restarted(how: 'stop' | 'kill9'): Promise<Scene> {
    await this.daemon[how]();
    const next = new Scene(
      this.topic,
      this.node,
      this.options,
      await startDaemon({ ...this.options, folder: this.daemon.folder }),
    );
    next.sent = this.sent;
    return next;
  }

  /** With a spool it is safe then. */
  async send(rounds: number): Promise<void> {
    this.#client ??= await this.daemon.connect();
    const client = this.#client;
    for (let i = 0; i < rounds; i++) {
      await client.send(
        numberedFrames(this.topic, 'a', { from: this.sent, count: ROUND, bytes: 100, key: keyOf }),
      );
      this.sent += ROUND;
    }
    if (this.options.env?.['SPOOL'] !== undefined) await client.receipt();
  }

  async account(): Promise<Readonly<Record<'received' | 'delivered', number>> & { readonly mode: string }> {
    const status = await statusOf(join(this.daemon.folder, 'admin.sock'));
    checkAccounts(status);
    const stream = status.buckets.find(({ name }) => name === this.topic)!.streams[0]!;
    return { ...stream.account, mode: stream.mode };
  }

  /** Resolves when all that is for the other partitions is delivered. */
  async othersHaveAll(before = 0): Promise<void> {
    const theirs = this.sent - of(DEAD, this.sent).length - before;
    await this.daemon.until(
      `${theirs} delivered to the partitions that have a leader`,
      async () => (await this.account()).delivered >= theirs,
    );
  }

  /**
   * @param mayRepeat a daemon that was killed may not have noted yet what it had delivered: that comes twice
   * then
   */
  async allArrives(mayRepeat = false): Promise<void> {
    const found = async (): Promise<ReadonlyMap<number, readonly number[]>> => {
      const partitions = await readTopic(kafka.internalBootstrap, this.topic, {
        expected: this.sent,
        deadlineMs: 60_000,
      });
      return new Map(
        [...partitions].map(([partition, list]) => {
          const numbers = numbersBySender(list.map(({ value }) => value!.toString())).get('a') ?? [];
          return [partition, mayRepeat ? [...new Set(numbers)] : numbers];
        }),
      );
    };
    if (mayRepeat)
      await this.daemon.until(
        'all is there',
        async () => [...(await found()).values()].flat().length === this.sent,
        60_000,
      );
    for (const [partition, numbers] of await found())
      expect(numbers, `partition ${partition}`).toEqual(of(partition, this.sent));
    await this.daemon.until('normal', async () => (await this.account()).mode === 'normal');
  }
}

test.each([
  { backup: true, spool: false },
  { backup: true, spool: true },
  { backup: false, spool: false },
  { backup: false, spool: true },
])(
  'the others go on: %o',
  async (arrangement) => {
    const scene = await Scene.set('partition', arrangement);
    await scene.send(2);
    await scene.othersHaveAll(-of(DEAD, scene.sent).length);
    await scene.node.kill();
    for (let i = 0; i < 4; i++) {
      await scene.send(5);
      await scene.othersHaveAll();
    }
    expect((await scene.account()).mode).toBe(arrangement.backup ? 'backup' : 'error');
    expect(
      scene.daemon.linesLike(
        new RegExp(`(?:switched to backup|delivery stopped) in part: .*${scene.topic}\\[1\\] is away`),
      ),
    ).toHaveLength(1);
    await scene.node.start();
    await scene.send(2);
    await scene.allArrives();
    expect((await scene.daemon.stop()).code).toBe(0);
    expect(scene.daemon.accounts.get(`${scene.topic}/kafka`)).toMatchObject({
      received: scene.sent,
      delivered: scene.sent,
      queued: 0,
      backedUp: 0,
    });
  },
  120_000,
);

test.each(['stop', 'kill9'] as const)(
  'the daemon ends meanwhile (%s), and the next one begins while the partition is away still',
  async (how) => {
    const first = await Scene.set(`partition-${how}`, { backup: true, spool: true });
    await first.send(2);
    await first.othersHaveAll(-of(DEAD, first.sent).length);
    await first.node.kill();
    await first.send(5);
    await first.othersHaveAll(-of(DEAD, 2 * ROUND).length);
    // What the first one was to deliver is delivered, so what the next one has to is known.
    const before = (await first.account()).delivered;
    const second = await first.restarted(how);
    await second.send(5);
    await second.othersHaveAll(before - of(DEAD, 2 * ROUND).length);
    expect((await second.account()).mode).toBe('backup');
    const third = await second.restarted(how);
    await third.node.start();
    await third.send(2);
    await third.allArrives(how === 'kill9');
    await third.daemon.stop();
  },
  180_000,
);
