// Brings each run to its bucket: a configured one, or one made on demand from `defaultBucket`. A run that has
// no bucket is rejected with the reason, and kept. Doors hand their runs to this actor just as Client does.
// A reload comes in as one message: it makes, changes and ends buckets; those it does not change go on.
import { Actor, type ActorContext, type ActorRef } from '../actors/actor.js';
import type { BucketsConfig } from '../config/buckets.js';
import { errorOf } from '../errors.js';
import { type BucketKey, bucketName, keyOf } from '../frames/bucketName.js';
import type { Receipt } from '../intake/receipt.js';
import { type Run, endRun, ownRun } from '../intake/run.js';
import { type Refusal, type RejectedFrames, rejectRun } from '../losses/rejection.js';
import type { LeftBackup } from '../streams/backup/leftBackups.js';
import { BucketPlaces, type Place } from './bucketPlaces.js';
import type { BucketMessage, RouterFence, RouterMessage } from './messages.js';

/** A bucket as its router has it. */
export interface RoutedBucket {
  readonly ref: ActorRef<BucketMessage>;
  /** Resolves when it goes on as this place says. */
  reconfigure(place: Place): Promise<void>;
  /** It is configured no more: its streams end as those that were taken out. */
  takeOut(): void;
  /** Does nothing of it lie anywhere where only its streams would take it on? */
  isAtRest(places: BucketPlaces): boolean;
  /** It has ended, and no successor has come. */
  forget(): void;
}

export interface BucketRouterOptions {
  readonly rejected: RejectedFrames;
  /** MAXBUCKETS: how many buckets may exist, the configured ones included. */
  readonly maxBuckets: number;
  /** Starts the actor of a bucket, a child of the router. */
  readonly make: (context: ActorContext<RouterMessage>, bucket: BucketKey, place: Place) => RoutedBucket;
  /** Of these buckets the spool holds batches. */
  readonly left: ReadonlyMap<BucketKey, unknown>;
}

interface Entry {
  readonly bucket: RoutedBucket;
  /** It is ending, and this came meanwhile: a successor must not overtake it. Undefined: it takes what comes. */
  waiting: (Run | RouterFence)[] | undefined;
}

/** What outlives a router that fails. */
export interface RouterLasting {
  /** What is in force. */
  config: BucketsConfig;
  /** Backups that were found when it came into force. */
  leftBackups: readonly LeftBackup[];
  readonly buckets: Map<BucketKey, Entry>;
}

export class BucketRouter extends Actor<RouterMessage> {
  readonly #context: ActorContext<RouterMessage>;
  readonly #options: BucketRouterOptions;
  readonly #lasting: RouterLasting;
  readonly #buckets: Map<BucketKey, Entry>;
  #places: BucketPlaces;
  /** Those that must be there: the configured ones, and those with something left to deliver. */
  #named: Set<BucketKey>;
  /** Have waited for a bucket that has ended, and are being routed again: they come before all else. */
  #returning: readonly (Run | RouterFence)[] = [];
  /** So many of them are routed. */
  #returned = 0;

  constructor(context: ActorContext<RouterMessage>, options: BucketRouterOptions, lasting: RouterLasting) {
    super();
    this.#context = context;
    this.#options = options;
    this.#lasting = lasting;
    this.#buckets = lasting.buckets;
    this.#places = new BucketPlaces(lasting.config);
    this.#named = this.#findNamed();
    this.#makeNamed();
  }

  override receive(message: RouterMessage): void {
    this.#take(message);
    if (this.#isDraining) this.#endAgain(message);
  }

  #take(message: RouterMessage): void {
    switch (message.kind) {
      case 'run':
        return this.#route(message);
      case 'fence':
        return this.#fence(message.receipt, message.buckets);
      case 'idle':
        return this.#onIdle(message.bucket);
      case 'ended':
        return this.#onEnded(message.bucket);
      case 'reload':
        return this.#reload(message);
    }
  }

  override keep(message: RouterMessage): RouterMessage {
    return message.kind === 'run' ? ownRun(message) : message;
  }

  override handBack(): readonly RouterMessage[] {
    return this.#returning.slice(this.#returned);
  }

  override abandon(message: RouterMessage, error: unknown): void {
    if (message.kind === 'run')
      this.#reject(message, { code: 'INTERNAL', reason: `it could not be routed: ${String(error)}` });
    // One that comes after the end changes nothing, and need not.
    if (message.kind === 'reload')
      message.onTaken(this.#context.self.state === 'stopped' ? undefined : errorOf(error));
  }

  override drain(): void {
    for (const key of this.#buckets.keys()) this.#end(key);
    if (this.#buckets.size === 0) this.#context.drained();
  }

  /** A bucket that was made since, as the successor of one that has ended, ends too. */
  #endAgain(message: RouterMessage): void {
    if ('bucket' in message) this.#end(message.bucket);
    if (this.#buckets.size === 0) this.#context.drained();
  }

  get #isDraining(): boolean {
    return this.#context.self.state === 'draining';
  }

  #route(run: Run): void {
    const entry = this.#buckets.get(run.bucket) ?? this.#make(run.bucket);
    if ('code' in entry) this.#reject(run, entry);
    else if (entry.waiting === undefined) entry.bucket.ref.tell(run);
    else this.#wait(run, entry.waiting);
  }

  /** A bucket that was taken out of the configuration has no successor that could be waited for. */
  #wait(run: Run, waiting: (Run | RouterFence)[]): void {
    const refusal = this.#places.refuse(run.bucket);
    if (refusal === undefined) waiting.push(ownRun(run));
    else this.#reject(run, refusal);
  }

