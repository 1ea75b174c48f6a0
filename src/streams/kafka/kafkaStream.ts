// A bucket's way to its Kafka topic. A batch is spread over queues, one a partition; it is settled when all
// its parts are. When a queue's deadline passes and other partitions can be written, its partition is away:
// its frames are handed back, and only those. Otherwise the stream has failed: nothing more is sent, and
// every write hands back what was not delivered, in order.
import { plural } from '../../plural.js';
import type { Clock, Timer } from '../../clock.js';
import type { Batch } from '../../frames/batch.js';
import { PREFIX_BYTES, bodyLength } from '../../frames/frame.js';
import type { Log } from '../../log/log.js';
import type { MemoryBudget } from '../../memory/memoryBudget.js';
import { DeliveryError, type DeliveryErrorCode, type Settled, type Stream } from '../stream.js';
import { type RejectedEnd, type RejectedFrames, cantBeKept } from '../../losses/rejection.js';
import type { StreamWatch } from '../streamStats.js';
import { AwayPartitions } from './awayPartitions.js';
import type { Cluster, TopicLayout } from '../../kafka/cluster.js';
import { AdaptiveCompression } from './adaptiveCompression.js';
import { type Compress, codecId, compressorFor } from './compression.js';
import { KafkaFailure } from '../../kafka/failure.js';
import { PartitionQueue, type PartitionFailure } from './partitionQueue.js';
import type { Semaphore } from './semaphore.js';
import { partitionerNamed } from './partitioner.js';
import { addIndexes, keylessOf, partitionBatch, rangeOf } from './partitioning.js';
import type { FramePlace, FrameRange } from './recordBatch.js';
import { type RecordEncoder, recordEncoder } from './recordEncoder.js';
import type { Sender } from './sender.js';
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
  readonly watch?: Pick<StreamWatch, 'retried' | 'retimed'> | undefined;
  readonly budget: MemoryBudget;
  readonly rejected: RejectedFrames;
  /** For compressing on libuv's threads; shared by all streams. */
  readonly semaphore: Semaphore;
  readonly log: Log;
  readonly clock: Clock;
  readonly random?: () => number;
}

/** A batch on its way, until every frame of it is settled. */
interface Write {
  readonly batch: Batch;
  unsettled: number;
  delivered: number;
  rejected: number;
  discarded: number;
  /** Frames, by their place in the batch, that are to be rejected and are not kept yet. */
  readonly rejecting: Set<number>;
  isAssigned: boolean;
  /** Which of its frames are for partitions that are away. */
  away: Set<number> | undefined;
  readonly resolve: (settled: Settled) => void;
  readonly reject: (error: DeliveryError) => void;
}

interface LayoutSearch {
  sinceMs: number;
  tries: number;
  timer: Timer | undefined;
}

interface StreamFailure {
  readonly code: DeliveryErrorCode;
  readonly message: string;
}

/**
 * Record batches are cut here before compression: brokers take 1,048,588 bytes by default, some services no
 * request over 1,046,528.
 */
const MAX_RECORDS_BYTES = 1_000_000;
/** Of `message.max.bytes`, what a request needs besides the records. */
const REQUEST_OVERHEAD_BYTES = 1_024;
const LOG_RETRY_EVERY_MS = 10_000;
/** In place of the node that leads a partition. */
const NO_LEADER = -1;

export class KafkaStream implements Stream {
  readonly depth = 8;
  readonly #options: KafkaStreamOptions;
  readonly #random: () => number;
  readonly #queues = new Map<number, PartitionQueue>();
  #encoder: RecordEncoder | undefined;
  #compress: Compress | undefined;
  readonly #adaptive = new AdaptiveCompression();
  #writes: Write[] = [];
  #failure: StreamFailure | undefined;
  readonly #away: AwayPartitions;
  /** When a partition, whichever, last took something. */
  #deliveredMs = -Infinity;
  #layoutSearch: LayoutSearch | undefined;
  #loggedRetryMs = -Infinity;
  #hasToldOfTimes = false;
  #onQuiet: (() => void)[] = [];
  /** Frames that are being kept with the rejected ones. */
  #offered = 0;
  #isOpen = false;
  #isClosed = false;

  constructor(options: KafkaStreamOptions) {
    this.#options = options;
    this.#random = options.random ?? Math.random;
    this.#away = new AwayPartitions(options.topic);
  }

  get away(): string | undefined {
    return this.#away.text;
  }

