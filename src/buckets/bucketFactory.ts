// What a bucket is made of, from its place in the configuration: backlog, streams, limiter, and what they
// count.
import type { ActorContext, ActorRef } from '../actors/actor.js';
import type { BucketLook } from './bucketRecord.js';
import { Backlog } from './backlog.js';
import type { LastingParts } from './bucket.js';
import { BucketStreams } from './bucketStreams.js';
import type { BucketMessage } from './messages.js';
import { type Run, originsOf } from '../intake/run.js';
import type { BucketKey } from '../frames/bucketName.js';
import type { Clock } from '../clock.js';
import type { StreamConfig } from '../config/buckets.js';
import type { WholeBucket } from '../config/changes.js';
import type { ReadTurns } from '../memory/readTurns.js';
import type { Discards } from '../losses/discards.js';
import type { Batch } from '../frames/batch.js';
import type { Origins } from '../frames/origins.js';
import { countFrames } from '../frames/frame.js';
import { Excess } from './limit/excess.js';
import { LimitReport } from './limit/limitReport.js';
import { Limiter } from './limit/limiter.js';
import { RateWindow } from './limit/rateWindow.js';
import { LiveStream, type StreamRecord } from './bucketStream.js';
import type { Log } from '../log/log.js';
import type { MemoryBudget } from '../memory/memoryBudget.js';
import { plural } from '../plural.js';
import type { RejectedStore } from '../losses/rejectedStore.js';
import type { Segment, Spool } from '../spool/spool.js';
import { makeStreamParts } from '../streams/streamParts.js';
import { newAccount } from '../streams/account.js';
import { BackupLedger } from '../streams/backup/backupLedger.js';
import type { StreamMaker } from '../streams/streamFactory.js';
import type { LeftOverEnd } from '../streams/streamOptions.js';
import { StreamStats } from '../streams/streamStats.js';

export interface BucketMakerParts {
  readonly maker: StreamMaker;
  readonly budget: MemoryBudget;
  readonly turns: ReadTurns;
  readonly spool: Spool;
  /** Segments of a previous run, by bucket; those that a bucket takes over are taken out. */
  readonly left: Map<BucketKey, readonly Segment[]>;
  readonly rejected: RejectedStore;
  readonly discards: Discards;
  readonly origins?: Origins | undefined;
  readonly log: Log;
  readonly clock: Clock;
  /** STOP_TIMEOUT. */
  readonly stopTimeoutMs: number;
  /** When the daemon must have stopped, ms since the epoch; Infinity: it is not being stopped. */
  readonly stopAtMs: () => number;
  /** Resolves when the daemon's end begins. */
  readonly stopping: Promise<void>;
}

/** A bucket and where in the configuration it stands. */
export interface Place extends WholeBucket {
  /** Of `defaultBucket`. */
  readonly isOnDemand: boolean;
}

/** A bucket under its name, with all the streams that it ever had. */
export interface KnownBucket extends BucketLook {
  readonly streams: StreamRecord[];
  /** As it is configured now. */
  place: Place;
}

/** What outlives a bucket's actor that fails. */
export interface BucketParts extends LastingParts {
  readonly streams: BucketStreams;
}

/**
 * Time at the end that streams need for what they hold, after batches that wait in the spool are given to
 * them no more.
 */
const STREAMS_END_MS = 5_000;

export class BucketMaker {
  readonly #parts: BucketMakerParts;
  readonly #startedAtMs: number;

  constructor(parts: BucketMakerParts) {
    this.#parts = parts;
    this.#startedAtMs = parts.clock.now();
  }

  lastingParts(
    context: ActorContext<BucketMessage>,
    key: BucketKey,
    place: Place,
    look: KnownBucket,
  ): BucketParts {
    const { spool, left, clock, discards, origins, stopTimeoutMs, stopAtMs, stopping } = this.#parts;
    const bucket = look.name;
    const backlog = new Backlog({
      streams: [],
      spool,
      notes: spool.notes(bucket),
      log: context.log,
      clock,
      onSettled: () => tellIfThere(context.self),
      onLost: (lost) => discards.add({ bucket, ...lost }),
      closed: look.backlog?.closed,
      origins,
      onUnkept: (batch, from, reason) => this.#keepAside(batch, from, reason),
    });
    look.backlog = backlog;
    const streams = new BucketStreams(
      {
        backlog,
        make: (config, after, source) =>
          new LiveStream(config, {
            context,
            record: this.recordOf(look, config),
            makeParts: (...of) => this.#makeParts(look, ...of),
            after,
            source,
            stopAtMs,
            onLeftOver: (...of) => this.#leaveOver(...of),
            origins,
            now: () => clock.now(),
          }),
        hasSpool: spool.safeWhen === 'written',
        clock,
        stopTimeoutMs,
        feedMs: () => stopAtMs() - clock.now() - STREAMS_END_MS,
        stopping,
      },
      place.streams,
    );
    for (const segment of left.get(key) ?? []) backlog.addLeft(segment);
    // Once: a bucket may end, and come again.
    left.delete(key);
    return { streams, backlog, limiter: this.limiterOf(look, place, context.log) };
  }

