import { describe, expect, test } from 'vitest';
import { bucketSnapshot, streamSnapshot } from '../../support/snapshots.js';
import type { DiscardCount } from '../losses/discards.js';
import { newAccount } from '../streams/account.js';
import { foldBuckets, foldDiscards } from './fold.js';

describe('foldBuckets', () => {
  test('up to the bound all are shown as they are', () => {
    const buckets = [bucketSnapshot('a'), bucketSnapshot('b')];
    expect(foldBuckets(buckets, 2)).toEqual(buckets);
  });

  test('those beyond it are added up, stream by stream, and nothing is lost', () => {
    const stream = (more: object) =>
      streamSnapshot({
        account: { ...newAccount(), received: 5, delivered: 3, queued: 2 },
        retries: 1,
        ...more,
      });
    const folded = foldBuckets(
      [
        bucketSnapshot('a'),
        bucketSnapshot('b', [stream({ modeSinceMs: 7 }), stream({ id: 'files', isAlive: false })], {
          open: { frames: 1, bytes: 2 },
        }),
        bucketSnapshot('c', [
          stream({
            mode: 'error',
            modeSinceMs: 9,
            lastProblem: { text: 'away', atMs: 8 },
            backedUp: { files: 1, bytes: 2, isBeingSent: true },
          }),
        ]),
      ],
      2,
    );
    expect(folded.map(({ name }) => name)).toEqual(['a', '_other']);
    expect(folded[1]).toMatchObject({
      closed: { batches: 2, frames: 20, bytes: 200 },
      open: { frames: 1, bytes: 2 },
    });
    expect(folded[1]!.streams).toMatchObject([
      {
        id: 'kafka',
        isAlive: true,
        mode: 'error',
        modeSinceMs: 9,
        modeMs: { normal: 2_000 },
        retries: 2,
        account: { received: 10, delivered: 6, queued: 4 },
        lastProblem: { text: 'away' },
        backedUp: { files: 1, bytes: 2, isBeingSent: true },
      },
      { id: 'files', isAlive: false, mode: 'normal', account: { received: 5, delivered: 3, queued: 2 } },
    ]);
  });

  test('frames over rate limits are added up, and a bucket without a limit adds none', () => {
    const limited = (name: string, reject: number) =>
      bucketSnapshot(name, [streamSnapshot()], { overLimit: { reject } });
    const fold = (...buckets: readonly ReturnType<typeof bucketSnapshot>[]) =>
      foldBuckets([bucketSnapshot('a'), ...buckets], 1)[1]!;
    expect(fold(limited('b', 2), bucketSnapshot('c'), limited('d', 5))).toMatchObject({
      name: '_other',
      overLimit: { reject: 7 },
    });
    expect(fold(bucketSnapshot('b'), limited('c', 2))).toMatchObject({
      name: '_other',
      overLimit: { reject: 2 },
    });
    expect(fold(bucketSnapshot('b'), bucketSnapshot('c')).overLimit).toBeUndefined();
  });

  test('who is shown once stays so when more come', () => {
    const buckets = Array.from({ length: 50 }, (_, i) => bucketSnapshot(`b${i}`));
    expect(foldBuckets(buckets, 10).map(({ name }) => name)).toEqual([
      ...buckets.slice(0, 10).map(({ name }) => name),
      '_other',
    ]);
    expect(foldBuckets(buckets.slice(0, 20), 10).slice(0, 10)).toEqual(foldBuckets(buckets, 10).slice(0, 10));
  });
});

test('foldDiscards: the rest is one line', () => {
  const discards = Array.from({ length: 5 }, (_, i): DiscardCount => ({
    bucket: `b${i}`,
    stream: 's',
    reason: 'r',
    frames: 1,
    bytes: 10,
    firstMs: i,
    lastMs: 10 + i,
  }));
  expect(foldDiscards(discards, 5)).toEqual(discards);
  expect(foldDiscards(discards, 3)).toEqual([
    ...discards.slice(0, 3),
    { bucket: '_other', stream: '*', reason: 'any', frames: 2, bytes: 20, firstMs: 3, lastMs: 14 },
  ]);
});