  get hasReturned(): boolean {
    return this.#away.hasReturned;
  }

  readmit(): void {
    const returned = this.#away.readmit();
    if (returned.length > 0)
      this.#options.log.info(`${this.#options.topic}[${returned.join(', ')}] can be written again`);
  }

  async open(): Promise<void> {
    const { compressionCodec, compressionLevel } = this.#options.settings;
    this.#compress =
      compressionCodec === 'none'
        ? undefined
        : await compressorFor(compressionCodec, compressionLevel, this.#options.semaphore);
    this.#encoder = recordEncoder();
    this.#isOpen = true;
  }

  write(batch: Batch): Promise<Settled> {
    return new Promise((resolve, reject) => {
      const write: Write = {
        batch,
        unsettled: batch.frames,
        delivered: 0,
        rejected: 0,
        discarded: 0,
        rejecting: new Set(),
        isAssigned: false,
        away: undefined,
        resolve,
        reject,
      };
      if (this.#failure !== undefined) return this.#handBack(write, new Set(), this.#failure);
      if (batch.frames === 0) return resolve({ delivered: 0, rejected: 0 });
      this.#writes.push(write);
      this.#assignWaiting();
    });
  }

  async probe(): Promise<void> {
    this.#refuseIfClosed();
    if (!this.#isOpen) await this.open();
    if (this.#failure?.code === 'REJECTED' && this.#options.rejected.problem !== undefined)
      throw new Error(cantBeKept(this.#options.rejected));
    const { leaders } = await this.#options.cluster.ask(this.#options.topic);
    const away = await this.#lookForAway(leaders);
    this.#refuseIfClosed();
    if (away.size === leaders.length) throw new Error([...new Set(away.values())].join('; '));
    if (this.#failure === undefined) {
      this.#noteAway(away);
      return;
    }
    if (this.#writes.length > 0)
      throw new Error('answers to what was sent before the failure are still awaited');
    // Queues of a failed stream hold nothing; new ones start with no history.
    this.#queues.clear();
    this.#failure = undefined;
    this.#away.reset(away);
  }

  /** Which partitions can't be written: they have no leader, or one that is not reached. */
  async #lookForAway(leaders: readonly number[]): Promise<ReadonlyMap<number, string>> {
    const { cluster, topic } = this.#options;
    const nodes = [...new Set(leaders)].filter((leader) => leader !== NO_LEADER);
    const problems = await Promise.all(
      nodes.map(async (node) => cluster.connection(node).then(() => undefined, whyUnreached)),
    );
    const why = new Map(nodes.map((node, i) => [node, problems[i]]));
    why.set(NO_LEADER, nodes.length > 0 ? 'it has no leader' : `no partition of topic ${topic} has a leader`);
    const away = leaders.map((leader, partition) => [partition, why.get(leader)] as const);
    return new Map(away.filter((each): each is readonly [number, string] => each[1] !== undefined));
  }

  /**
   * What has come back is let in when it is asked for; what went away while nothing was sent needs no trying
   * first.
   */
  #noteAway(away: ReadonlyMap<number, string>): void {
    if (this.#writes.length === 0)
      for (const [partition, reason] of away)
        if (!this.#away.has(partition)) this.#away.add(partition, reason);
    this.#away.found(away);
  }

  #refuseIfClosed(): void {
    if (this.#isClosed) throw new Error('the stream is closed');
  }

  async close({ deadlineMs }: { readonly deadlineMs: number }): Promise<void> {
    if (this.#writes.length > 0 && deadlineMs > 0) await this.#quietWithin(deadlineMs);
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#fail({ code: 'CLOSED', message: 'the stream was closed before these were acknowledged' }, true);
    this.#options.onClosed?.();
  }

  #quietWithin(deadlineMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#options.clock.after(deadlineMs, resolve);
      this.#onQuiet.push(() => {
        timer.cancel();
        resolve();
      });
    });
  }

  /** Gives the writes that have no partitions yet theirs, as soon as it is known which there are. */
  #assignWaiting(): void {
    const layout = this.#options.cluster.layout(this.#options.topic);
    if (layout === undefined || !layout.leaders.some((leader) => leader >= 0)) return this.#findLayout();
    this.#refreshIfOld(layout);
    // One whose frames are all for what is away ends at once.
    for (const write of this.#writes.filter(({ isAssigned }) => !isAssigned)) this.#assign(write, layout);
  }

  #assign(write: Write, layout: TopicLayout): void {
    write.isAssigned = true;
    const partitioner = partitionerNamed(this.#options.settings.partitioner);
    const away = new Set<number>();
    for (const [partition, range] of partitionBatch(
      write.batch,
      layout.leaders.length,
      partitioner,
      this.#keylessPartition(write, layout),
    )) {
      if (this.#away.has(partition)) addIndexes(away, range);
      else this.#push(write, partition, range);
    }
    if (away.size > 0) this.#handBackAway(write, away);
  }

  #push(write: Write, partition: number, range: FrameRange): void {
    this.#queue(partition).push({
      range,
      onDelivered: (frames) => {
        this.#deliveredMs = this.#options.clock.now();
        this.#settle(write, 'delivered', frames);
      },
      onRejected: (frame, reason) => this.#reject(write, frame, reason),
    });
  }

  /**
   * For the keyless frames of one batch, which stay together while the next batch goes elsewhere: the
   * partition that was drawn, or, while it can't be written, one that can.
   */
  #keylessPartition({ batch: { draw } }: Write, { leaders }: TopicLayout): number {
    const drawn = draw % leaders.length;
    const canBeWritten = (partition: number): boolean =>
      leaders[partition]! >= 0 && !this.#away.has(partition);
    if (canBeWritten(drawn)) return drawn;
    const others = [...leaders.keys()].filter(canBeWritten);
    return others[draw % others.length] ?? drawn;
  }

