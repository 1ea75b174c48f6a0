// Three brokers, of which one is away: leaders that move, and too few replicas.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { newTopicName } from '../../support/daemonBuckets.js';
import { startKafka, type KafkaServer } from '../../support/kafkaServer.js';
import { describeTopic } from '../../support/kafkaTopics.js';
import { range } from '../../support/daemon.js';
import { sized } from './oracle.js';
import { WINDOW } from './senders.js';
import { BATCH, PARTITIONS, Stage, arrangements, type LedPartition } from './stage.js';

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

async function newTopics(replicationFactor: number): Promise<string[]> {
  const topics = [newTopicName('cluster-a'), newTopicName('cluster-b')];
  for (const topic of topics)
    await kafka.createTopic(topic, {
      partitions: PARTITIONS,
      replicationFactor,
      config: { 'min.insync.replicas': '2' },
    });
  return topics;
}

async function partitionsOf(topic: string, count: number): Promise<LedPartition[]> {
  return Promise.all(
    range(0, count).map(async (partition) => ({ partition, node: await kafka.leaderOf(topic, partition) })),
  );
}

describe('three brokers', () => {
  test.each(arrangements('no spool, no backup'))(
    'restarted one after another under load: %s',
    async (arrangement) => {
      const topics = await newTopics(3);
      const rounds = sized(1, 3);
      // In a quick run one broker; all three take too long for it.
      const nodes = sized(kafka.nodes.slice(0, 1), kafka.nodes);
      const settings = { 'message.timeout.ms': 30_000 };
      const stage = await Stage.underLoad({
        fault: sized('one broker of three restarted', 'three brokers restarted one after another'),
        arrangement,
        bootstrap: kafka.bootstrap,
        topics,
        settings,
        moreOpenFiles: 3,
      });
      for (let round = 0; round < rounds; round++) {
        for (const node of nodes) {
          await node.stop();
          await stage.sends(500);
          await stage.recovers();
          await node.start();
          for (const topic of topics) await kafka.waitInSync(topic);
          await stage.delivers();
        }
      }
      await stage.close({ runs: rounds * nodes.length });
      expect(stage.daemon.linesLike(/ switched to | delivery stopped/)).toEqual([]);
    },
  );

  test.each(arrangements('spool'))(
    'of which one is dead that a topic needs (min.insync.replicas): %s',
    async (arrangement) => {
      const [topic] = await newTopics(2);
      const stage = await Stage.underLoad({
        fault: 'not enough replicas, then enough',
        arrangement,
        bootstrap: kafka.bootstrap,
        topics: [topic!],
        moreOpenFiles: 3,
      });
      const { replicas } = (await describeTopic([kafka.internalBootstrap], topic!))!.partitionMetadata[0]!;
      const node = kafka.nodes.find(({ id }) => id === replicas[0])!;
      await node.kill();
      await stage.fails();
      await stage.sends(500);
      await node.start();
      if (!stage.hasBackup || stage.hasReplay || sized(false, true)) await stage.recovers();
      // It is tried again until the stream gives up, and what has one replica already may be written again
      // each time.
      const inFlight = 3 * PARTITIONS * BATCH;
      await stage.close({ duplicatesAtMost: inFlight, keylessDisorderedAtMost: inFlight });
    },
  );

  test.each(arrangements('spool', 'spool and backup with replay'))(
    'of which one alone has one partition of four, Kahe killed meanwhile: the others go on: %s',
    async (arrangement) => {
      const topic = newTopicName('cluster-four');
      await kafka.createTopic(topic, { partitions: 4, replicationFactor: 1 });
      const partitions = await partitionsOf(topic, 4);
      // Of four on three brokers, two are alone.
      const { node } = partitions.find(
        ({ node }) => partitions.filter((other) => other.node === node).length === 1,
      )!;
      const others = partitions.filter((other) => other.node !== node);
      const stage = await Stage.underLoad({
        fault: 'one partition of four without a leader, and Kahe killed meanwhile (kill -9)',
        arrangement,
        bootstrap: kafka.bootstrap,
        topics: [topic],
        moreOpenFiles: 3,
      });
      await node.kill();
      await stage.fails();
      const kills = sized(1, 10);
      for (let kill = 0; kill < kills; kill++) {
        await stage.sends(500);
        await stage.deliversTo(others);
        await stage.restarts();
        await stage.sends(500);
        await stage.deliversTo(others);
      }
      await node.start();
      if (!stage.hasBackup || stage.hasReplay || sized(false, true)) await stage.recovers();
      const inFlight = kills * WINDOW * BATCH;
      await stage.close({
        runs: kills,
        // Without a backup what waits is in the spool alone, with all that came behind it:
        // docs/reliability.md.
        duplicatesAtMost: arrangement === 'spool' ? Infinity : inFlight,
        keylessDisorderedAtMost: inFlight,
      });
    },
  );
});
