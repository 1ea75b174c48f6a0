// What a bucket has closed and its streams have not settled, in order. With a spool each stream has a few
// batches at a time, and the rest may lie on disk: memory first, disk as overflow. Without one all is in
// memory, and goes to every stream at once.
import { type Clock, doneWithin } from '../clock.js';
import { SPOOL_END_MS } from '../config/stopPlan.js';
import type { Batch } from '../frames/batch.js';
import { type Origins, UNKNOWN } from '../frames/origins.js';
import type { Log } from '../log/log.js';
import { plural } from '../plural.js';
import type { Droppable } from '../spool/room.js';
import type { GrowingSegment, Segment, Spool, StreamNotes } from '../spool/spool.js';
import { type Account, book } from '../streams/account.js';
import type { SettledRange } from '../streams/outcome.js';
import type { BatchSource, Begun, Rest } from '../streams/waiting.js';
import { Waiters } from './waiters.js';
import { DropOldest } from './dropOldest.js';
import { Entries } from './entries.js';
import { type Entry, isOnDisk, isSettled, newEntry } from './entry.js';
import { StreamProgress } from './streamProgress.js';
import { readBack } from './readBack.js';
import { type BacklogStream, StreamCursor } from './streamCursor.js';

/** Frames that a disk, or the bound on it, has cost a stream. */
export interface Lost {
  readonly stream: string;
  readonly frames: number;
  readonly bytes: number;
  readonly reason: string;
}

/** Batches that a bucket has closed, and what was in them. */
export interface Closed {
  batches: number;
  frames: number;
  bytes: number;
}

export interface BacklogOptions {
  readonly streams: readonly BacklogStream[];
  readonly spool: Spool;
  /** What previous runs have noted of this bucket. */
  readonly notes: StreamNotes;
  readonly log: Log;
  readonly clock: Clock;
  /** Told when entries have left, in their order. */
  readonly onSettled: () => void;
  readonly onLost: (lost: Lost) => void;
  /** What was counted of this bucket's earlier backlogs; it is counted on. */
  readonly closed?: Closed | undefined;
  /** To be told what becomes of frames that no stream delivers. */
  readonly origins?: Origins | undefined;
  /**
   * Told of a batch that wants outcomes, when the stream whose outcomes count has settled it: how its frames
   * ended. The place is the batch's number, of all that were added.
   */
  readonly onOutcomes?: (place: number, ranges: readonly SettledRange[]) => void;
  /** At the end: frames that are nowhere but in memory, for the disk did not take them in time. */
  readonly onUnkept?: (batch: Batch, from: number, reason: string) => void;
}

export class Backlog {
  readonly #options: BacklogOptions;
  /** By number; one that has gone leaves its place to the next that comes. */
  readonly #cursors: StreamCursor[];
  readonly #entries = new Entries();
  readonly #progress: StreamProgress;
  /** Entries whose batch is in memory. */
  readonly #inMemory = new Set<Entry>();
  readonly #removals = new Set<Promise<void>>();
  readonly #listening: (() => void)[] = [];
  #isLeaving = false;
  #isEnding = false;
  readonly #telling = new Waiters();
  readonly closed: Closed;
  /** The batch that the bucket is filling: for who counts what is held. */
  open: Batch | undefined;

  constructor(options: BacklogOptions) {
    this.#options = options;
    this.closed = options.closed ?? { batches: 0, frames: 0, bytes: 0 };
    this.#cursors = options.streams.map((stream) => new StreamCursor(stream, 0));
    this.#progress = new StreamProgress(options.notes, this.#entries, this.#cursors);
    const { spool } = options;
    const dropping = new DropOldest({
      entries: this.#entries,
      spool,
      discard: (entry) => this.#discard(entry),
      onKept: () => this.#pump(),
    });
    const oldest = (): Droppable | undefined => {
      this.#recall();
      return dropping.oldest();
    };
    this.#listening = [
      spool.memory.onPressure((pressure) => (pressure === 'over' ? this.#makeRoom() : this.#pump())),
      spool.memory.onSqueeze(() => this.#makeRoom()),
      spool.onFull(oldest),
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
    return this.#cursors.map((cursor, number) => ({
      account: cursor.stream.account,
      frames: this.entries.reduce(
        (sum, entry) => (entry.at[number] === 'waiting' ? sum + cursor.framesOf(entry) : sum),
        cursor.takesMore ? (this.open?.frames ?? 0) : 0,
      ),
    }));
  }

