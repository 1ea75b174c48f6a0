// One partition's queue by itself: whose time counts, and what is told when nothing of it is sent any more.
// What arrives: kafkaStream.test.ts.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../support/fakeBroker.js';
import { FakeClock } from '../../../support/fakeClock.js';
import { batchOf } from '../../../support/frames.js';
import { decodeRecordBatch } from '../../../support/recordBatchDecoder.js';
import type { Batch } from '../../frames/batch.js';
import { MemoryBudget } from '../../memory/memoryBudget.js';
import { AdaptiveCompression } from './adaptiveCompression.js';
import { KafkaFailure } from '../../kafka/failure.js';
import { PartitionQueue, type PartitionQueueOptions, type Part } from './partitionQueue.js';
import { partitionBatch } from './partitioning.js';
import { partitionerNamed } from './partitioner.js';
import { recordEncoder } from './recordEncoder.js';

const MESSAGE_TIMEOUT_MS = 10_000;
const FIRST_BACK_OFF_MS = 100;
const LONGEST_BACK_OFF_MS = 200;
const STORAGE_ERROR = 56;
const THROTTLED = 89;

let clock: FakeClock;
let budget: MemoryBudget;
let queue: PartitionQueue;
let offers: number;
let quiets: number;
let retries: string[];
let failures: string[];
let delivered: number;
let retimed: number;
let batches: Batch[];

beforeEach(() => {
  clock = new FakeClock();
  budget = new MemoryBudget(64 * 1024 * 1024);
  [offers, quiets, delivered, retimed] = [0, 0, 0, 0];
  [retries, failures, batches] = [[], [], []];
  queue = newQueue();
});

function newQueue(other: Partial<PartitionQueueOptions> = {}): PartitionQueue {
  return new PartitionQueue({
    topic: 'orders',
    partition: 0,
    acks: -1,
    requestTimeoutMs: 5_000,
    socketTimeoutMs: 60_000,
    messageTimeoutMs: MESSAGE_TIMEOUT_MS,
    retryBackoffMs: FIRST_BACK_OFF_MS,
    retryBackoffMaxMs: LONGEST_BACK_OFF_MS,
    replaceRefusedTimestamps: true,
    maxFrames: 1_000,
    maxBytes: 900_000,
    encoder: recordEncoder(),
    codecId: 0,
    compress: undefined,
    adaptive: new AdaptiveCompression(),
    budget,
    clock,
    random: () => 0.5,
    offer: () => offers++,
    onFailed: (_, { code, message }) => failures.push(`${code}: ${message}`),
    onIdle: () => quiets++,
    onRetry: (reason) => retries.push(reason),
    onRetimed: (frames) => (retimed += frames),
    ...other,
  });
}

afterEach(() => {
  for (const batch of batches) batch.release();
  expect([budget.heldBytes, clock.timers]).toEqual([0, 0]);
});

function part(...messages: string[]): Part {
  const batch = batchOf('orders', messages, budget);
  batches.push(batch);
  const range = partitionBatch(batch, 1, partitionerNamed('consistent_random'), 0).get(0)!;
  return { range, onDelivered: (frames) => (delivered += frames), onRejected: () => expect.unreachable() };
}

async function sent(): Promise<string[]> {
  const encoded = await queue.encode();
  return decodeRecordBatch(encoded!.records).records.map(({ value }) => value!.toString());
}

describe('PartitionQueue', () => {
  test('each record batch has all of message.timeout.ms, whatever was sent before it', async () => {
    let tries = 0;
    for (const message of ['a', 'b']) {
      queue.push(part(message));
      for (const passedMs of [0, MESSAGE_TIMEOUT_MS - 1_000]) {
        expect(offers).toBe(++tries);
        expect(await sent()).toEqual([message]);
        clock.advance(passedMs);
        queue.settle(new KafkaFailure('CONNECTION', 'the connection broke'));
        clock.advance(passedMs === 0 ? FIRST_BACK_OFF_MS : LONGEST_BACK_OFF_MS);
      }
      expect(offers).toBe(++tries);
      expect(await sent()).toEqual([message]);
      queue.settle({ errorCode: 0 });
      clock.advance(3_600_000);
    }
    expect([delivered, retries, failures]).toEqual([2, Array(4).fill('the connection broke'), []]);
  });

  test('an error that only time mends is tried after the longest wait; one that may pass, sooner', async () => {
    for (const [errorCode, waitMs] of [
      [ErrorCode.notEnoughReplicas, FIRST_BACK_OFF_MS],
      [THROTTLED, LONGEST_BACK_OFF_MS],
      [STORAGE_ERROR, LONGEST_BACK_OFF_MS],
    ] as const) {
      queue.push(part('a'));
      await sent();
      const before = offers;
      queue.settle({ errorCode });
      clock.advance(waitMs - 1);
      expect([errorCode, offers]).toEqual([errorCode, before]);
      clock.advance(1);
      expect([errorCode, offers]).toEqual([errorCode, before + 1]);
      await sent();
      queue.settle({ errorCode: 0 });
    }
    expect([delivered, failures]).toEqual([3, []]);
  });

  test('a refused time of sending stays for a minute, for a clock that is ahead; then it becomes a new one', async () => {
    queue = newQueue({ messageTimeoutMs: Infinity });
    queue.push(part('a'));
    const timesSent = async (): Promise<number> =>
      decodeRecordBatch((await queue.encode())!.records).records[0]!.timestamp;
    const refuse = (): void => {
      queue.settle({ errorCode: ErrorCode.invalidTimestamp });
      clock.advance(LONGEST_BACK_OFF_MS);
    };
    await timesSent();
    refuse();
    const firstMs = await timesSent();
    for (let tries = 0; tries < 100; tries++) {
      clock.advance(500);
      refuse();
      const sentMs = await timesSent();
      expect(sentMs === firstMs || sentMs - firstMs > 60_000).toBe(true);
    }
    expect(await timesSent()).toBeGreaterThan(firstMs);
    queue.settle({ errorCode: 0 });
    expect([delivered, retimed, failures]).toEqual([1, 1, []]);
  });

  test('when its time is over it says so, with the last reason, and gives back all, in order', async () => {
    const [first, second] = [part('a'), part('b')];
    queue.push(first);
    queue.push(second);
    expect(await sent()).toEqual(['a']);
    clock.advance(MESSAGE_TIMEOUT_MS);
    queue.settle({ errorCode: ErrorCode.notEnoughReplicas });
    expect([retries, failures]).toEqual([
      [],
      [
        `UNREACHABLE: orders[0]: NOT_ENOUGH_REPLICAS; tried for ${MESSAGE_TIMEOUT_MS} ms (message.timeout.ms)`,
      ],
    ]);
    expect(queue.takeBack().map(({ part: left }) => left)).toEqual([first, second]);
  });

  test('offered and not taken when its stream fails: it sends nothing, and says that it is quiet', async () => {
    const only = part('a');
    queue.push(only);
    queue.stop();
    expect([queue.isSending, quiets]).toEqual([true, 0]);
    expect(await queue.encode()).toBeUndefined();
    expect([queue.isSending, quiets]).toEqual([false, 1]);
    expect(queue.takeBack().map(({ part: left }) => left)).toEqual([only]);
  });

  test('stopped while it waits for its next try, it is not offered again', async () => {
    queue.push(part('a'));
    await sent();
    queue.settle(new KafkaFailure('CONNECTION', 'the connection broke'));
    queue.takeBack();
    expect(clock.timers).toBe(0);
    clock.advance(LONGEST_BACK_OFF_MS);
    expect(offers).toBe(1);
  });
});
