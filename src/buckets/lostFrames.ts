// Frames that the disk, or the bound on it, has cost a stream. Promise: each is counted where frames are
// accounted for, and reported, once for every stream that has not had it.
import type { Batch } from '../frames/batch.js';
import { type Origins, UNKNOWN } from '../frames/origins.js';
import { book } from '../streams/account.js';
import type { RecordOutcome } from '../intake/ticket.js';
import type { Entry } from './entry.js';
import type { StreamCursor } from './streamCursor.js';
import type { StreamCursors } from './streamCursors.js';

export interface Lost {
  readonly stream: string;
  readonly frames: number;
  readonly bytes: number;
  readonly reason: string;
}

export interface LostFramesParts {
  readonly onLost: (lost: Lost) => void;
  /** To be told what becomes of frames that no stream delivers. */
  readonly origins?: Origins | undefined;
}

export class LostFrames {
  readonly #cursors: StreamCursors;
  readonly #parts: LostFramesParts;

  constructor(cursors: StreamCursors, parts: LostFramesParts) {
    this.#cursors = cursors;
    this.#parts = parts;
  }

  /** All of it that a stream has not had. */
  all(entry: Entry, reason: string): void {
    // Another stream may have asked for it, while the one that is heard holds what is left of it and will tell.
    if (entry.at[entry.reporter] !== 'told')
      this.#tellFollowers(entry, this.#isBegun(entry) ? { kind: 'unknown' } : { kind: 'discarded', reason });
    this.#cursors.all.forEach((cursor, number) => {
      if (entry.at[number] === 'waiting') this.#count(cursor, entry, cursor.framesOf(entry), reason);
    });
  }

  /** What is not in the batch that was read back: it was damaged, and put aside when it was read. */
  missing(entry: Entry, { frames }: Batch): void {
    const missing = entry.frames - frames;
    entry.frames = frames;
    if (missing <= 0) return;
    // Which of them are missing is not known.
    if (!this.#isBegun(entry)) this.#tellFollowers(entry, { kind: 'unknown' });
    this.#cursors.all.forEach((cursor, number) => {
      // What is left of it is in memory, whatever its file is like.
      if (entry.at[number] !== 'waiting' || cursor.rests.has(entry)) return;
      this.#count(cursor, entry, missing, 'a part of a batch was damaged in the spool');
    });
  }

  /** The stream that is heard has settled a part of it, and holds the rest in memory. */
  #isBegun(entry: Entry): boolean {
    return this.#cursors.all[entry.reporter]?.rests.has(entry) === true;
  }

  #tellFollowers(entry: Entry, outcome: RecordOutcome): void {
    entry.followers?.ended(outcome);
    entry.followers = undefined;
  }

  #count(cursor: StreamCursor, entry: Entry, frames: number, reason: string): void {
    const { segment, batch } = entry;
    const { onLost, origins } = this.#parts;
    const { id, account } = cursor.stream;
    // How many a previous run has left may not be known.
    if (frames === 0 && !segment.isOfPreviousRun) return;
    book(account, frames, 'discarded');
    if (cursor === this.#cursors.all[entry.reporter] && !segment.isOfPreviousRun) {
      const from = cursor.rests.get(entry)?.batch.origins ?? batch?.origins;
      origins?.ended(from ?? new Map([[UNKNOWN, frames]]), 'discarded', reason);
    }
    onLost({ stream: id, frames, bytes: segment.safeBytes, reason });
  }
}
