// A bucket's way to its Kafka topic. A batch is spread over queues, one a partition; it is settled when all
// its parts are. When a queue's deadline passes and other partitions can be written, its partition is away:
// its frames are handed back, and only those. Otherwise the stream has failed: nothing more is sent, and
// every write hands back what was not delivered, in order.
import { plural } from '../../plural.js';
import { type Clock, doneWithin } from '../../clock.js';
import type { Batch } from '../../frames/batch.js';
import type { Log } from '../../log/log.js';
import type { MemoryBudget } from '../../memory/memoryBudget.js';
import type { Settled, Stream } from '../stream.js';
import { type RejectedFrames, cantBeKept } from '../../losses/rejection.js';
import type { StreamStats } from '../streamStats.js';
import { AdaptiveCompression } from './adaptiveCompression.js';
import { assign, keylessPartition } from './assignment.js';
import { AwayPartitions } from './awayPartitions.js';
import { BatchEncoder } from './batchEncoder.js';
import type { Cluster, TopicLayout } from '../../kafka/cluster.js';
import { codecId, compressorFor } from './compression.js';
import { DeliveryNotes } from './deliveryNotes.js';
import { KafkaFailure } from '../../kafka/failure.js';
import { LayoutSearch, asKafkaFailure, hasLeader } from './layoutSearch.js';
import type { PartEnd, PartitionFailure, PartitionQueue, QueueStep } from './partitionQueue.js';
import { PartitionQueues } from './partitionQueues.js';
import {
  type UndeliverableFrame,
  PendingWrites,
  type StreamFailure,
  type Write,
  handBack,
  newWrite,
} from './pendingWrites.js';
import type { Semaphore } from './semaphore.js';
import { type Partitioner, partitionerNamed } from './partitioner.js';
import { keylessOf, rangeOf } from './partitioning.js';
import { type FrameRange, firstPlace, skipFrames } from './recordBatch.js';
import { recordEncoder } from './recordEncoder.js';
import { type Outcome, type Sender, cantBeEncoded } from './sender.js';
import { NO_LEADER, unreachedPartitions } from './unreachedPartitions.js';
import type { KafkaSettings } from '../../config/kafka/settings.js';

export interface KafkaStreamOptions {
  /** The bucket's name. */
  readonly topic: string;
  readonly settings: KafkaSettings;
  /** Shared by all streams with the same `clusterKey`. */
  readonly cluster: Cluster;
  readonly sender: Sender;
  /** Called once when this stream has ended and uses them no more. */
  readonly onClosed?: () => void;
  /**
   * Told of each record batch, or question for the topic, that is tried again, and of frames with the time of
   * sending.
   */
  readonly stats?: Pick<StreamStats, 'retried' | 'retimed'> | undefined;
  readonly budget: MemoryBudget;
  readonly rejected: RejectedFrames;
  /** For compressing on libuv's threads; shared by all streams. */
  readonly semaphore: Semaphore;
  readonly log: Log;
  readonly clock: Clock;
  readonly random?: () => number;
}

/**
 * Record batches are cut here before compression: brokers take 1,048,588 bytes by default, some services no
 * request over 1,046,528.
 */
const MAX_RECORDS_BYTES = 1_000_000;
/** Of `message.max.bytes`, what a request needs besides the records. */
const REQUEST_OVERHEAD_BYTES = 1_024;
/** A partition that is not there is asked for, unless that was asked so recently: it may have been added. */
const FRESH_LAYOUT_MS = 1_000;

export class KafkaStream implements Stream {
  readonly depth = 8;
  readonly #options: KafkaStreamOptions;
  readonly #partitioner: Partitioner;
  readonly #queues: PartitionQueues;
  readonly #away: AwayPartitions;
  readonly #writes: PendingWrites;
  readonly #notes: DeliveryNotes;
  /** Made by `open`. */
  #encoder: BatchEncoder | undefined;
  #layoutSearch: LayoutSearch | undefined;
  #failure: StreamFailure | undefined;
  /** When a partition, whichever, last took something. */
  #deliveredMs = -Infinity;
  #isClosed = false;