  /** Undefined: the bucket takes whatever comes. */
  limiterOf(look: KnownBucket, { bucket, streams }: Place, log: Log): Limiter | undefined {
    const { rateLimit } = bucket;
    const { clock, rejected } = this.#parts;
    if (rateLimit === undefined) {
      look.limitWindow = undefined;
      return undefined;
    }
    const { frames, perMs } = rateLimit;
    if (look.limitWindow?.perMs !== perMs) look.limitWindow = new RateWindow(perMs);
    look.overLimit ??= { reject: 0 };
    const accounts = streams.map((config) => this.recordOf(look, config).account);
    return new Limiter({
      frames,
      window: look.limitWindow,
      excess: new Excess(rateLimit, look.name, accounts, rejected),
      report: new LimitReport(rateLimit, look.overLimit, log, clock),
      clock,
    });
  }

  #makeParts(
    look: KnownBucket,
    config: StreamConfig,
    { account, ledger, watch }: StreamRecord,
    log: Log,
  ): ReturnType<typeof makeStreamParts> {
    const { maker, rejected, discards, turns } = this.#parts;
    return makeStreamParts(config, {
      maker,
      rejected,
      discards,
      turns,
      bucket: look.name,
      account,
      ledger,
      startedAtMs: this.#startedAtMs,
      watch,
      log,
    });
  }

  /**
   * What could be delivered nowhere: it is in the spool already, for the next run, or else it is kept with
   * the rejected frames.
   */
  async #leaveOver(batch: Batch, reason: string, isTakenOut: boolean, log: Log): Promise<LeftOverEnd> {
    if (this.#parts.spool.safeWhen === 'settled' || isTakenOut) return this.#rejectBatch(batch, reason);
    log.info(`${batch.frames} ${plural(batch.frames, 'frame stays', 'frames stay')} in the spool: ${reason}`);
    return 'queued';
  }

  async #rejectBatch(
    { bucket, bytes, length: end, frames, origins: from }: Batch,
    reason: string,
  ): Promise<LeftOverEnd> {
    const ended = await this.#parts.rejected.offer({ bytes, start: 0, end, frames, bucket, reason, from });
    if (ended === 'kept') return 'rejected';
    if (ended === 'refused')
      this.#parts.discards.add({
        bucket,
        stream: '*',
        frames,
        bytes: end,
        reason: `${reason}, and REJECTED can't keep them`,
      });
    return 'discarded';
  }

  rejectRun(run: Run, bucket: string, reason: string): void {
    const { chunk, start, end, frames } = run;
    void this.#parts.rejected.reject({
      bytes: chunk,
      start,
      end,
      frames,
      bucket,
      reason,
      from: originsOf(run),
    });
  }

  /** Streams count these as queued, or have had them: twice is better than never. */
  #keepAside({ bucket, bytes, length: end }: Batch, start: number, reason: string): void {
    const frames = countFrames(bytes, start, end);
    void this.#parts.rejected.reject({ bytes, start, end, frames, bucket, reason });
  }

  /** Of the stream with this configuration, new when the bucket never had it. */
  recordOf(look: KnownBucket, { id, type, backup }: StreamConfig): StreamRecord {
    const known = look.streams.find((record) => record.id === id);
    if (known !== undefined) return known;
    const account = newAccount();
    const record: StreamRecord = {
      id,
      type,
      backupType: backup?.type,
      account,
      ledger: new BackupLedger(account),
      watch: new StreamStats(() => this.#parts.clock.now()),
      ref: undefined,
      backedUp: () => undefined,
    };
    look.streams.push(record);
    return record;
  }
}

/** What is settled last may be so after the bucket has stopped: then nobody waits for it. */
function tellIfThere(bucket: ActorRef<BucketMessage>): void {
  if (bucket.state !== 'stopped') bucket.tell({ kind: 'settled' });
}
