// The Kafka stream against a scripted cluster: what arrives there byte for byte, and what comes back.
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ErrorCode, startFakeCluster, type FakeCluster } from '../../../support/fakeBroker.js';
import {
  KafkaWorkbench,
  endKafka,
  frame,
  numbered,
  type Frame,
  type LibrdkafkaSettings,
  type Outcome,
} from '../../../support/kafkaWorkbench.js';
import { decodeRecordBatch } from '../../../support/recordBatchDecoder.js';
import { Batch } from '../../frames/batch.js';
import { encodeFrame } from '../../frames/frame.js';
import { streamContract } from '../../../support/streamContract.js';
import { ERROR_CODES } from '../../kafka/errorCodes.js';
import type { KafkaStream } from './kafkaStream.js';

const unhandled: unknown[] = [];
process.on('unhandledRejection', (reason) => unhandled.push(reason));

for (const codec of ['none', 'gzip', 'snappy', 'lz4', 'zstd']) {
  streamContract(`KafkaStream, ${codec}`, {
    make: async () => {
      const cluster = await startFakeCluster(1, { contract: [1] });
      const bench = new KafkaWorkbench();
      return {
        stream: bench.stream('contract', cluster.bootstrap, {
          'message.timeout.ms': 200,
          'compression.codec': codec,
        }),
        bucket: 'contract',
        read: async () =>
          cluster.appended('contract', 0).map(({ key, value }) => encodeFrame('contract', key, value!)),
        breakIt: () => cluster.takeDown(1),
        heal: () => cluster.bringUp(1),
        cleanup: async () => {
          await bench.close();
          await cluster.close();
          expect(cluster.problems).toEqual([]);
        },
      };
    },
  });
}

let cluster: FakeCluster;
let bench: KafkaWorkbench;

beforeEach(async () => {
  cluster = await startFakeCluster(2, { one: [1], three: [1, 1, 1], spread: [1, 2, 1, 2] });
  bench = new KafkaWorkbench();
});

afterEach(async () => {
  await endKafka(bench, cluster);
  expect(unhandled).toEqual([]);
});

const opened = (topic: string, settings?: LibrdkafkaSettings): Promise<KafkaStream> =>
  bench.opened(topic, cluster.bootstrap, settings);
const write = (stream: KafkaStream, topic: string, messages: readonly (string | Frame)[]): Promise<Outcome> =>
  bench.write(stream, topic, messages);

function appended(topic: string, partition = 0): string[] {
  return cluster.appended(topic, partition).map(({ value }) => value!.toString());
}

function appendedOfAll(topic: string, partitions: number): string[] {
  return Array.from({ length: partitions }, (_, partition) => appended(topic, partition)).flat();
}

/** Partitions of `three`: consistent_random puts these keys on 0, 1 and 2. */
const KEYS = ['user-3', 'user-2', 'user-0'];
const keyed = (messages: readonly string[]): Frame[] =>
  messages.map((message, i) => ({ key: KEYS[i % 3]!, message }));

