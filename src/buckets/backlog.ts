// What a bucket has closed and its streams have not settled, in order. With a spool each stream has a few batches at a time, and the rest
// may lie on disk: memory first, disk as overflow. Without one all is in memory, and goes to every stream at once.
import type { ActorRef } from '../actors/actor.js';
import type { Clock } from '../clock.js';
import type { Batch } from '../frames/batch.js';
import type { Log } from '../log.js';
import type { MemoryBudget } from '../memoryBudget.js';
import type { Segment } from '../spool/segment.js';
import type { SettledNotes } from '../spool/settledNotes.js';
import type { Droppable, LeftSegment, Spool } from '../spool/spool.js';
import { type Account, book } from '../streams/account.js';
import type { StreamMessage } from '../streams/streamMessage.js';
import { type Entry, isOnDisk, isSettled, newEntry, pathOf } from './entry.js';
import { readBack } from './readBack.js';

/** A stream of the bucket, as the backlog knows it. */
export interface BacklogStream {
  /** As in the configuration. */
  readonly id: string;
  readonly ref: ActorRef<StreamMessage>;
  readonly account: Account;
}

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
  readonly spool: Spool | undefined;
  /** What earlier lives have noted of this bucket; with a spool. */
  readonly notes: SettledNotes | undefined;
  readonly budget: MemoryBudget;
  readonly log: Log;
  readonly clock: Clock;
  /** Told when entries have left, in their order. */
  readonly onSettled: () => void;
  readonly onLost: (lost: Lost) => void;
  /** What was counted of this bucket's earlier backlogs; it is counted on. */
  readonly closed?: Closed | undefined;
  /** While frames that were rejected are not kept yet: a segment that they came from must not go before. */
  readonly keeping?: () => Promise<void> | undefined;
  /** At the end: frames that are nowhere but in memory, for the disk did not take them in time. */
  readonly onUnkept?: (batch: Batch, from: number, reason: string) => void;
}

/** How many batches a stream has at a time, when the others can wait on disk. */
const WINDOW = 16;
/** At the end: how long a disk that fails, or hangs, is waited for. */
const END_MS = 3_000;

export class Backlog {
  readonly #options: BacklogOptions;
  /** By number; those that have gone leave their place to the next that comes. */
  readonly #streams: BacklogStream[];
  readonly #window: number;
  #entries: Entry[] = [];
  /** Entries that have left at the front since the beginning: place of the first one. */
  #base = 0;
  /** By stream: the place of the entry it is told next, and how many it holds. */
  readonly #next: number[];
  readonly #held: number[];
  /** By stream: what comes from this place on is not for it. */
  readonly #until: number[];
  readonly #gone = new Set<number>();
  /** By stream's id: the place up to which it is noted to have settled all. */
  readonly #noted = new Map<string, number>();
  /** By stream: it gave batches back, and gets none before it asks. */
  readonly #isAway: boolean[];
  /** Entries whose batch is in memory. */
  readonly #inMemory = new Set<Entry>();
  readonly #removals = new Set<Promise<void>>();
  /** What is in them could not be counted: they don't go uncounted. */
  readonly #undroppable = new Set<Entry>();
  readonly #listening: (() => void)[] = [];
  /** A file stays that could not be read: a note of what comes behind it would say that it is settled too. */
  #hasUnread = false;
  #isLeaving = false;
  #isEnding = false;
  readonly #whenToldAll: { readonly isSo: () => boolean; readonly run: () => void }[] = [];
  readonly closed: Closed;
  /** The batch that the bucket is filling: for who counts what is held. */
  open: Batch | undefined;