  /** Bytes of batches that are closed and not settled: in memory, and in the spool; most are in both. */
  get heldBytes(): { readonly memory: number; readonly disk: number } {
    return {
      memory: this.entries.reduce((sum, { batch }) => sum + (batch?.length ?? 0), 0),
      disk: this.entries.reduce((sum, { segment }) => sum + segment.safeBytes, 0),
    };
  }

  /** One more stream, for what is added from now on; and the number that it has here. */
  addStream<S extends BacklogStream>(make: (source: BatchSource) => S): { stream: S; number: number } {
    const left = this.#cursors.findIndex(({ isGone, held }) => isGone && held === 0);
    const number = left === -1 ? this.#cursors.length : left;
    const stream = make(this.sourceOf(number));
    this.#cursors[number] = new StreamCursor(stream, this.added);
    for (const entry of this.entries) entry.at[number] = 'settled';
    this.#progress.note();
    return { stream, number };
  }

  /** What is added from now on is not for this stream; it goes on being told of what was before. */
  endStream(stream: number): void {
    this.#cursors[stream]!.until = this.added;
  }

  /** Resolves when a stream that ends was told of all that is for it, or nobody is told any more: was it? */
  async toldAll(stream: number): Promise<boolean> {
    const cursor = this.#cursors[stream]!;
    await this.#telling.when(() => cursor.isToldAll(this.added));
    return cursor.isToldAll(this.added);
  }

  /** It has ended, and holds nothing. */
  removeStream(stream: number): void {
    this.#cursors[stream]!.isGone = true;
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
    this.#cursors[stream]!.isAway = false;
    this.#pump();
  }

  /** The stream can't write: if memory is short already, what it holds is wanted back. */
  #stuck(stream: number): void {
    if (this.#options.spool.memory.isOver) this.#cursors[stream]!.giveBack();
  }

