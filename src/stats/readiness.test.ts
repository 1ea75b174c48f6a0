import { expect, test } from 'vitest';
import { bucketSnapshot, snapshot, streamSnapshot } from '../../support/snapshots.js';
import { readinessOf, reasonsNotReady } from './readiness.js';

test('ready: every stream is in mode normal or backup, and nobody waits', () => {
  expect(
    reasonsNotReady(
      snapshot({ buckets: [bucketSnapshot('a'), bucketSnapshot('b', [streamSnapshot({ mode: 'backup' })])] }),
    ),
  ).toEqual([]);
});

test('not ready: each reason is named', () => {
  const inError = (more: object = {}) =>
    streamSnapshot({ mode: 'error', lastProblem: { text: 'no broker answers', atMs: 1 }, ...more });
  expect(
    reasonsNotReady(
      snapshot({
        isStopping: true,
        unreachable: ['SOCKET: /run/kahe.sock is gone'],
        paused: { isForMemory: true, isForSpool: true, ms: 1, times: 1 },
        buckets: [
          bucketSnapshot('a "b"', [inError()]),
          bucketSnapshot('ended', [inError({ isAlive: false })]),
        ],
      }),
    ),
  ).toEqual([
    'stopping',
    'SOCKET: /run/kahe.sock is gone',
    'clients wait: memory is full (MAXMEMORY)',
    'clients wait: the spool is full, or its disk fails',
    'bucket "a \\"b\\"", stream kafka: mode error: no broker answers',
  ]);
});

test("a thousand streams in error don't make a book of it", () => {
  const buckets = Array.from({ length: 1000 }, (_, i) =>
    bucketSnapshot(`b${i}`, [streamSnapshot({ mode: 'error' })]),
  );
  const reasons = reasonsNotReady(snapshot({ buckets }));
  expect([reasons.length, reasons.at(-1)]).toEqual([21, 'and 980 more streams in mode error']);
});

test("in words: how many streams are in backup; those of a bucket that has ended don't count", () => {
  const inBackup = (isAlive: boolean) => streamSnapshot({ mode: 'backup', isAlive });
  const words = (...streams: ReturnType<typeof streamSnapshot>[]): unknown =>
    readinessOf(
      snapshot({ buckets: [bucketSnapshot('a', [streamSnapshot()]), bucketSnapshot('b', streams)] }),
    );
  expect(words()).toEqual({ state: 'normal', text: 'ready', reasons: [] });
  expect(words(inBackup(false))).toEqual({ state: 'normal', text: 'ready', reasons: [] });
  expect(words(inBackup(true), inBackup(false))).toEqual({
    state: 'backup',
    text: 'ready, 1 stream in backup',
    reasons: [],
  });
  expect(words(inBackup(true), inBackup(true))).toEqual({
    state: 'backup',
    text: 'ready, 2 streams in backup',
    reasons: [],
  });
  expect(words(inBackup(true), streamSnapshot({ mode: 'error' }))).toEqual({
    state: 'error',
    text: 'not ready',
    reasons: ['bucket "b", stream kafka: mode error: no reason is known'],
  });
});