describe('KafkaStream: what is sent', () => {
  it('keeps key, null key, empty message and time of arrival', async () => {
    const stream = await opened('one');
    const batch = bench.batch('one', ['k|v', 'no key', ''], 1_700_000_000_000);
    const late = encodeFrame('one', 'late', Buffer.from([0, 255, 10]));
    batch.append(late, 0, late.length, 1, 1_700_000_000_250);
    await stream.write(batch);
    batch.release();
    expect(
      cluster.appended('one', 0).map(({ key, value, timestamp }) => ({
        key: key?.toString() ?? null,
        value: value!.toString('latin1'),
        timestamp,
      })),
    ).toEqual([
      { key: 'k', value: 'v', timestamp: 1_700_000_000_000 },
      { key: null, value: 'no key', timestamp: 1_700_000_000_000 },
      { key: null, value: '', timestamp: 1_700_000_000_000 },
      { key: 'late', value: '\u0000ÿ\n', timestamp: 1_700_000_000_250 },
    ]);
  });

  it('what does not shrink is sent as it is, once tried; what shrinks is compressed; all of it arrives', async () => {
    const stream = await opened('one', { 'compression.codec': 'snappy' });
    const random = Array.from({ length: 400 }, () => randomBytes(60).toString('latin1'));
    const repeated = Array.from(
      { length: 400 },
      (_, i) => `the same words again and again, number ${i}, the same words again and again`,
    );
    const groups = [repeated, random, random, ...Array.from({ length: 15 }, () => repeated)];
    for (const group of groups) {
      const batch = new Batch('one', bench.budget);
      for (const message of group) {
        const bytes = encodeFrame('one', null, Buffer.from(message, 'latin1'));
        batch.append(bytes, 0, bytes.length, 1, Date.now());
      }
      await stream.write(batch);
      batch.release();
    }
    const sent = cluster.produced.map(({ recordBatch }) => decodeRecordBatch(recordBatch));
    expect(sent.map(({ codec }) => codec)).toEqual([
      'snappy',
      'none',
      ...Array<string>(15).fill('none'),
      'snappy',
    ]);
    expect(sent.flatMap(({ records }) => records.map(({ value }) => value!.toString('latin1')))).toEqual(
      groups.flat(),
    );
  });

  it.each([
    ['all', -1],
    ['1', 1],
    ['0', 0],
  ])('asks for acks %s', async (acks, wire) => {
    const stream = await opened('one', { acks });
    expect((await write(stream, 'one', numbered(3))).settled).toEqual({ delivered: 3, rejected: 0 });
    await expect.poll(() => appended('one')).toEqual(numbered(3));
    expect(cluster.produced.map((sent) => sent.acks)).toEqual([wire]);
  });

  it('acks 0 keeps order over many batches', async () => {
    const stream = await opened('one', { acks: '0', 'batch.num.messages': 7 });
    const groups = Array.from({ length: 20 }, (_, i) => numbered(20, `batch ${i}`));
    await Promise.all(groups.map((group) => write(stream, 'one', group)));
    await expect.poll(() => appended('one')).toEqual(groups.flat());
  });

  it('cuts a batch at batch.num.messages and at batch.size, in order', async () => {
    const stream = await opened('one', { 'batch.num.messages': 10 });
    await write(stream, 'one', numbered(25));
    expect(cluster.produced.map(({ recordBatch }) => decodeRecordBatch(recordBatch).records.length)).toEqual([
      10, 10, 5,
    ]);
    const small = await opened('one', { 'batch.size': 2000 });
    const big = numbered(10, 'x'.repeat(500));
    await write(small, 'one', big);
    expect(appended('one')).toEqual([...numbered(25), ...big]);
    const sizes = cluster.produced.slice(3).map(({ recordBatch }) => decodeRecordBatch(recordBatch));
    expect(sizes.every(({ recordsByteLength }) => recordsByteLength <= 2000)).toBe(true);
    expect(sizes.map(({ records }) => records.length)).toEqual([3, 3, 3, 1]);
  });

  it('one request in flight per partition, and those of one node travel together', async () => {
    const stream = await opened('three', { 'batch.num.messages': 5 });
    await write(stream, 'three', keyed(numbered(3, 'warm')));
    cluster.produced.length = 0;
    await write(stream, 'three', keyed(numbered(30)));
    // 10 frames a partition, 5 a record batch: each partition two, one after the other, three in a request.
    const requests = new Map<number, number[]>();
    for (const { request, partition } of cluster.produced)
      requests.set(request, [...(requests.get(request) ?? []), partition]);
    expect([...requests.values()].map((partitions) => [...partitions].sort())).toEqual([
      [0, 1, 2],
      [0, 1, 2],
    ]);
  });

  it('bundles the partitions of several buckets on one connection', async () => {
    const topics = Array.from({ length: 20 }, (_, i) => `bucket-${i}`);
    for (const topic of topics) cluster.setTopic(topic, [1]);
    const streams = await Promise.all(topics.map((topic) => opened(topic)));
    await Promise.all(streams.map((stream, i) => write(stream, topics[i]!, ['first'])));
    const before = cluster.requests.Produce;
    await Promise.all(streams.map((stream, i) => write(stream, topics[i]!, ['second'])));
    expect(cluster.requests.Produce - before).toBeLessThanOrEqual(2);
    for (const topic of topics) expect(appended(topic)).toEqual(['first', 'second']);
    // One connection for metadata, one that produces.
    expect(cluster.openConnections).toBe(2);
  });

  it('never has two requests of one partition in flight, whatever the others do', async () => {
    cluster.always.Produce = { kind: 'delay', ms: 3 };
    const stream = await opened('spread', { 'batch.num.messages': 3 });
    const frames = Array.from({ length: 200 }, (_, i) => ({ key: `user-${i % 17}`, message: `m${i}` }));
    await Promise.all(
      Array.from({ length: 10 }, (_, g) => write(stream, 'spread', frames.slice(g * 20, g * 20 + 20))),
    );
    const byKey = new Map<string, string[]>();
    for (let partition = 0; partition < 4; partition++) {
      for (const { key, value } of cluster.appended('spread', partition))
        byKey.set(key!.toString(), [...(byKey.get(key!.toString()) ?? []), value!.toString()]);
    }
    const expected = new Map<string, string[]>();
    for (const { key, message } of frames) expected.set(key, [...(expected.get(key) ?? []), message]);
    expect(Object.fromEntries(byKey)).toEqual(Object.fromEntries(expected));
  });
});

