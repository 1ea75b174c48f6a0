// The harness proves itself: what it starts is a real Kafka, what it reads is what was written, and its fakes
// and faults do as they say.
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import net from 'node:net';
import kafkajs, { type KafkaConfig, type Message as KafkajsMessage } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { ErrorCode, startFakeCluster, type FakeCluster } from '../support/fakeBroker.js';
import { registerKafkajsCodecs } from '../support/kafkajsCodecs.js';
import { allMessages, readBatches, readTopic } from '../support/kafkaReader.js';
import { startKafka, type KafkaServer } from '../support/kafkaServer.js';
import { createTopic } from '../support/kafkaTopics.js';
import { crc32c, decodeRecordBatch } from '../support/recordBatchDecoder.js';
import { startKafkaBehindProxies, startProxy } from '../support/tcpProxy.js';

const { CompressionTypes, Kafka, Partitioners, logLevel } = kafkajs;
registerKafkajsCodecs();

const { bootstrap, security } = inject('kafka');

let made = 0;
async function newTopic(partitions = 1): Promise<string> {
  const topic = `harness-${process.pid}-${++made}`;
  await createTopic([bootstrap], topic, { partitions });
  return topic;
}

function client(config: Partial<KafkaConfig> & { readonly bootstrap: string }): InstanceType<typeof Kafka> {
  const { bootstrap: addresses, ...rest } = config;
  return new Kafka({
    brokers: addresses.split(','),
    logLevel: logLevel.NOTHING,
    retry: { retries: 0 },
    ...rest,
  });
}

async function produce(
  kafka: InstanceType<typeof Kafka>,
  topic: string,
  messages: KafkajsMessage[],
  compression = CompressionTypes.None,
): Promise<void> {
  const producer = kafka.producer({
    createPartitioner: Partitioners.DefaultPartitioner,
    allowAutoTopicCreation: false,
  });
  await producer.connect();
  try {
    await producer.send({ topic, messages, compression, acks: -1 });
  } finally {
    await producer.disconnect();
  }
}

function numbered(count: number, partition = 0): { partition: number; key: string; value: string }[] {
  return Array.from({ length: count }, (_, index) => ({
    partition,
    key: `k${index}`,
    value: `message ${index} ${'x'.repeat(index % 50)}`,
  }));
}

describe('readTopic', () => {
  test.each(['None', 'GZIP', 'Snappy', 'LZ4', 'ZSTD'] as const)(
    'reads what was produced with codec %s, in order',
    async (name) => {
      const topic = await newTopic();
      const timestamp = 1_700_000_000_123;
      const messages = [
        ...numbered(200),
        { partition: 0, key: null, value: 'no key' },
        { partition: 0, key: '', value: 'an empty key' },
        { partition: 0, key: 'a tombstone', value: null },
        { partition: 0, key: Buffer.from([0, 255, 10]), value: Buffer.from([255, 0, 128]) },
      ].map((message) => ({ ...message, timestamp: String(timestamp) }));
      await produce(client({ bootstrap }), topic, messages, CompressionTypes[name]);

      const read = (await readTopic(bootstrap, topic, { expected: messages.length })).get(0);
      const bytes = (data: string | Buffer | null) => (data === null ? null : Buffer.from(data));
      expect(read).toEqual(
        messages.map(({ key, value }, offset) => ({
          offset,
          key: bytes(key),
          value: bytes(value),
          timestamp,
        })),
      );
      const [batch, ...others] = (await readBatches(bootstrap, topic)).get(0)!;
      expect(others).toEqual([]);
      expect(batch).toMatchObject({
        codec: name.toLowerCase(),
        baseOffset: 0,
        lastOffsetDelta: 203,
        producerId: -1,
      });
    },
  );

  test('reads every partition, empty ones too', async () => {
    const topic = await newTopic(3);
    await produce(client({ bootstrap }), topic, [...numbered(10, 0), ...numbered(5, 2)]);
    const read = await readTopic(bootstrap, topic, { expected: 15 });
    expect([...read].map(([partition, messages]) => [partition, messages.length])).toEqual([
      [0, 10],
      [1, 0],
      [2, 5],
    ]);
    expect(allMessages(read)).toHaveLength(15);
  });

  test('reads an empty topic at once', async () => {
    const topic = await newTopic(2);
    expect(await readTopic(bootstrap, topic)).toEqual(
      new Map([
        [0, []],
        [1, []],
      ]),
    );
  });

  test('waits for messages that are still to come', async () => {
    const topic = await newTopic();
    const reading = readTopic(bootstrap, topic, { expected: 20 });
    await produce(client({ bootstrap }), topic, numbered(10));
    await produce(client({ bootstrap }), topic, numbered(10));
    expect((await reading).get(0)).toHaveLength(20);
  });

  test('at the deadline, says how many messages are there', async () => {
    const topic = await newTopic();
    await produce(client({ bootstrap }), topic, numbered(3));
    await expect(readTopic(bootstrap, topic, { expected: 4, deadlineMs: 300 })).rejects.toThrow(
      'read 3 of 4 expected messages',
    );
  });

  test('reads many large batches to the end', async () => {
    const topic = await newTopic();
    const kafka = client({ bootstrap });
    for (let round = 0; round < 12; round++) {
      await produce(
        kafka,
        topic,
        Array.from({ length: 90 }, () => ({ partition: 0, value: Buffer.alloc(10_000, round) })),
      );
    }
    const read = (await readTopic(bootstrap, topic, { expected: 1080 })).get(0)!;
    expect(read.map(({ offset }) => offset)).toEqual(Array.from({ length: 1080 }, (_, offset) => offset));
    expect(read.at(-1)!.value).toEqual(Buffer.alloc(10_000, 11));
  });
});

