// Where the batches of a backlog lie: in memory, on disk, or both. Promise: memory that somebody needs is not
// given up, and a file is removed once.
import type { Batch } from '../frames/batch.js';
import { type Entry, isOnDisk } from './entry.js';

export class EntryStorage {
  /** Entries whose batch is in memory. */
  readonly #inMemory = new Set<Entry>();
  readonly #removals = new Set<Promise<void>>();

  /** The caller's hold on the batch becomes the storage's. */
  keep(entry: Entry, batch: Batch): void {
    entry.batch = batch;
    this.#inMemory.add(entry);
  }

  /** Gives its memory up. */
  forget(entry: Entry): void {
    const { batch } = entry;
    entry.batch = undefined;
    this.#inMemory.delete(entry);
    batch?.release();
  }

  /** What no stream reads gives its memory up, when it lies on disk, or never will and all were told of it. */
  evict(): void {
    for (const entry of this.#inMemory) {
      const isRead = entry.heldBy > 0 && entry.batch?.isHeldOnce !== true;
      const isNeeded = entry.segment.copy === 'growing' || entry.at.includes('waiting');
      if (!isRead && (isOnDisk(entry) || !isNeeded)) this.forget(entry);
    }
  }

  removeFile(entry: Entry): void {
    if (!entry.ownsFile) return;
    entry.ownsFile = false;
    const removal = entry.segment.remove();
    this.#removals.add(removal);
    void removal.then(() => this.#removals.delete(removal));
  }

  /** Resolves when the files that are being removed now are gone. */
  async removed(): Promise<void> {
    await Promise.all(this.#removals);
  }
}
