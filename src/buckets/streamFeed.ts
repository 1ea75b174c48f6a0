// What the streams of a backlog are told: each batch once, in order, as soon as the stream may have it; what
// a stream gave back comes again. A stream has a few batches at a time when the others can wait on disk, and
// one while memory is short.
import type { Batch } from '../frames/batch.js';
import type { Spool } from '../spool/spool.js';
import type { Account } from '../streams/account.js';
import type { Begun, Rest } from '../streams/waiting.js';
import type { Entries } from './entries.js';
import type { Entry } from './entry.js';
import type { StreamCursor } from './streamCursor.js';
import type { StreamCursors } from './streamCursors.js';
import { Waiters } from './waiters.js';

export class StreamFeed {
  readonly #entries: Entries;
  readonly #cursors: StreamCursors;
  readonly #spool: Spool;
  readonly #waiters = new Waiters();
  #hasEnded = false;

  constructor(entries: Entries, cursors: StreamCursors, spool: Spool) {
    this.#entries = entries;
    this.#cursors = cursors;
    this.#spool = spool;
  }

  /** Nobody is told any more. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  end(): void {
    this.#hasEnded = true;
    this.#waiters.end();
  }

  /** Resolves when a stream that ends was told of all that is for it, or nobody is told any more: was it? */
  async toldAll(number: number): Promise<boolean> {
    const cursor = this.#cursors.at(number);
    await this.#waiters.when(() => this.#isToldAll(cursor));
    return this.#isToldAll(cursor);
  }

  /** Resolves when every stream was told of all, or nobody is told any more. */
  async allToldAll(): Promise<void> {
    await this.#waiters.when(() => this.#cursors.all.every((cursor) => this.#isToldAll(cursor)));
  }

  #isToldAll(cursor: StreamCursor): boolean {
    return cursor.isToldAll(this.#entries.end);
  }

  /** By stream: frames that it has not been told of. @param openFrames those of the batch that is open */
  untold(openFrames: number): readonly { readonly account: Account; readonly frames: number }[] {
    return this.#cursors.all.map((cursor, number) => ({
      account: cursor.stream.account,
      frames: this.#entries.all.reduce(
        (sum, entry) => (entry.at[number] === 'waiting' ? sum + cursor.framesOf(entry) : sum),
        cursor.takesMore ? openFrames : 0,
      ),
    }));
  }

  /** After streams were fed: perhaps somebody waits for that. */
  look(): void {
    this.#waiters.look();
  }

  /** Tells a stream of all that it may have. Returns a batch that must be read back from the spool first. */
  feed(number: number): Entry | undefined {
    const cursor = this.#cursors.at(number);
    while (!this.#hasEnded && !cursor.isAway && this.#mayHaveMore(cursor)) {
      const entry = this.#entries.at(cursor.next);
      if (entry === undefined) return undefined;
      if (entry.at[number] !== 'waiting') {
        cursor.next++;
        continue;
      }
      const rest = cursor.rests.get(entry);
      if (rest === undefined && entry.batch === undefined) return entry;
      if (!this.#isSendable(entry)) return undefined;
      cursor.next++;
      entry.at[number] = 'told';
      if (rest === undefined) this.#tell(cursor, entry, entry.batch!.share(number === entry.reporter));
      else this.#tell(cursor, entry, rest.batch, rest.begun);
    }
    return undefined;
  }

  /** A stream has at least one batch; more only while memory is no matter. */
  #mayHaveMore({ held, aside }: StreamCursor): boolean {
    return held === 0 || (held - aside < this.#spool.window && !this.#spool.memory.isTight);
  }

  /**
   * Once all of it is safe in the spool: or, after a crash, a later frame of a sender could be in Kafka and
   * an earlier one nowhere. While the disk fails a batch is sent all the same, because then the stream is the
   * only place where it can become safe.
   */
  #isSendable({ segment }: Entry): boolean {
    return segment.isWritten || this.#spool.isFailing;
  }

  #tell(cursor: StreamCursor, entry: Entry, batch: Batch, begun?: Begun): void {
    cursor.rests.delete(entry);
    cursor.told.set(batch, entry);
    entry.heldBy++;
    cursor.stream.ref.tell({ kind: 'batch', batch, ...(begun === undefined ? {} : { begun }) });
  }

  /** The stream has settled it. */
  settled(number: number, batch: Batch): Entry {
    const entry = this.#takenFrom(this.#cursors.at(number), batch);
    entry.at[number] = 'settled';
    return entry;
  }

  /** The stream has ended, and will say nothing of what it holds. Returns what that was. */
  discarded(number: number): readonly Entry[] {
    return [...this.#cursors.at(number).told.keys()].map((batch) => this.settled(number, batch));
  }

  /** The stream gets it again, with what follows, once it asks. */
  returned(number: number, batch: Batch, rest: Rest | undefined): Entry {
    const cursor = this.#cursors.at(number);
    const entry = this.#takenFrom(cursor, batch);
    entry.at[number] = 'waiting';
    if (rest !== undefined) cursor.rests.set(entry, rest);
    cursor.isAway = true;
    cursor.next = Math.min(cursor.next, this.#entries.placeOf(entry));
    return entry;
  }

  #takenFrom(cursor: StreamCursor, batch: Batch): Entry {
    const entry = cursor.told.get(batch)!;
    cursor.told.delete(batch);
    entry.heldBy--;
    return entry;
  }

  /** Those who have not had it will not. */
  skip(entry: Entry): void {
    entry.at.forEach((at, number) => at === 'waiting' && (entry.at[number] = 'settled'));
    for (const cursor of this.#cursors.all) cursor.dropRest(entry);
  }

  /** Entries have left: a stream is not fed what has left without it. */
  follow(): void {
    for (const cursor of this.#cursors.all) cursor.next = Math.max(cursor.next, this.#entries.first);
  }
}
