// When one stream of a bucket is ahead of another, how far it is must outlive the daemon, or it would get all
// that again: it is noted then.
import type { Segment, StreamNotes } from '../spool/spool.js';
import type { Entries } from './entries.js';
import type { Entry } from './entry.js';
import type { StreamCursors } from './streamCursors.js';

export class StreamProgress {
  readonly #notes: StreamNotes;
  readonly #entries: Entries;
  readonly #cursors: StreamCursors;
  /** By stream's id: the place up to which it is noted to have settled all. */
  readonly #noted = new Map<string, number>();
  #isStopped: boolean;

  constructor(notes: StreamNotes, entries: Entries, cursors: StreamCursors) {
    this.#notes = notes;
    this.#entries = entries;
    this.#cursors = cursors;
    this.#isStopped = !notes.areKept;
  }

  /** Had the stream settled this segment in a previous run? */
  hasSettled(id: string, { isOfPreviousRun, path }: Segment): boolean {
    return isOfPreviousRun && this.#notes.hasSettled(id, path);
  }

  /** A file stays that could not be read: a note of what comes behind it would say that it is settled too. */
  stop(): void {
    this.#isStopped = true;
  }

  note(): void {
    if (this.#isStopped || this.#cursors.all.filter(({ isGone }) => !isGone).length === 1) return;
    for (const [id, settled] of this.#settledUpTo()) {
      const upTo = this.#foundUpTo(settled);
      if (upTo <= this.#notedUpTo(id)) continue;
      this.#noted.set(id, upTo);
      this.#notes.note(id, this.#entries.at(upTo - 1)!.segment.path);
    }
  }

  /** Resolves when all is noted on the disk, or could not be, which is said. */
  async flush(): Promise<void> {
    await this.#notes.flush();
  }

  /**
   * By stream's id: the place up to which it has settled all; of one that was taken out and is there again:
   * both of them.
   */
  #settledUpTo(): ReadonlyMap<string, number> {
    const places = new Map<string, number>();
    this.#cursors.all.forEach(({ isGone, stream: { id } }, number) => {
      if (isGone) return;
      let upTo = this.#notedUpTo(id);
      while (this.#entries.at(upTo)?.at[number] === 'settled') upTo++;
      places.set(id, Math.min(upTo, places.get(id) ?? Infinity));
    });
    return places;
  }

  #notedUpTo(id: string): number {
    return Math.max(this.#entries.first, this.#noted.get(id) ?? 0);
  }

  /**
   * A note of a segment that is newer than all that are found would not count, so one whose file is still to
   * come, or has gone, is not noted.
   */
  #foundUpTo(place: number): number {
    let upTo = place;
    while (upTo > this.#entries.first && !hasFile(this.#entries.at(upTo - 1)!)) upTo--;
    return upTo;
  }
}

/** Would it be found after a crash of this process? */
function hasFile({ ownsFile, segment }: Entry): boolean {
  return ownsFile && (segment.isOfPreviousRun || segment.safeBytes > 0);
}
