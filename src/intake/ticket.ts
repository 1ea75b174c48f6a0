// Who waits to hear how records end, each for itself: a door gives a ticket along with a run. Promise: it
// hears of each record once, whatever the record's batch goes through; and `delivered` or `stored` is never a
// guess.
import type { FrameOutcome } from './outcome.js';

export type RecordOutcome =
  /** `stream`: the id of the one that counts: the bucket's first Kafka stream, or else its first. */
  | (FrameOutcome & { readonly stream?: string })
  /** The process ended, or the stream was taken out, and the spool has it: the next run delivers it. */
  | { readonly kind: 'kept' }
  /** How it ended is not known. */
  | { readonly kind: 'unknown' };

export interface Ticket {
  /**
   * Records have ended. Must not throw, and is called while others wait: it only takes note.
   * @param first the number of the first record, of all that were given with this ticket, counted from 0
   * @param outcome of a `delivered` range, record `first + i` has the offset `baseOffset + i`
   */
  ended(first: number, records: number, outcome: RecordOutcome): void;
}

/** That a run is followed: its frame `i` is the ticket's record `first + i`. */
export interface Followed {
  readonly ticket: Ticket;
  readonly first: number;
}

/** The same behind so many frames. */
export function behind({ ticket, first }: Followed, frames: number): Followed {
  return { ticket, first: first + frames };
}