  constructor(options: BacklogOptions) {
    this.#options = options;
    this.closed = options.closed ?? { batches: 0, frames: 0, bytes: 0 };
    this.#window = options.spool === undefined ? Infinity : WINDOW;
    this.#streams = [...options.streams];
    this.#next = options.streams.map(() => 0);
    this.#held = options.streams.map(() => 0);
    this.#until = options.streams.map(() => Infinity);
    this.#isAway = options.streams.map(() => false);
    if (options.spool === undefined) return;
    this.#listening = [
      options.budget.onPressure((pressure) => (pressure === 'over' ? this.#makeRoom() : this.#pump())),
      options.budget.onSqueeze(() => this.#makeRoom()),
      options.spool.onFull(() => this.#oldestIdle()),
    ];
  }

  get isEmpty(): boolean {
    return this.#entries.length === 0;
  }

  /** How many batches were added in all, and how many of them, from the first on, are settled. */
  get added(): number {
    return this.#base + this.#entries.length;
  }

  get settled(): number {
    return this.#base;
  }

  get entries(): readonly Entry[] {
    return this.#entries;
  }

  /** Frames that streams have not been told of, those of the open batch among them, and so are in their accounts not yet. */
  get waiting(): readonly { readonly account: Account; readonly frames: number }[] {
    return this.#streams.map(({ account }, stream) => ({
      account,
      frames: this.#entries.reduce((sum, { at, frames }) => (at[stream] === 'waiting' ? sum + frames : sum), this.#isFor(stream) ? (this.open?.frames ?? 0) : 0),
    }));
  }

  /** Bytes of batches that are closed and not settled: in memory, and in the spool; most are in both. */
  get heldBytes(): { readonly memory: number; readonly disk: number } {
    return {
      memory: this.#entries.reduce((sum, { batch }) => sum + (batch?.length ?? 0), 0),
      disk: this.#entries.reduce((sum, { twin, left }) => sum + (left?.bytes ?? twin?.safeBytes ?? 0), 0),
    };
  }

