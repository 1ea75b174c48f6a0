import { expect, test } from 'vitest';
import { StreamStats } from './streamStats.js';

test('the time in each mode, and how often it left normal', () => {
  let nowMs = 1_000;
  const watch = new StreamStats(() => nowMs);
  nowMs += 10;
  watch.enter('backup', 'Kafka is away');
  nowMs += 20;
  watch.enter('error', 'the disk is full');
  nowMs += 30;
  expect(watch.modeMs).toEqual({ normal: 10, backup: 20, error: 30 });
  expect([watch.mode, watch.sinceMs, watch.failures, watch.lastProblem]).toEqual([
    'error',
    1_030,
    1,
    { text: 'the disk is full', atMs: 1_030 },
  ]);
  watch.enter('normal', 'it is back');
  nowMs += 5;
  watch.enter('backup', 'away again');
  expect([watch.failures, watch.lastProblem?.text]).toEqual([2, 'away again']);
  // A clock that is set back.
  nowMs = 0;
  expect(watch.modeMs).toEqual({ normal: 15, backup: 20, error: 30 });
});

test('batches, frames and bytes by where they were written, and those that failed', () => {
  const watch = new StreamStats(() => 7);
  watch.wrote('primary', { frames: 2, bytes: 20 });
  watch.failed('primary', { frames: 1, bytes: 10 }, 'away');
  watch.wrote('backup', { frames: 3, bytes: 30 });
  watch.retried('not back yet');
  expect(watch.written).toEqual({
    primary: { batches: 1, frames: 3, bytes: 30 },
    backup: { batches: 1, frames: 3, bytes: 30 },
  });
  expect([watch.failedBatches, watch.retries, watch.lastProblem]).toEqual([
    1,
    1,
    { text: 'not back yet', atMs: 7 },
  ]);
});

test('of a stream that has ended no time goes by in any mode, until it lives again', () => {
  let nowMs = 0;
  const watch = new StreamStats(() => nowMs);
  watch.enter('error', 'the disk is full');
  nowMs = 10;
  watch.end();
  nowMs = 1_000;
  expect([watch.mode, watch.modeMs, watch.lastProblem?.text]).toEqual([
    'normal',
    { normal: 0, backup: 0, error: 10 },
    'the disk is full',
  ]);
  watch.enter('normal', 'begins anew');
  nowMs = 1_005;
  expect(watch.modeMs).toEqual({ normal: 5, backup: 0, error: 10 });
});
