// Frames in the files of several backups, one after the other: each is counted once.
import { describe, expect, test } from 'vitest';
import { newAccount, move, book } from '../account.js';
import { BackupLedger } from './backupLedger.js';

describe('BackupLedger', () => {
  test('what a previous run has left is counted when found; what this run has written is not', () => {
    const account = newAccount();
    const ledger = new BackupLedger(account);
    ledger.turnTo('one');
    ledger.found(100);
    expect(account).toMatchObject({ received: 100, backedUp: 100 });
    book(account, 20, 'backedUp');
    ledger.turnTo('one');
    ledger.found(120);
    expect(account).toMatchObject({ received: 120, backedUp: 120 });
  });

  test('a backup that comes back after another', () => {
    const account = newAccount();
    const ledger = new BackupLedger(account);
    ledger.turnTo('one');
    book(account, 100, 'backedUp');
    ledger.turnTo('two');
    ledger.found(7);
    expect(account).toMatchObject({ received: 107, backedUp: 107 });
    move(account, 7, 'backedUp', 'delivered');
    book(account, 50, 'backedUp');
    ledger.turnTo('one');
    ledger.found(100);
    expect(account).toMatchObject({ received: 157, backedUp: 150 });
    move(account, 100, 'backedUp', 'delivered');
    ledger.turnTo('two');
    ledger.found(50);
    expect(account).toMatchObject({ received: 157, backedUp: 50, delivered: 107 });
  });

  test('what is sent once more, for a part of it is in doubt, is counted once more', () => {
    const account = newAccount();
    const ledger = new BackupLedger(account);
    ledger.turnTo('one');
    book(account, 100, 'backedUp');
    // Of a piece of 30, twelve were delivered before the stream was changed: the piece is in the files still.
    move(account, 12, 'backedUp', 'delivered');
    ledger.turnTo('one');
    ledger.found(100);
    expect(account).toMatchObject({ received: 112, backedUp: 100, delivered: 12 });
  });
});