  #queue(partition: number): PartitionQueue {
    const known = this.#queues.get(partition);
    if (known !== undefined) return known;
    const { settings, topic, budget, clock } = this.#options;
    const queue = new PartitionQueue({
      ...settings,
      topic,
      partition,
      maxFrames: settings.batchNumMessages,
      maxBytes: Math.max(
        1,
        Math.min(
          MAX_RECORDS_BYTES,
          settings.batchSizeBytes,
          settings.messageMaxBytes - REQUEST_OVERHEAD_BYTES,
        ),
      ),
      encoder: this.#encoder!,
      codecId: codecId(settings.compressionCodec),
      compress: this.#compress,
      adaptive: this.#adaptive,
      budget,
      clock,
      random: this.#random,
      offer: (offered, refresh) => this.#offer(offered, refresh),
      onFailed: (failed, failure) =>
        this.#doOthersGoOn(failed, failure)
          ? this.#putAway(failed, failure.message)
          : this.#fail(failure, false),
      onIdle: () => this.#finishFailing(),
      onRetry: (reason) => this.#logRetry(reason),
      onRetimed: (frames) => this.#onRetimed(frames),
    });
    this.#queues.set(partition, queue);
    return queue;
  }

  /**
   * Brings a queue to the node that leads it; who that is, is asked again when the last answer was doubtful.
   */
  #offer(queue: PartitionQueue, refresh: boolean): void {
    const { cluster, sender, topic } = this.#options;
    const leader = refresh ? undefined : cluster.layout(topic)?.leaders[queue.partition];
    if (leader !== undefined && leader >= 0) return sender.offer(leader, queue);
    cluster.refresh(topic).then(
      (layout) => {
        const found = layout.leaders[queue.partition];
        if (found === undefined && queue.isSending) this.#onPartitionGone(queue, layout);
        else if (found === undefined) return;
        else if (found >= 0) sender.offer(found, queue);
        else
          queue.settle(new KafkaFailure('CONNECTION', `${topic}[${queue.partition}] has no leader just now`));
      },
      (failure: unknown) =>
        queue.settle(
          failure instanceof KafkaFailure ? failure : new KafkaFailure('PROTOCOL', String(failure)),
        ),
    );
  }

  /** The topic was made anew with fewer partitions: what is not delivered is spread over those there are. */
  #onPartitionGone(queue: PartitionQueue, layout: TopicLayout): void {
    const name = `${this.#options.topic}[${queue.partition}]`;
    this.#options.log.warn(
      `${name} is no more, the topic has ${layout.leaders.length} ${plural(layout.leaders.length, 'partition')} now: its frames go to those`,
    );
    this.#fail({ code: 'REFUSED', message: `${name} is no more` }, false);
    queue.settle(new KafkaFailure('TOPIC', `${name} is no more`));
  }

  #refreshIfOld(layout: TopicLayout): void {
    const ageMs = this.#options.clock.now() - layout.fetchedAtMs;
    if (ageMs < this.#options.settings.topicMetadataRefreshIntervalMs) return;
    // What comes of it is seen when it is next looked at; a failure here concerns no frame.
    this.#options.cluster
      .refresh(this.#options.topic)
      .catch((error: unknown) => this.#options.log.debug(`metadata stays as it is: ${String(error)}`));
  }

  /** Asks for the topic's partitions until they are known, or the time for delivering has passed. */
  #findLayout(): void {
    if (this.#layoutSearch !== undefined) return;
    this.#layoutSearch = { sinceMs: this.#options.clock.now(), tries: 0, timer: undefined };
    this.#searchLayout(this.#layoutSearch);
  }

  #searchLayout(search: LayoutSearch): void {
    this.#options.cluster.refresh(this.#options.topic).then(
      (layout) =>
        this.#onLayout(
          search,
          layout.leaders.some((leader) => leader >= 0)
            ? undefined
            : new KafkaFailure('CONNECTION', `no partition of topic ${this.#options.topic} has a leader`),
        ),
      (failure: unknown) =>
        this.#onLayout(
          search,
          failure instanceof KafkaFailure ? failure : new KafkaFailure('PROTOCOL', String(failure)),
        ),
    );
  }

  #onLayout(search: LayoutSearch, problem: KafkaFailure | undefined): void {
    if (search !== this.#layoutSearch) return;
    if (problem === undefined) {
      this.#layoutSearch = undefined;
      return this.#assignWaiting();
    }
    const { clock, settings } = this.#options;
    search.sinceMs = Math.min(search.sinceMs, clock.now());
    const leftMs = settings.messageTimeoutMs - (clock.now() - search.sinceMs);
    if (leftMs <= 0) {
      const code = problem.code === 'AUTH' || problem.code === 'TOPIC' ? 'REFUSED' : 'UNREACHABLE';
      return this.#fail(
        {
          code,
          message: `${problem.message}; tried for ${settings.messageTimeoutMs} ms (message.timeout.ms)`,
        },
        false,
      );
    }
    this.#logRetry(problem.message);
    const backOffMs = Math.min(
      settings.retryBackoffMs * 2 ** search.tries++,
      settings.retryBackoffMaxMs,
      leftMs,
    );
    search.timer = clock.after(backOffMs, () => this.#searchLayout(search));
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
    return isToldOf && leaders[partition] === NO_LEADER
      ? true
      : (isToldOf || isAnswered) && this.#deliveredMs > sinceMs;
  }

  #putAway(queue: PartitionQueue, reason: string): void {
    const { log, cluster, topic } = this.#options;
    this.#away.add(queue.partition, reason);
    this.#queues.delete(queue.partition);
    log.warn(
      `${topic}[${queue.partition}] is away: ${reason}; its frames are handed back until it can be written again, the other partitions go on`,
    );
    const left = leftIn([queue]);
    const layout = cluster.layout(topic)!;
    for (const write of [...this.#writes]) {
      const indexes = left.get(write.batch);
      if (indexes !== undefined) this.#handBackOrMove(write, indexes, layout);
    }
  }

  /** Frames without a key need not wait for this partition: they go to another. */
  #handBackOrMove(write: Write, indexes: Set<number>, layout: TopicLayout): void {
    const free = keylessOf(write.batch, indexes, partitionerNamed(this.#options.settings.partitioner));
    for (const index of free) indexes.delete(index);
    if (free.size > 0) this.#push(write, this.#keylessPartition(write, layout), rangeOf(write.batch, free));
    if (indexes.size > 0) this.#handBackAway(write, indexes);
  }

  #handBackAway(write: Write, indexes: ReadonlySet<number>): void {
    write.away = new Set([...(write.away ?? []), ...indexes]);
    write.unsettled -= indexes.size;
    if (write.unsettled === 0) this.#end(write);
  }

  #settle(write: Write, end: 'delivered' | 'rejected' | 'discarded', frames: number): void {
    write[end] += frames;
    write.unsettled -= frames;
    if (write.unsettled === 0) this.#end(write);
  }

  #end(write: Write): void {
    this.#writes.splice(this.#writes.indexOf(write), 1);
    if (write.away === undefined) write.resolve(settledOf(write));
    else
      this.#handBack(write, write.away, { code: 'AWAY', message: this.#away.text ?? 'a partition was away' });
    if (this.#writes.length === 0) for (const run of this.#onQuiet.splice(0)) run();
  }

  /**
   * The frame moves to the rejected ones; it is settled when it is there. Its bytes are held until then, also
   * when the stream is closed meanwhile.
   */
  #reject(write: Write, { index, at }: FramePlace, reason: string): void {
    const { bytes, bucket } = write.batch.retain();
    const from = new Map([[write.batch.originOf(index), 1]]);
    write.rejecting.add(index);
    this.#offered++;
    void this.#options.rejected
      .offer({
        bytes,
        start: at,
        end: at + PREFIX_BYTES + bodyLength(bytes, at),
        frames: 1,
        bucket,
        reason,
        from,
      })
      .then((end) => {
        this.#offered--;
        this.#onOffered(write, index, end);
        write.batch.release();
      });
  }

  #onOffered(write: Write, index: number, end: RejectedEnd): void {
    // The stream was closed meanwhile, and has handed it back: it may be kept, and come once more.
    if (!this.#writes.includes(write)) return;
    if (end === 'refused') {
      this.#fail({ code: 'REJECTED', message: cantBeKept(this.#options.rejected) }, false);
    } else {
      write.rejecting.delete(index);
      this.#settle(write, end === 'kept' ? 'rejected' : 'discarded', 1);
      this.#finishFailing();
    }
  }

  /** @param atOnce without waiting for what is on its way */
  #fail(failure: StreamFailure, atOnce: boolean): void {
    // Being closed is final, whatever went wrong before.
    if (this.#failure === undefined || atOnce) this.#failure = failure;
    this.#layoutSearch?.timer?.cancel();
    this.#layoutSearch = undefined;
    for (const queue of this.#queues.values()) queue.stop();
    if (atOnce || (this.#offered === 0 && ![...this.#queues.values()].some((queue) => queue.isSending)))
      this.#handBackAll(this.#failure);
  }

  #finishFailing(): void {
    if (this.#failure !== undefined) this.#fail(this.#failure, false);
  }

  #handBackAll(failure: StreamFailure): void {
    const left = leftIn(this.#queues.values());
    this.#queues.clear();
    for (const write of this.#writes.splice(0))
      this.#handBack(write, new Set([...(left.get(write.batch) ?? []), ...(write.away ?? [])]), failure);
    for (const run of this.#onQuiet.splice(0)) run();
  }

  #handBack(write: Write, left: ReadonlySet<number>, failure: StreamFailure): void {
    const { batch, delivered, rejected, discarded, rejecting } = write;
    const undelivered =
      delivered + rejected + discarded === 0
        ? batch.retain()
        : batch.pick((index) => left.has(index) || rejecting.has(index));
    write.reject(new DeliveryError(failure.code, failure.message, undelivered, settledOf(write)));
  }

  #onRetimed(frames: number): void {
    const { watch, log, topic } = this.#options;
    watch?.retimed(frames);
    if (this.#hasToldOfTimes) return;
    this.#hasToldOfTimes = true;
    log.warn(
      `topic ${topic} refuses the time at which some frames came (message.timestamp.before.max.ms, message.timestamp.after.max.ms): they are sent with the time of sending, and counted (kahe_stream_retimed_frames_total); this is said once`,
    );
  }

  #logRetry(reason: string): void {
    this.#options.watch?.retried(reason);
    const now = this.#options.clock.now();
    if (now - this.#loggedRetryMs < LOG_RETRY_EVERY_MS) return;
    this.#loggedRetryMs = now;
    this.#options.log.warn(
      `${reason}; nothing is lost, it is tried again for up to ${this.#options.settings.messageTimeoutMs} ms (message.timeout.ms)`,
    );
  }
}

function settledOf({ delivered, rejected, discarded }: Write): Settled {
  return { delivered, rejected, ...(discarded === 0 ? {} : { discarded }) };
}

/** By batch, which of its frames these queues have not delivered; they hold nothing any more. */
function leftIn(queues: Iterable<PartitionQueue>): Map<Batch, Set<number>> {
  const left = new Map<Batch, Set<number>>();
  for (const queue of queues) {
    for (const { range } of queue.takeBack()) {
      const indexes = left.get(range.batch) ?? new Set<number>();
      left.set(range.batch, indexes);
      addIndexes(indexes, range);
    }
  }
  return left;
}

/** @throws KafkaFailure what concerns more than this node */
function whyUnreached(failure: unknown): string {
  if (failure instanceof KafkaFailure && (failure.code === 'CONNECTION' || failure.code === 'TIMEOUT'))
    return failure.message;
  throw failure;
}
