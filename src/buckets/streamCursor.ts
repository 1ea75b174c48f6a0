// A stream of a bucket, as its backlog knows it: who it is, and how far it has come.
import type { ActorRef } from '../actors/actor.js';
import type { Account } from '../streams/account.js';
import type { Batch } from '../frames/batch.js';
import type { StreamMessage } from '../streams/streamMessage.js';
import type { Rest } from '../streams/waiting.js';
import type { Entry } from './entry.js';

export interface BacklogStream {
  /** As in the configuration. */
  readonly id: string;
  /** `kafka` or `file`. */
  readonly type?: string;
  readonly ref: ActorRef<StreamMessage>;
  readonly account: Account;
}

export class StreamCursor {
  /** The place of the entry that it is told next. */
  next: number;
  /** Batches that it was told of and has not settled, each as it was told. */
  readonly told = new Map<Batch, Entry>();
  /** What is left of batches that it gave back after it had settled a part: held here. */
  readonly rests = new Map<Entry, Rest>();
  /**
   * Of those that it was told of, batches of which it has only frames left that wait for a part of its
   * primary that is away.
   */
  aside = 0;
  /** What comes from this place on is not for it: it ends. */
  until = Infinity;
  /** It gave batches back, and gets none before it asks. */
  isAway = false;
  /** It has ended, and its number goes to the next one that comes. */
  isGone = false;

  constructor(
    readonly stream: BacklogStream,
    next: number,
  ) {
    this.next = next;
  }

  get held(): number {
    return this.told.size;
  }

  /** Frames of an entry that it has not had. */
  framesOf(entry: Entry): number {
    return this.rests.get(entry)?.batch.frames ?? entry.frames;
  }

  /** Nobody will want it. */
  dropRest(entry: Entry): void {
    this.rests.get(entry)?.batch.release();
    this.rests.delete(entry);
  }

  /** Is what comes now for it? */
  get takesMore(): boolean {
    return this.until === Infinity;
  }

  /** @param added how many entries were added in all */
  isToldAll(added: number): boolean {
    return this.isGone || this.next >= Math.min(this.until, added);
  }

  giveBack(): void {
    const { ref } = this.stream;
    if (this.held > 0 && ref.state === 'running') ref.tell({ kind: 'giveBack' });
  }
}
