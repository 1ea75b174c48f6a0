// Of the frames that an account says are backed up: in the files of which backup they are. A stream's backup
// may become another one while the daemon lives, and come back: what is found in its files then is counted
// already, and must not be counted again.
import type { StreamConfig } from '../../config/buckets.js';
import { type Account, book } from '../account.js';

export class BackupLedger {
  readonly #account: Account;
  /** By backup, of those that are not in use now. */
  readonly #elsewhere = new Map<string, number>();
  #current = '';

  constructor(account: Account) {
    this.#account = account;
  }

  /**
   * Frames are backed up here from now on.
   * @param backup what tells it from others, as its path and the names of its files
   */
  turnTo(backup: string): void {
    this.#elsewhere.delete(this.#current);
    const elsewhere = [...this.#elsewhere.values()].reduce((sum, frames) => sum + frames, 0);
    this.#elsewhere.set(this.#current, this.#account.backedUp - elsewhere);
    this.#current = backup;
  }

  /**
   * So many frames were found in the files of the current one: those that no account knows yet came from an
   * previous run.
   */
  found(frames: number): void {
    const known = this.#elsewhere.get(this.#current) ?? 0;
    book(this.#account, Math.max(0, frames - known), 'backedUp');
  }
}

/** What tells a backup's files from those of another; the same for all that have none. */
export function backupPlace({ backup }: StreamConfig): string {
  return backup?.type === 'file'
    ? JSON.stringify([backup.settings.path, backup.settings.fileNameTemplate])
    : '';
}
