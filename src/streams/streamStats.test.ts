import { expect, test } from 'vitest';
import { StreamStats } from './streamStats.js';

test('the time in each mode, and how often it left normal', () => {
  let nowMs = 1_000;
  const stats = new StreamStats(() => nowMs);
  nowMs += 10;
  stats.enter('backup', 'Kafka is away');
  nowMs += 20;
  stats.enter('error', 'the disk is full');
  nowMs += 30;
  expect(stats.modeMs).toEqual({ normal: 10, backup: 20, error: 30 });
  expect([stats.mode, stats.sinceMs, stats.failures, stats.lastProblem]).toEqual([
    'error',
    1_030,
    1,
    { text: 'the disk is full', atMs: 1_030 },
  ]);
  stats.enter('normal', 'it is back');
  nowMs += 5;
  stats.enter('backup', 'away again');
  expect([stats.failures, stats.lastProblem?.text]).toEqual([2, 'away again']);
  // A clock that is set back.
  nowMs = 0;
  expect(stats.modeMs).toEqual({ normal: 15, backup: 20, error: 30 });
});

test('batches, frames and bytes by where they were written, and those that failed', () => {
  const stats = new StreamStats(() => 7);
  stats.wrote('primary', { frames: 2, bytes: 20 });
  stats.failed('primary', { frames: 1, bytes: 10 }, 'away');
  stats.wrote('backup', { frames: 3, bytes: 30 });
  stats.retried('not back yet');
  expect(stats.written).toEqual({
    primary: { batches: 1, frames: 3, bytes: 30 },
    backup: { batches: 1, frames: 3, bytes: 30 },
  });
  expect([stats.failedBatches, stats.retries, stats.lastProblem]).toEqual([
    1,
    1,
    { text: 'not back yet', atMs: 7 },
  ]);
});

test('of a stream that has ended no time goes by in any mode, until it lives again', () => {
  let nowMs = 0;
  const stats = new StreamStats(() => nowMs);
  stats.enter('error', 'the disk is full');
  nowMs = 10;
  stats.end();
  nowMs = 1_000;
  expect([stats.mode, stats.modeMs, stats.lastProblem?.text]).toEqual([
    'normal',
    { normal: 0, backup: 0, error: 10 },
    'the disk is full',
  ]);
  stats.enter('normal', 'begins anew');
  nowMs = 1_005;
  expect(stats.modeMs).toEqual({ normal: 5, backup: 0, error: 10 });
});