describe.skipIf(!security)('listeners with security', () => {
  test.each(['plain', 'scram-sha-256', 'scram-sha-512'] as const)(
    'SASL %s lets the known user in',
    async (mechanism) => {
      const { saslPlainBootstrap, user: username, password } = security!;
      const sasl = { mechanism, username, password } as NonNullable<KafkaConfig['sasl']>;
      const topic = await newTopic();
      await produce(client({ bootstrap: saslPlainBootstrap, sasl }), topic, numbered(3));
      const read = await readTopic(saslPlainBootstrap, topic, {
        expected: 3,
        sasl: sasl as kafkajs.SASLOptions,
      });
      expect(read.get(0)).toHaveLength(3);
    },
  );

  test('SASL refuses a wrong password', async () => {
    const sasl = { mechanism: 'scram-sha-256', username: security!.user, password: 'wrong' } as const;
    await expect(
      produce(client({ bootstrap: security!.scramBootstrap, sasl }), 'any', numbered(1)),
    ).rejects.toThrow(/authentication/i);
  });

  test('SSL works with the CA, and not without it', async () => {
    const { sslBootstrap, caFile, clientCertificateFile, clientKeyFile } = security!;
    const topic = await newTopic();
    const ssl = { ca: await readFile(caFile, 'utf8') };
    await produce(client({ bootstrap: sslBootstrap, ssl }), topic, numbered(3));
    const mutual = {
      ...ssl,
      cert: await readFile(clientCertificateFile, 'utf8'),
      key: await readFile(clientKeyFile, 'utf8'),
    };
    await produce(client({ bootstrap: sslBootstrap, ssl: mutual }), topic, numbered(3));
    expect((await readTopic(sslBootstrap, topic, { expected: 6, ssl })).get(0)).toHaveLength(6);
    await expect(produce(client({ bootstrap: sslBootstrap, ssl: true }), topic, numbered(1))).rejects.toThrow(
      /certificate/,
    );
  });
});

describe('a broker that is disturbed', () => {
  let server: KafkaServer;
  beforeAll(async () => {
    server = await startKafka();
  });
  afterAll(() => server.close());

  test('keeps its data over kill -9, and answers on the same port', async () => {
    const [node] = server.nodes;
    await server.createTopic('kept', { partitions: 2 });
    await produce(client({ bootstrap: server.bootstrap }), 'kept', numbered(50, 1));
    await node!.kill();
    expect(node!.state).toBe('stopped');
    await expect(readTopic(server.bootstrap, 'kept', { deadlineMs: 100 })).rejects.toThrow(
      'no broker answers',
    );
    await node!.start();
    expect((await readTopic(server.bootstrap, 'kept', { expected: 50 })).get(1)).toHaveLength(50);
  });

  test('hangs while paused, and goes on when resumed', async () => {
    const [node] = server.nodes;
    node!.pause();
    const socket = net.connect(node!.port, '127.0.0.1');
    await once(socket, 'connect');
    node!.resume();
    socket.destroy();
    await server.createTopic('after-pause');
    await server.deleteTopic('after-pause');
    await expect(server.leaderOf('after-pause', 0)).rejects.toThrow('no leader');
  });

  test('a broker that cannot start says why, and keeps its log', async () => {
    await expect(startKafka({ properties: { 'num.io.threads': 'many' } })).rejects.toThrow(
      /num\.io\.threads/,
    );
    const failure = await startKafka({ properties: { 'metric.reporters': 'no.such.Reporter' } }).then(
      () => 'it started',
      (error: unknown) => (error as Error).message,
    );
    expect(failure).toMatch(/ended while starting.*no\.such\.Reporter/s);
    const [, folder] = /(\S+kahe-kafka-\w+)\/broker-1\/broker\.log/.exec(failure)!;
    expect(existsSync(folder!)).toBe(true);
    await rm(folder!, { recursive: true });
  });
});

