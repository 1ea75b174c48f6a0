// The Kafka stream against real Kafka: what lies in the topic afterwards, byte for byte and in order,
// whatever happened on the way.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { encodeFrame } from '../src/frames/frame.js';
import type { KafkaStream } from '../src/streams/kafka/kafkaStream.js';
import { streamContract } from '../support/streamContract.js';
import { readBatches, readTopic, type Message } from '../support/kafkaReader.js';
import { startKafka, type KafkaServer } from '../support/kafkaServer.js';
import { createTopic, type TopicOptions } from '../support/kafkaTopics.js';
import {
  KafkaWorkbench,
  frame,
  numbered,
  type Frame,
  type LibrdkafkaSettings,
  type Outcome,
} from '../support/kafkaWorkbench.js';
import { startKafkaBehindProxies, startProxy, type ProxiedKafka } from '../support/tcpProxy.js';

const { bootstrap, security } = inject('kafka');
const unhandled: unknown[] = [];
process.on('unhandledRejection', (reason) => unhandled.push(reason));

/** As a busy machine wants it: patient with answers, quick to try again. */
const PATIENT: LibrdkafkaSettings = {
  'socket.timeout.ms': 10_000,
  'message.timeout.ms': 20_000,
  'retry.backoff.ms': 20,
  'retry.backoff.max.ms': 100,
};

let bench: KafkaWorkbench;
beforeEach(() => {
  bench = new KafkaWorkbench();
});
afterEach(async () => {
  await bench.close();
  expect(bench.budget.heldBytes).toBe(0);
  expect(unhandled).toEqual([]);
});

let made = 0;
const newName = (): string => `stream-${process.pid}-${++made}`;

async function newTopic(options: TopicOptions = {}): Promise<string> {
  const topic = newName();
  await createTopic([bootstrap], topic, options);
  return topic;
}

const texts = (messages: readonly Message[] | undefined): Frame[] =>
  messages!.map(({ key, value }) => ({ key: key?.toString() ?? null, message: value!.toString() }));

/** Letters at random, but the same each time, and half of it compressible. */
function filling(size: number, seed: number): string {
  let state = seed + 1;
  return Array.from({ length: size }, (_, i) =>
    String.fromCharCode(97 + (i % 2 === 0 ? 0 : (state = (state * 48_271) % 2_147_483_647) % 26)),
  ).join('');
}

/**
 * Writes all, in order, as an actor does: what is handed back is written again, before all else, once a probe
 * has succeeded.
 */
async function deliverAll(
  stream: KafkaStream,
  topic: string,
  frames: readonly Frame[],
): Promise<{ handBacks: number }> {
  let handBacks = 0;
  for (let waiting = [...frames]; waiting.length > 0;) {
    const outcomes: Outcome[] = [];
    const outstanding = new Set<Promise<void>>();
    for (let at = 0; at < waiting.length && !outcomes.some(({ error }) => error); at += 50) {
      const group = waiting.slice(at, at + 50);
      const index = at / 50;
      const writing = bench
        .write(stream, topic, group)
        .then((outcome) => void (outcomes[index] = outcome))
        .finally(() => outstanding.delete(writing));
      outstanding.add(writing);
      if (outstanding.size >= stream.depth) await Promise.race(outstanding);
    }
    await Promise.all(outstanding);
    waiting = [...outcomes.flatMap(({ undelivered }) => undelivered), ...waiting.slice(outcomes.length * 50)];
    if (outcomes.some(({ error }) => error)) handBacks++;
    if (waiting.length > 0)
      await expect
        .poll(() => stream.probe().then(() => 'back', String), { timeout: 60_000, interval: 100 })
        .toBe('back');
  }
  return { handBacks };
}

/** Nothing missing, nothing invented, and the first occurrences of each key in the order of writing. */
function expectAllInOrder(read: ReadonlyMap<number, readonly Message[]>, frames: readonly Frame[]): void {
  const first = new Map<string | null, Set<string>>();
  for (const messages of read.values()) {
    for (const { key, message } of texts(messages)) {
      if (!first.has(key)) first.set(key, new Set());
      first.get(key)!.add(message);
    }
  }
  const expected = new Map<string | null, string[]>();
  for (const { key, message } of frames) expected.set(key, [...(expected.get(key) ?? []), message]);
  for (const [key, messages] of expected) expect([...(first.get(key) ?? [])]).toEqual(messages);
  expect(first.size).toBe(expected.size);
}

