import { describe, expect, test } from 'vitest';
import { parseBucket } from './bucketConfig.js';
import { parseBuckets, type RateLimitConfig } from './buckets.js';
import { Problems } from './problems.js';

const STREAM_IDS = {
  all: ['kafka', 'files', 'bare'],
  kafka: new Set(['kafka']),
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
    expect(read({ frames: 1, perMs: 1, over: 'reject' })).toEqual({
      limit: { frames: 1, perMs: 1, over: 'reject' },
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
    ['over', 'drop', '"drop" is not one of reject'],
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

  const GONE =
    'rateLimit.over: "backup" is not there any more: frames over the limit go to REJECTED, and kahe replay --rate sends them later; write "reject", or leave it out';

  test('over: "backup" is told with what to do, beside what else is wrong', () => {
    expect(read({ frames: 100, perMs: 1000, over: 'backup' }).problems).toEqual([`buckets[0].${GONE}`]);
    expect(read({ frames: 0, perMs: 1000, over: 'backup' }).problems).toEqual([
      `buckets[0].${GONE}`,
      'buckets[0].rateLimit.frames: 0 is not a whole number from 1 to 1000000000',
    ]);
  });

  test('defaultBucket has one too, under the same rule', () => {
    const config = (over: string): string =>
      JSON.stringify({
        streamsConfigs: {
          files: { type: 'file', settings: { path: 'data', fileNameTemplate: '{bucket}.x' } },
        },
        buckets: [{ id: 'a', streams: ['files'] }],
        defaultBucket: { streams: ['files'], rateLimit: { frames: 1, perMs: 1000, over } },
      });
    expect(parseBuckets(config('reject'), 'b.json').defaultBucket?.rateLimit).toEqual({
      frames: 1,
      perMs: 1000,
      over: 'reject',
    });
    expect(() => parseBuckets(config('backup'), 'b.json')).toThrow(`b.json: defaultBucket.${GONE}`);
  });
});
