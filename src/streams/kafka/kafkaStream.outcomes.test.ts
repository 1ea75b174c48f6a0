// How each frame of a batch ended, told by ranges of frames: only where somebody asked for it.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ErrorCode, startFakeCluster, type FakeCluster } from '../../../support/fakeBroker.js';
import {
  KafkaWorkbench,
  endKafka,
  numbered,
  type Frame,
  type LibrdkafkaSettings,
} from '../../../support/kafkaWorkbench.js';
import { decodeRecordBatch } from '../../../support/recordBatchDecoder.js';
import { type SettledRange, eachFrame } from '../../intake/outcome.js';
import { DeliveryError, type Settled } from '../stream.js';

let cluster: FakeCluster;
let bench: KafkaWorkbench;

beforeEach(async () => {
  cluster = await startFakeCluster(2, { one: [1], three: [1, 2, 1] });
  bench = new KafkaWorkbench();
});

afterEach(() => endKafka(bench, cluster));

interface Ended {
  readonly settled: Settled;
  readonly error: DeliveryError | undefined;
}

async function write(
  topic: string,
  messages: readonly (string | Frame)[],
  settings: LibrdkafkaSettings = {},
  wantsOutcomes = true,
): Promise<Ended> {
  const stream = await bench.opened(topic, cluster.bootstrap, settings);
  const batch = bench.batch(topic, messages);
  batch.wantsOutcomes = wantsOutcomes;
  try {
    return { settled: await stream.write(batch), error: undefined };
  } catch (error) {
    if (!(error instanceof DeliveryError)) throw error;
    error.undelivered.release();
    return { settled: error.settled, error };
  } finally {
    batch.release();
  }
}

/** By the frame's place in the batch: how it ended. A frame that is in two ranges is a fault. */
function byFrame(ranges: readonly SettledRange[] | undefined): Map<number, string> {
  const ends = new Map<number, string>();
  for (const range of ranges ?? []) {
    const { outcome } = range;
    let offset = outcome.kind === 'delivered' ? outcome.baseOffset : undefined;
    eachFrame(range, (index) => {
      expect(ends.has(index)).toBe(false);
      if (outcome.kind === 'delivered') ends.set(index, `${outcome.partition}@${offset}`);
      else ends.set(index, 'code' in outcome ? `${outcome.code}: ${outcome.reason}` : outcome.kind);
      if (offset !== undefined) offset++;
    });
  }
  return ends;
}

/** By the message: where it lies in the cluster. */
function placesOf(topic: string, partitions: number): Map<string, string> {
  const places = new Map<string, string>();
  for (let partition = 0; partition < partitions; partition++)
    cluster
      .appended(topic, partition)
      .forEach(({ value }, offset) => places.set(value!.toString(), `${partition}@${offset}`));
  return places;
}

test('over several partitions and record batches each frame has the offset where it lies', async () => {
  const messages = numbered(100);
  const frames = messages.map((message, i): Frame => ({ key: `user-${i % 9}`, message }));
  await write('three', frames, {}, false);
  const first = messages.map((message) => message.replace('message', 'again'));
  const { settled } = await write(
    'three',
    frames.map(({ key }, i) => ({ key, message: first[i]! })),
    { 'batch.num.messages': 7 },
  );
  const places = placesOf('three', 3);
  const ends = byFrame(settled.ranges);
  expect(settled.delivered).toBe(100);
  expect(first.map((_, i) => ends.get(i))).toEqual(first.map((message) => places.get(message)));
});

test('with acks 0 the partition is known, the offset is not', async () => {
  const { settled } = await write('one', ['a', 'b'], { acks: 0 });
  expect(settled.ranges).toEqual([
    { first: 0, frames: 2, outcome: { kind: 'delivered', partition: 0, baseOffset: undefined } },
  ]);
});

test('a frame that is rejected is a range of its own, with a code; nothing is told twice', async () => {
  const messages = numbered(5);
  cluster.judge = (recordBatch) =>
    decodeRecordBatch(recordBatch).records.some(({ value }) => value!.toString() === messages[2])
      ? ErrorCode.messageTooLarge
      : ErrorCode.none;
  const { settled } = await write('one', messages);
  expect([settled.delivered, settled.rejected]).toEqual([4, 1]);
  expect(byFrame(settled.ranges)).toEqual(
    new Map([
      [0, '0@0'],
      [1, '0@1'],
      [2, 'TOO_LARGE: one[0]: MESSAGE_TOO_LARGE'],
      [3, '0@2'],
      [4, '0@3'],
    ]),
  );
});

test('what is handed back is in no range; the rest is', async () => {
  cluster.moveLeader('three', 1, -1);
  const frames = ['user-3', 'user-2', 'user-0'].map((key, i): Frame => ({ key, message: `m${i}` }));
  const { settled, error } = await write('three', frames, { 'message.timeout.ms': 300 });
  expect(error?.code).toBe('AWAY');
  expect([...byFrame(settled.ranges).keys()].sort()).toEqual([0, 2]);
});

test('where nobody asked there are no ranges', async () => {
  const { settled } = await write('one', ['a'], {}, false);
  expect(settled).toEqual({ delivered: 1, rejected: 0 });
});