  constructor(options: KafkaStreamOptions) {
    const { topic, settings, rejected, random = Math.random } = options;
    this.#options = options;
    this.#partitioner = partitionerNamed(settings.partitioner);
    this.#queues = new PartitionQueues({ topic, settings, random });
    this.#away = new AwayPartitions(topic);
    this.#writes = new PendingWrites(rejected, this.#away);
    const { messageTimeoutMs } = settings;
    const { stats, log, clock } = options;
    this.#notes = new DeliveryNotes({ topic, messageTimeoutMs, stats, log, clock });
  }

  get away(): string | undefined {
    return this.#away.text;
  }

  get hasReturned(): boolean {
    return this.#away.hasReturned;
  }

  readmit(): void {
    const { log, topic } = this.#options;
    const returned = this.#away.readmit();
    if (returned.length > 0) log.info(`${topic}[${returned.join(', ')}] can be written again`, { topic });
  }

  async open(): Promise<void> {
    const { budget, semaphore, settings } = this.#options;
    const { compressionCodec, compressionLevel, batchNumMessages, batchSizeBytes, messageMaxBytes } =
      settings;
    const compress =
      compressionCodec === 'none'
        ? undefined
        : await compressorFor(compressionCodec, compressionLevel, semaphore);
    const most = Math.min(MAX_RECORDS_BYTES, batchSizeBytes, messageMaxBytes - REQUEST_OVERHEAD_BYTES);
    this.#encoder = new BatchEncoder({
      maxFrames: batchNumMessages,
      maxBytes: Math.max(1, most),
      encoder: recordEncoder(),
      codecId: codecId(compressionCodec),
      compress,
      adaptive: new AdaptiveCompression(),
      budget,
    });
  }

  write(batch: Batch): Promise<Settled> {
    return new Promise((resolve, reject) => {
      const write = newWrite(batch, { resolve, reject });
      if (this.#failure !== undefined) return handBack(write, new Set(), this.#failure);
      if (batch.frames === 0) return resolve({ delivered: 0, rejected: 0 });
      this.#writes.add(write);
      this.#assignWaiting();
    });
  }

  async probe(): Promise<void> {
    this.#refuseIfClosed();
    if (this.#encoder === undefined) await this.open();
    const { cluster, rejected, topic } = this.#options;
    if (this.#failure?.code === 'REJECTED' && rejected.problem !== undefined)
      throw new Error(cantBeKept(rejected));
    const { leaders } = await cluster.ask(topic);
    const away = await unreachedPartitions(cluster, topic, leaders);
    this.#refuseIfClosed();
    if (away.size === leaders.length) throw new Error([...new Set(away.values())].join('; '));
    if (this.#failure === undefined) {
      this.#noteAway(away);
      return;
    }
    if (!this.#writes.isEmpty)
      throw new Error('answers to what was sent before the failure are still awaited');
    // Queues of a failed stream hold nothing; new ones start with no history.
    this.#queues.removeAll();
    this.#failure = undefined;
    this.#away.reset(away);
  }

  async close({ deadlineMs }: { readonly deadlineMs: number }): Promise<void> {
    if (!this.#writes.isEmpty && deadlineMs > 0)
      await doneWithin(this.#options.clock, deadlineMs, this.#writes.emptied());
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#fail({ code: 'CLOSED', message: 'the stream was closed before these were acknowledged' }, true);
    this.#options.onClosed?.();
  }

  /**
   * What has come back is let in when it is asked for; what went away while nothing was sent needs no trying
   * first.
   */
  #noteAway(away: ReadonlyMap<number, string>): void {
    if (this.#writes.isEmpty)
      for (const [partition, reason] of away)
        if (!this.#away.has(partition)) this.#away.add(partition, reason);
    this.#away.found(away);
  }

  #refuseIfClosed(): void {
    if (this.#isClosed) throw new Error('the stream is closed');
  }

  /** Gives the writes that have no partitions yet theirs, as soon as it is known which there are. */
  #assignWaiting(): void {
    const layout = this.#options.cluster.layout(this.#options.topic);
    if (layout === undefined || !hasLeader(layout)) return void this.#findLayout();
    this.#refreshIfOld(layout);
    // One whose frames are all for what is away ends at once.
    for (const write of this.#writes.unassigned) {
      const { ranges, away, unknown } = assign(write.batch, layout.leaders, this.#partitioner, this.#away);
      if (unknown !== undefined && this.#mayHaveGrown(layout)) return void this.#findLayout();
      write.isAssigned = true;
      for (const [partition, range] of ranges) this.#push(partition, range);
      if (away.size > 0) this.#writes.handBackAway(write, away);
      if (unknown !== undefined) this.#rejectUnknown(write, unknown, layout.leaders.length);
    }
  }

  /** Is it a while ago that its partitions were asked for? */
  #mayHaveGrown({ fetchedAtMs }: TopicLayout): boolean {
    return this.#options.clock.now() - fetchedAtMs > FRESH_LAYOUT_MS;
  }

  /** Those alone: what else is in the batch goes on. */
  #rejectUnknown(write: Write, range: FrameRange, partitions: number): void {
    const has = `topic ${this.#options.topic} has ${partitions} ${plural(partitions, 'partition')}`;
    const [code, reason] = ['UNKNOWN_PARTITION' as const, `${has}, not the one it is for`];
    for (let rest = range; rest.count > 0; rest = skipFrames(rest, 1))
      void this.#reject(write, { place: firstPlace(rest), code, reason });
  }

  /** Asks for the topic's partitions until they are known, or the time for delivering has passed. */
  async #findLayout(): Promise<void> {
    if (this.#layoutSearch !== undefined) return;
    const search = new LayoutSearch(this.#options, this.#notes);
    this.#layoutSearch = search;
    const failure = await search.run();
    if (this.#layoutSearch !== search) return;
    this.#layoutSearch = undefined;
    if (failure === undefined) this.#assignWaiting();
    else this.#fail(failure, false);
  }

  #refreshIfOld(layout: TopicLayout): void {
    const { clock, cluster, log, settings, topic } = this.#options;
    if (clock.now() - layout.fetchedAtMs < settings.topicMetadataRefreshIntervalMs) return;
    // What comes of it is seen when it is next looked at; a failure here concerns no frame.
    cluster.refresh(topic).catch((error: unknown) => log.debug(`metadata stays as it is: ${String(error)}`));
  }

  #push(partition: number, range: FrameRange): void {
    const queue = this.#queues.of(partition, this.#encoder!);
    this.#act(queue, { action: queue.push({ range }, this.#options.clock.now()) });
  }

  /** Does what a queue says. */
  #act(queue: PartitionQueue, { action, settled }: QueueStep): void {
    if (settled !== undefined) this.#settle(queue, settled);
    switch (action.kind) {
      case 'offer':
        return this.#offer(queue, action.refresh);
      case 'awaitRoom':
        return void this.#awaitRoom(queue, action.roomBytes);
      case 'retryAt':
        this.#notes.retried(action.reason);
        return this.#retryAt(queue, action.atMs);
      case 'failed':
        if (this.#doOthersGoOn(queue, action.failure)) this.#putAway(queue, action.failure.message);
        else this.#fail(action.failure, false);
        return;
      case 'idle':
    }
  }

  #settle({ partition }: PartitionQueue, { range, frames, end }: PartEnd): void {
    const write = this.#writes.of(range.batch)!;
    if (end.kind === 'rejected')
      return void this.#reject(write, { place: firstPlace(range), code: end.code, reason: end.reason });
    this.#deliveredMs = this.#options.clock.now();
    if (end.isRetimed) this.#notes.retimed(frames);
    this.#writes.delivered(write, { range, frames, partition, baseOffset: end.baseOffset });
  }

  async #reject(write: Write, frame: UndeliverableFrame): Promise<void> {
    const end = await this.#writes.reject(write, frame);
    if (end === 'refused')
      this.#fail({ code: 'REJECTED', message: cantBeKept(this.#options.rejected) }, false);
    else if (end !== undefined) this.#finishFailing();
  }

  /**
   * Brings a queue to the node that leads it; which that is, is asked again when the last answer was
   * doubtful.
   */
  #offer(queue: PartitionQueue, refresh: boolean): void {
    const { cluster, sender, topic } = this.#options;
    const leader = refresh ? undefined : cluster.layout(topic)?.leaders[queue.partition];
    const isLed = leader !== undefined && leader >= 0;
    void (isLed ? sender.send(leader, queue) : this.#sendToLeader(queue)).then((outcome) =>
      this.#onOutcome(queue, outcome),
    );
  }

  async #sendToLeader(queue: PartitionQueue): Promise<Outcome | undefined> {
    const { cluster, sender, topic } = this.#options;
    try {
      const layout = await cluster.refresh(topic);
      const leader = layout.leaders[queue.partition];
      if (leader === undefined) return this.#partitionGone(queue, layout.leaders.length);
      if (leader >= 0) return await sender.send(leader, queue);
      return new KafkaFailure('CONNECTION', `${queue.name} has no leader just now`);
    } catch (error) {
      return asKafkaFailure(error);
    }
  }

  #onOutcome(queue: PartitionQueue, outcome: Outcome | undefined): void {
    const step =
      outcome === undefined ? { action: queue.unsent() } : queue.settle(outcome, this.#options.clock.now());
    this.#act(queue, step);
    this.#finishFailing();
  }

  /** The topic was made anew with fewer partitions: what is not delivered is spread over those there are. */
  #partitionGone(queue: PartitionQueue, partitions: number): KafkaFailure {
    const message = `${queue.name} is no more`;
    if (queue.isSending) {
      const { log, topic } = this.#options;
      const reason = `the topic has ${partitions} ${plural(partitions, 'partition')} now`;
      const { partition } = queue;
      log.warn(`${message}: ${reason}; its frames go to those`, { reason, topic, partition });
      this.#fail({ code: 'REFUSED', message }, false);
    }
    return new KafkaFailure('TOPIC', message);
  }

  async #awaitRoom(queue: PartitionQueue, roomBytes: number): Promise<void> {
    const { budget, clock } = this.#options;
    await budget.awaitEncoded(roomBytes);
    const step = await queue.encodeInto(roomBytes, clock.now()).then(
      (action): QueueStep => ({ action }),
      (error: unknown) => queue.settle(cantBeEncoded(queue, error), clock.now()),
    );
    this.#act(queue, step);
    this.#finishFailing();
  }

  #retryAt(queue: PartitionQueue, atMs: number): void {
    const { clock } = this.#options;
    const timer = clock.after(atMs - clock.now(), () =>
      this.#act(queue, { action: queue.retry(clock.now()) }),
    );
    this.#queues.keepTimer(queue, timer);
  }

  /**
   * Is it this partition alone that can't be written? Something of the topic was written meanwhile, or the
   * cluster says that others can be.
   */
  #doOthersGoOn({ partition }: PartitionQueue, { code, sinceMs, isAnswered }: PartitionFailure): boolean {
    const layout = this.#options.cluster.layout(this.#options.topic);
    if (code !== 'UNREACHABLE' || this.#failure !== undefined || layout === undefined) return false;
    const { leaders, fetchedAtMs } = layout;
    if (!leaders.some((leader, other) => leader >= 0 && other !== partition && !this.#away.has(other)))
      return false;
    const isToldOf = fetchedAtMs > sinceMs;
    if (isToldOf && leaders[partition] === NO_LEADER) return true;
    return (isToldOf || isAnswered) && this.#deliveredMs > sinceMs;
  }

  #putAway(queue: PartitionQueue, reason: string): void {
    const { log, cluster, topic } = this.#options;
    this.#away.add(queue.partition, reason);
    const left = this.#queues.remove(queue);
    log.warn(
      `${queue.name} is away: ${reason}; its frames go back to the stream until it can be written again; the other partitions go on`,
      { reason, topic, partition: queue.partition },
    );
    const { leaders } = cluster.layout(topic)!;
    for (const [batch, indexes] of left) this.#handBackOrMove(this.#writes.of(batch)!, indexes, leaders);
  }

  /** Frames without a key need not wait for this partition: they go to another. */
  #handBackOrMove(write: Write, indexes: Set<number>, leaders: readonly number[]): void {
    const { batch } = write;
    const free = keylessOf(batch, indexes, this.#partitioner);
    for (const index of free) indexes.delete(index);
    if (free.size > 0) this.#push(keylessPartition(batch, leaders, this.#away), rangeOf(batch, free));
    if (indexes.size > 0) this.#writes.handBackAway(write, indexes);
  }

  /** @param atOnce without waiting for what is on its way */
  #fail(failure: StreamFailure, atOnce: boolean): void {
    // Being closed is final, whatever went wrong before.
    if (this.#failure === undefined || atOnce) this.#failure = failure;
    this.#layoutSearch?.stop();
    this.#layoutSearch = undefined;
    this.#queues.stop();
    if (atOnce || !(this.#writes.isRejecting || this.#queues.areSending))
      this.#writes.handBackAll(this.#queues.removeAll(), this.#failure);
  }

  #finishFailing(): void {
    if (this.#failure !== undefined) this.#fail(this.#failure, false);
  }
}