describe('KafkaStream: what goes wrong and gets right again by itself', () => {
  it('sends the very same bytes of the failed partition again, and of that alone', async () => {
    const stream = await opened('three');
    await write(stream, 'three', keyed(numbered(3, 'warm')));
    cluster.produced.length = 0;
    cluster.script.Produce.push(
      { kind: 'error', code: ErrorCode.notLeaderOrFollower, partition: 1 },
      { kind: 'error', code: ErrorCode.notEnoughReplicas, partition: 1 },
    );
    expect((await write(stream, 'three', keyed(numbered(9)))).settled.delivered).toBe(9);
    const sent = cluster.produced.filter(({ partition }) => partition === 1);
    expect(sent).toHaveLength(3);
    for (const { recordBatch } of sent) expect(recordBatch.equals(sent[0]!.recordBatch)).toBe(true);
    for (const other of [0, 2])
      expect(cluster.produced.filter(({ partition }) => partition === other)).toHaveLength(1);
    expect(appendedOfAll('three', 3).sort()).toEqual(numbered(9));
  });

  it('a retry keeps its bytes while the batch grows on behind it', async () => {
    const stream = await opened('one', { 'compression.codec': 'gzip' });
    await write(stream, 'one', ['warm']);
    cluster.script.Produce.push({ kind: 'error', code: ErrorCode.notEnoughReplicas });
    const writes = Array.from({ length: 8 }, (_, i) => write(stream, 'one', numbered(50, `batch ${i}`)));
    await Promise.all(writes);
    expect(cluster.produced[1]!.recordBatch.equals(cluster.produced[2]!.recordBatch)).toBe(true);
    expect(appended('one')).toEqual([
      'warm',
      ...Array.from({ length: 8 }, (_, i) => numbered(50, `batch ${i}`)).flat(),
    ]);
  });

  it('follows a leader that moves, in order and without a double', async () => {
    const stream = await opened('one');
    await write(stream, 'one', numbered(5, 'before'));
    cluster.moveLeader('one', 0, 2);
    const groups = Array.from({ length: 6 }, (_, i) => numbered(5, `after ${i}`));
    await Promise.all(groups.map((group) => write(stream, 'one', group)));
    expect(appended('one')).toEqual([...numbered(5, 'before'), ...groups.flat()]);
    expect(cluster.produced.filter(({ isAppended }) => isAppended).map(({ node }) => node)).toEqual([
      1,
      ...groups.map(() => 2),
    ]);
  });

  it('keeps the frames while a partition has no leader', async () => {
    cluster.setTopic('one', [-1]);
    const stream = await opened('one');
    const writing = write(stream, 'one', numbered(5));
    await expect.poll(() => cluster.requests.Metadata).toBeGreaterThan(2);
    cluster.setTopic('one', [2]);
    expect((await writing).settled.delivered).toBe(5);
    expect(appended('one')).toEqual(numbered(5));
  });

  it.each([
    ['answered never', { kind: 'swallow' }],
    ['answered never, but kept', { kind: 'swallow', append: true }],
    ['cut off', { kind: 'close' }],
    ['cut off after it was kept', { kind: 'close', append: true }],
  ] as const)('a request %s: a new connection, the same bytes', async (_name, answer) => {
    const stream = await opened('one', { 'socket.timeout.ms': 250 });
    await write(stream, 'one', ['warm']);
    const connection = cluster.produced[0]!.connection;
    cluster.script.Produce.push(answer);
    const groups = Array.from({ length: 4 }, (_x, i) => numbered(5, `batch ${i}`));
    const outcomes = await Promise.all(groups.map((group) => write(stream, 'one', group)));
    expect(outcomes.map(({ settled }) => settled.delivered)).toEqual([5, 5, 5, 5]);
    const [failed, again] = cluster.produced.slice(1);
    expect(failed!.connection).toBe(connection);
    expect(again!.connection).not.toBe(connection);
    expect(again!.recordBatch.equals(failed!.recordBatch)).toBe(true);
    expect([...new Set(appended('one'))]).toEqual(['warm', ...groups.flat()]);
    // Nothing but what was in flight is there twice.
    expect(appended('one')).toHaveLength(21 + ('append' in answer ? 5 : 0));
    // The dead connection is closed, not left to itself: metadata and one that produces.
    await expect.poll(() => cluster.openConnections).toBe(2);
  });

  it('survives resets at any moment, with nothing lost and the order kept', async () => {
    const stream = await opened('spread', { 'batch.num.messages': 4, 'socket.timeout.ms': 200 });
    const frames = Array.from({ length: 400 }, (_, i) => ({ key: `user-${i % 13}`, message: `m${i}` }));
    let resets = 0;
    cluster.always.Produce = { kind: 'delay', ms: 1 };
    const storm = setInterval(() => {
      if (resets++ < 15) cluster.resetConnections();
    }, 10);
    const outcomes = await Promise.all(
      Array.from({ length: 40 }, (_, g) => write(stream, 'spread', frames.slice(g * 10, g * 10 + 10))),
    );
    clearInterval(storm);
    expect(outcomes.map(({ error }) => error)).toEqual(outcomes.map(() => undefined));
    expectAllInOrder(frames, 'spread', 4);
  });

  it('sends to the other node while one is down, and to that one when it is back', async () => {
    const stream = await opened('spread');
    const frames = Array.from({ length: 60 }, (_, i) => ({ key: `user-${i % 20}`, message: `m${i}` }));
    await write(stream, 'spread', frames.slice(0, 20));
    await cluster.takeDown(2);
    const writing = Promise.all([
      write(stream, 'spread', frames.slice(20, 40)),
      write(stream, 'spread', frames.slice(40)),
    ]);
    await expect
      .poll(() => [0, 2].flatMap((partition) => appended('spread', partition)).length)
      .toBe(60 - expectedOn(frames, [1, 3]));
    await cluster.bringUp(2);
    expect((await writing).map(({ error }) => error)).toEqual([undefined, undefined]);
    expectAllInOrder(frames, 'spread', 4);
  });

  it('asks who leads when a connection with acks 0 was closed, which is all that a broker can say', async () => {
    const stream = await opened('one', { acks: '0' });
    await write(stream, 'one', ['before']);
    await expect.poll(() => appended('one')).toEqual(['before']);
    cluster.moveLeader('one', 0, 2);
    cluster.always.Produce = { kind: 'close', node: 1 };
    let sent = 0;
    await expect
      .poll(async () => {
        await write(stream, 'one', [`after ${sent++}`]);
        return cluster.produced.some(({ node }) => node === 2);
      })
      .toBe(true);
  });

  /** How many of the frames go to these partitions. */
  function expectedOn(frames: readonly Frame[], partitions: readonly number[]): number {
    const placed = new Map<string, number>();
    for (let partition = 0; partition < 4; partition++)
      for (const { key } of cluster.appended('spread', partition)) placed.set(key!.toString(), partition);
    return frames.filter(({ key }) => partitions.includes(placed.get(key!) ?? -1)).length;
  }

  function expectAllInOrder(frames: readonly Frame[], topic: string, partitions: number): void {
    const first = new Map<string, string[]>();
    for (let partition = 0; partition < partitions; partition++) {
      for (const { key, value } of cluster.appended(topic, partition)) {
        const messages = first.get(key!.toString()) ?? [];
        if (!messages.includes(value!.toString()))
          first.set(key!.toString(), [...messages, value!.toString()]);
      }
    }
    const expected = new Map<string, string[]>();
    for (const { key, message } of frames) expected.set(key!, [...(expected.get(key!) ?? []), message]);
    expect(Object.fromEntries(first)).toEqual(Object.fromEntries(expected));
  }
});

