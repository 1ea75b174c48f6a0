// What a bucket has closed and its streams have not settled, in order. With a spool each stream has a few batches at a time, and the rest
// may lie on disk: memory first, disk as overflow. Without one all is in memory, and goes to every stream at once.
import type { ActorRef } from '../actors/actor.js';
import type { Clock } from '../clock.js';
import type { Batch } from '../frames/batch.js';
import type { Log } from '../log.js';
import type { MemoryBudget } from '../memoryBudget.js';
import type { Segment } from '../spool/segment.js';
import type { LeftSegment, Spool } from '../spool/spool.js';
import { errnoOf } from '../disk/fileSystem.js';
import { explained } from '../disk/ioAdvice.js';
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
  /** It gives no frames: streams pass over it. */
  isSkipped: boolean;
  /** Its file stays when it leaves. */
  mustStay: boolean;
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
/** At the end: how long a disk that fails, or hangs, is waited for. */
const END_MS = 3_000;
/** What keeps a file from being read and has nothing to do with the file. */
const PASSING = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN', 'EINTR']);

export class Backlog {
  readonly #options: BacklogOptions;
  readonly #window: number;
  #entries: Entry[] = [];
  /** Entries that have left at the front since the beginning: place of the first one. */
  #base = 0;
  /** By stream: the place of the entry it is told next, and how many it holds. */
  readonly #next: number[];
  readonly #held: number[];
  /** Entries whose batch is in memory. */
  readonly #inMemory = new Set<Entry>();
  readonly #removals = new Set<Promise<void>>();
  readonly #endPressure: (() => void) | undefined;
  #isLeaving = false;
  #isEnding = false;
  readonly #whenHandedOver: (() => void)[] = [];

  constructor(options: BacklogOptions) {
    this.#options = options;
    this.#window = options.spool === undefined ? Infinity : WINDOW;
    this.#next = options.streams.map(() => 0);
    this.#held = options.streams.map(() => 0);
    if (options.spool !== undefined) this.#endPressure = options.budget.onPressure((pressure) => (pressure === 'over' ? this.evict() : this.#pump()));
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
    for (const entry of this.#inMemory) if (entry.heldBy === 0 && isOnDisk(entry)) this.#forget(entry);
  }

  /** Resolves when every stream has been told of all there is, or the time is over; after that they are told no more. */
  async handedOver(withinMs: number): Promise<void> {
    if (!this.#isHandedOver() && withinMs > 0) {
      await new Promise<void>((resolve) => {
        // The bucket may end long before the daemon does, and then there is time without end.
        const timer = Number.isFinite(withinMs) ? this.#options.clock.after(withinMs, resolve) : undefined;
        this.#whenHandedOver.push(() => {
          timer?.cancel();
          resolve();
        });
      });
    }
    this.#isEnding = true;
  }

  /** When this resolves, what is not settled is on disk, whole, and what is settled is not; unless the disk fails: then it is told. */
  async end(withinMs = END_MS): Promise<void> {
    this.#isEnding = true;
    this.#endPressure?.();
    const isDone = await this.#within(withinMs, Promise.all([...this.#entries.map((entry) => entry.twin?.completed), ...this.#removals]));
    if (isDone) return;
    for (const { twin, batch } of this.#entries) {
      if (twin === undefined || twin.isComplete || batch === undefined) continue;
      this.#options.log.error(`${twin.path} could not be ended within ${withinMs} ms: of its ${batch.length} bytes of frames ${twin.safeBytes} are there, the rest is lost unless a stream has it`);
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

  #isHandedOver(): boolean {
    return this.#next.every((next) => next === this.added);
  }

  #push(parts: Pick<Entry, 'batch' | 'twin' | 'left'>): void {
    const { streams } = this.#options;
    const entry: Entry = { ...parts, unsettledBy: streams.length, heldBy: 0, isLoading: false, failedLoads: 0, isSkipped: false, mustStay: false };
    this.#entries.push(entry);
    if (entry.batch !== undefined) this.#inMemory.add(entry);
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
    if (this.#isHandedOver()) for (const run of this.#whenHandedOver.splice(0)) run();
  }

  #feed(stream: number): void {
    while (!this.#isEnding && this.#mayFeed(this.#held[stream]!)) {
      const entry = this.#entries[this.#next[stream]! - this.#base];
      if (entry === undefined) return;
      if (entry.isSkipped) {
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
    if (entry.heldBy === 0 && entry.unsettledBy > 0 && isOnDisk(entry) && this.#isTight()) this.#forget(entry);
    this.#leaveSoon();
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
    while (this.#entries[0]?.unsettledBy === 0) this.#removeFile(this.#leaveFront());
    // A stream is not fed what has left without it.
    this.#next.forEach((next, stream) => (this.#next[stream] = Math.max(next, this.#base)));
    this.#pump();
    if (this.#base > before) this.#options.onSettled();
  }

  #leaveFront(): Entry {
    const entry = this.#entries.shift()!;
    this.#base++;
    this.#forget(entry);
    return entry;
  }

  #removeFile({ twin, left, mustStay }: Entry): void {
    if (mustStay) return;
    const removal = twin?.remove() ?? (left === undefined ? undefined : this.#options.spool!.remove(left));
    if (removal === undefined) return;
    this.#removals.add(removal);
    void removal.then(() => this.#removals.delete(removal));
  }

  /** Reads a batch back from the disk, and goes on when it is there. */
  #load(entry: Entry): void {
    if (entry.isLoading) return;
    entry.isLoading = true;
    const path = entry.twin?.path ?? entry.left!.path;
    this.#options.spool!.read(path, entry.twin !== undefined).then(
      ({ batch, mayGo }) => {
        entry.isLoading = false;
        entry.mustStay ||= !mayGo;
        entry.batch = batch;
        if (batch !== undefined) this.#inMemory.add(entry);
        // Not one whole piece in it: there is nothing to settle.
        if (batch === undefined) this.#skip(entry);
        else this.#pump();
      },
      (error: unknown) => this.#retryLoad(entry, path, error),
    );
  }

  #retryLoad(entry: Entry, path: string, error: unknown): void {
    const { clock, log } = this.#options;
    const errno = errnoOf(error) ?? '';
    const tries = errno === 'ENOENT' ? 1 : PASSING.has(errno) ? Infinity : LOADS_TRIED;
    if (++entry.failedLoads < tries) {
      if (entry.failedLoads === 1) log.warn(`${path} can't be read: ${explained(error)}; it is tried again every ${LOAD_RETRY_MS} ms, and what is behind it waits`);
      clock.after(LOAD_RETRY_MS, () => {
        entry.isLoading = false;
        this.#pump();
      });
      return;
    }
    const advice = errno === 'ENOENT' ? 'somebody has removed it' : 'it is left there; send it with socat once it can be read';
    log.error(`${path} can't be read: ${explained(error)}; ${advice}; the batches behind it go on`);
    entry.mustStay = true;
    this.#skip(entry);
  }

  /** Passes over an entry that gives no frames to those who have not had it. */
  #skip(entry: Entry): void {
    entry.isSkipped = true;
    entry.unsettledBy = 0;
    this.#leaveSoon();
  }
}

function isOnDisk({ twin, left }: Entry): boolean {
  return left !== undefined || twin?.isComplete === true;
}
