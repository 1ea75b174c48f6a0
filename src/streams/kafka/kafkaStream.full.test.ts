// Full frames in a Kafka stream: partitions that they say, which may not be there, or be away, or be added.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type FakeCluster, startFakeCluster } from '../../../support/fakeBroker.js';
import { KafkaWorkbench, endKafka } from '../../../support/kafkaWorkbench.js';
import { encodeFrame } from '../../frames/frame.js';
import { Batch } from '../../frames/batch.js';
import { type FullFrame, encodeFullFrame } from '../../frames/fullFrame.js';
import { partsOf } from '../../frames/frameParts.js';
import { eachFrame } from '../../intake/outcome.js';
import { DeliveryError, type Settled } from '../stream.js';
import type { KafkaStream } from './kafkaStream.js';

let cluster: FakeCluster;
let bench: KafkaWorkbench;

beforeEach(async () => {
  cluster = await startFakeCluster(2, { three: [1, 2, 1] });
  bench = new KafkaWorkbench();
});

afterEach(() => endKafka(bench, cluster));

interface End {
  readonly settled: Settled;
  readonly code: string | undefined;
  readonly undelivered: readonly string[];
}

/** Numbers are partitions of full frames, texts keys of plain ones; a message says its place and what it is. */
async function write(stream: KafkaStream, name: string, frames: readonly (number | string)[]): Promise<End> {
  const batch = new Batch('three', bench.budget);
  batch.wantsOutcomes = true;
  frames.forEach((frame, i) => {
    const value = `${name} ${i}`;
    const full: FullFrame = { bucket: 'three', partition: Number(frame), value };
    const bytes = typeof frame === 'string' ? encodeFrame('three', frame, value) : encodeFullFrame(full);
    batch.append(bytes, 0, bytes.length, 1, Date.now());
  });
  try {
    return { settled: await stream.write(batch), code: undefined, undelivered: [] };
  } catch (error) {
    if (!(error instanceof DeliveryError)) throw error;
    const { undelivered } = error;
    const texts: string[] = [];
    undelivered
      .pick((_, at) => {
        texts.push(partsOf(undelivered.bytes, at).message!.toString());
        return false;
      })
      .release();
    undelivered.release();
    return { settled: error.settled, code: error.code, undelivered: texts };
  } finally {
    batch.release();
  }
}

function appended(partition: number): string[] {
  return cluster.appended('three', partition).map(({ value }) => value!.toString());
}

function outcomes({ settled }: End): (string | undefined)[] {
  const found: string[] = [];
  for (const range of settled.ranges ?? []) {
    const { outcome } = range;
    const text = outcome.kind === 'rejected' ? outcome.code : outcome.kind;
    eachFrame(range, (index) => (found[index] = text));
  }
  return found;
}

test('each goes where it says, in order; those for no partition of the topic are rejected alone, each', async () => {
  const stream = await bench.opened('three', cluster.bootstrap);
  const end = await write(stream, 'm', [0, 2, 3, 0, 1, 2 ** 31 - 1, 2]);
  expect(end.settled).toMatchObject({ delivered: 5, rejected: 2 });
  const [there, not] = ['delivered', 'UNKNOWN_PARTITION'];
  expect(outcomes(end)).toEqual([there, there, not, there, there, not, there]);
  expect([appended(0), appended(1), appended(2)]).toEqual([['m 0', 'm 3'], ['m 4'], ['m 1', 'm 6']]);
  expect(bench.rejections.map(({ reason }) => reason)).toEqual(
    Array.from({ length: 2 }, () => 'topic three has 3 partitions, not the one it is for'),
  );
});

test('a partition that was added is asked for before anything is rejected, but once a second at most', async () => {
  const stream = await bench.opened('three', cluster.bootstrap);
  await write(stream, 'first', [0]);
  const asked = cluster.requests.Metadata;
  for (let i = 0; i < 5; i++) await write(stream, 'none', [3]);
  expect(cluster.requests.Metadata - asked).toBeLessThanOrEqual(1);
  cluster.setTopic('three', [1, 2, 1, 2]);
  await expect
    .poll(async () => (await write(stream, 'added', [3, 0])).settled.rejected, {
      timeout: 10_000,
      interval: 100,
    })
    .toBe(0);
  expect(appended(3)).toEqual(['added 0']);
  expect(
    appended(0)
      .filter((text) => text.startsWith('added'))
      .every((text) => text === 'added 1'),
  ).toBe(true);
});

test('of a partition that is away, those that say it come back; those that say none go elsewhere', async () => {
  const stream = await bench.opened('three', cluster.bootstrap, { 'message.timeout.ms': 300 });
  await write(stream, 'warm', [0, 1, 2]);
  cluster.moveLeader('three', 1, -1);
  const end = await write(stream, 'm', [0, 1, -1, 2, 1, 3]);
  expect(end).toMatchObject({ code: 'AWAY', undelivered: ['m 1', 'm 4'] });
  expect(end.settled).toMatchObject({ delivered: 3, rejected: 1 });
  expect([...appended(0), ...appended(2)].filter((text) => text.startsWith('m')).sort()).toEqual([
    'm 0',
    'm 2',
    'm 3',
  ]);
});

test('while REJECTED can keep nothing, the stream holds them with all behind, and rejects them later', async () => {
  const stream = await bench.opened('three', cluster.bootstrap);
  await write(stream, 'warm', [0]);
  bench.rejected.problem = 'it is full';
  const end = await write(stream, 'm', [0, 7, 8, 1]);
  expect(end.code).toBe('REJECTED');
  expect(end.undelivered).toEqual(expect.arrayContaining(['m 1', 'm 2']));
  expect(await write(stream, 'next', [2])).toMatchObject({ code: 'REJECTED', undelivered: ['next 0'] });
  bench.rejected.problem = undefined;
  await stream.probe();
  expect((await write(stream, 'again', [7, 2])).settled).toMatchObject({ delivered: 1, rejected: 1 });
});