describe('codecs', () => {
  test.each(['none', 'gzip', 'snappy', 'lz4', 'zstd'])(
    '%s: delivered and read back equal and in order',
    async (codec) => {
      const topic = await newTopic();
      const stream = await bench.opened(topic, bootstrap, { ...PATIENT, 'compression.codec': codec });
      const frames = Array.from({ length: 3000 }, (_, i) => ({
        key: i % 3 === 0 ? null : `key-${i % 100}`,
        message: `${i} ${filling(i % 700, i)}`,
      }));
      const groups = Array.from({ length: 10 }, (_, g) => frames.slice(g * 300, g * 300 + 300));
      const outcomes = await Promise.all(groups.map((group) => bench.write(stream, topic, group)));
      expect(outcomes.map(({ settled }) => settled.delivered)).toEqual(groups.map(() => 300));
      expect(texts((await readTopic(bootstrap, topic, { expected: 3000 })).get(0))).toEqual(frames);
      const batches = (await readBatches(bootstrap, topic)).get(0)!;
      expect(new Set(batches.map((batch) => batch.codec))).toEqual(new Set([codec]));
      const [sent, plain] = [
        batches.reduce((sum, { byteLength }) => sum + byteLength, 0),
        batches.reduce((sum, { recordsByteLength }) => sum + recordsByteLength, 0),
      ];
      if (codec === 'none') expect(sent).toBeGreaterThan(plain);
      else expect(sent).toBeLessThan(plain * 0.8);
    },
  );

  test.each(['gzip', 'snappy', 'lz4', 'zstd'])(
    '%s: what does not get smaller, and what is one byte, arrives too',
    async (codec) => {
      const topic = await newTopic();
      const stream = await bench.opened(topic, bootstrap, { ...PATIENT, 'compression.codec': codec });
      const batch = bench.batch(topic, ['']);
      let state = 1;
      const noise = Buffer.from(
        Array.from({ length: 200_000 }, () => (state = (state * 48_271) % 2_147_483_647) & 0xff),
      );
      const bytes = encodeFrame(topic, noise.subarray(0, 255), noise);
      batch.append(bytes, 0, bytes.length, 1, Date.now());
      expect(await stream.write(batch)).toEqual({ delivered: 2, rejected: 0 });
      batch.release();
      expect((await bench.write(stream, topic, ['x'])).settled.delivered).toBe(1);
      const read = (await readTopic(bootstrap, topic, { expected: 3 })).get(0)!;
      expect(read.map(({ key, value }) => [key?.length ?? null, value!.length])).toEqual([
        [null, 0],
        [255, 200_000],
        [null, 1],
      ]);
      expect(read[1]!.value!.equals(noise)).toBe(true);
    },
  );
});

test('keys, no keys, empty messages, and times of arrival', async () => {
  const topic = await newTopic();
  const stream = await bench.opened(topic, bootstrap, PATIENT);
  const base = Date.now() - 60_000;
  const batch = bench.batch(topic, []);
  const frames = [
    ['k', 'with a key'],
    [null, 'without'],
    [null, ''],
    ['ключ', 'é\u0000\n'],
    ['e', ''],
  ] as const;
  for (const [i, [key, message]] of frames.entries()) {
    const bytes = encodeFrame(topic, key, message);
    batch.append(bytes, 0, bytes.length, 1, base + i * 1000);
  }
  await stream.write(batch);
  batch.release();
  const read = (await readTopic(bootstrap, topic, { expected: 5 })).get(0)!;
  expect(
    read.map(({ key, value, timestamp }) => [key?.toString() ?? null, value!.toString(), timestamp]),
  ).toEqual(frames.map(([key, message], i) => [key, message, base + i * 1000]));
});

test.each(['all', '1', '0'])(
  'acks %s over three partitions: everything arrives, each key in order',
  async (acks) => {
    const topic = await newTopic({ partitions: 3 });
    const stream = await bench.opened(topic, bootstrap, { ...PATIENT, acks, 'batch.num.messages': 40 });
    const frames = Array.from({ length: 2000 }, (_, i) => ({ key: `user-${i % 50}`, message: `m${i}` }));
    await deliverAll(stream, topic, frames);
    const read = await readTopic(bootstrap, topic, { expected: 2000 });
    expect([...read.values()].reduce((sum, { length }) => sum + length, 0)).toBe(2000);
    expectAllInOrder(read, frames);
  },
);

