// What a bucket has closed and its streams have not settled, in order. With a spool each stream has a few batches at a time, and the rest
// may lie on disk: memory first, disk as overflow. Without one all is in memory, and goes to every stream at once.
import type { ActorRef } from '../actors/actor.js';
import type { Clock } from '../clock.js';
import type { Batch } from '../frames/batch.js';
import type { Log } from '../log.js';
import type { MemoryBudget } from '../memoryBudget.js';
import type { Segment } from '../spool/segment.js';
import type { LeftSegment, Spool } from '../spool/spool.js';
import type { StreamMessage } from '../streams/streamActor.js';

/** A batch on its way to the streams. */
export interface Entry {
  /** Undefined while it lies on disk alone. */
  batch: Batch | undefined;
  /** Its twin: of this life, or of an earlier one; undefined without a spool. */
  readonly twin: Segment | undefined;
  readonly left: LeftSegment | undefined;
  /** Streams that have not settled it. */
  unsettledBy: number;
  /** Streams that have been told of it and have not settled it. */
  heldBy: number;
  isLoading: boolean;
  failedLoads: number;
  isUnreadable: boolean;
}

export interface BacklogOptions {
  readonly streams: readonly ActorRef<StreamMessage>[];
  readonly spool: Spool | undefined;
  readonly budget: MemoryBudget;
  readonly log: Log;
  readonly clock: Clock;
  /** Told when entries have left, in their order. */
  readonly onSettled: () => void;
}

/** How many batches a stream has at a time, when the others can wait on disk. */
const WINDOW = 16;
const LOADS_TRIED = 5;
const LOAD_RETRY_MS = 1_000;

export class Backlog {
  readonly #options: BacklogOptions;
  readonly #window: number;
  #entries: Entry[] = [];
  /** Entries that have left at the front since the beginning: place of the first one. */
  #base = 0;
  /** By stream: the place of the entry it is told next, and how many it holds. */
  readonly #next: number[];
  readonly #held: number[];
  #isEnding = false;
  readonly #whenHandedOver: (() => void)[] = [];

  constructor(options: BacklogOptions) {
    this.#options = options;
    this.#window = options.spool === undefined ? Infinity : WINDOW;
    this.#next = options.streams.map(() => 0);
    this.#held = options.streams.map(() => 0);
    if (options.spool !== undefined) options.budget.onPressure((pressure) => (pressure === 'over' ? this.evict() : this.#pump()));
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

  /** A batch that was just closed; the caller's hold on it becomes the backlog's. */
  add(batch: Batch, twin: Segment | undefined): void {
    this.#push({ batch, twin, left: undefined });
    void twin?.completed.then(() => this.#isTight() && this.evict());
  }

  /** A segment of an earlier life; these come before all else. */
  addLeft(left: LeftSegment): void {
    this.#push({ batch: undefined, twin: undefined, left });
  }

  /** Memory is short: what lies on disk, and no stream holds, gives its memory up. */
  evict(): void {
    for (const entry of this.#entries) {
      if (entry.batch === undefined || entry.heldBy > 0 || !(entry.twin?.isComplete ?? entry.left !== undefined)) continue;
      entry.batch.release();
      entry.batch = undefined;
    }
  }

  /** Resolves when every stream has been told of all there is, or the time is over; after that they are told no more. */
  async handedOver(withinMs: number): Promise<void> {
    if (!this.#isHandedOver() && withinMs > 0) {
      await new Promise<void>((resolve) => {
        const timer = this.#options.clock.after(withinMs, resolve);
        this.#whenHandedOver.push(() => {
          timer.cancel();
          resolve();
        });
      });
    }
    this.#isEnding = true;
  }

  /** What is not settled is on disk, whole, when this resolves. */
  async end(): Promise<void> {
    this.#isEnding = true;
    await Promise.all(this.#entries.map((entry) => entry.twin?.completed));
  }

  #isHandedOver(): boolean {
    return this.#next.every((next) => next === this.added);
  }

  #push(parts: Pick<Entry, 'batch' | 'twin' | 'left'>): void {
    const entry: Entry = { ...parts, unsettledBy: this.#options.streams.length, heldBy: 0, isLoading: false, failedLoads: 0, isUnreadable: false };
    this.#entries.push(entry);
    this.#pump();
  }

  #pump(): void {
    for (let stream = 0; stream < this.#next.length; stream++) this.#feed(stream);
  }

  #feed(stream: number): void {
    while (!this.#isEnding && this.#mayFeed(this.#held[stream]!)) {
      const entry = this.#entries[this.#next[stream]! - this.#base];
      if (entry === undefined) return;
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
    return this.#options.spool !== undefined && this.#options.budget.heldBytes > this.#options.budget.limitBytes / 2;
  }

  #tell(stream: number, entry: Entry, batch: Batch): void {
    this.#held[stream]!++;
    entry.heldBy++;
    const share = batch.share();
    share.onSettled(() => this.#settle(stream, entry));
    this.#options.streams[stream]!.tell({ kind: 'batch', batch: share });
  }

  #settle(stream: number, entry: Entry): void {
    this.#held[stream]!--;
    entry.heldBy--;
    entry.unsettledBy--;
    // After the code that is running: a stream that settles at once must not be fed from within its own settling.
    queueMicrotask(() => this.#leave());
  }

  /** Settled entries leave at the front, and streams get more. */
  #leave(): void {
    const before = this.#base;
    while (this.#entries[0]?.unsettledBy === 0) {
      const entry = this.#entries.shift()!;
      this.#base++;
      entry.batch?.release();
      if (entry.twin !== undefined) void entry.twin.remove();
      if (entry.left !== undefined && !entry.isUnreadable) void this.#options.spool!.remove(entry.left);
    }
    this.#next.forEach((next, stream) => (this.#next[stream] = Math.max(next, this.#base)));
    this.#pump();
    if (this.#base > before) this.#options.onSettled();
    if (this.#isHandedOver()) for (const run of this.#whenHandedOver.splice(0)) run();
  }

  /** Reads a batch back from the disk, and goes on when it is there. */
  #load(entry: Entry): void {
    if (entry.isLoading) return;
    entry.isLoading = true;
    const path = entry.twin?.path ?? entry.left!.path;
    this.#options.spool!.read(path).then(
      ({ batch }) => {
        entry.isLoading = false;
        entry.batch = batch;
        // Not one whole piece in it: there is nothing to settle.
        if (batch === undefined) this.#skip(entry);
        else this.#pump();
      },
      (error: unknown) => this.#retryLoad(entry, path, error),
    );
  }

  #retryLoad(entry: Entry, path: string, error: unknown): void {
    if (++entry.failedLoads < LOADS_TRIED) {
      this.#options.clock.after(LOAD_RETRY_MS, () => {
        entry.isLoading = false;
        this.#pump();
      });
      return;
    }
    this.#options.log.error(`${path} can't be read: ${String(error)}; it is left there, and the batches behind it go on. Send it with socat once it can be read`);
    entry.isUnreadable = true;
    this.#skip(entry);
  }

  /** Passes over an entry that gives no frames. */
  #skip(entry: Entry): void {
    entry.unsettledBy = 0;
    this.#leave();
    const place = this.#base + this.#entries.indexOf(entry);
    if (place >= this.#base) this.#next.forEach((next, stream) => (this.#next[stream] = next === place ? next + 1 : next));
    this.#pump();
  }
}
