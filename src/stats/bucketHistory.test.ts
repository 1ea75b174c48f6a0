// Looks of buckets: what those that have ended counted stays in the sums, and names that clients make up
// don't fill the memory.
import { describe, expect, test } from 'vitest';
import type { BucketLook } from '../buckets/bucketRecord.js';
import { Looks } from './bucketHistory.js';
import { type Account, newAccount } from '../streams/account.js';
import { StreamStats } from '../streams/streamStats.js';

function lookOf(name: string, account: Partial<Account> = {}): BucketLook {
  const watch = new StreamStats(() => 0);
  watch.enter('error', 'the folder is gone');
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
        watch,
        ref: undefined,
        backedUp: () => undefined,
      },
    ],
  };
}

function looksOf(...all: readonly BucketLook[]): Looks<BucketLook> {
  const looks = new Looks<BucketLook>(2);
  for (const look of all) looks.of(look.name, () => look);
  return looks;
}

const delivered = (frames: number): Partial<Account> => ({ received: frames, delivered: frames });

describe('Looks', () => {
  test('beyond the bound those that ended first are added up, and the sum of all stays', () => {
    const looks = looksOf(...['a', 'b', 'c', 'd'].map((name, i) => lookOf(name, delivered(10 ** i))));
    for (const name of ['b', 'a', 'd', 'c']) looks.ended(name);
    expect([...looks.accounts.keys()]).toEqual(['c/files', 'd/files', '_other/files']);
    expect(looks.accounts.get('_other/files')).toEqual({ ...newAccount(), ...delivered(11) });
    expect(looks.snapshots.map(({ name, streams }) => [name, streams[0]!.mode])).toEqual([
      ['c', 'error'],
      ['d', 'error'],
      ['_other', 'normal'],
    ]);
  });

  test('one that lives again counts on, and is not among those that have ended', () => {
    const looks = looksOf(...['a', 'b', 'c'].map((name) => lookOf(name, delivered(1))));
    looks.ended('a');
    looks.of('a', () => expect.unreachable());
    looks.ended('b');
    looks.ended('c');
    expect([...looks.accounts.keys()]).toEqual(['a/files', 'b/files', 'c/files']);
  });

  test('one with frames that may still go elsewhere is kept for itself', () => {
    const looks = looksOf(lookOf('a', { received: 1, backedUp: 1 }), lookOf('b'), lookOf('c'));
    for (const name of ['a', 'b', 'c']) looks.ended(name);
    expect([...looks.accounts.keys()]).toEqual(['a/files', 'c/files', '_other/files']);
  });

  test('those that the configuration names come first, however late they came', () => {
    const looks = looksOf(lookOf('a'), lookOf('b'), { ...lookOf('late'), isOnDemand: false });
    expect(looks.snapshots.map(({ name }) => name)).toEqual(['late', 'a', 'b']);
  });

  test('a hundred thousand names leave no more than the bound', () => {
    const looks = new Looks<BucketLook>(100);
    for (let i = 0; i < 100_000; i++) {
      looks.of(`name ${i}`, () => lookOf(`name ${i}`, delivered(1)));
      looks.ended(`name ${i}`);
    }
    expect(looks.snapshots).toHaveLength(101);
    expect([...looks.accounts.values()].reduce((sum, account) => sum + account.delivered, 0)).toBe(100_000);
  });
});
