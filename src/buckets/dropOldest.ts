// SPOOL_FULL=drop-oldest: which batch of a bucket goes first when the spool is full, and that none goes
// uncounted.
import type { Droppable } from '../spool/room.js';
import type { Spool } from '../spool/spool.js';
import type { Entries } from './entries.js';
import { type Entry, isOnDisk, isSettled } from './entry.js';

export interface DroppingParts {
  readonly entries: Entries;
  readonly spool: Spool;
  /** Counts it as lost, and takes it away. Resolves when its file is gone. */
  readonly discard: (entry: Entry) => Promise<void>;
  /** It stays, and a stream may have come to it while it was looked at. */
  readonly onKept: () => void;
}

export class DropOldest {
  readonly #parts: DroppingParts;
  /** What is in them could not be counted: they don't go uncounted. */
  readonly #uncountable = new Set<Entry>();

  constructor(parts: DroppingParts) {
    this.#parts = parts;
  }

  /** The oldest batch that no stream has in its hands. */
  oldest(): Droppable | undefined {
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
    if (this.#mayGo(entry)) await this.#parts.discard(entry);
    else this.#parts.onKept();
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