test('a frame that is too large is rejected alone; all others arrive in order', async () => {
  const topic = await newTopic({ config: { 'max.message.bytes': '20000' } });
  const stream = await bench.opened(topic, bootstrap, PATIENT);
  const messages = numbered(300).map((message, i) =>
    i % 100 === 50 ? `too large ${i} ${'x'.repeat(25_000)}` : `${message} ${'y'.repeat(400)}`,
  );
  const outcomes = await Promise.all([
    bench.write(stream, topic, messages),
    bench.write(stream, topic, ['after']),
  ]);
  expect(outcomes.map(({ settled }) => settled)).toEqual([
    { delivered: 297, rejected: 3 },
    { delivered: 1, rejected: 0 },
  ]);
  expect(
    texts((await readTopic(bootstrap, topic, { expected: 298 })).get(0)).map(({ message }) => message),
  ).toEqual([...messages.filter((message) => !message.startsWith('too')), 'after']);
  expect(bench.rejections.map(({ messages: [message], reason }) => [message!.slice(0, 12), reason])).toEqual(
    [50, 150, 250].map((i) => [`too large ${i}`.slice(0, 12), `${topic}[0]: MESSAGE_TOO_LARGE`]),
  );
});

test('a compacted topic: frames without a key are rejected alone; all others arrive in order', async () => {
  const topic = await newTopic({ config: { 'cleanup.policy': 'compact' } });
  const stream = await bench.opened(topic, bootstrap, PATIENT);
  const isBad = (i: number): boolean => i % 100 === 50 || i > 290;
  const frames = numbered(300).map((message, i) => ({ key: isBad(i) ? null : `key-${i}`, message }));
  const outcomes = await Promise.all([
    bench.write(stream, topic, frames),
    bench.write(stream, topic, ['key|after']),
  ]);
  expect(outcomes.map(({ settled }) => settled)).toEqual([
    { delivered: 288, rejected: 12 },
    { delivered: 1, rejected: 0 },
  ]);
  expect(texts((await readTopic(bootstrap, topic, { expected: 289 })).get(0))).toEqual([
    ...frames.filter(({ key }) => key !== null),
    frame('key|after'),
  ]);
  expect(bench.rejections.map(({ messages: [message], reason }) => [message, reason])).toEqual(
    frames.filter(({ key }) => key === null).map(({ message }) => [message, `${topic}[0]: INVALID_RECORD`]),
  );
});

test('a topic that is made later, and one that never is', async () => {
  const [topic, other] = [newName(), await newTopic()];
  const stream = await bench.opened(topic, bootstrap, PATIENT);
  const writing = bench.write(stream, topic, numbered(20));
  const beside = await bench.opened(other, bootstrap, PATIENT);
  expect((await bench.write(beside, other, numbered(5))).settled.delivered).toBe(5);
  await createTopic([bootstrap], topic, { partitions: 2 });
  expect((await writing).settled.delivered).toBe(20);
  expect([...(await readTopic(bootstrap, topic, { expected: 20 })).values()].flat()).toHaveLength(20);

  const never = newName();
  const refused = await bench.write(
    await bench.opened(never, bootstrap, { ...PATIENT, 'message.timeout.ms': 300 }),
    never,
    numbered(3),
  );
  expect(refused.error?.code).toBe('REFUSED');
  expect(refused.undelivered).toEqual(numbered(3).map(frame));
});

