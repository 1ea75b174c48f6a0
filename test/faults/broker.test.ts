// A broker that dies, hangs, or was never there.
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, test } from 'vitest';
import { newTopic } from '../../support/daemonBuckets.js';
import { startKafka, type KafkaServer } from '../../support/kafkaServer.js';
import { sized } from './oracle.js';
import { BATCH, PARTITIONS, Stage, arrangements } from './stage.js';

let kafka: KafkaServer;

beforeAll(async () => {
  kafka = await startKafka();
});

afterAll(async () => {
  await kafka.close();
});

afterEach(async () => {
  if (broker().state === 'paused') broker().resume();
  if (broker().state === 'stopped') await broker().start();
});

function broker(): KafkaServer['nodes'][number] {
  return kafka.nodes[0]!;
}

async function newTopics(about: string): Promise<string[]> {
  return [
    await newTopic(kafka.bootstrap, `${about}-a`, PARTITIONS),
    await newTopic(kafka.bootstrap, `${about}-b`, PARTITIONS),
  ];
}

/**
 * A backup is left only some 10 s after Kafka is back: in a quick run the daemon is stopped before, unless
 * the replay is to be seen.
 */
async function recovers(stage: Stage): Promise<void> {
  if (!stage.hasBackup || stage.hasReplay || sized(false, true)) await stage.recovers();
}

describe('a broker', () => {
  test.each(arrangements('no spool, no backup', 'spool and backup with replay'))(
    'killed under load and started again: %s',
    async (arrangement) => {
      const stage = await Stage.underLoad({
        fault: 'broker killed (kill -9), started again',
        arrangement,
        bootstrap: kafka.bootstrap,
        topics: await newTopics('kill'),
      });
      const runs = sized(1, 20);
      for (let run = 0; run < runs; run++) {
        const from = stage.daemon.lines.length;
        await broker().kill();
        await stage.fails(undefined, from);
        await stage.sends(500);
        await broker().start();
        await recovers(stage);
        // What can only wait in memory would fill it, killed again and again before it is sent; then nothing
        // more is taken.
        if (!stage.hasSpool) await stage.confirms();
      }
      await stage.close({ runs });
    },
  );

  describe.each(sized([3], [5, 20, 60]))('that hangs (SIGSTOP) for %d s', (seconds) => {
    test.each(arrangements('spool'))('%s', async (arrangement) => {
      const stage = await Stage.underLoad({
        fault: `broker hangs (SIGSTOP) ${seconds} s`,
        arrangement,
        bootstrap: kafka.bootstrap,
        topics: await newTopics('hang'),
      });
      broker().pause();
      await Promise.all([stage.fails(), pause(seconds * 1000)]);
      broker().resume();
      await recovers(stage);
      // What was sent on connections that were given up may still lie in the broker's kernel: one request for
      // each try.
      await stage.close({ duplicatesAtMost: 3 * 2 * PARTITIONS * BATCH });
    });
  });

  test.each(arrangements('spool and backup'))('absent when the daemon starts: %s', async (arrangement) => {
    const topics = await newTopics('absent');
    await broker().kill();
    const stage = await Stage.open({
      fault: 'Kafka absent at the start',
      arrangement,
      bootstrap: kafka.bootstrap,
      topics,
    });
    await stage.load();
    await stage.fails();
    await stage.sends(1000);
    await pause(sized(0, 30_000));
    await broker().start();
    await recovers(stage);
    await stage.close({ duplicatesAtMost: 0, keylessDisorderedAtMost: 0 });
  });
});
