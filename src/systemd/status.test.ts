// The sentence of `systemctl status`.
import { expect, test } from 'vitest';
import { noCounts } from '../streams/streamActor.js';
import { statusOf } from './status.js';

const socketCounts = { received: 0, bad: 0, lostFraming: 0, cutFrames: 0 };

test('a daemon at rest', () => {
  expect(statusOf({ socketCounts, streamCounts: new Map([['a/files', noCounts()], ['a/kafka', noCounts()], ['b/c/files', noCounts()]]) })).toBe('2 buckets, 0 frames received, 0 delivered');
});

test('sums over the streams; what went wrong is there when it has happened', () => {
  const streamCounts = new Map([
    ['a/kafka', { ...noCounts(), received: 10, delivered: 4, backedUp: 3, rejected: 2 }],
    ['b/kafka', { ...noCounts(), received: 5, delivered: 5 }],
  ]);
  expect(statusOf({ socketCounts: { ...socketCounts, received: 16, bad: 1 }, streamCounts })).toBe('2 buckets, 16 frames received, 9 delivered, 3 in backups, 2 rejected, 1 bad');
});