  /** One more stream, for what is added from now on. Returns its number. */
  addStream(added: BacklogStream): number {
    const left = [...this.#gone].find((number) => this.#held[number] === 0);
    const stream = left ?? this.#streams.length;
    this.#gone.delete(stream);
    this.#streams[stream] = added;
    for (const entry of this.#entries) entry.at[stream] = 'settled';
    this.#next[stream] = this.added;
    this.#held[stream] = 0;
    this.#until[stream] = Infinity;
    this.#isAway[stream] = false;
    this.#note();
    return stream;
  }

  /** What is added from now on is not for this stream; it goes on being told of what was before. */
  endStream(stream: number): void {
    this.#until[stream] = this.added;
  }

  /** Resolves when a stream that ends was told of all that is for it, or nobody is told any more: was it? */
  async toldAll(stream: number): Promise<boolean> {
    await this.#whenSo(() => this.#isToldAll(stream));
    return this.#isToldAll(stream);
  }

  /** It has ended, and holds nothing. */
  removeStream(stream: number): void {
    this.#gone.add(stream);
    this.#leaveSoon();
  }

  /** The stream has use for batches again, after it gave some back. */
  ready(stream: number): void {
    this.#isAway[stream] = false;
    this.#pump();
  }

  /** The stream can't write: if memory is short already, what it holds is wanted back. */
  stuck(stream: number): void {
    if (this.#options.spool !== undefined && this.#options.budget.isOver) this.#recallFrom(stream);
  }

  /** A batch that was just closed; the caller's hold on it becomes the backlog's. */
  add(batch: Batch, twin: Segment | undefined): void {
    this.closed.batches++;
    this.closed.frames += batch.frames;
    this.closed.bytes += batch.length;
    this.#push({ batch, twin, left: undefined });
    void twin?.completed.then(() => {
      if (this.#isTight()) this.evict();
      this.#note();
    });
  }

  /** A segment of an earlier life; these come before all else. */
  addLeft(left: LeftSegment): void {
    this.#push({ batch: undefined, twin: undefined, left });
  }

  /** Memory is short: streams that can't write give back what they hold, too. */
  #makeRoom(): void {
    this.#recall();
    this.evict();
  }

  #recall(): void {
    for (let stream = 0; stream < this.#streams.length; stream++) this.#recallFrom(stream);
  }

  #recallFrom(stream: number): void {
    const { ref } = this.#streams[stream]!;
    if (this.#held[stream]! > 0 && ref.state === 'running') ref.tell({ kind: 'giveBack' });
  }

  /** What lies on disk, and no stream holds, gives its memory up. */
  evict(): void {
    for (const entry of this.#inMemory) if (entry.heldBy === 0 && isOnDisk(entry)) this.#forget(entry);
  }

  /** Resolves when every stream has been told of all there is, or the time is over; after that they are told no more. */
  async handedOver(withinMs: number): Promise<void> {
    if (withinMs > 0) {
      let stopWaiting = (): void => undefined;
      const isOver = new Promise<void>((resolve) => (stopWaiting = resolve));
      // The bucket may end long before the daemon does, and then there is time without end.
      const timer = Number.isFinite(withinMs) ? this.#options.clock.after(withinMs, stopWaiting) : undefined;
      await Promise.race([isOver, this.#whenSo(() => this.#streams.every((_, stream) => this.#isToldAll(stream)))]);
      timer?.cancel();
    }
    this.#isEnding = true;
    this.#answer();
  }

  async #whenSo(isSo: () => boolean): Promise<void> {
    if (isSo() || this.#isEnding) return;
    await new Promise<void>((run) => this.#whenToldAll.push({ isSo, run }));
  }

  #answer(): void {
    for (const { run } of takeOut(this.#whenToldAll, ({ isSo }) => this.#isEnding || isSo())) run();
  }

  #isToldAll(stream: number): boolean {
    return this.#gone.has(stream) || this.#next[stream]! >= Math.min(this.#until[stream]!, this.added);
  }

  #isFor(stream: number): boolean {
    return this.#until[stream] === Infinity;
  }

  /** When this resolves, what is not settled is on disk, whole, and what is settled is not; unless the disk fails: then it is told. */
  async end(withinMs = END_MS): Promise<void> {
    this.#isEnding = true;
    this.#answer();
    for (const end of this.#listening) end();
    this.#sayWhatIsMissed();
    const isDone = await this.#within(withinMs, Promise.all([...this.#entries.map((entry) => entry.twin?.completed), ...this.#removals, this.#options.notes?.flush()]));
    if (isDone) return;
    for (const { twin, batch } of this.#entries) {
      if (twin === undefined || twin.isComplete || batch === undefined) continue;
      this.#options.log.error(`${twin.path} could not be ended within ${withinMs} ms: of its ${batch.length} bytes of frames ${twin.safeBytes} are there, the rest goes to REJECTED`);
      this.#options.onUnkept?.(batch, twin.safeBytes, `its twin in the spool could not be written before the end: ${twin.path}`);
    }
  }

  async #within(ms: number, work: Promise<unknown>): Promise<boolean> {
    let isDone = false;
    await new Promise<void>((resolve) => {
      const timer = this.#options.clock.after(ms, resolve);
      void work.then(() => {
        isDone = true;
        timer.cancel();
        resolve();
      });
    });
    return isDone;
  }

  /** A stream that was taken out will not be there to get it from the spool in the daemon's next life. */
  #sayWhatIsMissed(): void {
    this.#streams.forEach(({ id }, stream) => {
      if (this.#isFor(stream) || this.#gone.has(stream)) return;
      const missed = this.#entries.filter(({ at }) => at[stream] === 'waiting');
      if (missed.length > 0) this.#options.log.error(`stream ${id} was taken out of the configuration, and the daemon stopped before it had had ${missed.length} batches that are in the spool: they go without it, unless it is configured again`);
    });
  }

  #push(parts: Pick<Entry, 'batch' | 'twin' | 'left'>): void {
    const { notes } = this.#options;
    const hasSettled = (id: string): boolean => parts.left !== undefined && notes?.hasSettled(id, parts.left.path) === true;
    const entry = newEntry({ ...parts, at: this.#streams.map(({ id }, stream) => (!this.#isFor(stream) || hasSettled(id) ? 'settled' : 'waiting')) });
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
    for (let stream = 0; stream < this.#next.length; stream++) this.#feed(stream);
    if (this.#whenToldAll.length > 0) this.#answer();
  }

  #feed(stream: number): void {
    while (!this.#isEnding && !this.#isAway[stream]! && this.#mayFeed(this.#held[stream]!)) {
      const entry = this.#entries[this.#next[stream]! - this.#base];
      if (entry === undefined) return;
      if (entry.at[stream] !== 'waiting') {
        this.#next[stream]!++;
        continue;
      }
      if (entry.batch === undefined) return this.#load(entry);
      this.#next[stream]!++;
      this.#tell(stream, entry, entry.batch);
    }
  }

  /** A stream has at least one batch; more only while memory is no matter. */
  #mayFeed(held: number): boolean {
    return held === 0 || (held < this.#window && !this.#isTight());
  }

  /** Half of the memory is used, and there is a disk to make room on. */
  #isTight(): boolean {
    return this.#options.spool !== undefined && this.#options.budget.isTight;
  }

  #tell(stream: number, entry: Entry, batch: Batch): void {
    this.#held[stream]!++;
    entry.heldBy++;
    entry.at[stream] = 'told';
    const share = batch.share();
    share.onSettled(() => this.#settle(stream, entry, share.isGivenUp));
    this.#streams[stream]!.ref.tell({ kind: 'batch', batch: share });
  }

  #settle(stream: number, entry: Entry, isGivenUp: boolean): void {
    this.#held[stream]!--;
    entry.heldBy--;
    entry.at[stream] = isGivenUp ? 'waiting' : 'settled';
    if (isGivenUp) this.#takeBack(stream, entry);
    if (entry.heldBy === 0 && !isSettled(entry) && isOnDisk(entry) && this.#isTight()) this.#forget(entry);
    this.#leaveSoon();
  }

  /** The stream gets it again, with what follows, once it asks. */
  #takeBack(stream: number, entry: Entry): void {
    this.#isAway[stream] = true;
    this.#next[stream] = Math.min(this.#next[stream]!, this.#base + this.#entries.indexOf(entry));
  }

  /** After the code that is running: a stream that settles at once must not be fed from within its own settling. */
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
    const before = this.#base;
    while (this.#entries[0] !== undefined && isSettled(this.#entries[0])) this.#removeFile(this.#leaveFront());
    // A stream is not fed what has left without it.
    this.#next.forEach((next, stream) => (this.#next[stream] = Math.max(next, this.#base)));
    this.#note();
    this.#pump();
    if (this.#base > before) this.#options.onSettled();
  }

  /** When one stream is ahead of another, how far it is must outlive the daemon, or it would get all that again. */
  #note(): void {
    const { notes } = this.#options;
    if (notes === undefined || this.#streams.length - this.#gone.size === 1 || this.#hasUnread) return;
    for (const [id, settled] of this.#settledUpTo()) {
      const upTo = this.#onDiskUpTo(settled);
      if (upTo <= Math.max(this.#base, this.#noted.get(id) ?? 0)) continue;
      this.#noted.set(id, upTo);
      notes.note(id, pathOf(this.#entries[upTo - this.#base - 1]!));
    }
  }

  /** By stream's id: the place up to which it has settled all; of one that was taken out and is there again: both of them. */
  #settledUpTo(): ReadonlyMap<string, number> {
    const places = new Map<string, number>();
    this.#streams.forEach(({ id }, stream) => {
      if (this.#gone.has(stream)) return;
      let upTo = Math.max(this.#base, this.#noted.get(id) ?? 0);
      while (this.#entries[upTo - this.#base]?.at[stream] === 'settled') upTo++;
      places.set(id, Math.min(upTo, places.get(id) ?? Infinity));
    });
    return places;
  }

  /** A note of a segment that is newer than all that are found would not count, so one whose file is still to come is not noted. */
  #onDiskUpTo(place: number): number {
    let upTo = place;
    while (upTo > this.#base && !isOnDisk(this.#entries[upTo - this.#base - 1]!)) upTo--;
    return upTo;
  }

  #leaveFront(): Entry {
    const entry = this.#entries.shift()!;
    this.#base++;
    this.#forget(entry);
    return entry;
  }

  #removeFile(entry: Entry): void {
    const { twin, left } = entry;
    if (entry.mustStay) return;
    entry.mustStay = true;
    if (twin === undefined && left === undefined) return;
    const remove = (): Promise<void> => twin?.remove() ?? this.#options.spool!.remove(left!);
    const keeping = this.#options.keeping?.();
    const removal = keeping === undefined ? remove() : keeping.then(remove);
    this.#removals.add(removal);
    void removal.then(() => this.#removals.delete(removal));
  }

  /** Reads a batch back from the disk, and goes on when it is there. */
  #load(entry: Entry): void {
    if (entry.isLoading) return;
    entry.isLoading = true;
    const { clock, log, spool } = this.#options;
    void readBack(entry, { spool: spool!, clock, log, isWanted: () => !this.#isEnding }).then((read) => {
      entry.isLoading = false;
      if (read === undefined) return;
      if (read.mustStay) this.#mustStay(entry);
      // Not one whole piece in it: there is nothing to settle.
      if (read.batch === undefined) return this.#skip(entry);
      this.#compare(entry, read.batch);
      entry.batch = read.batch;
      this.#inMemory.add(entry);
      this.#pump();
    });
  }

  #mustStay(entry: Entry): void {
    entry.mustStay = true;
    this.#hasUnread = true;
  }

  /** Passes over an entry that gives no frames to those who have not had it. */
  #skip(entry: Entry): void {
    this.#lose(entry, entry.frames, 'a batch could not be read back from the spool');
    this.#pass(entry);
  }

  /** Those who have not had it will not. */
  #pass(entry: Entry): void {
    entry.at.forEach((at, stream) => at === 'waiting' && (entry.at[stream] = 'settled'));
    this.#leaveSoon();
  }

  /** What is damaged was put aside when it was read. */
  #compare(entry: Entry, batch: Batch): void {
    const missing = entry.frames - batch.frames;
    if (missing > 0) this.#lose(entry, missing, 'a part of a batch was damaged in the spool');
    entry.frames = batch.frames;
  }

  #lose({ at, twin, left }: Entry, frames: number, reason: string): void {
    this.#streams.forEach(({ id, account }, stream) => {
      if (at[stream] !== 'waiting' || (frames === 0 && left === undefined)) return;
      book(account, frames, 'discarded');
      this.#options.onLost({ stream: id, frames, bytes: left?.bytes ?? twin!.safeBytes, reason });
    });
  }

