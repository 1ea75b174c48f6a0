// Of the frames that a stream's account says are backed up, those that were over a rate limit: in which files
// they are. The limit may change or go, and the backup may become another one and come back, while the daemon
// lives; what is found in files then is counted already.
import { type Account, book } from '../../streams/account.js';

export class SurplusLedger {
  readonly #account: Account;
  /** By backup, of those that are not in use now. */
  readonly #elsewhere = new Map<string, number>();
  #place = '';
  /** Undefined: none is in use. */
  #left: (() => number) | undefined;
  /** Of the backup in use, until its files were looked at. */
  #known = 0;
  #isFound = true;

  constructor(account: Account) {
    this.#account = account;
  }

  /** Frames that no account must expect anywhere else. */
  get frames(): number {
    const elsewhere = [...this.#elsewhere.values()].reduce((sum, frames) => sum + frames, 0);
    return elsewhere + this.#inUse;
  }

  get #inUse(): number {
    return this.#isFound ? (this.#left?.() ?? 0) : this.#known;
  }

  /**
   * @param place what tells the backup from others
   * @param left how many frames its files hold, once they were looked at
   */
  begin(place: string, left: () => number): void {
    this.#place = place;
    this.#left = left;
    this.#known = this.#elsewhere.get(place) ?? 0;
    this.#isFound = false;
    this.#elsewhere.delete(place);
  }

  /**
   * So many were found in its files: those that no account knows yet came from an earlier life of the daemon.
   */
  found(frames: number): void {
    this.#isFound = true;
    book(this.#account, Math.max(0, frames - this.#known), 'backedUp');
  }

  /** It is in use no more. @returns frames that stay there */
  end(): number {
    const frames = this.#inUse;
    if (frames > 0) this.#elsewhere.set(this.#place, frames);
    this.#left = undefined;
    this.#isFound = true;
    return frames;
  }
}