describe('KafkaStream: what can never be delivered', () => {
  /** The cluster refuses record batches that hold one of these messages. */
  function refuse(code: number, isBad: (message: string) => boolean): void {
    cluster.judge = (recordBatch) =>
      decodeRecordBatch(recordBatch).records.some(({ value }) => isBad(value!.toString())) ? code : 0;
  }

  it.each([
    ['MESSAGE_TOO_LARGE', 10],
    ['RECORD_LIST_TOO_LARGE', 18],
    ['INVALID_RECORD', 87],
  ])('%s: halves, until only the bad frames are left', async (name, code) => {
    refuse(code, (message) => message.startsWith('bad'));
    const stream = await opened('one');
    const messages = ['bad first', ...numbered(20), 'bad 1', 'bad 2', ...numbered(11, 'more'), 'bad last'];
    const outcomes = await Promise.all([
      write(stream, 'one', messages),
      write(stream, 'one', numbered(5, 'next')),
    ]);
    expect(outcomes.map(({ settled }) => settled)).toEqual([
      { delivered: 31, rejected: 4 },
      { delivered: 5, rejected: 0 },
    ]);
    expect(appended('one')).toEqual([
      ...messages.filter((message) => !message.startsWith('bad')),
      ...numbered(5, 'next'),
    ]);
    expect(
      bench.rejections.map(({ messages: [message], frames, bucket }) => ({ message, frames, bucket })),
    ).toEqual(
      ['bad first', 'bad 1', 'bad 2', 'bad last'].map((message) => ({ message, frames: 1, bucket: 'one' })),
    );
    for (const { reason } of bench.rejections) expect(reason).toBe(`one[0]: ${name}`);
  });

  it('halves what was cut at batch.num.messages and picked for a partition, too', async () => {
    refuse(ErrorCode.messageTooLarge, (message) => message.endsWith('7'));
    const stream = await opened('three', { 'batch.num.messages': 8, 'compression.codec': 'lz4' });
    const frames = keyed(numbered(100));
    expect((await write(stream, 'three', frames)).settled).toEqual({ delivered: 90, rejected: 10 });
    for (const partition of [0, 1, 2]) {
      expect(appended('three', partition)).toEqual(
        numbered(100).filter((message, i) => i % 3 === partition && !message.endsWith('7')),
      );
    }
    expect(bench.rejections.flatMap(({ messages }) => messages).sort()).toEqual(
      numbered(100)
        .filter((message) => message.endsWith('7'))
        .sort(),
    );
  });
});

