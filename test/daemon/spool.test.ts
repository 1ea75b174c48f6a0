// With SPOOL: what a receipt counted survives kill -9, what memory can't hold goes to the disk, and all of it
// is delivered in order.
import { join } from 'node:path';
import { describe, expect, inject, test } from 'vitest';
import { statusOf } from '../../support/adminDoor.js';
import {
  QUESTION,
  launchDaemon,
  numberedFrames,
  numbersBySender,
  range,
  startDaemon,
} from '../../support/daemon.js';
import { fileStream, kafkaStream, newTopic } from '../../support/daemonBuckets.js';
import { launchReady, segments, untilSpoolEmpty } from '../../support/daemonStates.js';
import { numbersInTopic, startShutKafka } from '../../support/daemonKafka.js';
import { allMessages, readTopic } from '../../support/kafkaReader.js';

const { bootstrap } = inject('kafka');
const MB = 1024 ** 2;

function toKafka(address: string, topic: string): object {
  return {
    streamsConfigs: { kafka: kafkaStream(address, { 'message.timeout.ms': 1000 }) },
    buckets: [{ id: topic, streams: ['kafka'], batch: 500, batchTimeout: 30 }],
  };
}

describe('SPOOL', () => {
  test("two daemons can't have one spool: the second says so and ends, the first goes on", async () => {
    const buckets = {
      streamsConfigs: { files: fileStream('data') },
      buckets: [{ id: 'orders', streams: ['files'] }],
    };
    const first = await launchReady({ buckets, env: { SPOOL: './spool' } });
    const second = await launchDaemon({ buckets, env: { SPOOL: join(first.folder, 'spool') } });
    expect(await second.exited).toEqual({ code: 1, signal: null });
    expect(second.lines.join('\n')).toContain(
      `SPOOL: ${join(first.folder, 'spool')} is the spool of another daemon that is running`,
    );
    const client = await first.connect();
    await client.send(numberedFrames('orders', 'c', { count: 10 }));
    expect(await client.receipt()).toBe(10);
    // Killed, it holds nothing any more.
    await first.kill9();
    const third = await launchReady({ buckets, env: { SPOOL: './spool' }, folder: first.folder });
    expect(await third.stop()).toMatchObject({ code: 0 });
    expect(numbersBySender((await third.files('data')).map(({ message }) => message))).toEqual(
      new Map([['c', range(0, 10)]]),
    );
  });

  test('SPOOL_FULL=drop-oldest: clients never wait, the oldest go, counted; the rest comes in order', async () => {
    const topic = await newTopic(bootstrap, 'drop-oldest');
    const kafka = await startShutKafka();
    const daemon = await launchReady({
      buckets: toKafka(kafka.address, topic),
      env: { SPOOL: './spool', SPOOL_MAX: '16MB', SPOOL_FULL: 'drop-oldest', ADMIN: './admin.sock' },
    });
    const client = await daemon.connect();
    const count = 60_000;
    await client.send(numberedFrames(topic, 'c', { count: 1000, bytes: 1000 }));
    // While it tries still, the stream is busy with up to 16 batches, and others go instead.
    await daemon.line(/delivery stopped: /);
    for (let from = 1000; from < count; from += 1000)
      await client.send(numberedFrames(topic, 'c', { from, count: 1000, bytes: 1000 }));
    // A batch may go while it is in memory still, when the disk is slow: then its connection is known, hears of
    // it, and has no receipt for it. Nothing else is ever left out.
    const receipted = await client.receipt();
    const { frames, outcomes } = await client.report('');
    const { safe = 0, discarded: known = 0, ...noOthers } = outcomes;
    expect([frames, safe + known, Object.values(noOthers)]).toEqual([count, count, [0]]);
    expect(receipted).toBeGreaterThanOrEqual(safe);
    expect(receipted).toBeLessThanOrEqual(count);
    // Until then the oldest go; what the stream has in its hands once Kafka is back stays, and those behind
    // it would go.
    await daemon.until(
      'the spool has room',
      async () => (await statusOf(join(daemon.folder, 'admin.sock'))).spool?.isFull === false,
    );
    kafka.heal();
    await untilSpoolEmpty(daemon, 40_000);
    const numbers = (await numbersInTopic(topic)).get('c')!;
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    const { received, delivered, discarded, ...others } = daemon.accounts.get(`${topic}/kafka`)!;
    expect([received, Object.values(others)]).toEqual([count, [0, 0, 0, 0]]);
    expect(discarded).toBeGreaterThan(count / 2);
    expect(known).toBeLessThanOrEqual(discarded);
    expect(numbers).toEqual(range(count - delivered, count));
    expect(
      daemon.linesLike(
        new RegExp(
          `discarded in all: bucket "${topic}", stream kafka: the spool was full .*: ${discarded} frames`,
        ),
      ),
    ).toHaveLength(1);
  });

  test.each(['never', 'batch', 'always'])(
    'SPOOL_SYNC=%s, Kafka away: frames are safe at once; killed and restarted it delivers each once',
    async (sync) => {
      const topic = await newTopic(bootstrap, `spool-${sync}`);
      const kafka = await startShutKafka();
      const env = { SPOOL: './spool', SPOOL_SYNC: sync };
      const first = await launchReady({ buckets: toKafka(kafka.address, topic), env });
      const client = await first.connect();
      await client.send(numberedFrames(topic, 'before', { count: 3210, bytes: 100 }));
      expect(await client.receipt()).toBe(3210);
      await first.kill9();
      const second = await launchReady({ buckets: toKafka(kafka.address, topic), env, folder: first.folder });
      const late = await second.connect();
      await late.send(numberedFrames(topic, 'after', { count: 500, bytes: 100 }));
      expect(await late.receipt()).toBe(500);
      kafka.heal();
      await untilSpoolEmpty(second);
      const messages = allMessages(await readTopic(bootstrap, topic)).map(({ value }) => value!.toString());
      expect(messages.map((message) => message.split(':', 2).join(':'))).toEqual([
        ...range(0, 3210).map((number) => `before:${number}`),
        ...range(0, 500).map((number) => `after:${number}`),
      ]);
      expect(await second.stop()).toMatchObject({ code: 0 });
    },
  );

  test('killed while it writes: all that an answer counted is delivered in order, without a gap', async () => {
    const topic = await newTopic(bootstrap, 'spool-midst');
    const env = { SPOOL: './spool' };
    const answered: number[] = [];
    let daemon = await launchReady({ buckets: toKafka(bootstrap, topic), env });
    for (const life of range(0, 3)) {
      const client = await daemon.connect();
      answered[life] = 0;
      const asking = (async () => {
        for (let from = 0; ; from += 100) {
          await client.send(numberedFrames(topic, `life${life}`, { from, count: 100, bytes: 50 }));
          answered[life] = await client.receipt();
        }
      })().catch(() => undefined);
      await daemon.until('2000 that are safe', () => answered[life]! >= 2000);
      await daemon.kill9();
      await asking;
      daemon = await launchReady({ buckets: toKafka(bootstrap, topic), env, folder: daemon.folder });
    }
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(await segments(daemon)).toEqual([]);
    const found = await numbersInTopic(topic);
    for (const life of range(0, 3)) {
      const firstTimes = [...new Set(found.get(`life${life}`))];
      expect(firstTimes.length).toBeGreaterThanOrEqual(answered[life]!);
      expect(firstTimes).toEqual(range(0, firstTimes.length));
    }
  });

  test('more than memory can hold: the disk takes it, no writer waits, and all arrives in order', async () => {
    const topic = await newTopic(bootstrap, 'spool-large');
    const kafka = await startShutKafka();
    const daemon = await launchReady({
      buckets: toKafka(kafka.address, topic),
      env: { SPOOL: './spool', MAXMEMORY: '16MB' },
    });
    const client = await daemon.connect();
    const count = 60_000;
    for (let from = 0; from < count; from += 200)
      await client.send(numberedFrames(topic, 'c', { from, count: 200, bytes: 1024 }));
    expect(await client.receipt()).toBe(count);
    expect((await segments(daemon)).length).toBeGreaterThan(50);
    kafka.heal();
    await untilSpoolEmpty(daemon);
    expect(daemon.peakRssBytes).toBeLessThan(220 * MB);
    console.log(
      `peak memory with MAXMEMORY=16MB, a spool and 60 MB written: ${Math.round(daemon.peakRssBytes / MB)} MB`,
    );
    expect(await numbersInTopic(topic)).toEqual(new Map([['c', range(0, count)]]));
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });

  test('many buckets with a slice, Kafka away: memory is given back, no writer waits, no frame is lost', async () => {
    const topics = await Promise.all(range(0, 40).map((i) => newTopic(bootstrap, `spool-slice-${i}`)));
    const kafka = await startShutKafka();
    const buckets = {
      streamsConfigs: { half: kafkaStream(kafka.address, { 'message.timeout.ms': 1000 }, { slice: 0.5 }) },
      buckets: topics.map((id) => ({ id, streams: ['half'], batch: 1000, batchTimeout: 30 })),
    };
    const daemon = await launchReady({ buckets, env: { SPOOL: './spool', MAXMEMORY: '16MB' } });
    const client = await daemon.connect();
    const count = 2_000;
    for (let from = 0; from < count; from += 200) {
      for (const topic of topics)
        await client.send(numberedFrames(topic, 'c', { from, count: 200, bytes: 1024 }));
    }
    // If each kept the slice of one batch, that would be more than there is: this answer would not come.
    expect(await client.receipt()).toBe(count * topics.length);
    kafka.heal();
    await untilSpoolEmpty(daemon);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    for (const topic of topics) {
      // What was in doubt may come twice, and is the same then.
      const numbers = [...new Set((await numbersInTopic(topic)).get('c'))];
      expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
      // Twelve standard deviations to either side.
      expect(Math.abs(numbers.length - count / 2)).toBeLessThan((12 * Math.sqrt(count)) / 2);
      expect(daemon.accounts.get(`${topic}/half`)).toMatchObject({
        received: count,
        delivered: numbers.length,
        slicedOut: count - numbers.length,
        queued: 0,
        discarded: 0,
      });
    }
  });

  test('stopped with Kafka away: what is not delivered stays in the spool for the next start', async () => {
    const topic = await newTopic(bootstrap, 'spool-stop');
    const kafka = await startShutKafka();
    const env = { SPOOL: './spool', STOP_TIMEOUT: '4s' };
    const first = await launchReady({ buckets: toKafka(kafka.address, topic), env });
    const client = await first.connect();
    await client.send(numberedFrames(topic, 'c', { count: 1234, bytes: 100 }));
    expect(await first.stop()).toMatchObject({ code: 0 });
    expect((await first.files('spool')).length).toBe(1234);
    expect(await first.files('rejected')).toEqual([]);
    kafka.heal();
    const second = await launchReady({ buckets: toKafka(kafka.address, topic), env, folder: first.folder });
    await untilSpoolEmpty(second);
    expect(await numbersInTopic(topic)).toEqual(new Map([['c', range(0, 1234)]]));
    expect(await second.stop()).toMatchObject({ code: 0 });
  });

  // Known: the socket answers before anybody listens to the server's connections, so who comes while the
  // spool is opened is never read.
  test('who connects while a large spool is being opened is read too', async () => {
    const topic = await newTopic(bootstrap, 'spool-early');
    const kafka = await startShutKafka();
    const env = { SPOOL: './spool', SPOOL_SYNC: 'never' };
    const buckets = {
      streamsConfigs: { kafka: kafkaStream(kafka.address) },
      buckets: [{ id: topic, streams: ['kafka'], batch: 1 }],
    };
    const first = await launchReady({ buckets, env });
    const client = await first.connect();
    await client.send(numberedFrames(topic, 'c', { count: 2000 }));
    expect(await client.receipt()).toBe(2000);
    await first.kill9();
    const second = await startDaemon({ buckets, env, folder: first.folder });
    const early = await second.connect();
    await early.send(numberedFrames(topic, 'early', { count: 10 }), QUESTION);
    expect(await early.answer(5000)).toBe(10);
  });

  test('nothing is left in the spool when all is delivered', async () => {
    const daemon = await launchReady({
      buckets: {
        streamsConfigs: { files: fileStream('data') },
        buckets: [{ id: 'orders', streams: ['files'], batchTimeout: 20 }],
      },
      env: { SPOOL: './spool' },
    });
    const client = await daemon.connect();
    await client.send(numberedFrames('orders', 'c', { count: 5000 }));
    expect(await client.receipt()).toBe(5000);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(await segments(daemon)).toEqual([]);
    expect(numbersBySender((await daemon.files('data')).map(({ message }) => message))).toEqual(
      new Map([['c', range(0, 5000)]]),
    );
  });
});
