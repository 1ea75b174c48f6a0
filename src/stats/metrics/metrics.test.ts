import { expect, test } from 'vitest';
import { parseMetrics } from '../../../support/adminDoor.js';
import { bucketSnapshot, snapshot, streamSnapshot } from '../../../support/snapshots.js';
import { newAccount } from '../../streams/account.js';
import { BrokerCounters, LATENCY_BOUNDS } from '../../kafka/brokerStats.js';
import { Metrics } from './metrics.js';
import type { BrokerSnapshot, Snapshot } from '../snapshot.js';

const metrics = new Metrics();
const of = async (shown: Snapshot): Promise<Map<string, number>> => parseMetrics(await metrics.text(shown));

function broker(latenciesMs: readonly number[]): BrokerSnapshot {
  const figures = new BrokerCounters();
  for (const ms of latenciesMs) figures.answered(ms);
  figures.failed('TIMEOUT');
  const { requests, recordBatches, bytes, latency, latencySumSeconds, open, opened } = figures;
  return {
    name: 'kafka:9092',
    requests,
    recordBatches,
    bytes,
    latency,
    latencySumSeconds,
    open,
    opened,
    errors: Object.fromEntries(figures.errors),
  };
}

test('the account of a stream, as it stands in the metrics, adds up', async () => {
  const account = {
    received: 21,
    delivered: 1,
    queued: 2,
    backedUp: 3,
    slicedOut: 4,
    rejected: 5,
    discarded: 6,
  };
  const values = await of(snapshot({ buckets: [bucketSnapshot('a', [streamSnapshot({ account })])] }));
  const ends = [...values]
    .filter(([name]) => /^kahe_stream_(frames_total|held_frames)\{/.test(name))
    .map(([, value]) => value);
  expect(ends.sort()).toEqual([1, 2, 3, 4, 5, 6]);
  expect(values.get('kahe_stream_received_frames_total{bucket="a",stream="kafka"}')).toBe(21);
});

test('the latency is a histogram: steps add up to the count', async () => {
  const values = await of(snapshot({ brokers: [broker([0.5, 1, 1.1, 40, 31_000])] }));
  const at = (le: string): number | undefined =>
    values.get(`kahe_kafka_request_duration_seconds_bucket{broker="kafka:9092",le="${le}"}`);
  expect([at('0.001'), at('0.0025'), at('0.05'), at('30'), at('+Inf')]).toEqual([2, 3, 4, 4, 5]);
  expect([...values.keys()].filter((name) => name.includes('_seconds_bucket'))).toHaveLength(
    LATENCY_BOUNDS.length + 1,
  );
  expect(values.get('kahe_kafka_request_duration_seconds_count{broker="kafka:9092"}')).toBe(5);
  expect(values.get('kahe_kafka_request_duration_seconds_sum{broker="kafka:9092"}')).toBeCloseTo(31.0426);
  expect(values.get('kahe_kafka_errors_total{broker="kafka:9092",code="TIMEOUT"}')).toBe(1);
});

test('many streams, two requests at once: each answer is one snapshot, and the event loop goes on', async () => {
  const many = (received: number): Snapshot =>
    snapshot({
      buckets: Array.from({ length: 1000 }, (_, i) =>
        bucketSnapshot(`b${i}`, [
          streamSnapshot({ account: { ...newAccount(), received, delivered: received } }),
        ]),
      ),
    });
  let turns = 0;
  const counting = setInterval(() => turns++, 0);
  const answers = await Promise.all([of(many(1)), of(many(2))]);
  clearInterval(counting);
  for (const [i, values] of answers.entries()) {
    const received = [...values]
      .filter(([name]) => name.startsWith('kahe_stream_received_frames_total{'))
      .map(([, value]) => value);
    expect(received).toEqual(Array.from({ length: 1000 }, () => i + 1));
  }
  expect(turns).toBeGreaterThan(10);
});

test('what is no more in the snapshot is no more shown, and what is not there shows no value', async () => {
  await of(
    snapshot({
      buckets: [bucketSnapshot('gone')],
      spool: { path: '/s', bytes: 1, maxBytes: 2, isFull: true, failingSegments: 0 },
    }),
  );
  const values = await of(snapshot());
  expect([...values.keys()].filter((name) => name.includes('gone'))).toEqual([]);
  expect(values.has('kahe_spool_bytes')).toBe(false);
  expect(values.has('process_open_fds')).toBe(false);
  expect(values.get('kahe_discarded_frames_total')).toBe(0);
});

test('modes: one of three is 1; of an ended bucket there is none', async () => {
  const values = await of(
    snapshot({
      buckets: [
        bucketSnapshot('a', [streamSnapshot({ mode: 'backup' })]),
        bucketSnapshot('b', [
          streamSnapshot({ isAlive: false, account: { ...newAccount(), delivered: 7, received: 7 } }),
        ]),
      ],
    }),
  );
  expect(
    ['normal', 'backup', 'error'].map((mode) =>
      values.get(`kahe_stream_mode{bucket="a",stream="kafka",mode="${mode}"}`),
    ),
  ).toEqual([0, 1, 0]);
  expect([...values.keys()].filter((name) => name.startsWith('kahe_stream_mode{bucket="b"'))).toEqual([]);
  expect(values.get('kahe_stream_frames_total{bucket="b",stream="kafka",outcome="delivered"}')).toBe(7);
});

test('two buckets whose names come to the same are added up, not shown twice', async () => {
  const values = await of(snapshot({ buckets: [bucketSnapshot('_other'), bucketSnapshot('_other')] }));
  expect(values.get('kahe_bucket_frames_total{bucket="_other"}')).toBe(20);
});

test('reloads: both results from the start, and whether the last one was taken on', async () => {
  const reloads = {
    successes: 3,
    failures: 1,
    wasLastSuccessful: false,
    lastSuccessMs: 5_000,
    problem: 'a mistake',
  };
  const values = await of(snapshot({ reloads }));
  expect(values.get('kahe_config_reloads_total{result="success"}')).toBe(3);
  expect(values.get('kahe_config_reloads_total{result="failure"}')).toBe(1);
  expect(values.get('kahe_config_last_reload_successful')).toBe(0);
  expect(values.get('kahe_config_last_reload_success_timestamp_seconds')).toBe(5);
});
