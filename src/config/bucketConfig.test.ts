import { describe, expect, test } from 'vitest';
import { parseBucket, parseDefaultBucket, type BucketConfig } from './bucketConfig.js';
import { Problems } from './problems.js';

const STREAM_IDS = {
  all: ['kafka_01', 'file_copy'],
  kafka: new Set(['kafka_01']),
};

function read(
  changes: Record<string, unknown>,
  parse = parseBucket,
): { bucket: BucketConfig | undefined; problems: readonly string[] } {
  const problems = new Problems();
  return {
    bucket: parse({ id: 'requests', streams: ['kafka_01'], ...changes }, 'buckets[0]', STREAM_IDS, problems),
    problems: problems.lines,
  };
}

describe('a bucket', () => {
  test('COMPAT batch, batchTimeout missing: 10000, 1000', () => {
    expect(read({}).bucket).toEqual({
      id: 'requests',
      streams: ['kafka_01'],
      batchFrames: 10_000,
      batchTimeoutMs: 1000,
      batchBytes: 976 * 1024,
      rateLimit: undefined,
    });
  });

  test.each([
    ['batch', 1, 10_000_000],
    ['batchTimeout', 1, 3_600_000],
  ])('%s is from %d to %d', (name, min, max) => {
    expect(read({ [name]: min }).problems).toEqual([]);
    expect(read({ [name]: String(max) }).problems).toEqual([]);
    for (const [value, shown] of [
      [0, '0'],
      [max + 1, String(max + 1)],
      ['', '""'],
      [1.5, '1.5'],
      [null, 'null'],
      ['1e3', '"1e3"'],
      [true, 'true'],
    ]) {
      expect(read({ [name]: value }).problems).toEqual([
        `buckets[0].${name}: ${String(shown)} is not a whole number from ${min} to ${max}`,
      ]);
    }
  });

  test('batchBytes is a size from 1KB to 8MB', () => {
    expect(read({ batchBytes: '8MB' }).bucket?.batchBytes).toBe(8 * 1024 ** 2);
    expect(read({ batchBytes: '9MB' }).problems).toEqual([
      'buckets[0].batchBytes: "9MB" is too large; at most 8MB',
    ]);
    expect(read({ batchBytes: 100 }).problems).toEqual([
      'buckets[0].batchBytes: 100 is too small; at least 1KB',
    ]);
  });

  test('COMPAT a bucket naming an unknown stream: error with the path', () => {
    expect(read({ streams: ['kafka_o1'] }).problems).toEqual([
      'buckets[0].streams[0]: no stream "kafka_o1" in streamsConfigs; did you mean "kafka_01"?',
    ]);
    expect(read({ streams: ['zzzzzz'] }).problems).toEqual([
      'buckets[0].streams[0]: no stream "zzzzzz" in streamsConfigs',
    ]);
    expect(read({ streams: 'kafka_01' }).problems).toEqual(['buckets[0].streams: "kafka_01" is not a list']);
    expect(read({ streams: undefined }).problems).toEqual(['buckets[0].streams: missing; expected a list']);
    expect(read({ streams: [] }).problems).toEqual([
      'buckets[0].streams: is empty; name at least one stream of streamsConfigs',
    ]);
  });

  test.each(['a b', 'ünder', '.', '..', 'a/b', 'x'.repeat(250)])(
    'its id must be a topic where it feeds Kafka: %s',
    (id) => {
      expect(read({ id }).problems[0]).toMatch(
        /^buckets\[0\]\.id: ".*" is not a valid Kafka topic: 1 to 249 of/,
      );
      expect(read({ id, streams: ['file_copy'] }).problems).toEqual([]);
    },
  );

  test('its id has 1 to 255 bytes, as in a frame', () => {
    expect(read({ id: 'é'.repeat(127), streams: ['file_copy'] }).problems).toEqual([]);
    expect(read({ id: 'é'.repeat(128), streams: ['file_copy'] }).problems[0]).toMatch(
      / has 256 bytes; a bucket's name has 1 to 255$/,
    );
    expect(read({ id: '' }).problems).toEqual([
      'buckets[0].id: "" has 0 bytes; a bucket\'s name has 1 to 255',
    ]);
    expect(read({ id: undefined }).problems).toEqual(['buckets[0].id: missing; expected a text in quotes']);
    expect(read({ id: 7 }).problems).toEqual(['buckets[0].id: 7 is not a text in quotes']);
  });
});

test('defaultBucket needs no id, and any id is right, for frames bring their own', () => {
  expect(read({ id: undefined }, parseDefaultBucket).bucket?.id).toBe('default');
  expect(read({ id: 'a b' }, parseDefaultBucket).problems).toEqual([]);
});