describe('KafkaStream: times that the topic refuses', () => {
  const HOUR_MS = 3_600_000;
  let nowMs: number;
  beforeEach(() => {
    nowMs = Date.now();
    cluster.judge = (recordBatch) =>
      decodeRecordBatch(recordBatch).records.some(({ timestamp }) => Math.abs(timestamp - nowMs) > HOUR_MS)
        ? ErrorCode.invalidTimestamp
        : 0;
  });

  /** Frames a and b of each time, in one batch. */
  function batchAt(...times: readonly number[]): Batch {
    const batch = new Batch('one', bench.budget);
    for (const [i, timeMs] of times.entries()) {
      for (const letter of ['a', 'b']) {
        const bytes = encodeFrame('one', null, Buffer.from(`${letter}${i}`));
        batch.append(bytes, 0, bytes.length, 1, timeMs);
      }
    }
    return batch;
  }

  it.each(['none', 'gzip'])(
    '%s: only frames with such a time get that of sending, all arrive in order, counted and told once',
    async (codec) => {
      const stream = await opened('one', { 'compression.codec': codec, 'batch.num.messages': 7 });
      const times = [
        nowMs - 90 * 24 * HOUR_MS,
        nowMs - 2 * HOUR_MS,
        nowMs - HOUR_MS / 2,
        nowMs - 10,
        nowMs + HOUR_MS / 2,
        nowMs + 2 * HOUR_MS,
      ];
      for (const batch of [batchAt(...times), batchAt(...times)]) {
        expect(await stream.write(batch)).toEqual({ delivered: 12, rejected: 0 });
        batch.release();
      }
      const arrived = cluster.appended('one', 0);
      const letters = times.flatMap((_, i) => [`a${i}`, `b${i}`]);
      expect(arrived.map(({ value }) => value!.toString())).toEqual([...letters, ...letters]);
      for (const [i, { timestamp }] of arrived.entries()) {
        const ownMs = times[(i % 12) >> 1]!;
        if (Math.abs(ownMs - nowMs) <= HOUR_MS) expect([i, timestamp]).toEqual([i, ownMs]);
        else expect([i, timestamp >= nowMs && timestamp <= Date.now()]).toEqual([i, true]);
      }
      expect(bench.rejections).toEqual([]);
      expect(bench.stats.retimedFrames).toBe(12);
      expect(
        bench.lines.filter((line) => line.includes('topic one refuses the arrival time of some frames')),
      ).toHaveLength(1);
    },
  );

  it('what has the time of sending is frozen like all else: a retry sends the same bytes', async () => {
    const stream = await opened('one');
    const batch = batchAt(nowMs - 2 * HOUR_MS);
    cluster.script.Produce.push(
      { kind: 'error', code: ErrorCode.invalidTimestamp },
      { kind: 'close', append: true },
      { kind: 'error', code: ErrorCode.notEnoughReplicas },
    );
    await stream.write(batch);
    batch.release();
    const [refused, ...sent] = cluster.produced;
    expect(decodeRecordBatch(refused!.recordBatch).records.map(({ timestamp }) => timestamp)).toEqual([
      nowMs - 2 * HOUR_MS,
      nowMs - 2 * HOUR_MS,
    ]);
    expect(sent.map(({ recordBatch }) => recordBatch.equals(sent[0]!.recordBatch))).toEqual([
      true,
      true,
      true,
    ]);
  });

  it.each([
    ['the time of sending is refused too', true, 'the time of sending is refused too'],
    ['replace.refused.timestamps is off', false, 'INVALID_TIMESTAMP'],
  ])('%s: handed back, with what to do, and none is rejected', async (_name, isOn, says) => {
    cluster.judge = () => ErrorCode.invalidTimestamp;
    const stream = await opened('one', { 'message.timeout.ms': 100, 'replace.refused.timestamps': isOn });
    const outcomes = await Promise.all([
      write(stream, 'one', numbered(20)),
      write(stream, 'one', numbered(5, 'next')),
    ]);
    expect(outcomes.map(({ error }) => error?.code)).toEqual(['REFUSED', 'REFUSED']);
    expect(outcomes[0].error?.message).toContain("INVALID_TIMESTAMP (set this machine's clock");
    expect(outcomes[0].error?.message).toContain(says);
    expect(outcomes.flatMap(({ undelivered }) => undelivered)).toEqual(
      [...numbered(20), ...numbered(5, 'next')].map(frame),
    );
    expect([bench.rejections, bench.stats.retimedFrames, appended('one')]).toEqual([[], 0, []]);
    cluster.judge = () => 0;
    await stream.probe();
    expect((await write(stream, 'one', numbered(20))).settled.delivered).toBe(20);
  });
});

describe("KafkaStream: rejected frames that can't be kept", () => {
  beforeEach(() => {
    cluster.judge = (recordBatch) =>
      decodeRecordBatch(recordBatch).records.some(({ value }) => value!.toString().startsWith('bad'))
        ? ErrorCode.messageTooLarge
        : 0;
    bench.rejected.problem = 'no room';
  });

  it('they come back with what was not delivered; none counts as rejected, until there is room', async () => {
    const stream = await opened('one');
    const outcome = await write(stream, 'one', ['bad 1', ...numbered(3), 'bad 2', ...numbered(2, 'more')]);
    expect(outcome.error).toMatchObject({
      code: 'REJECTED',
      message: expect.stringContaining('no room') as string,
    });
    expect(outcome.settled.rejected).toBe(0);
    const undelivered = outcome.undelivered.map(({ message }) => message);
    expect(undelivered.filter((message) => message.startsWith('bad'))).toEqual(['bad 1', 'bad 2']);
    expect([...appended('one'), ...undelivered.filter((message) => !message.startsWith('bad'))]).toEqual([
      ...numbered(3),
      ...numbered(2, 'more'),
    ]);
    await expect(stream.probe()).rejects.toThrow('no room');

    bench.rejected.heal();
    await stream.probe();
    expect((await write(stream, 'one', undelivered)).settled.rejected).toBe(2);
    expect(appended('one')).toEqual([...numbered(3), ...numbered(2, 'more')]);
    expect(bench.rejections.flatMap(({ messages }) => messages)).toEqual(['bad 1', 'bad 2']);
  });

  it('a stream that is closed meanwhile hands back what may be kept as well: twice is better than never', async () => {
    bench.rejected.problem = undefined;
    const offered: (() => void)[] = [];
    bench.rejected.offer = () => new Promise((resolve) => offered.push(() => resolve('kept')));
    const stream = await opened('one');
    const writing = write(stream, 'one', ['bad', ...numbered(3)]);
    await vi.waitUntil(() => offered.length === 1 && appended('one').length === 3);
    await stream.close({ deadlineMs: 0 });
    expect(await writing).toMatchObject({
      settled: { delivered: 3, rejected: 0 },
      undelivered: [{ message: 'bad' }],
    });
    // Whoever keeps the frame reads it still, where it lies.
    expect(bench.budget.heldBytes).toBeGreaterThan(0);
    offered[0]!();
    await vi.waitUntil(() => bench.budget.heldBytes === 0);
  });

  it('what nothing keeps, as REJECTED_FULL=drop allows, is no rejected frame', async () => {
    bench.rejected.problem = undefined;
    bench.rejected.offer = () => Promise.resolve('discarded');
    const stream = await opened('one');
    expect((await write(stream, 'one', ['bad', ...numbered(3)])).settled).toEqual({
      delivered: 3,
      rejected: 0,
      discarded: 1,
    });
  });
});