  /** Such batches take no place in the stream's window, and what no stream reads of them no memory. */
  #aside(stream: number, batches: number): void {
    this.#cursors[stream]!.aside = batches;
    this.evict();
    this.#pump();
  }

  /** A batch that was just closed; the caller's hold on it becomes the backlog's. */
  add(batch: Batch, segment: GrowingSegment): void {
    this.closed.batches++;
    this.closed.frames += batch.frames;
    this.closed.bytes += batch.length;
    this.#push(batch, segment);
    if (segment.copy === 'growing') this.#watch(segment);
  }

  #watch(segment: GrowingSegment): void {
    if (!segment.isWritten) segment.whenWritten(() => this.#pump());
    void segment.completed.then(() => {
      if (this.#isTight()) this.evict();
      this.#progress.note();
    });
  }

  /** A segment of a previous run; these come before all else. */
  addLeft(segment: Segment): void {
    this.#push(undefined, segment);
  }

  /** Memory is short: streams that can't write give back what they hold, too. */
  #makeRoom(): void {
    this.#recall();
    this.evict();
  }

  #recall(): void {
    for (const cursor of this.#cursors) cursor.giveBack();
  }

  /** What no stream reads gives its memory up, when it lies on disk, or never will and all were told of it. */
  evict(): void {
    for (const entry of this.#inMemory) {
      const isRead = entry.heldBy > 0 && entry.batch?.isHeldOnce !== true;
      const { copy } = entry.segment;
      if (!isRead && (copy === 'complete' || (copy === 'none' && !entry.at.includes('waiting'))))
        this.#forget(entry);
    }
  }

  /**
   * Resolves when every stream has been told of all there is, or the time is over; after that they are told
   * no more.
   */
  async handedOver(withinMs: number): Promise<void> {
    if (withinMs > 0) {
      const told = this.#telling.when(() => this.#cursors.every((cursor) => cursor.isToldAll(this.added)));
      // The bucket may end long before the daemon does, and then there is time without end.
      await (Number.isFinite(withinMs) ? doneWithin(this.#options.clock, withinMs, told) : told);
    }
    this.#tellNoMore();
  }

  #tellNoMore(): void {
    this.#isEnding = true;
    this.#telling.end();
  }

  /**
   * When this resolves, what is not settled is on disk, whole, and what is settled is not; unless the disk
   * fails: then it is told.
   */
  async end(withinMs = SPOOL_END_MS): Promise<void> {
    this.#tellNoMore();
    for (const end of this.#listening) end();
    this.#sayWhatIsMissed();
    const segments = Promise.all(this.entries.map(({ segment }) => segment.completed));
    // What becomes complete only now is noted by that.
    const notes = segments.then(() => this.#progress.flush());
    const isDone = await doneWithin(
      this.#options.clock,
      withinMs,
      Promise.all([notes, ...this.#removals, this.#progress.flush()]),
    );
    if (isDone) return;
    for (const { segment, batch } of this.entries) {
      if (segment.copy !== 'growing' || batch === undefined) continue;
      this.#options.log.error(
        `${segment.path} could not be ended within ${withinMs} ms: of its ${batch.length} bytes of frames ${segment.safeBytes} are there, the rest goes to REJECTED`,
      );
      this.#options.onUnkept?.(
        batch,
        segment.safeBytes,
        `its segment in the spool could not be written before the end: ${segment.path}`,
      );
    }
  }

  /** A stream that was taken out will not be there to get it from the spool in the next run. */
  #sayWhatIsMissed(): void {
    this.#cursors.forEach(({ stream: { id }, takesMore, isGone }, number) => {
      if (takesMore || isGone) return;
      const missed = this.entries.filter(({ at }) => at[number] === 'waiting');
      if (missed.length > 0)
        this.#options.log.error(
          `stream ${id} was taken out of the configuration, and the daemon stopped before it had had ${missed.length} ${plural(missed.length, 'batch that is', 'batches that are')} in the spool: ${plural(missed.length, 'it goes', 'they go')} without it, unless it is configured again`,
        );
    });
  }

  #push(batch: Batch | undefined, segment: Segment): void {
    const entry = newEntry({
      batch,
      segment,
      at: this.#cursors.map(({ stream: { id }, takesMore }) =>
        !takesMore || this.#progress.hasSettled(id, segment) ? 'settled' : 'waiting',
      ),
    });
    this.#entries.push(entry);
    if (entry.batch !== undefined) this.#inMemory.add(entry);
    if (isSettled(entry)) this.#leaveSoon();
    this.#pump();
  }

  #forget(entry: Entry): void {
    const { batch } = entry;
    entry.batch = undefined;
    this.#inMemory.delete(entry);
    batch?.release();
  }

  #pump(): void {
    this.#cursors.forEach((cursor, number) => this.#feed(cursor, number));
    this.#telling.look();
  }

  #feed(cursor: StreamCursor, number: number): void {
    while (!this.#isEnding && !cursor.isAway && this.#mayFeed(cursor)) {
      const entry = this.#entries.at(cursor.next);
      if (entry === undefined) return;
      if (entry.at[number] !== 'waiting') {
        cursor.next++;
        continue;
      }
      const rest = cursor.rests.get(entry);
      if (rest === undefined && entry.batch === undefined) return this.#load(entry);
      if (!this.#isSendable(entry)) return;
      cursor.next++;
      if (rest === undefined)
        this.#tell(cursor, number, entry, entry.batch!.share(cursor === this.#reported));
      else this.#tell(cursor, number, entry, rest.batch, rest.begun);
    }
  }

  /**
   * Once all of it is safe in the spool: or, after a crash, a later frame of a sender could be in Kafka and
   * an earlier one nowhere. While the disk fails a batch is sent all the same, because then the stream is the
   * only place where it can become safe.
   */
  #isSendable({ segment }: Entry): boolean {
    return segment.isWritten || this.#options.spool.isFailing;
  }

  /** A stream has at least one batch; more only while memory is no matter. */
  #mayFeed({ held, aside }: StreamCursor): boolean {
    return held === 0 || (held - aside < this.#options.spool.window && !this.#isTight());
  }

  /** Half of the memory is used, and there is a disk to make room on. */
  #isTight(): boolean {
    return this.#options.spool.memory.isTight;
  }

  #tell(cursor: StreamCursor, number: number, entry: Entry, batch: Batch, begun?: Begun): void {
    cursor.rests.delete(entry);
    cursor.told.set(batch, entry);
    entry.heldBy++;
    entry.at[number] = 'told';
    cursor.stream.ref.tell({ kind: 'batch', batch, ...(begun === undefined ? {} : { begun }) });
  }

  /** The stream whose outcomes connections hear: the first that feeds Kafka, or else the first. */
  get #reported(): StreamCursor | undefined {
    const cursors = this.#cursors.filter(({ takesMore }) => takesMore);
    return cursors.find(({ stream: { type } }) => type === 'kafka') ?? cursors[0];
  }

  #settle(number: number, batch: Batch, ranges: readonly SettledRange[] | undefined): void {
    const cursor = this.#cursors[number]!;
    const entry = cursor.told.get(batch)!;
    entry.at[number] = 'settled';
    if (ranges !== undefined && cursor === this.#reported)
      this.#options.onOutcomes?.(this.#entries.placeOf(entry), ranges);
    this.#noLongerHeld(cursor, batch, entry);
  }

  /** The stream gets it again, with what follows, once it asks. */
  #takeBack(number: number, batch: Batch, rest: Rest | undefined): void {
    const cursor = this.#cursors[number]!;
    const entry = cursor.told.get(batch)!;
    entry.at[number] = 'waiting';
    if (rest !== undefined) cursor.rests.set(entry, rest);
    cursor.isAway = true;
    cursor.next = Math.min(cursor.next, this.#entries.placeOf(entry));
    this.#noLongerHeld(cursor, batch, entry);
  }

  #noLongerHeld(cursor: StreamCursor, batch: Batch, entry: Entry): void {
    cursor.told.delete(batch);
    entry.heldBy--;
    if (entry.heldBy === 0 && !isSettled(entry) && isOnDisk(entry) && this.#isTight()) this.#forget(entry);
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
    while (this.entries[0] !== undefined && isSettled(this.entries[0])) this.#removeFile(this.#leaveFront());
    // A stream is not fed what has left without it.
    for (const cursor of this.#cursors) cursor.next = Math.max(cursor.next, this.settled);
    this.#progress.note();
    this.#pump();
    if (this.settled > before) this.#options.onSettled();
  }

  #leaveFront(): Entry {
    const entry = this.#entries.shift()!;
    this.#forget(entry);
    return entry;
  }

  #removeFile(entry: Entry): void {
    if (!entry.ownsFile) return;
    entry.ownsFile = false;
    const removal = entry.segment.remove();
    this.#removals.add(removal);
    void removal.then(() => this.#removals.delete(removal));
  }

  /** Reads a batch back from the disk, and goes on when it is there. */
  #load(entry: Entry): void {
    if (entry.isLoading) return;
    entry.isLoading = true;
    const { clock, log, spool } = this.#options;
    const parts = { spool, clock, log, isWanted: () => !this.#isEnding };
    void readBack(entry.segment, parts).then((read) => {
      entry.isLoading = false;
      if (read === undefined) return;
      if (read.mustStay) this.#keepFile(entry);
      // Not one whole piece in it: there is nothing to settle.
      if (read.batch === undefined) return this.#skip(entry);
      this.#compare(entry, read.batch);
      entry.batch = read.batch;
      this.#inMemory.add(entry);
      this.#pump();
    });
  }

  #keepFile(entry: Entry): void {
    entry.ownsFile = false;
    this.#progress.stop();
  }

  /** Passes over an entry that gives no frames to those who have not had it. */
  #skip(entry: Entry): void {
    this.#lose(entry, undefined, 'a batch could not be read back from the spool');
    this.#pass(entry);
  }

  /** Those who have not had it will not. */
  #pass(entry: Entry): void {
    entry.at.forEach((at, stream) => at === 'waiting' && (entry.at[stream] = 'settled'));
    for (const cursor of this.#cursors) cursor.dropRest(entry);
    this.#leaveSoon();
  }

  /** What is damaged was put aside when it was read. */
  #compare(entry: Entry, batch: Batch): void {
    const missing = entry.frames - batch.frames;
    if (missing > 0) this.#lose(entry, missing, 'a part of a batch was damaged in the spool');
    entry.frames = batch.frames;
  }

  /** @param missing so many of its frames; undefined: all that a stream has not had */
  #lose(entry: Entry, missing: number | undefined, reason: string): void {
    const { at, segment, batch } = entry;
    this.#cursors.forEach((cursor, number) => {
      const { id, account } = cursor.stream;
      // What is left of it is in memory, whatever its file is like.
      if (at[number] !== 'waiting' || (missing !== undefined && cursor.rests.has(entry))) return;
      const frames = missing ?? cursor.framesOf(entry);
      if (frames === 0 && !segment.isOfPreviousRun) return;
      book(account, frames, 'discarded');
      if (cursor === this.#reported && !segment.isOfPreviousRun) {
        const origins = cursor.rests.get(entry)?.batch.origins ?? batch?.origins;
        this.#options.origins?.ended(origins ?? new Map([[UNKNOWN, frames]]), 'discarded', reason);
      }
      this.#options.onLost({ stream: id, frames, bytes: segment.safeBytes, reason });
    });
  }

  /** Throws it away, for the spool is full. */
  async #discard(entry: Entry): Promise<void> {
    this.#lose(entry, undefined, 'the spool was full (SPOOL_FULL=drop-oldest)');
    this.#forget(entry);
    this.#removeFile(entry);
    this.#pass(entry);
    await Promise.all(this.#removals);
  }
}
