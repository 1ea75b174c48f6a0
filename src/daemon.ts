// The daemon: which parts there are, and the order in which they start and stop. Nothing else.
import type { ActorContext, ActorRef } from './actors/actor.js';
import { ActorSystem } from './actors/system.js';
import { Backlog } from './buckets/backlog.js';
import { Bucket, type LastingParts } from './buckets/bucket.js';
import { BucketManager } from './buckets/bucketManager.js';
import { bucketName, keyOf, refuseName } from './buckets/bucketName.js';
import type { BucketKey, BucketMessage, ManagerMessage, Run } from './buckets/messages.js';
import { type Clock, systemClock } from './clock.js';
import type { BucketConfig, BucketsConfig } from './config/buckets.js';
import type { Environment } from './config/env.js';
import { type FileSystem, nodeFileSystem } from './disk/fileSystem.js';
import { ReadTurns } from './disk/readTurns.js';
import { Discards } from './discards.js';
import type { Batch } from './frames/batch.js';
import { PREFIX_BYTES, bodyLength } from './frames/frame.js';
import type { Log } from './log.js';
import { MemoryBudget } from './memoryBudget.js';
import { RejectedStore } from './rejected/rejectedStore.js';
import type { BoundSocket } from './socket/bind.js';
import { newSocketCounts } from './socket/client.js';
import { Listener, type ListenerMessage } from './socket/listener.js';
import { type LeftSegment, Spool } from './spool/spool.js';
import type { Pace } from './replay/pace.js';
import { type LeftBackup, findLeftBackups } from './replay/leftBackups.js';
import { type Limit, makeLimiter, newLimit } from './limits/makeLimiter.js';
import type { Limiter } from './limits/limiter.js';
import { makeStreamParts } from './streamParts.js';
import { StreamMaker } from './streams/makeStream.js';
import { type Account, newAccount } from './streams/account.js';
import { StreamActor, type StreamActorOptions, type StreamMessage } from './streams/streamActor.js';
import { StreamWatch } from './streams/streamWatch.js';
import type { EventLoopDelay } from './admin/eventLoopDelay.js';
import { type BucketLook, type Snapshot, type StreamLook, accountsOf, takeSnapshot } from './admin/snapshot.js';

export interface DaemonParts {
  readonly environment: Environment;
  readonly buckets: BucketsConfig;
  /** Listening already: see bind.ts. */
  readonly socket: BoundSocket;
  readonly log: Log;
  readonly clock?: Clock;
  /** The disk under the spool, the files and the rejected frames. */
  readonly fs?: FileSystem;
  /** For snapshots: measured when there is somebody to see it. */
  readonly eventLoopDelay?: () => EventLoopDelay;
}

/** What is made before the daemon, for it takes time. */
interface EarlyParts {
  readonly clock: Clock;
  readonly fs: FileSystem;
  readonly budget: MemoryBudget;
  readonly turns: ReadTurns;
  readonly spool: Spool | undefined;
  /** Segments of an earlier life, by bucket. */
  readonly left: Map<BucketKey, readonly LeftSegment[]>;
  /** Backups of an earlier life. */
  readonly leftBackups: readonly LeftBackup[];
}

/** How long a failed primary is left alone in backup mode; in error mode batches wait, so it is asked more often. */
const RETRY_MS = 10_000;
const ERROR_RETRY_MS = 1_000;
/** A bucket made on demand that had nothing to do for one to two of these ends. */
const IDLE_MS = 60_000;
/** Time at the end that streams need for what they hold, after batches that wait in the spool are given to them no more. */
const STREAMS_END_MS = 5_000;
/** Where a rate limit makes a replay slow, what comes must not wait long for its end. */
const PACED_NEAR_END_BYTES = 64 * 1024;
/** Of STOP_TIMEOUT, what may go by with reading what clients have sent. */
const READING_SHARE = 0.25;

export class Daemon {
  readonly #parts: DaemonParts;
  readonly #clock: Clock;
  readonly #early: EarlyParts;
  readonly #rejected: RejectedStore;
  readonly #discards: Discards;
  readonly #streams: StreamMaker;
  readonly #manager: ActorRef<ManagerMessage>;
  readonly #listener: ActorRef<ListenerMessage>;
  readonly socketCounts = newSocketCounts();
  /** By name; kept when a bucket made on demand ends. */
  readonly #looks = new Map<string, BucketLook>();
  readonly #startedAtMs: number;
  #stopAtMs = Infinity;
  #markQuiet: () => void = () => undefined;