describe.skipIf(!security)('security', () => {
  const sasl = (mechanism: string, password = security!.password): LibrdkafkaSettings => ({
    ...PATIENT,
    'security.protocol': 'sasl_plaintext',
    'sasl.mechanisms': mechanism,
    'sasl.username': security!.user,
    'sasl.password': password,
  });

  test.each(['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512'])('SASL %s', async (mechanism) => {
    const topic = await newTopic();
    const stream = await bench.opened(topic, security!.saslPlainBootstrap, sasl(mechanism));
    expect((await bench.write(stream, topic, numbered(100))).error).toBeUndefined();
    expect(texts((await readTopic(bootstrap, topic, { expected: 100 })).get(0))).toEqual(
      numbered(100).map(frame),
    );
  });

  test.each(['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512'])(
    'T6: %s with a wrong password is REFUSED, asked once in ten seconds, and drops nothing',
    async (mechanism) => {
      const topic = await newTopic();
      const [host, port] = security!.saslPlainBootstrap.split(':');
      const proxy = await startProxy({ target: { host: host!, port: Number(port) } });
      const stream = await bench.opened(topic, proxy.address, {
        ...sasl(mechanism, 'wrong'),
        'message.timeout.ms': 500,
      });
      const { error, undelivered } = await bench.write(stream, topic, numbered(5));
      expect(error?.code).toBe('REFUSED');
      expect(error?.message).toContain('refused the login');
      expect(error?.message).not.toContain('wrong');
      expect(undelivered).toEqual(numbered(5).map(frame));
      await expect(stream.probe()).rejects.toThrow('refused the login');
      expect(proxy.connections).toBe(1);
      await proxy.close();
      expect([...(await readTopic(bootstrap, topic)).values()].flat()).toEqual([]);
    },
  );

  test('SSL, with and without a certificate of our own', async () => {
    const topic = await newTopic();
    const ssl = { ...PATIENT, 'security.protocol': 'ssl', 'ssl.ca.location': security!.caFile };
    const own = {
      'ssl.certificate.location': security!.clientCertificateFile,
      'ssl.key.location': security!.clientKeyFile,
    };
    const messages = numbered(2000, filling(300, 7));
    expect(
      (await bench.write(await bench.opened(topic, security!.sslBootstrap, ssl), topic, messages)).error,
    ).toBeUndefined();
    expect(
      (
        await bench.write(await bench.opened(topic, security!.sslBootstrap, { ...ssl, ...own }), topic, [
          'mutual',
        ])
      ).error,
    ).toBeUndefined();
    expect(texts((await readTopic(bootstrap, topic, { expected: 2001 })).get(0))).toEqual(
      [...messages, 'mutual'].map(frame),
    );
  });

  test('SSL with an authority that did not sign for the broker: nothing is sent, nothing dropped', async () => {
    const topic = await newTopic();
    const stream = await bench.opened(topic, security!.sslBootstrap, {
      ...PATIENT,
      'security.protocol': 'ssl',
      'ssl.ca.location': 'probe',
      'message.timeout.ms': 300,
    });
    const { error, undelivered } = await bench.write(stream, topic, numbered(3));
    expect(error?.message).toMatch(/certificate/);
    expect(undelivered).toEqual(numbered(3).map(frame));
  });

  test('a plaintext client at a TLS port, and the other way round, hand back', async () => {
    const topic = await newTopic();
    const brief = { ...PATIENT, 'message.timeout.ms': 300, 'socket.connection.setup.timeout.ms': 1000 };
    const plain = await bench.write(
      await bench.opened(topic, security!.sslBootstrap, brief),
      topic,
      numbered(3),
    );
    const tls = await bench.write(
      await bench.opened(topic, bootstrap, {
        ...brief,
        'security.protocol': 'ssl',
        'ssl.ca.location': security!.caFile,
      }),
      topic,
      numbered(3),
    );
    expect([plain, tls].map(({ error }) => error?.code)).toEqual(['UNREACHABLE', 'UNREACHABLE']);
    expect([plain, tls].map(({ undelivered }) => undelivered)).toEqual([
      numbered(3).map(frame),
      numbered(3).map(frame),
    ]);
  });
});

describe('through a network that fails', () => {
  let behind: ProxiedKafka;
  beforeAll(async () => {
    behind = await startKafkaBehindProxies();
  });
  afterAll(() => behind.close());

  const brief: LibrdkafkaSettings = {
    ...PATIENT,
    'socket.timeout.ms': 300,
    'message.timeout.ms': 1000,
    'socket.connection.setup.timeout.ms': 1000,
  };

  streamContract('KafkaStream on Kafka behind a proxy', {
    make: async () => {
      const [topic, own] = [newName(), new KafkaWorkbench()];
      await behind.kafka.createTopic(topic);
      return {
        stream: own.stream(topic, behind.bootstrap, { ...brief, 'socket.timeout.ms': 2_000 }),
        bucket: topic,
        read: async () =>
          (await readTopic(behind.kafka.internalBootstrap, topic))
            .get(0)!
            .map(({ key, value }) => encodeFrame(topic, key, value!)),
        breakIt: () => {
          behind.proxies[0]!.faults.refuse = true;
          behind.proxies[0]!.resetAll();
        },
        heal: () => behind.proxies[0]!.heal(),
        cleanup: () => own.close(),
      };
    },
  });

  test.each([['both ways'], ['down'], ['up']] as const)(
    'a black hole (%s): handed back at the deadline, delivered when it heals',
    async (way) => {
      const topic = newName();
      await behind.kafka.createTopic(topic, { partitions: 2 });
      const stream = await bench.opened(topic, behind.bootstrap, brief);
      const frames = numbered(200).map((message, i) => ({ key: `user-${i % 20}`, message }));
      await deliverAll(stream, topic, frames.slice(0, 100));
      behind.proxies[0]!.blackhole(...(way === 'both ways' ? [] : [way]));
      const { error, undelivered, settled } = await bench.write(stream, topic, frames.slice(100));
      expect(error?.code).toBe('UNREACHABLE');
      expect(settled).toEqual({ delivered: 0, rejected: 0 });
      expect(undelivered).toEqual(frames.slice(100));
      behind.proxies[0]!.heal();
      await expect.poll(() => stream.probe().then(() => 'back', String), { timeout: 30_000 }).toBe('back');
      await deliverAll(stream, topic, undelivered);
      expectAllInOrder(await readTopic(behind.kafka.internalBootstrap, topic, { expected: 200 }), frames);
    },
  );

  test('a storm of resets: nothing missing, each key in order', async () => {
    const topic = newName();
    await behind.kafka.createTopic(topic, { partitions: 4 });
    const stream = await bench.opened(topic, behind.bootstrap, {
      ...brief,
      'compression.codec': 'snappy',
      'batch.num.messages': 20,
    });
    const frames = Array.from({ length: 3000 }, (_, i) => ({
      key: `user-${i % 40}`,
      message: `${i} ${filling(i % 200, i)}`,
    }));
    let seed = 1;
    const proxy = behind.proxies[0]!;
    proxy.faults.resetAfterBytes = () => 3000 + ((seed = (seed * 48_271) % 2_147_483_647) % 40_000);
    await deliverAll(stream, topic, frames);
    proxy.heal();
    expectAllInOrder(await readTopic(behind.kafka.internalBootstrap, topic, { expected: 3000 }), frames);
  });
});

