// Brings each run to its bucket: a configured one, or one made on demand from `defaultBucket`. A run that has
// no bucket is rejected with the reason, and kept. Doors hand their runs to this actor just as Client does.
import { Actor, type ActorContext, type ActorRef, stopAll } from '../actors/actor.js';
import type { RejectedFrames } from '../losses/rejection.js';
import type { BucketMessage, ManagerFence, ManagerMessage } from './messages.js';
import { type Run, endRun, originsOf, ownRun } from '../intake/run.js';
import type { BucketKey } from '../frames/bucketName.js';
import type { Receipt } from '../intake/receipt.js';

export interface BucketManagerOptions {
  readonly rejected: RejectedFrames;
  /** MAXBUCKETS: how many buckets may exist, the configured ones included. */
  readonly maxBuckets: number;
  readonly configured: readonly BucketKey[];
  /** Is there a place for it in the configuration, of its own or `defaultBucket`? */
  readonly isKnown: (bucket: BucketKey) => boolean;
  /** Starts the actor of a bucket as a child; undefined: there is no `defaultBucket` to make it from. */
  readonly spawnBucket: (
    context: ActorContext<ManagerMessage>,
    bucket: BucketKey,
  ) => ActorRef<BucketMessage> | undefined;
  /** Why no bucket can have this name, if none can. */
  readonly refuseName: (bucket: BucketKey) => string | undefined;
}

const UNKNOWN = 'unknown bucket, and there is no defaultBucket';

export class BucketManager extends Actor<ManagerMessage> {
  readonly #context: ActorContext<ManagerMessage>;
  readonly #options: BucketManagerOptions;
  readonly #buckets: Map<BucketKey, ActorRef<BucketMessage>>;
  #configured: ReadonlySet<BucketKey>;
  /** Buckets that are ending, and what came for them meanwhile: a successor must not overtake them. */
  readonly #ending = new Map<BucketKey, (Run | ManagerFence)[]>();

  /** @param buckets the buckets of a failed predecessor, or an empty map: they outlive the manager */
  constructor(
    context: ActorContext<ManagerMessage>,
    options: BucketManagerOptions,
    buckets: Map<BucketKey, ActorRef<BucketMessage>>,
  ) {
    super();
    this.#context = context;
    this.#options = options;
    this.#buckets = buckets;
    this.#configured = new Set(options.configured);
    for (const [key, bucket] of buckets)
      if (bucket.state === 'draining' || bucket.state === 'stopped') this.#awaitEnd(key, bucket);
    for (const bucket of options.configured) if (!buckets.has(bucket)) this.#make(bucket);
  }

  override receive(message: ManagerMessage): void {
    switch (message.kind) {
      case 'run':
        return this.#route(message);
      case 'fence':
        return this.#fence(message.receipt, message.buckets);
      case 'idle':
        return this.#end(message.bucket);
      case 'configured':
        return this.#takeOn(message.buckets, message.removed);
    }
  }

  override keep(message: ManagerMessage): ManagerMessage {
    return message.kind === 'run' ? ownRun(message) : message;
  }

  override abandon(message: ManagerMessage, error: unknown): void {
    if (message.kind === 'run') this.#reject(message, `it could not be routed: ${String(error)}`);
  }

  override handBack(): readonly ManagerMessage[] {
    return [...this.#ending.values()].flatMap((waiting) => waiting.splice(0));
  }

  override drain(): void {
    void this.#endAll().then(() => this.#context.drained());
  }

  /**
   * More than one round when something waits for a bucket that is ending: it makes a successor, and that one
   * ends too.
   */
  async #endAll(): Promise<void> {
    while (this.#buckets.size > 0) {
      const ending = [...this.#buckets];
      await stopAll(ending.map(([, bucket]) => bucket));
      for (const [key, bucket] of ending) if (this.#buckets.get(key) === bucket) this.#buckets.delete(key);
    }
  }

  #route(run: Run): void {
    const waiting = this.#ending.get(run.bucket);
    if (waiting !== undefined)
      return this.#isEndingForGood(run.bucket) ? this.#reject(run, UNKNOWN) : void waiting.push(ownRun(run));
    const bucket = this.#buckets.get(run.bucket);
    if (bucket !== undefined) bucket.tell(run);
    else this.#routeUnknown(run);
  }

  #routeUnknown(run: Run): void {
    const made = this.#make(run.bucket);
    if (typeof made === 'string') this.#reject(run, made);
    else made.tell(run);
  }

  /** Makes a bucket, or says why not. */
  #make(bucket: BucketKey): ActorRef<BucketMessage> | string {
    const refusal = this.#options.refuseName(bucket);
    if (refusal !== undefined) return refusal;
    if (this.#buckets.size >= this.#options.maxBuckets && !this.#configured.has(bucket)) {
      return `no room for one more bucket: ${this.#buckets.size} exist (MAXBUCKETS)`;
    }
    const made = this.#options.spawnBucket(this.#context, bucket);
    if (made === undefined) return UNKNOWN;
    this.#buckets.set(bucket, made);
    return made;
  }

  /** It was taken out of the configuration: what comes for it is unknown now, and waits for no successor. */
  #isEndingForGood(bucket: BucketKey): boolean {
    return !this.#options.isKnown(bucket);
  }

  #takeOn(buckets: readonly BucketKey[], removed: readonly BucketKey[]): void {
    this.#configured = new Set(buckets);
    for (const key of removed) this.#end(key);
    // One that is ending still is made once it has.
    for (const key of buckets) if (!this.#buckets.has(key)) this.#make(key);
  }

  #reject(run: Run, reason: string): void {
    const { chunk: bytes, start, end, frames } = run;
    void this.#options.rejected.reject({
      bytes,
      start,
      end,
      frames,
      bucket: Buffer.from(run.bucket, 'latin1').toString(),
      reason,
      from: originsOf(run),
    });
    endRun(run);
  }

  /**
   * Only the buckets that the asker has touched are asked: one that is stuck must not hold up the others'
   * receipts.
   */
  #fence(receipt: Receipt, buckets: ReadonlySet<BucketKey> | 'all'): void {
    for (const key of buckets === 'all' ? this.#buckets.keys() : buckets) {
      const bucket = this.#buckets.get(key);
      if (bucket === undefined) continue;
      // Held here and not by the bucket, which may be busy or starting again and hear of it later.
      receipt.hold();
      const waiting = this.#ending.get(key);
      if (waiting === undefined) bucket.tell({ kind: 'fence', receipt });
      else waiting.push({ kind: 'fence', receipt, buckets: new Set([key]) });
    }
    receipt.letGo();
  }

  #end(key: BucketKey): void {
    const bucket = this.#buckets.get(key);
    if (bucket === undefined || this.#ending.has(key)) return;
    this.#awaitEnd(key, bucket);
    bucket.stop();
  }

  #awaitEnd(key: BucketKey, bucket: ActorRef<BucketMessage>): void {
    this.#ending.set(key, []);
    void bucket.stopped.then(() => {
      const waiting = this.#ending.get(key) ?? [];
      this.#ending.delete(key);
      if (this.#buckets.get(key) === bucket) this.#buckets.delete(key);
      for (const message of waiting) this.#context.self.tell(message);
      if (this.#context.self.state === 'running' && this.#configured.has(key) && !this.#buckets.has(key))
        this.#make(key);
    });
  }
}
