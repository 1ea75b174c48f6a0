// SPOOL_FULL=drop-oldest: which batch of a bucket goes first when the spool is full, and that none goes
// uncounted.
import type { Droppable } from '../spool/room.js';
import type { Spool } from '../spool/spool.js';
import type { Entries } from './entries.js';
import { type Entry, isOnDisk, isSettled } from './entry.js';
import type { EntryStorage } from './entryStorage.js';
import type { LostFrames } from './lostFrames.js';
import type { StreamCursors } from './streamCursors.js';
import type { StreamFeed } from './streamFeed.js';

export interface DropOldestParts {
  readonly entries: Entries;
  readonly cursors: StreamCursors;
  readonly storage: EntryStorage;
  readonly feed: StreamFeed;
  readonly lost: LostFrames;
  readonly spool: Spool;
  /** It was dropped, or stays, and a stream may have come to it meanwhile: streams go on. */
  readonly onDecided: () => void;
}

export class DropOldest {
  readonly #parts: DropOldestParts;
  /** What is in them could not be counted: they don't go uncounted. */
  readonly #uncountable = new Set<Entry>();

  constructor(parts: DropOldestParts) {
    this.#parts = parts;
  }

  /** The oldest batch that no stream has in its hands; those that can't write are asked to give theirs back. */
  oldest(): Droppable | undefined {
    this.#parts.cursors.recall();
    const entry = this.#parts.entries.all.find(
      (found) => isOnDisk(found) && !found.isLoading && found.ownsFile && this.#mayGo(found),
    );
    return entry && { path: entry.segment.path, drop: () => this.#drop(entry) };
  }

  #mayGo(entry: Entry): boolean {
    return entry.heldBy === 0 && !isSettled(entry) && !this.#uncountable.has(entry);
  }

  async #drop(entry: Entry): Promise<void> {
    entry.isLoading = true;
    if (entry.segment.isOfPreviousRun && entry.frames === 0) await this.#count(entry);
    // Until here nobody else begins to read it.
    entry.isLoading = false;
    const isGoing = this.#mayGo(entry);
    if (isGoing) this.#discard(entry);
    this.#parts.onDecided();
    if (isGoing) await this.#parts.storage.removed();
  }

  #discard(entry: Entry): void {
    const { storage, feed, lost } = this.#parts;
    lost.all(entry, 'the spool was full (SPOOL_FULL=drop-oldest)');
    storage.forget(entry);
    storage.removeFile(entry);
    feed.skip(entry);
  }

  /** What a previous run has left was not read yet. */
  async #count(entry: Entry): Promise<void> {
    const { batch, mayGo } = await this.#parts.spool
      .read(entry.segment)
      .catch(() => ({ batch: undefined, mayGo: false }));
    entry.frames = batch?.frames ?? 0;
    batch?.release();
    if (!mayGo) this.#uncountable.add(entry);
  }
}