test('a proxy in front: what it drops arrives when it stops dropping, what it resets is lost', async () => {
  const behind = await startKafkaBehindProxies();
  const { kafka, proxies, bootstrap: proxied } = behind;
  try {
    const [proxy] = proxies;
    await kafka.createTopic('behind');
    await produce(client({ bootstrap: proxied }), 'behind', numbered(10));
    expect((await readTopic(proxied, 'behind', { expected: 10 })).get(0)).toHaveLength(10);
    expect(proxy!.connections).toBeGreaterThan(0);
    expect(proxy!.bytes.up).toBeGreaterThan(300);

    const producer = client({ bootstrap: proxied, requestTimeout: 300 }).producer({
      createPartitioner: Partitioners.DefaultPartitioner,
    });
    await producer.connect();
    await producer.send({ topic: 'behind', messages: numbered(1) });
    proxy!.blackhole('down');
    await expect(producer.send({ topic: 'behind', messages: numbered(1) })).rejects.toThrow(/timed out/);
    expect((await readTopic(kafka.internalBootstrap, 'behind', { expected: 12 })).get(0)).toHaveLength(12);
    proxy!.resetAll();
    proxy!.heal();
    await producer.disconnect();
    await produce(client({ bootstrap: proxied }), 'behind', numbered(10));
    expect((await readTopic(kafka.internalBootstrap, 'behind', { expected: 22 })).get(0)).toHaveLength(22);
  } finally {
    await behind.close();
  }
});

describe('TcpProxy', () => {
  const echo = net.createServer((socket) => {
    socket.on('error', () => undefined).pipe(socket);
  });
  beforeAll(async () => {
    await once(echo.listen(0, '127.0.0.1'), 'listening');
  });
  afterAll(() => echo.close());
  const target = () => ({ port: (echo.address() as net.AddressInfo).port });

  test('holds back what is dropped, and passes it on when healed', async () => {
    const proxy = await startProxy({ target: target() });
    const socket = net.connect(proxy.port, '127.0.0.1');
    proxy.blackhole('up');
    socket.write('hello');
    expect(await Promise.race([once(socket, 'data'), later(50)])).toBe('later');
    proxy.heal();
    expect(String((await once(socket, 'data'))[0])).toBe('hello');
    expect(proxy.bytes).toEqual({ up: 5, down: 5 });
    socket.end();
    await once(socket, 'close');
    await proxy.close();
  });

  test('delays, throttles, resets and refuses', async () => {
    const proxy = await startProxy({ target: target() });
    proxy.faults.delayMs = 50;
    proxy.faults.bytesPerSecond = 10_000;
    const socket = net.connect(proxy.port, '127.0.0.1');
    const started = performance.now();
    socket.write(Buffer.alloc(2_000));
    for (let received = 0; received < 2_000;) received += ((await once(socket, 'data'))[0] as Buffer).length;
    expect(performance.now() - started).toBeGreaterThan(250);
    proxy.resetAll();
    await expect(once(socket, 'close')).rejects.toThrow('ECONNRESET');

    proxy.heal();
    proxy.faults.resetAfterBytes = () => 100;
    const short = net.connect(proxy.port, '127.0.0.1');
    short.resume().write(Buffer.alloc(200));
    await expect(once(short, 'close')).rejects.toThrow('ECONNRESET');
    proxy.faults.refuse = true;
    await expect(once(net.connect(proxy.port, '127.0.0.1').resume(), 'close')).rejects.toThrow('ECONNRESET');
    expect(proxy.connections).toBe(3);
    await proxy.close();
  });
});

