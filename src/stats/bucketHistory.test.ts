// Records of buckets: what those that have ended counted stays in the sums, and names that clients make up
// don't fill the memory.
import { describe, expect, test } from 'vitest';
import type { BucketRecord } from '../buckets/bucketRecord.js';
import { BucketHistory } from './bucketHistory.js';
import { type Account, newAccount } from '../streams/account.js';
import { BackupLedger } from '../streams/backup/backupLedger.js';
import { StreamStats } from '../streams/streamStats.js';

function recordOf(name: string, account: Partial<Account> = {}): BucketRecord {
  const stats = new StreamStats(() => 0);
  stats.enter('error', 'the folder is gone');
  return {
    name,
    isOnDemand: true,
    backlog: undefined,
    limitWindow: undefined,
    overLimit: undefined,
    streams: [
      {
        id: 'files',
        type: 'file',
        backupType: undefined,
        account: { ...newAccount(), ...account },
        ledger: new BackupLedger(newAccount()),
        stats,
        ref: undefined,
        backedUp: () => undefined,
      },
    ],
  };
}

function historyOf(...all: readonly BucketRecord[]): BucketHistory {
  const history = new BucketHistory(2);
  for (const record of all) Object.assign(history.of(record.name), record);
  return history;
}

const delivered = (frames: number): Partial<Account> => ({ received: frames, delivered: frames });

describe('BucketHistory', () => {
  test('beyond the bound those that ended first are added up, and the sum of all stays', () => {
    const history = historyOf(...['a', 'b', 'c', 'd'].map((name, i) => recordOf(name, delivered(10 ** i))));
    for (const name of ['b', 'a', 'd', 'c']) history.ended(name);
    expect([...history.accounts.keys()]).toEqual(['c/files', 'd/files', '_other/files']);
    expect(history.accounts.get('_other/files')).toEqual({ ...newAccount(), ...delivered(11) });
    expect(history.snapshots.map(({ name, streams }) => [name, streams[0]!.mode])).toEqual([
      ['c', 'error'],
      ['d', 'error'],
      ['_other', 'normal'],
    ]);
  });

  test('one that lives again counts on, and is not among those that have ended', () => {
    const history = historyOf(...['a', 'b', 'c'].map((name) => recordOf(name, delivered(1))));
    history.ended('a');
    history.of('a');
    history.ended('b');
    history.ended('c');
    expect([...history.accounts.keys()]).toEqual(['a/files', 'b/files', 'c/files']);
  });

  test('one with frames that may still go elsewhere is kept for itself', () => {
    const history = historyOf(recordOf('a', { received: 1, backedUp: 1 }), recordOf('b'), recordOf('c'));
    for (const name of ['a', 'b', 'c']) history.ended(name);
    expect([...history.accounts.keys()]).toEqual(['a/files', 'c/files', '_other/files']);
  });

  test('those that the configuration names come first, however late they came', () => {
    const history = historyOf(recordOf('a'), recordOf('b'), { ...recordOf('late'), isOnDemand: false });
    expect(history.snapshots.map(({ name }) => name)).toEqual(['late', 'a', 'b']);
  });

  test('a hundred thousand names leave no more than the bound', () => {
    const history = new BucketHistory(100);
    for (let i = 0; i < 100_000; i++) {
      const record = recordOf(`name ${i}`, delivered(1));
      Object.assign(history.of(record.name), record);
      history.ended(`name ${i}`);
    }
    expect(history.snapshots).toHaveLength(101);
    expect([...history.accounts.values()].reduce((sum, account) => sum + account.delivered, 0)).toBe(100_000);
  });
});
