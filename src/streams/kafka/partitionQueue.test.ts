// One partition by itself: whose time counts, what becomes of each answer, and what is left when nothing of
// it is sent any more. What arrives: kafkaStream.test.ts.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../support/fakeBroker.js';
import { batchOf } from '../../../support/frames.js';
import { decodeRecordBatch } from '../../../support/recordBatchDecoder.js';
import type { Batch } from '../../frames/batch.js';
import { KafkaFailure } from '../../kafka/failure.js';
import { MemoryBudget } from '../../memory/memoryBudget.js';
import { AdaptiveCompression } from './adaptiveCompression.js';
import { BatchEncoder } from './batchEncoder.js';
import { PartitionQueue, type PartitionQueueOptions, type QueueStep } from './partitionQueue.js';
import { partitionBatch } from './partitioning.js';
import { partitionerNamed } from './partitioner.js';
import type { FrameRange } from './recordBatch.js';
import { recordEncoder } from './recordEncoder.js';
import type { Answer } from './sender.js';

const MESSAGE_TIMEOUT_MS = 10_000;
const FIRST_BACK_OFF_MS = 100;
const LONGEST_BACK_OFF_MS = 200;
const STORAGE_ERROR = 56;
const THROTTLED = 89;
const START_MS = 1_700_000_000_000;
const BROKEN = new KafkaFailure('CONNECTION', 'the connection broke');
const LIMIT_BYTES = 64 * 1024 * 1024;

const OFFERED = { kind: 'offer', refresh: false };
const OFFERED_ANEW = { kind: 'offer', refresh: true };
const IDLE = { kind: 'idle' };

let nowMs: number;
let budget: MemoryBudget;
let queue: PartitionQueue;
let batches: Batch[];

beforeEach(() => {
  nowMs = START_MS;
  budget = new MemoryBudget(LIMIT_BYTES);
  batches = [];
  queue = newQueue();
});

afterEach(() => {
  for (const batch of batches) batch.release();
  expect(budget.heldBytes).toBe(0);
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
    encoder: new BatchEncoder({
      maxFrames: 1_000,
      maxBytes: 900_000,
      encoder: recordEncoder(),
      codecId: 0,
      compress: undefined,
      adaptive: new AdaptiveCompression(),
      budget,
    }),
    random: () => 0.5,
    ...other,
  });
}

function rangeOf(...messages: string[]): FrameRange {
  const batch = batchOf('orders', messages, budget);
  batches.push(batch);
  return partitionBatch(batch, 1, partitionerNamed('consistent_random'), 0).get(0)!;
}

function push(...messages: string[]): FrameRange {
  const range = rangeOf(...messages);
  queue.push({ range }, nowMs);
  return range;
}

async function sent(): Promise<string[]> {
  const encoded = await queue.encode(nowMs);
  return decodeRecordBatch(encoded!.records).records.map(({ value }) => value!.toString());
}

const answer = (errorCode: number, baseOffset = -1n): Answer => ({ errorCode, baseOffset });
const settle = (outcome: Answer | KafkaFailure): QueueStep => queue.settle(outcome, nowMs);
const retryIn = (ms: number, reason: string): object => ({ kind: 'retryAt', atMs: nowMs + ms, reason });

