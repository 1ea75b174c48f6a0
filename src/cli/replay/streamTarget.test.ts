// Straight to a stream: what it hands back is written again, in order, once it is well.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { FakeClock, turn } from '../../../support/fakeClock.js';
import { FakeStream } from '../../../support/fakeStream.js';
import { framesOf } from '../../../support/frames.js';
import { newFolder } from '../../../support/newFolder.js';
import { Log } from '../../log/log.js';
import { StreamTarget } from './streamTarget.js';
import { parseBuckets } from '../../config/buckets.js';

const CONFIG = parseBuckets(
  JSON.stringify({
    streamsConfigs: { kafka: { type: 'kafka', settings: { 'bootstrap.servers': 'k:9092' } } },
    buckets: [{ id: 'a', streams: ['kafka'] }],
  }),
  'it',
).streamsConfigs['kafka']!;

let folder: string;
let streams: Map<string, FakeStream>;
let said: string[];
let clock: FakeClock;
let target: StreamTarget;

beforeEach(() => {
  folder = newFolder();
  streams = new Map();
  said = [];
  clock = new FakeClock();
  target = targetWith(100);
});

afterEach(async () => {
  await target.close();
});

function targetWith(maxBuckets: number): StreamTarget {
  return new StreamTarget({
    config: CONFIG,
    environment: {
      rejected: { path: join(folder, 'rejected'), maxBytes: 1e6, isSynced: true, whenFull: 'hold' },
      maxCpus: 1,
      maxBuckets,
    },
    log: new Log('FATAL', () => undefined),
    clock,
    say: (text) => said.push(text),
    makeStream: (bucket) => {
      const stream = new FakeStream();
      streams.set(bucket, stream);
      return stream;
    },
  });
}

function send(...frames: readonly Buffer[]): { isSafe: boolean } {
  const bytes = Buffer.concat(frames);
  const sent = { isSafe: false };
  void target.send({ bytes, frames: frames.length, end: 0 }).then(
    () => (sent.isSafe = true),
    () => undefined,
  );
  return sent;
}

describe('StreamTarget', () => {
  test('each bucket has a stream, which gets its frames in their order; all is safe once all is delivered', async () => {
    const sent = send(framesOf('a', ['1']), framesOf('b', ['2']), framesOf('a', ['3']));
    await turn();
    expect([...streams].map(([bucket, { written }]) => [bucket, written])).toEqual([
      ['a', [['1', '3']]],
      ['b', [['2']]],
    ]);
    streams.get('a')!.deliver();
    await turn();
    expect(sent.isSafe).toBe(false);
    streams.get('b')!.deliver();
    await turn();
    expect(sent.isSafe).toBe(true);
  });

  test('what is handed back is written again once a probe is answered; said once', async () => {
    const sent = send(framesOf('a', ['1', '2', '3']));
    await turn();
    const stream = streams.get('a')!;
    stream.deliver(0, 1);
    stream.fail('nothing answers');
    await turn();
    for (let i = 0; i < 3; i++) {
      stream.answerProbe('not yet');
      await turn();
      clock.advance(10_000);
      await turn();
    }
    stream.answerProbe();
    await turn();
    expect(stream.written).toEqual([
      ['1', '2', '3'],
      ['2', '3'],
    ]);
    stream.deliver();
    await turn();
    expect(stream.delivered).toEqual(['1', '2', '3']);
    expect(sent.isSafe).toBe(true);
    expect(said).toEqual([
      'stream kafka: nothing answers; tried again, nothing is lost',
      'stream kafka: it is back, and it goes on',
    ]);
  });

  test('a name that is no topic is kept with its reason; what the stream rejects is counted', async () => {
    const sent = send(framesOf('no topic', ['1', '2']), framesOf('a', ['3']));
    await turn();
    expect([...streams.keys()]).toEqual(['a']);
    streams.get('a')!.refuse();
    await vi.waitUntil(() => sent.isSafe);
    expect(await target.outcome()).toMatchObject({
      frames: 3,
      outcomes: { delivered: 0, rejected: 3, discarded: 0 },
    });
    await target.close();
    expect(await readdir(join(folder, 'rejected'))).toHaveLength(2);
  });

  test('more buckets than may be at a time: streams that have nothing to do are closed first', async () => {
    target = targetWith(2);
    for (const bucket of ['a', 'b', 'c']) {
      const sent = send(framesOf(bucket, ['1']));
      await turn();
      streams.get(bucket)!.deliver();
      await turn();
      expect(sent.isSafe).toBe(true);
    }
    expect([...streams].map(([bucket, { closes }]) => [bucket, closes.length])).toEqual([
      ['a', 1],
      ['b', 1],
      ['c', 0],
    ]);
  });

  test('closed in the midst: what waits fails, and nothing is said to be safe', async () => {
    const sent = send(framesOf('a', ['1']));
    await turn();
    streams.get('a')!.fail();
    await turn();
    await target.close();
    streams.get('a')!.answerProbe('closed');
    await turn();
    expect(sent.isSafe).toBe(false);
  });
});
