// One connection to one broker: what it sends, what it makes of answers, and of things that are no Kafka.
import { once } from 'node:events';
import net from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ErrorCode, startFakeCluster, type FakeCluster } from '../../support/fakeBroker.js';
import { KafkaWorkbench, settingsOf, type LibrdkafkaSettings } from '../../support/kafkaWorkbench.js';
import { KafkaFailure } from './failure.js';
import { BrokerConnection } from './brokerConnection.js';
import { produceBody } from './produceRequest.js';
import { HEADER_BYTES, putHeader, roomFor } from '../streams/kafka/recordBatch.js';
import { recordEncoder } from '../streams/kafka/recordEncoder.js';

let cluster: FakeCluster;
let bench: KafkaWorkbench;
const connections: BrokerConnection[] = [];

beforeEach(async () => {
  cluster = await startFakeCluster(2, { one: [1], two: [2, -1, 1] });
  bench = new KafkaWorkbench();
});

afterEach(async () => {
  for (const connection of connections.splice(0))
    connection.destroy(new KafkaFailure('CONNECTION', 'the test is over'));
  await expect.poll(() => cluster.openConnections).toBe(0);
  await cluster.close();
  expect(cluster.problems).toEqual([]);
});

async function open(
  port = Number(cluster.bootstrap.split(',')[0]!.split(':')[1]),
  settings: LibrdkafkaSettings = {},
): Promise<BrokerConnection> {
  const connection = await BrokerConnection.open(
    { host: '127.0.0.1', port },
    settingsOf({ 'bootstrap.servers': 'unused', 'socket.timeout.ms': 500, ...settings }),
    bench.log,
  );
  connections.push(connection);
  return connection;
}

function recordBatch(...messages: string[]): Buffer {
  const batch = bench.batch('one', messages);
  const range = { batch, picked: undefined, first: 0, at: 0, count: batch.frames, bytes: batch.length };
  const out = Buffer.alloc(roomFor(range, 100_000));
  const encoded = recordEncoder().encode(range, out, HEADER_BYTES, out.length, 1000);
  putHeader(out, HEADER_BYTES + encoded.length, encoded, 0);
  batch.release();
  return out.subarray(0, HEADER_BYTES + encoded.length);
}

const produceOne = (records = recordBatch('a')) =>
  ({
    acks: -1,
    timeoutMs: 100,
    topics: [{ topic: 'one', partitions: [{ partition: 0, records }] }],
  }) as const;

describe('a produce request', () => {
  it('is laid out as Kafka says, and holds the record batches as they are, not copies', () => {
    const records = Buffer.from('records');
    const body = produceBody({
      acks: 1,
      timeoutMs: 258,
      topics: [
        {
          topic: 'ab',
          partitions: [
            { partition: 3, records },
            { partition: 4, records: Buffer.from('x') },
          ],
        },
      ],
    });
    expect(Buffer.concat(body).toString('hex')).toBe(
      [
        'ffff',
        '0001',
        '00000102',
        '00000001',
        '0002',
        '6162',
        '00000002',
        '00000003',
        '00000007',
        records.toString('hex'),
        '00000004',
        '00000001',
        '78',
      ].join(''),
    );
    expect(body).toContain(records);
  });

  it('several topics and partitions arrive, and each has its answer', async () => {
    cluster.setTopic('many', [1, 1, 2]);
    const connection = await open();
    const partitions = [0, 1, 2].map((partition) => ({ partition, records: recordBatch(`p${partition}`) }));
    const answers = await connection.produce(
      { acks: -1, timeoutMs: 100, topics: [...produceOne().topics, { topic: 'many', partitions }] },
      1000,
    );
    expect(answers).toEqual([
      { topic: 'one', partition: 0, errorCode: 0, baseOffset: 0n },
      { topic: 'many', partition: 0, errorCode: 0, baseOffset: 0n },
      { topic: 'many', partition: 1, errorCode: 0, baseOffset: 0n },
      { topic: 'many', partition: 2, errorCode: ErrorCode.notLeaderOrFollower, baseOffset: -1n },
    ]);
    expect(cluster.produced.map((sent) => sent.recordBatch)).toEqual([
      expect.anything(),
      ...partitions.map(({ records }) => records),
    ]);
    expect(cluster.requests.Produce).toBe(1);
  });

  it('many at once are answered each with its own', async () => {
    cluster.setTopic(
      'many',
      Array.from({ length: 50 }, (_, i) => (i % 3 === 0 ? 2 : 1)),
    );
    const connection = await open();
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, partition) =>
        connection.produce(
          {
            acks: -1,
            timeoutMs: 100,
            topics: [{ topic: 'many', partitions: [{ partition, records: recordBatch('m') }] }],
          },
          5000,
        ),
      ),
    );
    expect(answers.flat()).toEqual(
      Array.from({ length: 50 }, (_, partition) => ({
        topic: 'many',
        partition,
        ...(partition % 3 === 0
          ? { errorCode: ErrorCode.notLeaderOrFollower, baseOffset: -1n }
          : { errorCode: 0, baseOffset: 0n }),
      })),
    );
  });

  it('fails with TIMEOUT, and all others on that connection with it', async () => {
    cluster.script.Produce.push({ kind: 'swallow' }, { kind: 'swallow' });
    const connection = await open();
    const [first, second] = await Promise.allSettled([
      connection.produce(produceOne(), 50),
      connection.produce(produceOne(), 10_000),
    ]);
    for (const outcome of [first, second])
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'TIMEOUT' } });
    expect(connection.isOpen).toBe(false);
    await expect(connection.produce(produceOne(), 1000)).rejects.toMatchObject({ code: 'TIMEOUT' });
    await expect(connection.metadata(['one'])).rejects.toBeInstanceOf(KafkaFailure);
  });

  it('fails with CONNECTION when the broker closes', async () => {
    cluster.script.Produce.push({ kind: 'close' });
    const connection = await open();
    await expect(connection.produce(produceOne(), 1000)).rejects.toMatchObject({ code: 'CONNECTION' });
    expect(connection.isOpen).toBe(false);
  });

  it('an idle connection that the broker closes is no longer open', async () => {
    const connection = await open();
    cluster.resetConnections();
    await expect.poll(() => connection.isOpen).toBe(false);
  });
});