describe('PartitionQueue', () => {
  test('each record batch has all of message.timeout.ms, whatever was sent before it', async () => {
    for (const message of ['a', 'b']) {
      expect(queue.push({ range: rangeOf(message) }, nowMs)).toEqual(OFFERED);
      for (const [passedMs, waitMs] of [
        [0, FIRST_BACK_OFF_MS],
        [MESSAGE_TIMEOUT_MS - 1_000, LONGEST_BACK_OFF_MS],
      ] as const) {
        expect(await sent()).toEqual([message]);
        nowMs += passedMs;
        expect(settle(BROKEN)).toEqual({ action: retryIn(waitMs, 'the connection broke') });
        nowMs += waitMs;
        expect(queue.retry(nowMs)).toEqual(OFFERED_ANEW);
      }
      expect(await sent()).toEqual([message]);
      expect(settle(answer(0)).action).toEqual(IDLE);
      nowMs += 3_600_000;
    }
  });

  test('what is delivered is told once, with where it is, and what comes next is offered', async () => {
    const [first, second] = [push('a', 'b'), push('c')];
    expect(await sent()).toEqual(['a', 'b']);
    expect(settle(answer(0, 700n))).toEqual({
      settled: { range: first, frames: 2, end: { kind: 'delivered', baseOffset: 700n, isRetimed: false } },
      action: OFFERED,
    });
    expect(await sent()).toEqual(['c']);
    expect(settle(answer(0, 702n))).toEqual({
      settled: { range: second, frames: 1, end: { kind: 'delivered', baseOffset: 702n, isRetimed: false } },
      action: IDLE,
    });
  });

  test('the one frame of three that is refused is rejected with a code; the others go before and behind it', async () => {
    for (const [errorCode, code, name] of [
      [ErrorCode.messageTooLarge, 'TOO_LARGE', 'MESSAGE_TOO_LARGE'],
      [87, 'INVALID_RECORD', 'INVALID_RECORD'],
    ] as const) {
      push('a', 'bad', 'c');
      const ends: string[] = [];
      let action: object = OFFERED;
      while ('refresh' in action) {
        const messages = await sent();
        const step = settle(answer(messages.includes('bad') ? errorCode : 0));
        if (step.settled?.end.kind === 'delivered') ends.push(...messages);
        else if (step.settled !== undefined) ends.push(JSON.stringify(step.settled.end));
        action = step.action;
      }
      const reason = `orders[0]: ${name}`;
      expect(ends).toEqual(['a', JSON.stringify({ kind: 'rejected', code, reason }), 'c']);
    }
  });

  test('an error that only time fixes is tried after the longest wait; one that may pass, sooner', async () => {
    for (const [errorCode, waitMs, name] of [
      [ErrorCode.notEnoughReplicas, FIRST_BACK_OFF_MS, 'NOT_ENOUGH_REPLICAS'],
      [THROTTLED, LONGEST_BACK_OFF_MS, 'THROTTLING_QUOTA_EXCEEDED'],
      [STORAGE_ERROR, LONGEST_BACK_OFF_MS, 'KAFKA_STORAGE_ERROR'],
    ] as const) {
      push('a');
      await sent();
      expect(settle(answer(errorCode)).action).toEqual(retryIn(waitMs, `orders[0]: ${name}`));
      nowMs += waitMs;
      expect(queue.retry(nowMs)).toEqual(OFFERED_ANEW);
      expect(await sent()).toEqual(['a']);
      expect(settle(answer(0))).toMatchObject({ settled: { frames: 1 }, action: IDLE });
    }
  });

  test('a refused time of sending stays for a minute, for a clock that is ahead; then it becomes a new one', async () => {
    queue = newQueue({ messageTimeoutMs: Infinity });
    push('a');
    const timesSent = async (): Promise<number> =>
      decodeRecordBatch((await queue.encode(nowMs))!.records).records[0]!.timestamp;
    const refuse = (): void => {
      const { action } = settle(answer(ErrorCode.invalidTimestamp));
      nowMs += LONGEST_BACK_OFF_MS;
      if (action.kind === 'retryAt') expect(queue.retry(nowMs)).toEqual(OFFERED_ANEW);
      else expect(action).toEqual(OFFERED);
    };
    await timesSent();
    refuse();
    const firstMs = await timesSent();
    for (let tries = 0; tries < 100; tries++) {
      nowMs += 500;
      refuse();
      const sentMs = await timesSent();
      expect(sentMs === firstMs || sentMs - firstMs > 60_000).toBe(true);
    }
    expect(await timesSent()).toBeGreaterThan(firstMs);
    expect(settle(answer(0))).toMatchObject({
      settled: { frames: 1, end: { kind: 'delivered', isRetimed: true } },
      action: IDLE,
    });
  });

  test('when its time is over it says so, with the last reason, and gives back all, in order', async () => {
    const [first, second] = [push('a'), push('b')];
    const sinceMs = nowMs;
    expect(await sent()).toEqual(['a']);
    nowMs += MESSAGE_TIMEOUT_MS;
    const message = `orders[0]: NOT_ENOUGH_REPLICAS; tried for ${MESSAGE_TIMEOUT_MS} ms (message.timeout.ms)`;
    expect(settle(answer(ErrorCode.notEnoughReplicas))).toEqual({
      action: { kind: 'failed', failure: { code: 'UNREACHABLE', message, sinceMs, isAnswered: true } },
    });
    expect(queue.takeBack()).toEqual([first, second]);
  });

  test('offered and not taken when its stream fails: it sends nothing, and is sending no more', async () => {
    const only = push('a');
    queue.stop();
    expect(queue.isSending).toBe(true);
    expect(await queue.encode(nowMs)).toBeUndefined();
    expect(queue.unsent()).toEqual(IDLE);
    expect(queue.isSending).toBe(false);
    expect(queue.takeBack()).toEqual([only]);
  });

  test('stopped while it waits for its next try, it is not offered again', async () => {
    const only = push('a');
    await sent();
    expect(settle(BROKEN).action.kind).toBe('retryAt');
    expect(queue.takeBack()).toEqual([only]);
    expect(queue.retry(nowMs + LONGEST_BACK_OFF_MS)).toEqual(IDLE);
  });

  test('an answer that comes after all was taken back means nothing', async () => {
    const only = push('a');
    await sent();
    expect(queue.takeBack()).toEqual([only]);
    expect(settle(answer(0))).toEqual({ action: IDLE });
    expect(settle(BROKEN)).toEqual({ action: IDLE });
  });

  test('without room it waits for that, is not sending meanwhile, and is offered once it is encoded', async () => {
    push('a');
    expect(budget.takeEncoded(LIMIT_BYTES)).toBe(true);
    expect(await queue.encode(nowMs)).toBeUndefined();
    const action = queue.unsent();
    expect([action.kind, queue.isSending]).toEqual(['awaitRoom', false]);
    budget.giveEncoded(LIMIT_BYTES);
    const { roomBytes } = action as { roomBytes: number };
    expect(budget.takeEncoded(roomBytes)).toBe(true);
    expect(await queue.encodeInto(roomBytes, nowMs)).toEqual(OFFERED);
    expect(await sent()).toEqual(['a']);
    expect(settle(answer(0))).toMatchObject({ settled: { frames: 1 }, action: IDLE });
  });

  test('room that comes after all was taken back is given back', async () => {
    const only = push('a');
    expect(budget.takeEncoded(LIMIT_BYTES)).toBe(true);
    expect(await queue.encode(nowMs)).toBeUndefined();
    const { roomBytes } = queue.unsent() as { roomBytes: number };
    expect(queue.takeBack()).toEqual([only]);
    budget.giveEncoded(LIMIT_BYTES);
    expect(budget.takeEncoded(roomBytes)).toBe(true);
    expect(await queue.encodeInto(roomBytes, nowMs)).toEqual(IDLE);
  });
});
