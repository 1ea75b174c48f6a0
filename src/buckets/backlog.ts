// What a bucket has closed and its streams have not settled, in order. With a spool each stream has a few
// batches at a time, and the rest may lie on disk: memory first, disk as overflow. Without one all is in
// memory, and goes to every stream at once. Promise: a batch leaves when every stream has settled it, or when
// what a stream will not get of it is counted as lost.
import { doneWithin } from '../clock.js';
import { SPOOL_END_MS } from '../config/stopPlan.js';
import type { Batch } from '../frames/batch.js';
import type { GrowingSegment, Segment, Spool, StreamNotes } from '../spool/spool.js';
import type { Account } from '../streams/account.js';
import type { SettledRange } from '../intake/outcome.js';
import type { Followers } from './followers.js';
import type { BatchSource, Rest } from '../streams/waiting.js';
import { type UnwrittenParts, endOnDisk, logMissed, tellFollowers } from './backlogEnd.js';
import { DropOldest } from './dropOldest.js';
import { Entries } from './entries.js';
import { type Entry, isOnDisk, isSettled, newEntry } from './entry.js';
import { EntryLoader } from './entryLoader.js';
import { EntryStorage } from './entryStorage.js';
import { LostFrames, type LostFramesParts } from './lostFrames.js';
import type { BacklogStream } from './streamCursor.js';
import { StreamCursors } from './streamCursors.js';
import { StreamFeed } from './streamFeed.js';
import { StreamProgress } from './streamProgress.js';

/** Batches that a bucket has closed, and what was in them. */
export interface Closed {
  batches: number;
  frames: number;
  bytes: number;
}

export interface BacklogOptions extends UnwrittenParts, LostFramesParts {
  readonly streams: readonly BacklogStream[];
  readonly spool: Spool;
  /** What previous runs have noted of this bucket. */
  readonly notes: StreamNotes;
  /** Told when entries have left, in their order. */
  readonly onSettled: () => void;
  /** What was counted of this bucket's earlier backlogs; it is counted on. */
  readonly closed?: Closed | undefined;
}

export class Backlog {
  readonly #options: BacklogOptions;
  readonly #entries = new Entries();
  readonly #storage = new EntryStorage();
  readonly #cursors: StreamCursors;
  readonly #feed: StreamFeed;
  readonly #progress: StreamProgress;
  readonly #loader: EntryLoader;
  readonly #listening: readonly (() => void)[];
  #isLeaving = false;
  readonly closed: Closed;
  /** The batch that the bucket is filling: for who counts what is held. */
  open: Batch | undefined;

