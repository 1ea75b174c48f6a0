// The daemon: which parts there are, and the order in which they start and stop. Nothing else.
import type { ActorContext, ActorRef } from './actors/actor.js';
import { ActorSystem } from './actors/system.js';
import { Bucket } from './buckets/bucket.js';
import { BucketManager } from './buckets/bucketManager.js';
import { bucketName, keyOf, refuseName } from './buckets/bucketName.js';
import type { BucketKey, BucketMessage, ManagerMessage } from './buckets/messages.js';
import { type Clock, systemClock } from './clock.js';
import type { BucketConfig, BucketsConfig, StreamConfig } from './config/buckets.js';
import type { Environment } from './config/env.js';
import type { Batch } from './frames/batch.js';
import type { Log } from './log.js';
import { MemoryBudget } from './memoryBudget.js';
import { RejectedStore } from './rejected.js';
import type { BoundSocket } from './socket/bind.js';
import type { SocketCounts } from './socket/client.js';
import { Listener, type ListenerMessage } from './socket/listener.js';
import { StreamMaker } from './streams/makeStream.js';
import { StreamActor, type StreamCounts, type StreamMessage, noCounts } from './streams/streamActor.js';

export interface DaemonParts {
  readonly environment: Environment;
  readonly buckets: BucketsConfig;
  /** Listening already: see bind.ts. */
  readonly socket: BoundSocket;
  readonly log: Log;
  readonly clock?: Clock;
}

/** How long a failed primary is left alone in backup mode; in error mode batches wait, so it is asked more often. */
const RETRY_MS = 10_000;
const ERROR_RETRY_MS = 1_000;
/** A bucket made on demand that had nothing to do for one to two of these ends. */
const IDLE_MS = 60_000;
/** Of STOP_TIMEOUT, what may go by with reading what clients have sent. */
const READING_SHARE = 0.25;

export class Daemon {
  readonly #parts: DaemonParts;
  readonly #clock: Clock;
  readonly #budget: MemoryBudget;
  readonly #rejected: RejectedStore;
  readonly #streams: StreamMaker;
  readonly #manager: ActorRef<ManagerMessage>;
  readonly #listener: ActorRef<ListenerMessage>;
  readonly socketCounts: SocketCounts = { received: 0, bad: 0, lostFraming: 0, cutFrames: 0 };
  /** By `bucket/stream`; kept when a bucket made on demand ends. */
  readonly streamCounts = new Map<string, StreamCounts>();
  #stopAtMs = Infinity;

  /** Starts everything, in this order: what a part needs is there before it. */
  constructor(parts: DaemonParts) {
    this.#parts = parts;
    const { environment, buckets, log } = parts;
    const clock = (this.#clock = parts.clock ?? systemClock);
    // 1. The bound on memory, and a place for what can't be delivered.
    const budget = (this.#budget = new MemoryBudget(environment.maxMemoryBytes));
    const rejected = (this.#rejected = new RejectedStore({ ...environment.rejected, budget, log: log.at('/rejected'), clock }));
    // 2. Buckets, each with its streams.
    this.#streams = new StreamMaker({ budget, rejected, log, clock, maxCpus: environment.maxCpus });
    const system = new ActorSystem(clock, log);
    const known = new Map<BucketKey, ActorRef<BucketMessage>>();
    this.#manager = system.spawn<ManagerMessage>('', (context) => new BucketManager(context, {
      rejected,
      maxBuckets: environment.maxBuckets,
      configured: buckets.buckets.map(({ id }) => keyOf(id)),
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
    }));
  }

  get heldBytes(): number {
    return this.#budget.heldBytes;
  }

  /** Ends everything, in this order, so that every frame a part gives away finds the next part alive. */
  async stop(): Promise<void> {
    this.#stopAtMs = this.#clock.now() + this.#parts.environment.stopTimeoutMs;
    // 1. No new clients; what the others have already sent is read.
    this.#listener.stop();
    await this.#listener.stopped;
    // 2. Buckets close their batches, streams deliver them, or hand them to their backups.
    this.#manager.stop();
    await this.#manager.stopped;
    // 3. What could be delivered nowhere is kept.
    await this.#rejected.close();
  }

  #configOf(key: BucketKey): BucketConfig | undefined {
    return this.#parts.buckets.buckets.find(({ id }) => keyOf(id) === key) ?? this.#parts.buckets.defaultBucket;
  }

  #feedsKafka(key: BucketKey): boolean {
    return this.#configOf(key)!.streams.some((id) => this.#parts.buckets.streamsConfigs[id]!.type === 'kafka');
  }

  #spawnBucket(context: ActorContext<ManagerMessage>, key: BucketKey): ActorRef<BucketMessage> | undefined {
    const config = this.#configOf(key);
    if (config === undefined) return undefined;
    const isOnDemand = config === this.#parts.buckets.defaultBucket;
    const name = bucketName(key);
    let streams: readonly ActorRef<StreamMessage>[] | undefined;
    return context.spawn<BucketMessage>(`bucket.${name}`, (inner) => new Bucket(inner, {
      ...config,
      key,
      name,
      budget: this.#budget,
      onAbandoned: ({ chunk, start, end, frames }, reason) => this.#rejected.reject({ bytes: chunk, start, end, frames, bucket: name, reason }),
      ...(isOnDemand ? { idle: { afterMs: IDLE_MS, tell: (bucket) => this.#manager.tell({ kind: 'idle', bucket }) } } : {}),
    }, (streams ??= config.streams.map((id) => this.#spawnStream(inner, name, this.#parts.buckets.streamsConfigs[id]!)))));
  }

  #spawnStream(context: ActorContext<BucketMessage>, bucket: string, config: StreamConfig): ActorRef<StreamMessage> {
    const name = `stream.${config.id}`;
    const log = this.#parts.log.at(`${context.path}/${name}`);
    const place = { bucket, log, onDiscard: (frames: number) => log.error(`${frames} frames were discarded: maxFiles was reached`) };
    // Made once: they outlive a stream actor that fails.
    const options = {
      primary: this.#streams.make(config, { ...place, streamId: config.id }),
      backup: config.backup === undefined ? undefined : this.#streams.make(config.backup, { ...place, streamId: `${config.id}.backup` }),
      slice: config.slice,
      retryMs: RETRY_MS,
      errorRetryMs: ERROR_RETRY_MS,
      stopTimeoutMs: () => this.#stopAtMs - this.#clock.now(),
      onLeftOver: (batch: Batch, reason: string) => this.#rejected.reject({ bytes: batch.bytes, start: 0, end: batch.length, frames: batch.frames, bucket, reason }),
      counts: this.#countsOf(bucket, config.id),
    };
    return context.spawn<StreamMessage>(name, (inner) => new StreamActor(inner, options));
  }

  #countsOf(bucket: string, streamId: string): StreamCounts {
    const name = `${bucket}/${streamId}`;
    const counts = this.streamCounts.get(name) ?? noCounts();
    this.streamCounts.set(name, counts);
    return counts;
  }
}