describe('KafkaStream: the deadline', () => {
  /** Short enough to wait for, and long enough for a busy machine. */
  const BRIEF: LibrdkafkaSettings = { 'message.timeout.ms': 400, 'socket.timeout.ms': 200 };

  it.each([
    ['unknown to us', 12345],
    ['UNKNOWN_SERVER_ERROR', -1],
    ['NOT_ENOUGH_REPLICAS', 19],
    ['CORRUPT_MESSAGE', 2],
    ['COORDINATOR_NOT_AVAILABLE', 15],
  ])('an error code %s is kept, tried again, and handed back at message.timeout.ms', async (_name, code) => {
    cluster.always.Produce = { kind: 'error', code };
    // Time for more than one try on a busy machine too.
    const stream = await opened('one', { ...BRIEF, 'message.timeout.ms': 500 });
    const outcomes = await Promise.all([
      write(stream, 'one', numbered(5)),
      write(stream, 'one', numbered(5, 'next')),
    ]);
    expect(outcomes.map(({ error }) => error?.code)).toEqual(['UNREACHABLE', 'UNREACHABLE']);
    expect(outcomes.flatMap(({ undelivered }) => undelivered)).toEqual(
      [...numbered(5), ...numbered(5, 'next')].map(frame),
    );
    expect(cluster.produced.length).toBeGreaterThan(2);
    expect(appended('one')).toEqual([]);
    expect(bench.rejections).toEqual([]);
    delete cluster.always.Produce;
    await stream.probe();
    expect((await write(stream, 'one', numbered(5))).settled.delivered).toBe(5);
  });

  it.each(ERROR_CODES.filter(({ action }) => action === 'waitForTopic'))(
    '$name is REFUSED then, says what to do, and nothing is dropped',
    async ({ name, code, advice }) => {
      cluster.always.Produce = { kind: 'error', code };
      const stream = await opened('one', BRIEF);
      const { error, undelivered } = await write(stream, 'one', numbered(5));
      expect(error?.code).toBe('REFUSED');
      expect(error?.message).toContain(`one[0]: ${name} (${advice})`);
      expect(undelivered).toEqual(numbered(5).map(frame));
      expect(bench.rejections).toEqual([]);
    },
  );

  it('nothing listens: UNREACHABLE, and why', async () => {
    await cluster.takeDown(1);
    await cluster.takeDown(2);
    const stream = await opened('one', BRIEF);
    const { error, undelivered } = await write(stream, 'one', numbered(3));
    expect(error?.code).toBe('UNREACHABLE');
    expect(error?.message).toMatch(
      /no broker answers: .*ECONNREFUSED.*; tried for 400 ms \(message\.timeout\.ms\)/,
    );
    expect(undelivered).toEqual(numbered(3).map(frame));
  });

  it('a topic that is missing is REFUSED, and the other topics of the cluster go on', async () => {
    const stream = await opened('missing', BRIEF);
    const other = await opened('one');
    const missing = write(stream, 'missing', numbered(5));
    const rounds = 20;
    for (let i = 0; i < rounds; i++)
      expect((await write(other, 'one', numbered(5, `round ${i}`))).error).toBeUndefined();
    const { error, undelivered } = await missing;
    expect(error?.code).toBe('REFUSED');
    expect(error?.message).toContain(
      'topic missing does not exist: make it, or set allow.auto.create.topics',
    );
    expect(undelivered).toEqual(numbered(5).map(frame));
    await expect(stream.probe()).rejects.toThrow('does not exist');
    const asking = await opened('unmade', { ...BRIEF, 'allow.auto.create.topics': true });
    await expect(asking.probe()).rejects.toThrow(
      'topic unmade does not exist, and the cluster does not make it (auto.create.topics.enable of its brokers): make it',
    );
    expect(appended('one')).toHaveLength(rounds * 5);
    cluster.setTopic('missing', [1]);
    await stream.probe();
    expect((await write(stream, 'missing', numbered(5))).settled.delivered).toBe(5);
  });

  it('a topic that is removed under way parks its own bucket alone', async () => {
    const [stream, other] = [await opened('one', BRIEF), await opened('three')];
    await write(stream, 'one', ['before']);
    await write(other, 'three', ['before']);
    cluster.removeTopic('one');
    const gone = await write(stream, 'one', numbered(4));
    expect(gone.error?.code).toBe('REFUSED');
    expect(gone.undelivered).toEqual(numbered(4).map(frame));
    expect((await write(other, 'three', numbered(4))).error).toBeUndefined();
  });

  it('a topic made anew with fewer partitions: everything comes back, and goes to those there are', async () => {
    const stream = await opened('three');
    await write(stream, 'three', keyed(numbered(3, 'warm')));
    cluster.setTopic('three', [1]);
    const outcomes = await Promise.all([
      write(stream, 'three', keyed(numbered(9))),
      write(stream, 'three', keyed(numbered(3, 'next'))),
    ]);
    const handedBack = outcomes.flatMap(({ undelivered }) => undelivered);
    expect(outcomes.map(({ error }) => error?.code)).toContain('REFUSED');
    await stream.probe();
    expect((await write(stream, 'three', handedBack)).error).toBeUndefined();
    expect(
      appended('three')
        .filter((message) => !message.startsWith('warm'))
        .sort(),
    ).toEqual([...numbered(9), ...numbered(3, 'next')].sort());
  });

  it('hands back only what was not delivered, in order, when one partition is stuck', async () => {
    cluster.always.Produce = { kind: 'error', code: ErrorCode.notEnoughReplicas, partition: 1 };
    const stream = await opened('three', { ...BRIEF, 'batch.num.messages': 2 });
    const outcomes = await Promise.all([
      write(stream, 'three', keyed(numbered(12))),
      write(stream, 'three', keyed(numbered(6, 'next'))),
    ]);
    const handedBack = outcomes.flatMap(({ undelivered }) => undelivered.map(({ message }) => message));
    const written = [...numbered(12), ...numbered(6, 'next')];
    expect(outcomes.map(({ error }) => error?.code)).toEqual(['AWAY', 'AWAY']);
    expect([...handedBack, ...appendedOfAll('three', 3)].sort()).toEqual([...written].sort());
    expect(handedBack).toEqual(written.filter((message) => handedBack.includes(message)));
    for (const [i, size] of [12, 6].entries())
      expect(outcomes[i]!.settled.delivered + outcomes[i]!.undelivered.length).toBe(size);
    expect(appended('three', 1)).toEqual([]);
  });

  it('a clock that is set forward hands back, one that is set back does not try for longer', async () => {
    let offset = 0;
    const clock = {
      now: () => Date.now() + offset,
      after: (ms: number, run: () => void) => ({ cancel: clearTimeout.bind(undefined, setTimeout(run, ms)) }),
      every: () => ({ cancel: () => undefined }),
    };
    const own = new KafkaWorkbench({ clock });
    cluster.always.Produce = { kind: 'error', code: ErrorCode.notEnoughReplicas };
    const stream = await own.opened('one', cluster.bootstrap, BRIEF);
    const writing = own.write(stream, 'one', numbered(3));
    await expect.poll(() => cluster.produced.length).toBeGreaterThan(0);
    offset = -3_600_000;
    expect((await writing).undelivered).toEqual(numbered(3).map(frame));
    // Nor does it hold back connecting.
    await cluster.takeDown(1);
    await cluster.takeDown(2);
    await expect(stream.probe()).rejects.toThrow(/^broker \S+(: | closed the connection)/);
    await expect(stream.probe()).rejects.toThrow('no broker answers');
    await Promise.all([cluster.bringUp(1), cluster.bringUp(2)]);
    offset -= 3_600_000;
    delete cluster.always.Produce;
    await stream.probe();
    expect((await own.write(stream, 'one', numbered(3))).settled.delivered).toBe(3);
    await own.close();
    expect(own.budget.heldBytes).toBe(0);
  });
});

