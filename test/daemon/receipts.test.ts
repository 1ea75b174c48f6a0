// Receipts: the answer to a question counts what is safe, and nothing that a kill -9 at that very moment
// could take away.
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import {
  QUESTION,
  frame,
  numberedFrames,
  numberedMessage,
  numbersBySender,
  prefixed,
  range,
  startDaemon,
} from '../../support/daemon.js';
import { fileStream, kafkaStream, newTopic } from '../../support/daemonBuckets.js';
import { allMessages, readTopic } from '../../support/kafkaReader.js';
import { encodeFullFrame } from '../../src/frames/fullFrame.js';
import { startProxy } from '../../support/tcpProxy.js';

const { bootstrap } = inject('kafka');

/** Frames that ended in the same way, as the answer has them. */
interface Ended {
  readonly first: number;
  readonly frames: number;
  readonly outcome: string;
  readonly code?: string;
  readonly partition?: number;
  readonly offset?: number;
}

const TO_FILES = {
  streamsConfigs: { files: fileStream('data') },
  buckets: [{ id: 'orders', streams: ['files'], batch: 250, batchTimeout: 30 }],
};

describe('receipts', () => {
  test.each(range(0, 5))(
    'files: killed right after the answer, round %i: what it counted is in the files',
    async (round) => {
      const daemon = await startDaemon({ buckets: TO_FILES });
      const client = await daemon.connect();
      const count = 1 + round * 333;
      await client.send(numberedFrames('orders', 'c', { count, bytes: 100 }));
      const safe = await client.receipt();
      const killed = daemon.kill9();
      expect(safe).toBe(count);
      await killed;
      expect(numbersBySender((await daemon.files('data')).map(({ message }) => message))).toEqual(
        new Map([['c', range(0, count)]]),
      );
    },
  );

  test('files: killed in the midst of a stream of questions: all that any answer counted is there, in order', async () => {
    const daemon = await startDaemon({ buckets: TO_FILES });
    const client = await daemon.connect();
    let answered = 0;
    const asking = (async () => {
      for (let from = 0; ; from += 100) {
        await client.send(numberedFrames('orders', 'c', { from, count: 100 }), QUESTION);
        answered = await client.answer();
      }
    })().catch(() => undefined);
    await daemon.until('1000 that are safe', () => answered >= 1000);
    await daemon.kill9();
    await asking;
    const numbers = numbersBySender((await daemon.files('data')).map(({ message }) => message)).get('c')!;
    expect(numbers.length).toBeGreaterThanOrEqual(answered);
    expect(numbers).toEqual(range(0, numbers.length));
  });

  test('Kafka: after the answer the messages can be read', async () => {
    const topic = await newTopic(bootstrap, 'receipt', 3);
    const daemon = await startDaemon({
      buckets: {
        streamsConfigs: { kafka: kafkaStream(bootstrap) },
        buckets: [{ id: topic, streams: ['kafka'], batchTimeout: 30 }],
      },
    });
    const client = await daemon.connect();
    for (const round of range(0, 5)) {
      await client.send(
        numberedFrames(topic, 'c', { from: round * 400, count: 400, key: (number) => `k${number % 9}` }),
      );
      expect(await client.receipt()).toBe((round + 1) * 400);
      // No `expected`: what is there now.
      expect(allMessages(await readTopic(bootstrap, topic))).toHaveLength((round + 1) * 400);
    }
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });

  test('each: partition and offset of what was delivered, and why the rest was not, frame by frame', async () => {
    const topic = await newTopic(bootstrap, 'each', 3);
    const daemon = await startDaemon({
      buckets: {
        streamsConfigs: { kafka: kafkaStream(bootstrap) },
        buckets: [{ id: topic, streams: ['kafka'], batchTimeout: 30 }],
      },
    });
    const client = await daemon.connect();
    await client.send(numberedFrames(topic, 'before', { count: 3 }));
    expect(await client.each()).toEqual({ level: 'settled', frames: 0, each: [] });

    for (const round of range(0, 3)) {
      const from = round * 200;
      await client.send(
        numberedFrames(topic, 'c', { from, count: 100, key: (number) => `k${number % 9}` }),
        encodeFullFrame({ bucket: topic, partition: 7, value: 'nowhere' }),
        encodeFullFrame({ bucket: topic, partition: 2, value: `full ${round}` }),
        frame('other', 'no such bucket'),
        prefixed(Buffer.from([0, 0])),
        numberedFrames(topic, 'c', { from: from + 100, count: 100 }),
      );
      const { frames, each } = (await client.each()) as { frames: number; each: Ended[] };
      expect([frames, each.reduce((sum, one) => sum + one.frames, 0)]).toEqual([204, 204]);
      const ends = each.flatMap((one) =>
        range(0, one.frames).map((i) => ({ ...one, index: one.first + i, i })),
      );
      expect(ends.map(({ index }) => index)).toEqual(range(0, 204));
      const partitions = await readTopic(bootstrap, topic);
      const found = ends.map(({ outcome, code, partition, offset, i }) =>
        outcome === 'delivered'
          ? partitions.get(partition!)![offset! + i]!.value!.toString()
          : `${outcome} ${code}`,
      );
      const numbered = (start: number): string[] =>
        range(start, start + 100).map((number) => numberedMessage('c', number));
      expect(found).toEqual([
        ...numbered(from),
        'rejected UNKNOWN_PARTITION',
        `full ${round}`,
        'rejected UNKNOWN_BUCKET',
        'rejected BAD_FRAME',
        ...numbered(from + 100),
      ]);
    }
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });

  test('two streams: the answer waits for the slower one', async () => {
    const topic = await newTopic(bootstrap, 'slower');
    const proxy = await startProxy({ target: { port: Number(bootstrap.split(':')[1]) } });
    onTestFinished(() => proxy.close());
    proxy.faults.refuse = true;
    const daemon = await startDaemon({
      buckets: {
        streamsConfigs: { ...TO_FILES.streamsConfigs, kafka: kafkaStream(proxy.address) },
        buckets: [{ id: topic, streams: ['files', 'kafka'], batchTimeout: 30 }],
      },
    });
    const client = await daemon.connect();
    await client.send(numberedFrames(topic, 'c', { count: 100 }));
    const answer = client.receipt();
    await daemon.untilFiled('data', 100);
    expect(client.answersWaiting).toBe(0);
    proxy.heal();
    expect(await answer).toBe(100);
    expect(allMessages(await readTopic(bootstrap, topic))).toHaveLength(100);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });

  test('many questions at once are answered in their order, each for what came before it', async () => {
    const daemon = await startDaemon({ buckets: TO_FILES });
    const client = await daemon.connect();
    // More than wait on one connection at a time.
    await client.send(
      QUESTION,
      ...range(0, 300).flatMap((number) => [frame('orders', `c:${number}:`), QUESTION]),
    );
    const answers: number[] = [];
    for (let i = 0; i <= 300; i++) answers.push(await client.answer());
    expect(answers).toEqual(range(0, 301));
    expect(client.answersWaiting).toBe(0);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });

  test('a client that has ended its side still gets its answer, and then its connection ends', async () => {
    const daemon = await startDaemon({ buckets: TO_FILES });
    const client = await daemon.connect();
    await client.send(numberedFrames('orders', 'c', { count: 77 }), QUESTION);
    client.endWriting();
    expect(await client.answer()).toBe(77);
    await client.closed;
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });

  test('each connection has its own count, and frames that were rejected are settled too', async () => {
    const daemon = await startDaemon({ buckets: TO_FILES });
    const [one, two] = [await daemon.connect(), await daemon.connect()];
    await one.send(
      numberedFrames('orders', 'one', { count: 5 }),
      numberedFrames('unknown', 'one', { from: 5, count: 3 }),
      prefixed(Buffer.from([0, 0])),
    );
    await two.send(numberedFrames('orders', 'two', { count: 11 }));
    expect(await Promise.all([one.receipt(), two.receipt()])).toEqual([8, 11]);
    expect(await (await daemon.connect()).receipt()).toBe(0);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });

  test('a client that asks and never reads the answers harms nobody', async () => {
    const daemon = await startDaemon({ buckets: TO_FILES });
    const deaf = await daemon.connect({ isDeaf: true });
    const flood = Buffer.concat(
      range(0, 2000).flatMap((number) => [frame('orders', `d:${number}:`), QUESTION]),
    );
    const sending = deaf.send(flood).catch(() => undefined);
    const other = await daemon.connect();
    await other.send(numberedFrames('orders', 'o', { count: 500 }));
    expect(await other.receipt()).toBe(500);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    await sending;
    expect(numbersBySender((await daemon.files('data')).map(({ message }) => message)).get('o')).toEqual(
      range(0, 500),
    );
  });
});
