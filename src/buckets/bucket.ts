// A bucket: gathers runs into its open batch, and closes it at `batch` frames, at `batchBytes`, or
// `batchTimeout` after its first frame. A closed batch goes to every stream of the bucket, by way of the
// backlog. With a spool it has had a segment on disk since its first frame.
import type { Timer } from '../clock.js';
import { errorOf } from '../errors.js';
import { Actor, type ActorContext, type ActorRef } from '../actors/actor.js';
import { NO_SEGMENT } from '../spool/noSpool.js';
import type { GrowingSegment, Spool } from '../spool/spool.js';
import type { Backlog } from './backlog.js';
import { Batch } from '../frames/batch.js';
import { endOfFrame } from '../frames/frame.js';
import { NOBODY } from '../frames/origins.js';
import type { Limiter } from './limit/limiter.js';
import type { MemoryBudget } from '../memory/memoryBudget.js';
import { type RejectedFrames, rejectRun } from '../losses/rejection.js';
import { closeNow } from '../streams/streamParts.js';
import type { BucketStreams } from './bucketStreams.js';
import type { BucketMessage, BucketSettings, PendingFence, RouterMessage } from './messages.js';
import { type Run, endRun, ownRun } from '../intake/run.js';
import type { BucketKey } from '../frames/bucketName.js';
import type { Receipt } from '../intake/receipt.js';
import { behind } from '../intake/ticket.js';
import { Followers } from './followers.js';
import type { Taps } from './taps.js';

export interface BucketOptions extends BucketSettings {
  readonly key: BucketKey;
  /** The name as people read it: the topic, and `{bucket}` in file names. */
  readonly name: string;
  readonly budget: MemoryBudget;
  readonly spool: Spool;
  /** Who looks at its batches as they are closed. */
  readonly taps?: Taps;
  /** Keeps frames that this bucket could not take because of a bug of its own. */
  readonly rejected: RejectedFrames;
  /** Told when it was idle. */
  readonly router: Pick<ActorRef<RouterMessage>, 'tell'>;
}

export interface LastingParts {
  /** Those who get its batches, by way of the backlog. */
  readonly streams: Pick<BucketStreams, 'reconfigure' | 'end'>;
  readonly backlog: Backlog;
  /** Undefined: the bucket takes whatever comes. */
  limiter?: Pick<Limiter, 'admit' | 'close'> | undefined;
}

export class Bucket extends Actor<BucketMessage> {
  readonly #context: ActorContext<BucketMessage>;
  #options: BucketOptions;
  readonly #streams: LastingParts['streams'];
  readonly #backlog: Backlog;
  readonly #lasting: LastingParts;
  /** Of the open batch. */
  #segment: GrowingSegment = NO_SEGMENT;
  #open: Batch | undefined;
  /** Of the open batch. */
  #followers: Followers | undefined;
  #timeout: Timer | undefined;
  #idleTimer: Timer | undefined;
  #runsSinceIdleCheck = 0;
  #lastBatchBytes = 0;
  #fences: PendingFence[] = [];

  /**
   * @param lasting the streams' actors, and what they have not settled: these outlive a failed bucket, so its
   * successor gets the same ones
   */
  constructor(context: ActorContext<BucketMessage>, options: BucketOptions, lasting: LastingParts) {
    super();
    this.#context = context;
    this.#options = options;
    this.#streams = lasting.streams;
    this.#backlog = lasting.backlog;
    this.#lasting = lasting;
    this.#watchIdle();
  }