  /** The oldest batch that no stream has in its hands. */
  #oldestIdle(): Droppable | undefined {
    this.#recall();
    const entry = this.#entries.find((found) => isOnDisk(found) && found.heldBy === 0 && !found.isLoading && !found.mustStay && !isSettled(found) && !this.#undroppable.has(found));
    return entry && { path: pathOf(entry), drop: () => this.#drop(entry) };
  }

  async #drop(entry: Entry): Promise<void> {
    if (entry.left !== undefined && entry.frames === 0) await this.#countLeft(entry);
    // A stream that came to it while it was counted has not been told of it.
    if (entry.heldBy > 0 || isSettled(entry) || this.#undroppable.has(entry)) {
      this.#pump();
      return;
    }
    this.#lose(entry, entry.frames, 'the spool was full (SPOOL_FULL=drop-oldest)');
    this.#forget(entry);
    this.#removeFile(entry);
    this.#pass(entry);
    await Promise.all(this.#removals);
  }

  async #countLeft(entry: Entry): Promise<void> {
    entry.isLoading = true;
    const { batch, mayGo } = await this.#options.spool!.read(pathOf(entry)).catch(() => ({ batch: undefined, mayGo: false }));
    entry.isLoading = false;
    entry.frames = batch?.frames ?? 0;
    batch?.release();
    if (!mayGo) this.#undroppable.add(entry);
  }
}

/** Removes those that fit, and returns them. */
function takeOut<T>(from: T[], fits: (one: T) => boolean): readonly T[] {
  const out = from.filter(fits);
  from.splice(0, from.length, ...from.filter((one) => !out.includes(one)));
  return out;
}