  /** Makes a bucket, or says why not. */
  #make(key: BucketKey): Entry | Refusal {
    const place = this.#places.of(key);
    if (place === undefined) return this.#places.refuse(key)!;
    if (this.#buckets.size >= this.#options.maxBuckets && !this.#named.has(key))
      return {
        code: 'NO_ROOM',
        reason: `no room for one more bucket: ${this.#buckets.size} exist (MAXBUCKETS)`,
      };
    const entry: Entry = { bucket: this.#options.make(this.#context, key, place), waiting: undefined };
    this.#buckets.set(key, entry);
    void entry.bucket.ref.stopped.then(() => this.#context.self.tell({ kind: 'ended', bucket: key }));
    return entry;
  }

  #makeNamed(): void {
    // One that is ending still is made once it has.
    for (const key of this.#named) if (!this.#buckets.has(key)) this.#make(key);
  }

  #reject(run: Run, refusal: Refusal): void {
    void rejectRun(this.#options.rejected, run, bucketName(run.bucket), refusal);
    endRun(run);
  }

  /**
   * Only the buckets that the asker has touched are asked: one that is stuck must not hold up the others'
   * receipts.
   */
  #fence(receipt: Receipt, buckets: ReadonlySet<BucketKey> | 'all'): void {
    for (const key of buckets === 'all' ? this.#buckets.keys() : buckets) {
      const entry = this.#buckets.get(key);
      if (entry === undefined) continue;
      // Held here and not by the bucket, which may be busy or starting again and hear of it later.
      receipt.add();
      if (entry.waiting === undefined) entry.bucket.ref.tell({ kind: 'fence', receipt });
      else entry.waiting.push({ kind: 'fence', receipt, buckets: new Set([key]) });
    }
    receipt.done();
  }

  /** More may have come for it since it said so; but then it would have to be made again at once. */
  #onIdle(key: BucketKey): void {
    if (this.#buckets.get(key)?.bucket.isAtRest(this.#places) !== true) return;
    // What was left of it is delivered: it need not come again by itself.
    if (this.#places.of(key)?.isOnDemand === true) this.#named.delete(key);
    this.#end(key);
  }

  #end(key: BucketKey): void {
    const entry = this.#buckets.get(key);
    if (entry === undefined || entry.waiting !== undefined) return;
    entry.waiting = [];
    entry.bucket.ref.stop();
  }

  #onEnded(key: BucketKey): void {
    const entry = this.#buckets.get(key);
    // A router that failed on this hears it again, and its successor may be there already.
    if (entry?.bucket.ref.state !== 'stopped') return;
    this.#buckets.delete(key);
    this.#returning = entry.waiting ?? [];
    for (this.#returned = 0; this.#returned < this.#returning.length; this.#returned++)
      this.#take(this.#returning[this.#returned]!);
    this.#returning = [];
    if (this.#isDraining || this.#buckets.has(key)) return;
    if (this.#named.has(key)) this.#make(key);
    else entry.bucket.forget();
  }

  /** The configuration is compared once, here: a bucket hears of it when it is another one for it. */
  #reload({ config, leftBackups, onTaken }: Extract<RouterMessage, { readonly kind: 'reload' }>): void {
    if (this.#isDraining) return onTaken();
    this.#lasting.config = config;
    this.#lasting.leftBackups = leftBackups;
    this.#places = new BucketPlaces(config);
    this.#named = this.#findNamed();
    const changing: Promise<void>[] = [];
    for (const [key, { bucket, waiting }] of this.#buckets) {
      const place = this.#places.of(key);
      if (place === undefined) this.#takeOut(key, bucket);
      else if (waiting === undefined) changing.push(bucket.reconfigure(place));
    }
    this.#makeNamed();
    void Promise.all(changing).then(
      () => onTaken(),
      (error: unknown) => onTaken(errorOf(error)),
    );
  }

  #takeOut(key: BucketKey, bucket: RoutedBucket): void {
    bucket.takeOut();
    this.#end(key);
  }

  /**
   * The configured ones, and those that have left something in the spool or in a backup, so that it is
   * delivered.
   */
  #findNamed(): Set<BucketKey> {
    const { log } = this.#context;
    const left = [...this.#options.left.keys()].filter((key) => {
      if (this.#places.of(key) !== undefined) return true;
      log.warn(
        `the spool holds batches of bucket ${bucketName(key)}, which is no longer configured: they stay there; configure it, or a defaultBucket, and they are delivered`,
        { bucket: bucketName(key) },
      );
      return false;
    });
    const backedUp = this.#lasting.leftBackups.filter((backup) => {
      if (this.#places.takesOn(backup)) return true;
      const { bucket, journal } = backup;
      log.warn(
        `the backup of bucket ${bucket} in ${journal} belongs to no stream of this configuration: it is not sent; configure that stream again, or use kahe replay`,
        { bucket, file: journal },
      );
      return false;
    });
    return new Set([...this.#places.configured, ...left, ...backedUp.map(({ bucket }) => keyOf(bucket))]);
  }
}