describe('KafkaStream: closing and probing', () => {
  it('closing with time delivers what is outstanding', async () => {
    const stream = await opened('spread');
    cluster.always.Produce = { kind: 'delay', ms: 5 };
    const writing = Promise.all(
      Array.from({ length: 8 }, (_, i) => write(stream, 'spread', numbered(10, `batch ${i}`))),
    );
    await stream.close({ deadlineMs: 10_000 });
    expect((await writing).map(({ settled }) => settled.delivered)).toEqual(
      Array.from({ length: 8 }, () => 10),
    );
    expect(appendedOfAll('spread', 4)).toHaveLength(80);
  });

  it('closing without time hands all back, what is on its way as well', async () => {
    const stream = await opened('one', { 'batch.num.messages': 5 });
    await write(stream, 'one', ['warm']);
    cluster.always.Produce = { kind: 'swallow', append: true };
    const writing = Promise.all([
      write(stream, 'one', numbered(12)),
      write(stream, 'one', numbered(3, 'next')),
    ]);
    await expect.poll(() => cluster.produced.length).toBe(2);
    await stream.close({ deadlineMs: 0 });
    const outcomes = await writing;
    expect(outcomes.map(({ error }) => error?.code)).toEqual(['CLOSED', 'CLOSED']);
    expect(outcomes.flatMap(({ undelivered }) => undelivered)).toEqual(
      [...numbered(12), ...numbered(3, 'next')].map(frame),
    );
  });

  it('closing while a record batch is being compressed hands it back, and the room that it had', async () => {
    const stream = await opened('one', { 'compression.codec': 'gzip' });
    await write(stream, 'one', ['warm']);
    const messages = numbered(5_000, 'much the same ');
    const writing = write(stream, 'one', messages);
    while (bench.budget.encodedBytes === 0) await new Promise((resolve) => setImmediate(resolve));
    await stream.close({ deadlineMs: 0 });
    const { error, undelivered } = await writing;
    expect([error?.code, undelivered]).toEqual(['CLOSED', messages.map(frame)]);
    await expect.poll(() => bench.budget.encodedBytes).toBe(0);
  });

  it('closing while the topic is searched for hands back', async () => {
    const stream = await opened('missing');
    const writing = write(stream, 'missing', numbered(3));
    await expect.poll(() => cluster.requests.Metadata).toBeGreaterThan(1);
    await stream.close({ deadlineMs: 0 });
    expect((await writing).error?.code).toBe('CLOSED');
  });

  it('a stream that failed and is closed says CLOSED', async () => {
    cluster.always.Produce = { kind: 'error', code: ErrorCode.notEnoughReplicas };
    const stream = await opened('one', { 'message.timeout.ms': 30 });
    expect((await write(stream, 'one', ['a'])).error?.code).toBe('UNREACHABLE');
    await stream.close({ deadlineMs: 0 });
    expect((await write(stream, 'one', ['b'])).error?.code).toBe('CLOSED');
  });

  it('a probe that is answered after closing opens nothing again', async () => {
    cluster.always.Produce = { kind: 'error', code: ErrorCode.notEnoughReplicas };
    const stream = await opened('one', { 'message.timeout.ms': 30 });
    await write(stream, 'one', ['a']);
    delete cluster.always.Produce;
    cluster.script.Metadata.push({ kind: 'delay', ms: 20 });
    const probing = stream.probe();
    await stream.close({ deadlineMs: 0 });
    await expect(probing).rejects.toThrow('the stream is closed');
    expect((await write(stream, 'one', ['b'])).error?.code).toBe('CLOSED');
    await expect(stream.probe()).rejects.toThrow('the stream is closed');
  });

  it('a probe of a stream that works disturbs nothing', async () => {
    const stream = await opened('one', { 'batch.num.messages': 2 });
    cluster.always.Produce = { kind: 'delay', ms: 2 };
    const groups = Array.from({ length: 8 }, (_, i) => numbered(10, `batch ${i}`));
    const writing = Promise.all(groups.map((group) => write(stream, 'one', group)));
    await expect.poll(() => cluster.produced.length).toBeGreaterThan(2);
    await stream.probe();
    const after = write(stream, 'one', ['after']);
    await Promise.all([writing, after]);
    expect(appended('one')).toEqual([...groups.flat(), 'after']);
  });

  it('closing the cluster while it connects leaves no connection', async () => {
    const stream = await opened('one');
    cluster.script.ApiVersions.push({ kind: 'delay', ms: 300 });
    const writing = write(stream, 'one', ['a']);
    await expect.poll(() => cluster.requests.ApiVersions).toBe(1);
    await bench.close();
    expect((await writing).error?.code).toBe('CLOSED');
    await expect.poll(() => cluster.openConnections).toBe(0);
  });

  it('a stream that could not be opened opens with its probe: nothing goes out uncompressed', async () => {
    const stream = bench.stream('one', cluster.bootstrap, { 'compression.codec': 'gzip' });
    await stream.probe();
    await write(stream, 'one', numbered(5));
    expect(appended('one')).toEqual(numbered(5));
    expect(decodeRecordBatch(cluster.produced[0]!.recordBatch).codec).toBe('gzip');
  });
});