  #watchIdle(): void {
    const { idleMs } = this.#options;
    this.#idleTimer?.cancel();
    this.#idleTimer =
      idleMs === undefined
        ? undefined
        : this.#context.clock.every(idleMs, () => this.#context.self.tell({ kind: 'idleCheck' }));
  }

  override receive(message: BucketMessage): void {
    switch (message.kind) {
      case 'run':
        return this.#take(message);
      case 'timeout':
        return this.#onTimeout(message.batch);
      case 'settled':
        return this.#answerFences();
      case 'fence':
        return this.#fence(message.receipt);
      case 'idleCheck':
        return this.#checkIdle();
      case 'reconfigure':
        return this.#reconfigure(message);
      case 'inherit':
        return this.#inherit(message);
    }
  }

  override keep(message: BucketMessage): BucketMessage {
    return message.kind === 'run' ? ownRun(message) : message;
  }

  override handBack(): readonly BucketMessage[] {
    this.#timeout?.cancel();
    this.#idleTimer?.cancel();
    return [
      {
        kind: 'inherit',
        open: this.#open,
        segment: this.#segment,
        followers: this.#followers,
        fences: this.#fences,
      },
    ];
  }

  override abandon(message: BucketMessage, error: unknown): void {
    if (message.kind === 'run') {
      const { rejected, name } = this.#options;
      const reason = `the bucket failed on it: ${String(error)}`;
      void rejectRun(rejected, message, name, { code: 'INTERNAL', reason });
      endRun(message);
    }
    if (message.kind === 'reconfigure')
      this.#leave(message, this.#context.self.state === 'stopped' ? undefined : errorOf(error));
    // A bucket that has stopped has everything settled.
    if (message.kind === 'fence' && this.#open === undefined && this.#backlog.isEmpty) message.receipt.done();
  }

  override drain(): void {
    this.#idleTimer?.cancel();
    this.#close();
    this.#lasting.limiter?.close();
    void this.#finish().then(() => this.#context.drained());
  }

  async #finish(): Promise<void> {
    await this.#streams.end();
    await this.#backlog.end();
  }

  #reconfigure(message: Extract<BucketMessage, { kind: 'reconfigure' }>): void {
    if (this.#context.self.state === 'draining') return this.#leave(message);
    const { settings, streams, limiter, onTaken } = message;
    // What came until now is for the streams that there were, and may be over a limit that is less now.
    this.#close();
    this.#options = { ...this.#options, ...settings };
    this.#watchIdle();
    this.#lasting.limiter?.close();
    this.#lasting.limiter = limiter;
    void this.#streams.reconfigure(streams).then(
      () => onTaken(),
      (error: unknown) => onTaken(errorOf(error)),
    );
  }

  /** It stays as it is, and what was made for it is not needed. */
  #leave({ streams, onTaken }: Extract<BucketMessage, { kind: 'reconfigure' }>, error?: Error): void {
    for (const { parts } of [...streams.changed, ...streams.added]) closeNow(parts);
    onTaken(error);
  }

  /** Copies a run into the open batch, cut where a batch is full. */
  #take(run: Run): void {
    this.#runsSinceIdleCheck++;
    const { chunk, nowMs, origin } = run;
    let { start } = run;
    const within = this.#lasting.limiter?.admit(run) ?? run;
    let { frames } = within;
    while (frames > 0) {
      const batch = this.#open ?? this.#openBatch();
      batch.origin = origin ?? NOBODY;
      const fitFrames = this.#options.batchFrames - batch.frames;
      const fitBytes = this.#options.batchBytes - batch.length;
      if (frames <= fitFrames && within.end - start <= fitBytes) {
        batch.append(chunk, start, within.end, frames, nowMs);
        this.#follow(batch, run, within.frames - frames, frames);
        frames = 0;
      } else {
        const cut = cutRun(run, start, {
          frames: Math.min(frames, fitFrames),
          bytes: fitBytes,
          isEmpty: batch.length === 0,
        });
        if (cut.frames > 0) batch.append(chunk, start, cut.end, cut.frames, nowMs);
        this.#follow(batch, run, within.frames - frames, cut.frames);
        start = cut.end;
        frames -= cut.frames;
        if (frames > 0) this.#close();
      }
    }
    const open = this.#open;
    if (
      open !== undefined &&
      (open.frames >= this.#options.batchFrames || open.length >= this.#options.batchBytes)
    )
      this.#close();
    this.#segment.grow();
    endRun(run);
  }

  /** So many frames of a run, from its frame `from` on, are the batch's last. */
  #follow(batch: Batch, { followed }: Run, from: number, frames: number): void {
    if (followed === undefined || frames === 0) return;
    batch.wantsOutcomes = true;
    (this.#followers ??= new Followers(batch.budget)).add(
      batch.frames - frames,
      frames,
      behind(followed, from),
    );
  }

  #openBatch(): Batch {
    const batch = new Batch(this.#options.name, this.#options.budget, this.#lastBatchBytes);
    this.#setOpen(batch);
    this.#segment = this.#options.spool.newSegment(batch);
    this.#startTimeout(batch);
    return batch;
  }

  #setOpen(batch: Batch | undefined): void {
    this.#open = batch;
    this.#backlog.open = batch;
  }

  #startTimeout(batch: Batch): void {
    this.#timeout = this.#context.clock.after(this.#options.batchTimeoutMs, () =>
      this.#context.self.tell({ kind: 'timeout', batch }),
    );
  }

  #onTimeout(batch: Batch): void {
    if (batch === this.#open) this.#close();
  }

  /** Ends the open batch and hands it to every stream. */
  #close(): void {
    const batch = this.#open;
    if (batch === undefined) return;
    this.#timeout?.cancel();
    // One oversized frame must not make the batches after it big.
    this.#lastBatchBytes = Math.min(batch.length, this.#options.batchBytes);
    const [segment, followers] = [this.#segment, this.#followers];
    segment.seal();
    this.#options.taps?.show(batch);
    // Now it is the backlog's; until here a successor would have had it.
    this.#setOpen(undefined);
    this.#segment = NO_SEGMENT;
    this.#followers = undefined;
    this.#backlog.add(batch, segment, followers);
  }

  /**
   * Entries leave the backlog in their order, so what waits for the first so many is answered in order too.
   */
  #answerFences(): void {
    while (this.#fences.length > 0 && this.#fences[0]!.until <= this.#backlog.settled)
      this.#fences.shift()!.receipt.done();
  }

  /**
   * What is to be safe only is so with a spool once all that has come is in it; without, once it is settled,
   * so for as long as the batch is open too.
   */
  #fence(receipt: Receipt): void {
    if (receipt.level === 'safe' && this.#options.spool.safeWhen === 'written')
      return this.#fenceUntilSafe(receipt);
    const until = this.#backlog.added + (this.#open === undefined ? 0 : 1);
    if (until <= this.#backlog.settled) receipt.done();
    else this.#fences.push({ receipt, until });
  }

  /**
   * Segments are written one after another, so what is safe in the newest makes all before it safe: a long
   * backlog costs a receipt nothing.
   */
  #fenceUntilSafe(receipt: Receipt): void {
    const newest =
      this.#open === undefined ? this.#backlog.entries.at(-1) : { segment: this.#segment, batch: this.#open };
    // On disk alone: there already.
    if (newest?.batch === undefined) receipt.done();
    else newest.segment.whenSafe(newest.batch.length, () => receipt.done());
  }

  #inherit(message: Extract<BucketMessage, { kind: 'inherit' }>): void {
    this.#setOpen(message.open);
    this.#segment = message.segment;
    this.#followers = message.followers;
    if (message.open !== undefined) this.#startTimeout(message.open);
    this.#fences = [...message.fences];
    this.#answerFences();
  }

  #checkIdle(): void {
    const isIdle = this.#runsSinceIdleCheck === 0 && this.#open === undefined && this.#backlog.isEmpty;
    this.#runsSinceIdleCheck = 0;
    if (isIdle) this.#options.router.tell({ kind: 'idle', bucket: this.#options.key });
  }
}

/** How many frames from `start` fit, and where the last of them ends. */
function cutRun(
  { chunk }: Run,
  start: number,
  fit: { readonly frames: number; readonly bytes: number; readonly isEmpty: boolean },
): { frames: number; end: number } {
  let end = start;
  let count = 0;
  while (count < fit.frames) {
    const next = endOfFrame(chunk, end);
    // An empty batch takes one frame of any size.
    if (next - start > fit.bytes && !(fit.isEmpty && count === 0)) break;
    end = next;
    count++;
  }
  return { frames: count, end };
}