  /**
   * Starts everything, in this order: what a part needs is there before it.
   * @throws Error the spool's folder can't be used
   */
  static async start(parts: DaemonParts): Promise<Daemon> {
    const { clock = systemClock, fs = nodeFileSystem } = parts;
    const budget = new MemoryBudget(parts.environment.maxMemoryBytes);
    const turns = new ReadTurns(budget, clock);
    const leftBackups = await findLeftBackups(parts.buckets, fs, parts.log);
    const settings = parts.environment.spool;
    if (settings === undefined) return new Daemon(parts, { clock, fs, budget, turns, spool: undefined, left: new Map(), leftBackups });
    const spool = new Spool(settings, { log: parts.log.at('/spool'), clock, budget, turns, fs });
    await spool.lock();
    return new Daemon(parts, { clock, fs, budget, turns, spool, left: new Map(await spool.open()), leftBackups });
  }

  private constructor(parts: DaemonParts, early: EarlyParts) {
    this.#parts = parts;
    this.#early = early;
    const { environment, log } = parts;
    const { clock, fs, budget } = early;
    this.#clock = clock;
    this.#startedAtMs = clock.now();
    // 1. A place for what can't be delivered; the bound on memory and the spool are there already.
    const rejected = (this.#rejected = new RejectedStore({ ...environment.rejected, budget, log: log.at('/rejected'), clock, fs }));
    this.#discards = new Discards(log.at('/discards'), clock);
    // 2. Buckets, each with its streams.
    this.#streams = new StreamMaker({ budget, rejected, log, clock, fs, maxCpus: environment.maxCpus });
    const system = new ActorSystem(clock, log);
    const known = new Map<BucketKey, ActorRef<BucketMessage>>();
    this.#manager = system.spawn<ManagerMessage>('', (context) => new BucketManager(context, {
      rejected,
      maxBuckets: environment.maxBuckets,
      configured: this.#bucketsAtStart(),
      refuseName: (key) => (this.#configOf(key) === undefined ? undefined : refuseName(key, this.#feedsKafka(key))),
      spawnBucket: (inner, key) => this.#spawnBucket(inner, key),
    }, known));
    // 3. Last the socket's clients: from here on frames are accepted.
    this.#listener = system.spawn<ListenerMessage>('socket', (context) => new Listener(context, {
      ...parts.socket,
      manager: this.#manager,
      rejected,
      budget,
      maxFrameBytes: environment.maxFrameBytes,
      counts: this.socketCounts,
      drainMs: environment.stopTimeoutMs * READING_SHARE,
      onQuiet: () => this.#markQuiet(),
    }));
  }

  get heldBytes(): number {
    return this.#early.budget.heldBytes;
  }

  /** By `bucket/stream`: what became of every frame that its bucket has taken, until now. */
  get accounts(): ReadonlyMap<string, Account> {
    return new Map([...this.#looks.values()].flatMap((bucket) => accountsOf(bucket).map(([{ id }, account]) => [`${bucket.name}/${id}`, account])));
  }

  /** All there is to be seen of it, now. */
  snapshot(): Snapshot {
    return takeSnapshot({
      startedAtMs: this.#startedAtMs,
      nowMs: this.#clock.now(),
      isStopping: this.#stopAtMs !== Infinity,
      socketPath: this.#parts.environment.socket.path,
      socket: this.socketCounts,
      budget: this.#early.budget,
      spool: this.#early.spool,
      rejected: this.#rejected,
      discards: this.#discards.counts,
      kafka: this.#streams.kafkaFigures,
      buckets: this.#looks.values(),
      eventLoopDelay: this.#parts.eventLoopDelay?.(),
    });
  }

  /** Ends everything, in this order, so that every frame a part gives away finds the next part alive. */
  async stop(): Promise<void> {
    this.#stopAtMs = this.#clock.now() + this.#parts.environment.stopTimeoutMs;
    // 1. No new clients; what the others have already sent is read.
    const quiet = new Promise<void>((resolve) => (this.#markQuiet = resolve));
    this.#listener.stop();
    await quiet;
    // 2. Buckets close their batches, streams deliver them, or hand them to their backups.
    this.#manager.stop();
    await this.#manager.stopped;
    // 3. Clients that had asked have their answers now.
    this.#listener.tell({ kind: 'release' });
    await this.#listener.stopped;
    // 4. What could be delivered nowhere is kept, and what was thrown away is told.
    await this.#rejected.close();
    this.#discards.close();
    this.#early.spool?.close();
  }

  #configOf(key: BucketKey): BucketConfig | undefined {
    return this.#parts.buckets.buckets.find(({ id }) => keyOf(id) === key) ?? this.#parts.buckets.defaultBucket;
  }

  #feedsKafka(key: BucketKey): boolean {
    return this.#configOf(key)!.streams.some((id) => this.#parts.buckets.streamsConfigs[id]!.type === 'kafka');
  }

  /** The configured ones, and those that have left something in the spool or in a backup, so that it is delivered. */
  #bucketsAtStart(): readonly BucketKey[] {
    const configured = this.#parts.buckets.buckets.map(({ id }) => keyOf(id));
    const left = [...this.#early.left.keys()];
    for (const key of left.filter((found) => this.#configOf(found) === undefined)) {
      this.#parts.log.warn(`the spool holds batches of bucket ${bucketName(key)}, which is configured no more: they stay there; configure it, or a defaultBucket, and they are delivered`);
    }
    const backedUp = this.#early.leftBackups.filter((backup) => this.#isMissed(backup)).map(({ bucket }) => keyOf(bucket));
    return [...new Set([...configured, ...left.filter((key) => this.#configOf(key) !== undefined), ...backedUp])];
  }

  /** Is there a stream that will send it? Otherwise a person must know. */
  #isMissed({ bucket, stream, journal, isForeign, isSurplus }: LeftBackup): boolean {
    const config = this.#configOf(keyOf(bucket));
    const isOurs = !isForeign && config?.streams.includes(stream) === true && (!isSurplus || config.rateLimit?.over === 'backup');
    if (!isOurs) this.#parts.log.warn(`the backup of bucket ${bucket} that ${journal} tells of belongs to no stream of this configuration: nobody sends it; use kahe replay`);
    return isOurs;
  }

  /** Nothing of it lies anywhere where only its streams would take it on. */
  #isAtRest({ streams }: BucketLook): boolean {
    return streams.every(({ id, account }) => {
      const { backup } = this.#parts.buckets.streamsConfigs[id]!;
      return backup?.type !== 'file' || backup.replay === 'manual' || account.backedUp === 0;
    });
  }

  #spawnBucket(context: ActorContext<ManagerMessage>, key: BucketKey): ActorRef<BucketMessage> | undefined {
    const config = this.#configOf(key);
    if (config === undefined) return undefined;
    const isOnDemand = config === this.#parts.buckets.defaultBucket;
    const name = bucketName(key);
    const { budget, spool } = this.#early;
    let lasting: LastingParts | undefined;
    return context.spawn<BucketMessage>(`bucket.${name}`, (inner) => new Bucket(inner, {
      ...config,
      key,
      name,
      budget,
      spool,
      feedMs: () => this.#stopAtMs - this.#clock.now() - STREAMS_END_MS,
      onAbandoned: (run, reason) => this.#rejectRun(run, name, reason),
      ...(isOnDemand ? { idle: { afterMs: IDLE_MS, tell: (bucket) => this.#isAtRest(this.#lookAt(name, config)) && this.#manager.tell({ kind: 'idle', bucket }) } } : {}),
    }, (lasting ??= this.#lastingParts(inner, key, config))));
  }

  #lastingParts(context: ActorContext<BucketMessage>, key: BucketKey, config: BucketConfig): LastingParts {
    const { budget, spool, left } = this.#early;
    const look = this.#lookAt(bucketName(key), config);
    const bucket = look.name;
    const streams = look.streams.map((stream, index) => {
      const { id, account } = stream;
      const pace = look.limit?.config.over === 'backup' ? look.limit.gate.paceOfBackup(index) : undefined;
      return { id, account, ref: this.#spawnStream(context, bucket, stream, { onReady: () => backlog.ready(index), pace }) };
    });
    const backlog = new Backlog({
      streams,
      spool,
      notes: spool?.notes(bucket),
      budget,
      log: context.log,
      clock: this.#clock,
      onSettled: () => tellIfThere(context.self),
      onLost: (lost) => this.#discards.add({ bucket, ...lost }),
      closed: look.backlog?.closed,
      keeping: () => this.#rejected.keeping,
      onUnkept: (batch, from, reason) => this.#keepAside(batch, from, reason),
    });
    look.backlog = backlog;
    for (const segment of left.get(key) ?? []) backlog.addLeft(segment);
    // Once: a bucket made on demand may end, and come again.
    left.delete(key);
    return { streams: streams.map(({ ref }) => ref), backlog, limiter: look.limit && this.#makeLimiter(context, key, config, look.limit) };
  }

  #makeLimiter(context: ActorContext<BucketMessage>, key: BucketKey, config: BucketConfig, limit: Limit): Limiter {
    const look = this.#lookAt(bucketName(key), config);
    const { budget, turns } = this.#early;
    const { limiter, surplus } = makeLimiter(context, limit, {
      ...config,
      key,
      name: look.name,
      budget,
      streams: look.streams.map(({ id, account, watch }) => ({ config: this.#parts.buckets.streamsConfigs[id]!, account, watch })),
      shared: { maker: this.#streams, rejected: this.#rejected, discards: this.#discards, turns },
      timing: this.#timing,
      onAbandoned: (run, reason) => this.#rejectRun(run, look.name, reason),
      onLeftOver: (batch, reason) => this.#rejectBatch(batch, reason),
      log: this.#parts.log,
      closed: look.surplus?.backlog.closed,
    });
    look.surplus = surplus;
    return limiter;
  }

  get #timing(): Pick<StreamActorOptions, 'retryMs' | 'errorRetryMs' | 'stopTimeoutMs'> {
    return { retryMs: RETRY_MS, errorRetryMs: ERROR_RETRY_MS, stopTimeoutMs: () => this.#stopAtMs - this.#clock.now() };
  }

  #spawnStream(context: ActorContext<BucketMessage>, bucket: string, look: StreamLook, { onReady, pace }: { readonly onReady: () => void; readonly pace: Pace | undefined }): ActorRef<StreamMessage> {
    const config = this.#parts.buckets.streamsConfigs[look.id]!;
    const { account, watch } = look;
    const name = `stream.${config.id}`;
    const log = this.#parts.log.at(`${context.path}/${name}`);
    const parts = makeStreamParts(config, { maker: this.#streams, rejected: this.#rejected, discards: this.#discards, turns: this.#early.turns, bucket, account, watch, log, pace });
    // Made once: they outlive a stream actor that fails.
    const options = {
      ...parts,
      ...this.#timing,
      slice: config.slice,
      nearEndBytes: pace && PACED_NEAR_END_BYTES,
      onLeftOver: (batch: Batch, reason: string) => this.#leaveOver(batch, reason, log),
      onReady,
      account,
      watch,
    };
    look.backedUp = parts.backedUp;
    return (look.ref = context.spawn<StreamMessage>(name, (inner) => new StreamActor(inner, options)));
  }

  /** What could be delivered nowhere: it is in the spool already, or else it is kept with the rejected frames. */
  #leaveOver(batch: Batch, reason: string, log: Log): 'queued' | 'rejected' {
    if (this.#early.spool === undefined) return this.#rejectBatch(batch, reason);
    log.info(`${batch.frames} frames stay in the spool: ${reason}`);
    // Held for ever, so it never counts as settled, and its segment stays.
    batch.retain();
    return 'queued';
  }

  #rejectBatch({ bucket, bytes, length: end, frames }: Batch, reason: string): 'rejected' {
    this.#rejected.reject({ bytes, start: 0, end, frames, bucket, reason });
    return 'rejected';
  }

  #rejectRun({ chunk, start, end, frames }: Run, bucket: string, reason: string): void {
    this.#rejected.reject({ bytes: chunk, start, end, frames, bucket, reason });
  }

  /** Streams count these as queued, or have had them: twice is better than never. */
  #keepAside({ bucket, bytes, length: end }: Batch, start: number, reason: string): void {
    let frames = 0;
    for (let at = start; at < end; at += PREFIX_BYTES + bodyLength(bytes, at)) frames++;
    this.#rejected.reject({ bytes, start, end, frames, bucket, reason });
  }

  #lookAt(name: string, config: BucketConfig): BucketLook {
    const known = this.#looks.get(name);
    if (known !== undefined) return known;
    const streams = config.streams.map((id) => this.#newLook(id));
    const limit = config.rateLimit && newLimit(config.rateLimit, streams, this.#clock);
    const look: BucketLook = { name, isOnDemand: config === this.#parts.buckets.defaultBucket, streams, backlog: undefined, limit, surplus: undefined };
    this.#looks.set(name, look);
    return look;
  }

  #newLook(id: string): StreamLook {
    const { type, backup } = this.#parts.buckets.streamsConfigs[id]!;
    return { id, type, backupType: backup?.type, account: newAccount(), watch: new StreamWatch(() => this.#clock.now()), ref: undefined, backedUp: () => undefined };
  }
}

/** What is settled last may be so after the bucket has stopped: then nobody waits for it. */
function tellIfThere(bucket: ActorRef<BucketMessage>): void {
  if (bucket.state !== 'stopped') bucket.tell({ kind: 'settled' });
}
