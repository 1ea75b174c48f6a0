// A broker that dies, hangs, or was never there.
import { afterAll, afterEach, beforeAll, describe, test } from 'vitest';
import { newTopic } from '../support/daemonBuckets.js';
import { startKafka, type KafkaServer } from '../support/kafkaServer.js';
import { sized } from './oracle.js';
import { ARRANGEMENTS, Stage, pause, type Arrangement } from './stage.js';

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
  return [await newTopic(kafka.bootstrap, `${about}-a`, 3), await newTopic(kafka.bootstrap, `${about}-b`, 3)];
}

/** A backup is left only some 10 s after Kafka is back: in a quick run the daemon is stopped before, unless the replay is to be seen. */
async function recovers(stage: Stage): Promise<void> {
  if (!stage.hasBackup || stage.hasReplay || sized(false, true)) await stage.recovers();
}

describe.each(ARRANGEMENTS)('with %s', (arrangement: Arrangement) => {
  test('a broker killed under load and started again', async () => {
    const stage = await Stage.underLoad({ fault: 'broker killed (kill -9), started again', arrangement, bootstrap: kafka.bootstrap, topics: await newTopics('kill') });
    const runs = sized(1, 20);
    for (let run = 0; run < runs; run++) {
      const from = stage.daemon.lines.length;
      await broker().kill();
      await stage.fails(undefined, from);
      await stage.sends(500);
      await broker().start();
      await recovers(stage);
    }
    await stage.close({ runs });
  });

  test.each(sized([3], [5, 20, 60]))('a broker that hangs (SIGSTOP) for %d s', async (seconds) => {
    const stage = await Stage.underLoad({ fault: `broker hangs (SIGSTOP) ${seconds} s`, arrangement, bootstrap: kafka.bootstrap, topics: await newTopics('hang') });
    broker().pause();
    await Promise.all([stage.fails(), pause(seconds * 1000)]);
    broker().resume();
    await recovers(stage);
    // Whatever a broken connection left in the broker's kernel may still arrive: one request for each try and partition.
    await stage.close({ duplicatesAtMost: 3 * 2 * 3 * 100 });
  });

  test('Kafka absent when the daemon starts', async () => {
    const topics = await newTopics('absent');
    await broker().kill();
    const stage = await Stage.open({ fault: 'Kafka absent at the start', arrangement, bootstrap: kafka.bootstrap, topics });
    await stage.load();
    await stage.fails();
    await stage.sends(1000);
    await pause(sized(0, 30_000));
    await broker().start();
    await recovers(stage);
    await stage.close({ duplicatesAtMost: 0 });
  });
});