describe('three brokers', () => {
  let kafka: KafkaServer;
  beforeAll(async () => {
    kafka = await startKafka({ brokers: 3 });
  });
  afterAll(() => kafka.close());

  test(
    'too few replicas in sync: kept, handed back at the deadline, delivered once that is mended',
    { timeout: 120_000 },
    async () => {
      const topic = newName();
      await kafka.createTopic(topic, { config: { 'min.insync.replicas': '3' } });
      const patient = await bench.opened(topic, kafka.bootstrap, PATIENT);
      expect((await bench.write(patient, topic, ['before'])).error).toBeUndefined();
      const stream = await bench.opened(topic, kafka.bootstrap, { ...PATIENT, 'message.timeout.ms': 2_000 });
      const leader = await kafka.leaderOf(topic, 0);
      const follower = kafka.nodes.find((node) => node !== leader)!;
      await follower.stop();
      const { error, undelivered } = await bench.write(stream, topic, numbered(10));
      expect(error?.code).toBe('UNREACHABLE');
      expect(error?.message).toContain('NOT_ENOUGH_REPLICAS');
      expect(undelivered).toEqual(numbered(10).map(frame));
      await follower.start();
      await kafka.waitInSync(topic);
      await stream.probe();
      expect((await bench.write(stream, topic, undelivered)).error).toBeUndefined();
      const read = texts((await readTopic(kafka.internalBootstrap, topic, { expected: 11 })).get(0));
      expect([...new Set(read.map(({ message }) => message))]).toEqual(['before', ...numbered(10)]);
      expect(bench.rejections).toEqual([]);
    },
  );

  test.each(['gzip', 'none'])(
    'kill -9 of a leader, restart of another, under load, %s: nothing missing, keys in order',
    { timeout: 180_000 },
    async (codec) => {
      const topic = newName();
      await kafka.createTopic(topic, { partitions: 6, config: { 'min.insync.replicas': '2' } });
      const stream = await bench.opened(topic, kafka.bootstrap, {
        ...PATIENT,
        'socket.timeout.ms': 4000,
        'compression.codec': codec,
        'batch.num.messages': 30,
      });
      const frames: Frame[] = [];
      let isOver = false;
      const load = (async () => {
        while (!isOver) {
          const next = Array.from({ length: 400 }, (_, i) => ({
            key: `user-${i % 60}`,
            message: `${frames.length + i} ${filling(100, i)}`,
          }));
          frames.push(...next);
          await deliverAll(stream, topic, next);
          await new Promise((resolve) => setImmediate(resolve));
        }
      })();
      try {
        const killed = await kafka.leaderOf(topic, 0);
        await killed.kill();
        await killed.start();
        await kafka.waitInSync(topic);
        const other = kafka.nodes.find((node) => node !== killed)!;
        await other.stop();
        await other.start();
        await kafka.waitInSync(topic);
      } finally {
        isOver = true;
        await load;
      }
      expect(frames.length).toBeGreaterThan(1000);
      expectAllInOrder(
        await readTopic(kafka.internalBootstrap, topic, { expected: frames.length, deadlineMs: 60_000 }),
        frames,
      );
      expect(bench.rejections).toEqual([]);
    },
  );
});