describe('metadata', () => {
  it('gives nodes, leaders, and the error of each topic in its own entry', async () => {
    const { nodes, topics } = await (await open()).metadata(['two', 'missing', 'one']);
    expect([...nodes.keys()]).toEqual([1, 2]);
    expect(topics).toEqual([
      { topic: 'two', errorCode: 0, leaders: [2, -1, 1] },
      { topic: 'missing', errorCode: ErrorCode.unknownTopicOrPartition, leaders: [] },
      { topic: 'one', errorCode: 0, leaders: [1] },
    ]);
  });
});

describe('what is no broker', () => {
  /** A server that says this to whoever connects, and after that whatever `then` says to each chunk. */
  async function serve(
    greeting: Buffer | undefined,
    then?: Buffer,
  ): Promise<{ port: number; close: () => Promise<void> }> {
    const sockets = new Set<net.Socket>();
    const server = net
      .createServer((socket) => {
        sockets.add(socket);
        socket.on('error', () => undefined);
        if (greeting) socket.write(greeting);
        socket.on('data', () => then && socket.write(then));
      })
      .listen(0, '127.0.0.1');
    await once(server, 'listening');
    const close = async (): Promise<void> => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    };
    return { port: (server.address() as net.AddressInfo).port, close };
  }

  it.each([
    ['a negative length', Buffer.from([0xff, 0xff, 0xff, 0xfb, 1, 2, 3, 4])],
    ['a length of 0', Buffer.alloc(16)],
    ['a length of -1', Buffer.alloc(16, 0xff)],
    ['an answer too short for its number', Buffer.from([0, 0, 0, 2, 0, 0])],
    ['a TLS alert', Buffer.from([0x95, 3, 3, 0, 2, 2, 70])],
    [
      'an answer that ends in the middle',
      Buffer.from([0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff]),
    ],
    ['HTTP', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
  ])('%s fails the connection, not the process', async (_name, bytes) => {
    for (const [greeting, then] of [
      [bytes, undefined],
      [undefined, bytes],
    ] as const) {
      const server = await serve(greeting, then);
      await expect(open(server.port, { 'socket.connection.setup.timeout.ms': 1000 })).rejects.toBeInstanceOf(
        KafkaFailure,
      );
      await server.close();
    }
  });

  it('nobody: CONNECTION', async () => {
    const server = await serve(undefined);
    await server.close();
    await expect(open(server.port)).rejects.toMatchObject({ code: 'CONNECTION' });
  });

  it('a broker that accepts and says nothing: TIMEOUT, and the connection is closed', async () => {
    const server = net.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const accepted = once(server, 'connection') as Promise<[net.Socket]>;
    const opening = open((server.address() as net.AddressInfo).port, {
      'socket.connection.setup.timeout.ms': 1000,
    });
    const [socket] = await accepted;
    socket.on('error', () => undefined);
    const closed = once(socket.resume(), 'close');
    await expect(opening).rejects.toMatchObject({ name: 'KafkaFailure' });
    await closed;
    server.close();
  });
});