describe('FakeCluster', () => {
  let fake: FakeCluster;
  beforeAll(async () => {
    fake = await startFakeCluster(2, { events: [1, 2] });
  });
  afterAll(async () => {
    expect(fake.problems).toEqual([]);
    await fake.close();
  });

  test('tells its nodes, topics and leaders', async () => {
    const admin = client({ bootstrap: fake.bootstrap }).admin();
    await admin.connect();
    const { topics } = await admin.fetchTopicMetadata({ topics: ['events'] });
    expect(topics[0]!.partitions.map(({ partitionId, leader }) => [partitionId, leader])).toEqual([
      [0, 1],
      [1, 2],
    ]);
    await admin.disconnect();
  });

  test('records what it is sent, and keeps what it says it keeps', async () => {
    const kafka = client({ bootstrap: fake.bootstrap });
    await produce(kafka, 'events', [...numbered(3, 0), ...numbered(2, 1)], CompressionTypes.LZ4);
    expect(fake.appended('events', 0).map(({ value }) => String(value))).toEqual(
      numbered(3).map(({ value }) => value),
    );
    expect(fake.appended('events', 1)).toHaveLength(2);
    expect(
      fake.produced
        .map(({ partition, node, acks }) => ({ partition, node, acks }))
        .sort((a, b) => a.partition - b.partition),
    ).toEqual([
      { partition: 0, node: 1, acks: -1 },
      { partition: 1, node: 2, acks: -1 },
    ]);
    expect(decodeRecordBatch(fake.produced[0]!.recordBatch).codec).toBe('lz4');
  });

  test('follows the script: errors, omissions, moved leaders, closed connections, silence', async () => {
    const kafka = client({ bootstrap: fake.bootstrap, requestTimeout: 3_000 });
    const sendOne = () => produce(kafka, 'events', numbered(1, 0));
    const kept = () => fake.appended('events', 0).length;
    const before = kept();
    fake.script.Produce.push({
      kind: 'error',
      code: ErrorCode.notEnoughReplicas,
      topic: 'events',
      partition: 0,
    });
    await expect(sendOne()).rejects.toMatchObject({ cause: { type: 'NOT_ENOUGH_REPLICAS' } });
    fake.script.Produce.push({ kind: 'moveLeader', topic: 'events', partition: 0, to: 2 });
    await expect(sendOne()).rejects.toMatchObject({ cause: { code: ErrorCode.notLeaderOrFollower } });
    await sendOne();
    expect(fake.produced.at(-1)).toMatchObject({ node: 2, isAppended: true, errorCode: 0 });
    fake.script.Produce.push({ kind: 'close' }, { kind: 'swallow', append: true }, { kind: 'omit' });
    await expect(sendOne()).rejects.toThrow(/[Cc]onnection/);
    await expect(sendOne()).rejects.toThrow(/timed out/);
    await sendOne();
    expect(fake.produced.at(-1)).toMatchObject({ isAppended: false, errorCode: undefined });
    expect(kept() - before).toBe(2);
    fake.always.Metadata = { kind: 'error', code: ErrorCode.topicAuthorizationFailed };
    await expect(sendOne()).rejects.toMatchObject({ cause: { type: 'TOPIC_AUTHORIZATION_FAILED' } });
    delete fake.always.Metadata;
    fake.script.Produce.push({ kind: 'delay', ms: 50 });
    const started = performance.now();
    await sendOne();
    expect(performance.now() - started).toBeGreaterThan(49);
    expect(fake.script.Produce).toEqual([]);
  });

  test('nodes go down and come up on the same port', async () => {
    await fake.takeDown(2);
    await expect(produce(client({ bootstrap: fake.bootstrap }), 'events', numbered(1, 1))).rejects.toThrow();
    await fake.bringUp(2);
    await produce(client({ bootstrap: fake.bootstrap }), 'events', numbered(1, 1));
    expect(fake.appended('events', 1)).toHaveLength(3);
  });
});

describe('decodeRecordBatch', () => {
  const base = async () => {
    const fake = await startFakeCluster(1, { t: [1] });
    await produce(client({ bootstrap: fake.bootstrap }), 't', numbered(5));
    await fake.close();
    return fake.produced[0]!.recordBatch;
  };

  test('knows the CRC-32C check value', () => {
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
  });

  test('finds every flipped byte behind the CRC, and what a right CRC hides', async () => {
    const good = await base();
    expect(decodeRecordBatch(good).records).toHaveLength(5);
    for (let at = 8; at < good.length; at++) {
      if (at >= 12 && at < 16) continue; // partitionLeaderEpoch: no check covers it
      const bad = Buffer.from(good);
      bad[at]! ^= 1;
      expect(() => decodeRecordBatch(bad), `byte ${at}`).toThrow(/bad record batch|wanted at/);
    }
    const wrong = (at: number, problem: RegExp) => {
      const bad = Buffer.from(good);
      bad[at]! ^= 1;
      bad.writeUInt32BE(crc32c(bad.subarray(21)), 17);
      expect(() => decodeRecordBatch(bad)).toThrow(problem);
    };
    wrong(26, /lastOffsetDelta/);
    wrong(42, /maxTimestamp/);
    wrong(60, /lastOffsetDelta|records/);
    wrong(34, /maxTimestamp|baseTimestamp/);
    expect(() => decodeRecordBatch(Buffer.concat([good, Buffer.alloc(1)]))).toThrow(
      '1 bytes follow the batch',
    );
  });
});

function later(ms: number): Promise<'later'> {
  return new Promise((resolve) => setTimeout(() => resolve('later'), ms));
}
