// Brings batches that lie on disk alone back into memory. What can't be read, or was damaged, is counted as
// lost, its file stays, and those behind it go on.
import type { LostFrames } from './lostFrames.js';
import type { Entry } from './entry.js';
import type { EntryStorage } from './entryStorage.js';
import { type ReadBackParts, readBack } from './readBack.js';
import type { StreamFeed } from './streamFeed.js';
import type { StreamProgress } from './streamProgress.js';

export interface EntryLoaderParts extends Omit<ReadBackParts, 'isWanted'> {
  readonly storage: EntryStorage;
  readonly feed: StreamFeed;
  readonly progress: StreamProgress;
  readonly lost: LostFrames;
}

export class EntryLoader {
  readonly #parts: EntryLoaderParts;

  constructor(parts: EntryLoaderParts) {
    this.#parts = parts;
  }

  /** Resolves when its batch is in memory, or streams go on without it, or nobody is told any more. */
  async load(entry: Entry): Promise<void> {
    const { storage, feed, progress, lost } = this.#parts;
    entry.isLoading = true;
    const read = await readBack(entry.segment, { ...this.#parts, isWanted: () => !feed.hasEnded });
    entry.isLoading = false;
    if (read === undefined) return;
    if (read.mustStay) {
      entry.ownsFile = false;
      progress.stop();
    }
    if (read.batch === undefined) {
      // Not one whole piece in it: there is nothing to settle.
      lost.all(entry, 'a batch could not be read back from the spool');
      feed.skip(entry);
      return;
    }
    lost.missing(entry, read.batch);
    read.batch.wantsOutcomes = entry.followers !== undefined;
    storage.keep(entry, read.batch);
  }
}
