// A bucket: gathers runs into its open batch, and closes it at `batch` frames, at `batchBytes`, or `batchTimeout` after its first frame.
// A closed batch goes to every stream of the bucket; it is settled when all of them have let it go.
import type { Timer } from '../clock.js';
import { Actor, type ActorContext, type ActorRef } from '../actors/actor.js';
import { Batch } from '../frames/batch.js';
import { PREFIX_BYTES, bodyLength } from '../frames/frame.js';
import type { MemoryBudget } from '../memoryBudget.js';
import type { StreamMessage } from '../streams/streamActor.js';
import { type BucketKey, type BucketMessage, type PendingFence, type Run, ownRun } from './messages.js';
import type { Receipt } from './receipt.js';

export interface BucketOptions {
  readonly key: BucketKey;
  /** The name as people read it: the topic, and `{bucket}` in file names. */
  readonly name: string;
  readonly batchFrames: number;
  readonly batchBytes: number;
  readonly batchTimeoutMs: number;
  readonly budget: MemoryBudget;
  /** Frames that this bucket could not take, for a fault of its own. */
  readonly onAbandoned: (run: Run, reason: string) => void;
  /** Only for buckets made on demand: how long they live with nothing to do, and whom to tell then. */
  readonly idle?: { readonly afterMs: number; readonly tell: (bucket: BucketKey) => void };
}

export class Bucket extends Actor<BucketMessage> {
  readonly #context: ActorContext<BucketMessage>;
  readonly #options: BucketOptions;
  readonly #streams: readonly ActorRef<StreamMessage>[];
  #open: Batch | undefined;
  #timeout: Timer | undefined;
  #idleTimer: Timer | undefined;
  #runsSinceIdleCheck = 0;
  #lastBatchBytes = 0;
  /** Closed batches in their order; those at the head leave as they are settled. */
  #outstanding: Batch[] = [];
  #settled = new Set<Batch>();
  #fences: PendingFence[] = [];

  /** @param streams the streams' actors: they outlive a failed bucket, so its successor gets the same ones */
  constructor(context: ActorContext<BucketMessage>, options: BucketOptions, streams: readonly ActorRef<StreamMessage>[]) {
    super();
    this.#context = context;
    this.#options = options;
    this.#streams = streams;
    if (options.idle !== undefined) {
      this.#idleTimer = context.clock.every(options.idle.afterMs, () => context.self.tell({ kind: 'idleCheck' }));
    }
  }

  override receive(message: BucketMessage): void {
    switch (message.kind) {
      case 'run': return this.#take(message);
      case 'timeout': return this.#onTimeout(message.batch);
      case 'settled': return this.#onSettled(message.batch);
      case 'fence': return this.#fence(message.receipt);
      case 'idleCheck': return this.#checkIdle();
      case 'inherit': return this.#inherit(message);
    }
  }

  override keep(message: BucketMessage): BucketMessage {
    return message.kind === 'run' ? ownRun(message) : message;
  }

  override handBack(): readonly BucketMessage[] {
    this.#timeout?.cancel();
    this.#idleTimer?.cancel();
    return [{ kind: 'inherit', open: this.#open, outstanding: this.#outstanding.filter((b) => !this.#settled.has(b)), fences: this.#fences }];
  }

  override abandon(message: BucketMessage, error: unknown): void {
    if (message.kind === 'run') this.#options.onAbandoned(message, `the bucket failed on it: ${String(error)}`);
  }

  override drain(): void {
    this.#idleTimer?.cancel();
    this.#close();
    for (const stream of this.#streams) stream.stop();
    void Promise.all(this.#streams.map((stream) => stream.stopped)).then(() => this.#context.drained());
  }

  /** Copies a run into the open batch, cut where a batch is full. */
  #take(run: Run): void {
    this.#runsSinceIdleCheck++;
    const { chunk, nowMs } = run;
    let { start, frames } = run;
    while (frames > 0) {
      const batch = this.#open ?? this.#openBatch();
      const fitFrames = this.#options.batchFrames - batch.frames;
      const fitBytes = this.#options.batchBytes - batch.length;
      if (frames <= fitFrames && run.end - start <= fitBytes) {
        batch.append(chunk, start, run.end, frames, nowMs);
        frames = 0;
      } else {
        const cut = cutRun(chunk, start, fitFrames, batch.length === 0 ? Infinity : fitBytes, frames);
        if (cut.frames > 0) batch.append(chunk, start, cut.end, cut.frames, nowMs);
        start = cut.end;
        frames -= cut.frames;
        if (frames > 0) this.#close();
      }
    }
    const open = this.#open;
    if (open !== undefined && (open.frames >= this.#options.batchFrames || open.length >= this.#options.batchBytes)) this.#close();
  }

  #openBatch(): Batch {
    const batch = new Batch(this.#options.name, this.#options.budget, this.#lastBatchBytes);
    this.#open = batch;
    this.#startTimeout(batch);
    return batch;
  }

  #startTimeout(batch: Batch): void {
    this.#timeout = this.#context.clock.after(this.#options.batchTimeoutMs, () => this.#context.self.tell({ kind: 'timeout', batch }));
  }

  #onTimeout(batch: Batch): void {
    if (batch === this.#open) this.#close();
  }

  /** Ends the open batch and hands it to every stream. */
  #close(): void {
    const batch = this.#open;
    if (batch === undefined) return;
    this.#open = undefined;
    this.#timeout?.cancel();
    this.#lastBatchBytes = batch.length;
    this.#outstanding.push(batch);
    batch.onSettled(() => this.#context.self.tell({ kind: 'settled', batch }));
    for (const stream of this.#streams) stream.tell({ kind: 'batch', batch: batch.retain() });
    batch.release();
  }

  #onSettled(batch: Batch): void {
    this.#settled.add(batch);
    while (this.#outstanding.length > 0 && this.#settled.delete(this.#outstanding[0]!)) {
      const done = this.#outstanding.shift()!;
      while (this.#fences[0]?.batch === done) this.#fences.shift()!.receipt.letGo();
    }
  }

  /** The receipt holds until the batch that is open now, or else the last one closed, is settled with all before it. */
  #fence(receipt: Receipt): void {
    const batch = this.#open ?? this.#outstanding.at(-1);
    if (batch === undefined) return;
    receipt.hold();
    this.#fences.push({ receipt, batch });
  }

  #inherit(message: Extract<BucketMessage, { kind: 'inherit' }>): void {
    this.#open = message.open;
    if (message.open !== undefined) this.#startTimeout(message.open);
    this.#outstanding = [...message.outstanding];
    this.#fences = [...message.fences];
  }

  #checkIdle(): void {
    const isIdle = this.#runsSinceIdleCheck === 0 && this.#open === undefined && this.#outstanding.length === 0;
    this.#runsSinceIdleCheck = 0;
    if (isIdle) this.#options.idle?.tell(this.#options.key);
  }
}

/** How many frames from `start` fit, and where the last of them ends. */
function cutRun(chunk: Buffer, start: number, fitFrames: number, fitBytes: number, frames: number): { frames: number; end: number } {
  let end = start;
  let count = 0;
  while (count < frames && count < fitFrames) {
    const next = end + PREFIX_BYTES + bodyLength(chunk, end);
    // An empty batch takes one frame of any size.
    if (next - start > fitBytes || (fitBytes === Infinity && count > 0)) break;
    end = next;
    count++;
  }
  return { frames: count, end };
}
