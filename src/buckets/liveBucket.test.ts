// A bucket whose place in the configuration changes.
import { expect, test } from 'vitest';
import { ActorBench, MB } from '../../support/bench.js';
import { turn } from '../../support/fakeClock.js';
import type { RouterMessage } from './messages.js';
import { Actor, type ActorContext } from '../actors/actor.js';
import { parseBuckets } from '../config/buckets.js';
import type { BucketMaker } from './bucketMaker.js';
import { BucketPlaces, type Place } from './bucketPlaces.js';
import { newBucketRecord } from './bucketRecord.js';
import { LiveBucket } from './liveBucket.js';

class Nobody extends Actor<RouterMessage> {
  receive(): void {
    return;
  }

  drain(): void {
    return;
  }
}

function placeWith(batch: number): Place {
  const config = {
    streamsConfigs: { kafka: { type: 'kafka', settings: { 'bootstrap.servers': 'localhost:9092' } } },
    buckets: [{ id: 'orders', streams: ['kafka'], batch, batchTimeout: 500 }],
  };
  return new BucketPlaces(parseBuckets(JSON.stringify(config), 'buckets.json')).of('orders')!;
}

function newBench(): {
  bucket: LiveBucket;
  faults: Error[];
  changes: () => number;
  goOn: () => void;
} {
  const { system } = new ActorBench({ memoryBytes: MB });
  const faults: Error[] = [];
  let changes = 0;
  const taken: (() => void)[] = [];
  const reconfigure = async (): Promise<void> => {
    changes++;
    await new Promise<void>((resolve) => taken.push(resolve));
  };
  const maker = {
    parts: { records: { of: newBucketRecord } },
    lastingParts: () => ({ streams: { reconfigure }, backlog: {} }),
    changedParts: () => {
      const fault = faults.shift();
      if (fault !== undefined) throw fault;
      return { streams: { removed: [], changed: [], added: [] }, limiter: undefined };
    },
  } as unknown as BucketMaker;
  let context!: ActorContext<RouterMessage>;
  system.spawn<RouterMessage>('', (of) => {
    context = of;
    return new Nobody();
  });
  const bucket = new LiveBucket(context, 'orders', placeWith(10), maker);
  return { bucket, faults, changes: () => changes, goOn: () => taken.forEach((resolve) => resolve()) };
}

test('a change that failed is made when the same place comes again', async () => {
  const { bucket, faults, changes, goOn } = newBench();
  faults.push(new Error('a fault of our own'));
  expect(() => bucket.reconfigure(placeWith(20))).toThrow('a fault of our own');
  const changed = bucket.reconfigure(placeWith(20));
  goOn();
  await changed;
  expect(changes()).toBe(1);
});

test('a place that comes again is taken when the change that it has begun is', async () => {
  const { bucket, changes, goOn } = newBench();
  void bucket.reconfigure(placeWith(20));
  let isTaken = false;
  void bucket.reconfigure(placeWith(20)).then(() => (isTaken = true));
  await turn();
  expect(isTaken).toBe(false);
  goOn();
  await turn();
  expect([isTaken, changes()]).toEqual([true, 1]);
});