describe('KafkaStream: little memory', () => {
  const BIG = 'x'.repeat(40_000);

  it('delivers everything when encoded requests have room for one at a time', async () => {
    const own = new KafkaWorkbench({ limitBytes: 200_000 });
    cluster.setTopic(
      'wide',
      Array.from({ length: 12 }, (_, i) => (i % 2) + 1),
    );
    const stream = await own.opened('wide', cluster.bootstrap);
    const frames = Array.from({ length: 60 }, (_, i) => ({ key: `user-${i}`, message: `${BIG}${i}` }));
    const outcomes = await Promise.all(
      [0, 20, 40].map((from) => own.write(stream, 'wide', frames.slice(from, from + 20))),
    );
    expect(outcomes.map(({ settled }) => settled.delivered)).toEqual([20, 20, 20]);
    expect(appendedOfAll('wide', 12).sort()).toEqual(frames.map(({ message }) => message).sort());
    await own.close();
    expect(own.budget.heldBytes).toBe(0);
  });

  it('a retry that holds all the room is sent, although others wait for room', async () => {
    const own = new KafkaWorkbench({ limitBytes: 200_000 });
    cluster.setTopic(
      'wide',
      Array.from({ length: 12 }, () => 1),
    );
    const stream = await own.opened('wide', cluster.bootstrap);
    for (let i = 0; i < 6; i++)
      cluster.script.Produce.push({ kind: 'error', code: ErrorCode.notEnoughReplicas });
    const frames = Array.from({ length: 60 }, (_, i) => ({ key: `user-${i}`, message: `${BIG}${i}` }));
    expect((await own.write(stream, 'wide', frames)).settled.delivered).toBe(60);
    await own.close();
    expect(own.budget.heldBytes).toBe(0);
  });

  it('hands all back at the deadline, although some never had room', async () => {
    const own = new KafkaWorkbench({ limitBytes: 200_000 });
    cluster.setTopic(
      'wide',
      Array.from({ length: 12 }, () => 1),
    );
    cluster.always.Produce = { kind: 'error', code: ErrorCode.notEnoughReplicas };
    const stream = await own.opened('wide', cluster.bootstrap, { 'message.timeout.ms': 60 });
    const frames = Array.from({ length: 60 }, (_, i) => ({ key: `user-${i}`, message: `${BIG}${i}` }));
    expect((await own.write(stream, 'wide', frames)).undelivered).toEqual(frames);
    delete cluster.always.Produce;
    await stream.probe();
    expect((await own.write(stream, 'wide', frames)).settled.delivered).toBe(60);
    await own.close();
    expect(own.budget.heldBytes).toBe(0);
    expect(own.budget.takeEncoded(1e9)).toBe(true);
  });

  it('closes at once while queues wait for room', async () => {
    const own = new KafkaWorkbench({ limitBytes: 200_000 });
    cluster.setTopic(
      'wide',
      Array.from({ length: 12 }, () => 1),
    );
    cluster.always.Produce = { kind: 'swallow' };
    const stream = await own.opened('wide', cluster.bootstrap, { 'compression.codec': 'gzip' });
    const frames = Array.from({ length: 60 }, (_, i) => ({ key: `user-${i}`, message: `${BIG}${i}` }));
    const writing = own.write(stream, 'wide', frames);
    await expect.poll(() => cluster.produced.length).toBeGreaterThan(0);
    await stream.close({ deadlineMs: 0 });
    expect((await writing).undelivered).toEqual(frames);
    await own.close();
    await expect.poll(() => own.budget.heldBytes).toBe(0);
    expect(own.budget.takeEncoded(1e9)).toBe(true);
  });
});
