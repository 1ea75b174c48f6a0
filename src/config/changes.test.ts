// What counts as a change of the configuration, and how it is told.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseBuckets } from './buckets.js';
import { bucketChange, changesBetween, describeChanges, wholeBucket } from './changes.js';

const file = (path: string, more = {}): object => ({ type: 'file', settings: { path, ...more } });
const STREAMS = { a: file('/a'), b: file('/b'), c: file('/c', { sizeRotate: '10MB' }) };
const parse = (raw: object, cwd = '/'): ReturnType<typeof parseBuckets> =>
  parseBuckets(JSON.stringify(raw), 'buckets.json', cwd);
const config = (buckets: readonly object[], more: object = {}): ReturnType<typeof parseBuckets> =>
  parse({ streamsConfigs: STREAMS, buckets, ...more });
const told = (before: object, after: object): string =>
  describeChanges(changesBetween(parse(before), parse(after)));

describe('changesBetween', () => {
  test('the same thing written otherwise is no change', () => {
    const before = parse(
      {
        streamsConfigs: { a: file('a'), b: file('b') },
        buckets: [
          { id: 'x', streams: ['a', 'b'] },
          { id: 'y', streams: ['a'] },
        ],
      },
      '/data',
    );
    const after = parse({
      streamsConfigs: { b: file('/data/b'), a: { ...file('/data/a'), slice: 1 } },
      buckets: [
        { id: 'y', streams: ['a'], batch: 10_000 },
        { id: 'x', streams: ['b', 'a'], batchBytes: '976KB' },
      ],
    });
    expect(changesBetween(before, after)).toEqual({ added: [], removed: [], changed: new Map() });
    expect(describeChanges(changesBetween(before, after))).toBe('nothing has changed');
  });

  test('buckets that come, go and change', () => {
    const before = config([
      { id: 'same', streams: ['a'] },
      { id: 'gone', streams: ['a'] },
      { id: 'other', streams: ['a', 'b'] },
    ]);
    const after = config([
      { id: 'new', streams: ['a'] },
      { id: 'same', streams: ['a'] },
      { id: 'other', streams: ['c', 'b'], batch: 5, batchTimeout: 7 },
    ]);
    const changes = changesBetween(before, after);
    expect(changes).toEqual({
      added: ['buckets.new'],
      removed: ['buckets.gone'],
      changed: new Map([
        [
          'buckets.other',
          {
            settings: expect.arrayContaining(['batch', 'batchTimeout']) as string[],
            added: ['c'],
            removed: ['a'],
            changed: [],
          },
        ],
      ]),
    });
    expect(describeChanges(changes)).toMatch(
      /^added buckets\.new; removed buckets\.gone; changed buckets\.other \((batch, batchTimeout|batchTimeout, batch), new stream c, without stream a\)$/,
    );
  });

  test('a stream that changes changes each bucket that has it, and no other', () => {
    const before = {
      streamsConfigs: STREAMS,
      buckets: [
        { id: 'x', streams: ['a'] },
        { id: 'y', streams: ['b'] },
      ],
      defaultBucket: { streams: ['a', 'b'] },
    };
    const backup = { ...file('/a'), backup: file('/backup') };
    expect(told(before, { ...before, streamsConfigs: { ...STREAMS, a: backup } })).toBe(
      'changed buckets.x (changed stream a); changed defaultBucket (changed stream a)',
    );
    expect(
      told(
        { ...before, streamsConfigs: { ...STREAMS, a: backup } },
        {
          ...before,
          streamsConfigs: { ...STREAMS, a: { ...backup, backup: { ...file('/backup'), replay: 'manual' } } },
        },
      ),
    ).toBe('changed buckets.x (changed stream a); changed defaultBucket (changed stream a)');
    expect(told(before, { ...before, streamsConfigs: { ...STREAMS, c: file('/elsewhere') } })).toBe(
      'nothing has changed',
    );
  });

  test('defaultBucket is not a bucket of that name', () => {
    const bucket = { id: 'defaultBucket', streams: ['a'] };
    const [before, after] = [
      { streamsConfigs: STREAMS, buckets: [bucket] },
      { streamsConfigs: STREAMS, buckets: [bucket], defaultBucket: { streams: ['a'] } },
    ];
    expect([told(before, after), told(after, before)]).toEqual([
      'added defaultBucket',
      'removed defaultBucket',
    ]);
    expect(told(after, { ...after, defaultBucket: { id: 'other', streams: ['a'] } })).toBe(
      'nothing has changed',
    );
  });

  test('of a Kafka stream each setting counts, also one that is secret, and none is told', () => {
    const kafka = (more: object): object => ({
      streamsConfigs: {
        kafka: {
          type: 'kafka',
          settings: {
            'bootstrap.servers': 'k:9092',
            'security.protocol': 'sasl_plaintext',
            'sasl.mechanisms': 'PLAIN',
            'sasl.username': 'u',
            'sasl.password': 'one',
            ...more,
          },
        },
      },
      buckets: [{ id: 'x', streams: ['kafka'] }],
    });
    expect(told(kafka({}), kafka({}))).toBe('nothing has changed');
    for (const more of [{ 'sasl.password': 'two' }, { 'bootstrap.servers': 'l:9092' }, { acks: 1 }])
      expect(told(kafka({}), kafka(more))).toBe('changed buckets.x (changed stream kafka)');
  });
});

describe('bucketChange', () => {
  const ids = fc.uniqueArray(fc.constantFrom('a', 'b', 'c'), { minLength: 1 });
  const bucket = fc.record({
    id: fc.constantFrom('x', 'y'),
    streams: ids,
    batch: fc.constantFrom(1, 2),
    batchTimeout: fc.constantFrom(10, 20),
  });

  test('any two: what is added one way is removed the other way, and what is the same is nowhere', () => {
    fc.assert(
      fc.property(bucket, bucket, fc.boolean(), (one, two, isChanged) => {
        const [before, after] = [
          config([one]),
          parse({
            streamsConfigs: isChanged ? { ...STREAMS, a: file('/elsewhere') } : STREAMS,
            buckets: [two],
          }),
        ];
        const [whole, other] = [
          wholeBucket(before.buckets[0]!, before),
          wholeBucket(after.buckets[0]!, after),
        ];
        const [there, back] = [bucketChange(whole, other), bucketChange(other, whole)];
        const kept = one.streams.filter((id) => two.streams.includes(id));
        const isSame =
          one.batch === two.batch &&
          one.batchTimeout === two.batchTimeout &&
          kept.length === one.streams.length &&
          kept.length === two.streams.length &&
          !(isChanged && kept.includes('a'));
        expect([there === undefined, back === undefined]).toEqual([isSame, isSame]);
        if (there === undefined || back === undefined) return;
        expect([...there.added].sort()).toEqual([...back.removed].sort());
        expect([...there.changed].sort()).toEqual([...back.changed].sort());
        expect(there.changed).toEqual(isChanged && kept.includes('a') ? ['a'] : []);
        expect([...there.added].sort()).toEqual(two.streams.filter((id) => !one.streams.includes(id)).sort());
      }),
    );
  });
});
