import { describe, expect, test } from 'vitest';
import { parseBucket } from './bucketConfig.js';
import { parseBuckets, type RateLimitConfig } from './buckets.js';
import { Problems } from './problems.js';

const STREAM_IDS = {
  all: ['kafka', 'files', 'bare'],
  kafka: new Set(['kafka']),
  backedUp: new Set(['kafka', 'files']),
};

function read(
  rateLimit: unknown,
  streams: readonly string[] = ['kafka'],
): { limit: RateLimitConfig | undefined; problems: readonly string[] } {
  const problems = new Problems();
  return {
    limit: parseBucket({ id: 'requests', streams, rateLimit }, 'buckets[0]', STREAM_IDS, problems)?.rateLimit,
    problems: problems.lines,
  };
}

describe('rateLimit', () => {
  test('frames and perMs are needed; what is over it is rejected unless said otherwise', () => {
    expect(read({ frames: 100, perMs: '1000' })).toEqual({
      limit: { frames: 100, perMs: 1000, over: 'reject' },
      problems: [],
    });
    expect(read({ frames: 1, perMs: 1, over: 'backup' })).toEqual({
      limit: { frames: 1, perMs: 1, over: 'backup' },
      problems: [],
    });
    expect(read(undefined)).toEqual({ limit: undefined, problems: [] });
    expect(read({}).problems).toEqual([
      'buckets[0].rateLimit.frames: nothing is not a whole number from 1 to 1000000000',
      'buckets[0].rateLimit.perMs: nothing is not a whole number from 1 to 86400000',
    ]);
  });

  test.each([
    ['frames', 0, '0 is not a whole number from 1 to 1000000000'],
    ['frames', 1.5, '1.5 is not a whole number from 1 to 1000000000'],
    ['perMs', 86_400_001, '86400001 is not a whole number from 1 to 86400000'],
    ['over', 'drop', '"drop" is not one of reject, backup'],
    ['perms', 5, 'unknown; did you mean "perMs"?'],
    ['frame', 5, 'unknown; did you mean "frames"?'],
  ])('%s: %s', (key, value, problem) => {
    expect(read({ frames: 100, perMs: 1000, [key]: value }).problems).toEqual([
      `buckets[0].rateLimit.${key}: ${problem}`,
    ]);
  });

  test.each([
    [5, '5'],
    [null, 'null'],
    ['100/s', '"100/s"'],
    [[], 'a list'],
  ])('%j is no object', (value, shown) => {
    expect(read(value).problems).toEqual([`buckets[0].rateLimit: ${shown} is not an object`]);
  });

  test('over: "backup" needs a backup in every stream; each that has none is named', () => {
    const limit = { frames: 100, perMs: 1000, over: 'backup' };
    expect(read(limit, ['kafka', 'files']).problems).toEqual([]);
    expect(read(limit, ['kafka', 'bare']).problems).toEqual([
      'buckets[0].rateLimit.over: "backup" needs a backup in every stream of the bucket, and "bare" has none; give it one, or write "reject"',
    ]);
    expect(read({ ...limit, over: 'reject' }, ['bare']).problems).toEqual([]);
    // A stream that is not there is told once.
    expect(read(limit, ['kafka', 'kafke']).problems).toEqual([
      'buckets[0].streams[1]: no stream "kafke" in streamsConfigs; did you mean "kafka"?',
    ]);
  });

  test('defaultBucket has one too, and it is looked for in the streams as they are written', () => {
    const file = { type: 'file', settings: { path: 'data', fileNameTemplate: '{bucket}.x' } };
    const config = (backup: object): string =>
      JSON.stringify({
        streamsConfigs: { files: { ...file, ...backup } },
        buckets: [{ id: 'a', streams: ['files'] }],
        defaultBucket: { streams: ['files'], rateLimit: { frames: 1, perMs: 1000, over: 'backup' } },
      });
    expect(
      parseBuckets(config({ backup: { ...file, settings: { path: 'backup' } } }), 'b.json').defaultBucket
        ?.rateLimit,
    ).toEqual({ frames: 1, perMs: 1000, over: 'backup' });
    expect(() => parseBuckets(config({}), 'b.json')).toThrow(
      'b.json: defaultBucket.rateLimit.over: "backup" needs a backup in every stream of the bucket, and "files" has none',
    );
  });
});