  constructor(options: BacklogOptions) {
    const { spool, log, clock } = options;
    this.#options = options;
    this.closed = options.closed ?? { batches: 0, frames: 0, bytes: 0 };
    this.#cursors = new StreamCursors(options.streams);
    this.#feed = new StreamFeed(this.#entries, this.#cursors, spool);
    this.#progress = new StreamProgress(options.notes, this.#entries, this.#cursors);
    const parts = { storage: this.#storage, feed: this.#feed, lost: new LostFrames(this.#cursors, options) };
    this.#loader = new EntryLoader({ ...parts, spool, log, clock, progress: this.#progress });
    const dropping = new DropOldest({
      ...parts,
      entries: this.#entries,
      cursors: this.#cursors,
      spool,
      onDecided: () => this.#leaveSoon(),
    });
    this.#listening = [
      spool.memory.onPressure((pressure) => (pressure === 'over' ? this.#makeRoom() : this.#pump())),
      spool.memory.onSqueeze(() => this.#makeRoom()),
      spool.onFull(() => dropping.oldest()),
      spool.onFailing(() => this.#pump()),
    ];
  }

  get isEmpty(): boolean {
    return this.#entries.all.length === 0;
  }

  /** How many batches were added in all, and how many of them, from the first on, are settled. */
  get added(): number {
    return this.#entries.end;
  }

  get settled(): number {
    return this.#entries.first;
  }

  get entries(): readonly Entry[] {
    return this.#entries.all;
  }

  /**
   * Frames that streams have not been told of, those of the open batch among them, and so are in their
   * accounts not yet.
   */
  get waiting(): readonly { readonly account: Account; readonly frames: number }[] {
    return this.#feed.untold(this.open?.frames ?? 0);
  }

  /** Bytes of batches that are closed and not settled: in memory, and in the spool; most are in both. */
  get heldBytes(): { readonly memory: number; readonly disk: number } {
    return this.#entries.heldBytes;
  }

  /** One more stream, for what is added from now on; and the number that it has here. */
  addStream<S extends BacklogStream>(make: (source: BatchSource) => S): { stream: S; number: number } {
    const number = this.#cursors.freeNumber;
    const stream = make(this.sourceOf(number));
    this.#cursors.set(number, stream, this.added);
    for (const entry of this.entries) entry.at[number] = 'settled';
    this.#progress.note();
    return { stream, number };
  }

  /** What is added from now on is not for this stream; it goes on being told of what was before. */
  endStream(stream: number): void {
    this.#cursors.at(stream).until = this.added;
  }

  /** Resolves when a stream that ends was told of all that is for it, or nobody is told any more: was it? */
  toldAll(stream: number): Promise<boolean> {
    return this.#feed.toldAll(stream);
  }

  /** It has ended. What it holds still was left over, and nothing keeps it: nobody waits for that any more. */
  removeStream(stream: number): void {
    for (const entry of this.#feed.discarded(stream))
      if (entry.reporter === stream) tellFollowers(entry, { kind: 'unknown' });
    this.#cursors.at(stream).isGone = true;
    this.#leaveSoon();
  }

  /** What a stream tells of the batches that it is told of. */
  sourceOf(stream: number): BatchSource {
    return {
      settled: (batch, ranges) => this.#settle(stream, batch, ranges),
      returned: (batch, rest) => this.#takeBack(stream, batch, rest),
      ready: () => this.ready(stream),
      stuck: () => this.#stuck(stream),
      aside: (batches) => this.#aside(stream, batches),
    };
  }

  /** The stream has use for batches again, after it gave some back. */
  ready(stream: number): void {
    this.#cursors.at(stream).isAway = false;
    this.#pump();
  }

  /** The stream can't write: if memory is short already, what it holds is wanted back. */
  #stuck(stream: number): void {
    if (this.#options.spool.memory.isOver) this.#cursors.at(stream).giveBack();
  }

  /** Such batches take no place in the stream's window, and what no stream reads of them no memory. */
  #aside(stream: number, batches: number): void {
    this.#cursors.at(stream).aside = batches;
    this.evict();
    this.#pump();
  }

  /** A batch that was just closed; the caller's hold on it becomes the backlog's. */
  add(batch: Batch, segment: GrowingSegment, followers?: Followers): void {
    this.closed.batches++;
    this.closed.frames += batch.frames;
    this.closed.bytes += batch.length;
    this.#push(batch, segment, followers);
    if (segment.copy === 'growing') this.#watch(segment);
  }

  #watch(segment: GrowingSegment): void {
    if (!segment.isWritten) segment.whenWritten(() => this.#pump());
    void segment.completed.then(() => {
      if (this.#options.spool.memory.isTight) this.evict();
      this.#progress.note();
    });
  }

  /** A segment of a previous run; these come before all else. */
  addLeft(segment: Segment): void {
    this.#push(undefined, segment, undefined);
  }

  /** Memory is short: streams that can't write give back what they hold, too. */
  #makeRoom(): void {
    this.#cursors.recall();
    this.evict();
  }

  /** What no stream reads gives its memory up, when it can be read back, or need not be. */
  evict(): void {
    this.#storage.evict();
  }

  /**
   * Resolves when every stream has been told of all there is, or the time is over; after that they are told
   * no more.
   */
  async handedOver(withinMs: number): Promise<void> {
    if (withinMs > 0) {
      const told = this.#feed.allToldAll();
      // The bucket may end long before the daemon does, and then there is time without end.
      await (Number.isFinite(withinMs) ? doneWithin(this.#options.clock, withinMs, told) : told);
    }
    this.#feed.end();
  }

  /**
   * When this resolves, what is not settled is on disk, complete, and what is settled is not; unless the disk
   * fails: then that is logged.
   */
  async end(withinMs = SPOOL_END_MS): Promise<void> {
    const { entries } = this;
    this.#feed.end();
    for (const end of this.#listening) end();
    logMissed(this.#cursors.all, entries, this.#options.log);
    await endOnDisk({ entries, storage: this.#storage, progress: this.#progress }, withinMs, this.#options);
    for (const entry of entries) tellFollowers(entry, { kind: isOnDisk(entry) ? 'kept' : 'unknown' });
  }

  #push(batch: Batch | undefined, segment: Segment, followers: Followers | undefined): void {
    const entry = newEntry({
      batch,
      segment,
      followers,
      reporter: this.#cursors.reporter,
      at: this.#cursors.all.map(({ stream: { id }, takesMore }) =>
        !takesMore || this.#progress.hasSettled(id, segment) ? 'settled' : 'waiting',
      ),
    });
    this.#entries.push(entry);
    if (batch !== undefined) this.#storage.keep(entry, batch);
    if (isSettled(entry)) this.#leaveSoon();
    this.#pump();
  }

  /** Streams get what they may have. */
  #pump(): void {
    this.#cursors.all.forEach((_, number) => {
      const absent = this.#feed.feed(number);
      if (absent?.isLoading === false) void this.#loader.load(absent).then(() => this.#leaveSoon());
    });
    this.#feed.look();
  }

  #settle(number: number, batch: Batch, ranges: readonly SettledRange[] | undefined): void {
    // One that was left over late was said to be discarded when its stream was removed.
    if (!this.#cursors.at(number).told.has(batch)) return;
    const entry = this.#feed.settled(number, batch);
    if (entry.followers !== undefined && number === entry.reporter) {
      entry.followers.settled(ranges ?? [], this.#cursors.at(number).stream.id);
      entry.followers = undefined;
    }
    this.#letGo(entry);
  }

  #takeBack(number: number, batch: Batch, rest: Rest | undefined): void {
    this.#letGo(this.#feed.returned(number, batch, rest));
  }

  /** One stream less has it in its hands. */
  #letGo(entry: Entry): void {
    const isIdle = entry.heldBy === 0 && !isSettled(entry);
    if (isIdle && isOnDisk(entry) && this.#options.spool.memory.isTight) this.#storage.forget(entry);
    this.#leaveSoon();
  }

  /**
   * After the code that is running: a stream that settles at once must not be fed from within its own
   * settling.
   */
  #leaveSoon(): void {
    if (this.#isLeaving) return;
    this.#isLeaving = true;
    queueMicrotask(() => {
      this.#isLeaving = false;
      this.#leave();
    });
  }

  /** Settled entries leave at the front, and streams get more. */
  #leave(): void {
    const before = this.settled;
    while (this.entries[0] !== undefined && isSettled(this.entries[0])) {
      const entry = this.#entries.shift()!;
      this.#storage.forget(entry);
      this.#storage.removeFile(entry);
    }
    this.#feed.follow();
    this.#progress.note();
    this.#pump();
    if (this.settled > before) this.#options.onSettled();
  }
}
