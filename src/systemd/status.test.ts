// The sentence of `systemctl status`.
import { expect, test } from 'vitest';
import { newAccount } from '../streams/account.js';
import { statusOf } from './status.js';

const received = { frames: 0, bad: 0 };

test('a daemon at rest', () => {
  expect(
    statusOf({
      received,
      unreachable: [],
      accounts: new Map([
        ['a/files', newAccount()],
        ['a/kafka', newAccount()],
        ['b/c/files', newAccount()],
      ]),
    }),
  ).toBe('2 buckets, 0 frames received, 0 delivered');
});

test('sums over the streams; what else became of frames is there when it has happened', () => {
  const accounts = new Map([
    [
      'a/kafka',
      { ...newAccount(), received: 20, delivered: 4, backedUp: 3, rejected: 2, queued: 7, discarded: 4 },
    ],
    ['b/kafka', { ...newAccount(), received: 5, delivered: 5 }],
  ]);
  expect(statusOf({ received: { frames: 26, bad: 1 }, unreachable: [], accounts })).toBe(
    '2 buckets, 26 frames received, 9 delivered, 7 waiting, 3 in backups, 2 rejected, 4 discarded, 1 bad',
  );
});

test('a socket by which no client can come in is told first', () => {
  expect(statusOf({ received, unreachable: ['SOCKET: /run/kahe.sock is gone'], accounts: new Map() })).toBe(
    'SOCKET: /run/kahe.sock is gone, 0 buckets, 0 frames received, 0 delivered',
  );
});
