// What a bucket is made of, from its place in the configuration: backlog, streams, limiter, and what they count.
import type { ActorContext, ActorRef } from './actors/actor.js';
import type { BucketLook } from './admin/snapshot.js';
import { Backlog } from './buckets/backlog.js';
import type { LastingParts } from './buckets/bucket.js';
import { BucketStreams } from './buckets/bucketStreams.js';
import type { BucketKey, BucketMessage, Run } from './buckets/messages.js';
import type { Clock } from './clock.js';
import type { StreamConfig } from './config/buckets.js';
import type { WholeBucket } from './config/changes.js';
import type { ReadTurns } from './disk/readTurns.js';
import type { Discards } from './discards.js';
import type { Batch } from './frames/batch.js';
import { PREFIX_BYTES, bodyLength } from './frames/frame.js';
import type { Limiter } from './limits/limiter.js';
import { makeDiverter, makeRejecter, paceOfBackup } from './limits/makeLimiter.js';
import { ERROR_RETRY_MS, LiveStream, RETRY_MS, type StreamRecord } from './liveStream.js';
import type { Log } from './log.js';
import type { MemoryBudget } from './memoryBudget.js';
import type { RejectedStore } from './rejected/rejectedStore.js';
import type { LeftSegment, Spool } from './spool/spool.js';
import { makeStreamParts } from './streamParts.js';
import { newAccount } from './streams/account.js';
import { BackupLedger } from './streams/backupLedger.js';
import type { StreamMaker } from './streams/makeStream.js';
import { StreamWatch } from './streams/streamWatch.js';

export interface BucketMakerParts {
  readonly maker: StreamMaker;
  readonly budget: MemoryBudget;
  readonly turns: ReadTurns;
  readonly spool: Spool | undefined;
  /** Segments of an earlier life, by bucket; those that a bucket takes over are taken out. */
  readonly left: Map<BucketKey, readonly LeftSegment[]>;
  readonly rejected: RejectedStore;
  readonly discards: Discards;
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
  /** By when it must have ended, ms since the epoch; Infinity: it lives on. */
  endsAtMs: number;
}

/** Time at the end that streams need for what they hold, after batches that wait in the spool are given to them no more. */
const STREAMS_END_MS = 5_000;

export class BucketMaker {
  readonly #parts: BucketMakerParts;
  readonly #startedAtMs: number;

  constructor(parts: BucketMakerParts) {
    this.#parts = parts;
    this.#startedAtMs = parts.clock.now();
  }

  lastingParts(context: ActorContext<BucketMessage>, key: BucketKey, place: Place, look: KnownBucket): LastingParts & { readonly streams: BucketStreams } {
    const { budget, spool, left, clock, rejected, discards, stopTimeoutMs, stopAtMs, stopping } = this.#parts;
    const bucket = look.name;
    const backlog = new Backlog({
      streams: [],
      spool,
      notes: spool?.notes(bucket),
      budget,
      log: context.log,
      clock,
      onSettled: () => tellIfThere(context.self),
      onLost: (lost) => discards.add({ bucket, ...lost }),
      closed: look.backlog?.closed,
      keeping: () => rejected.keeping,
      onUnkept: (batch, from, reason) => this.#keepAside(batch, from, reason),
    });
    look.backlog = backlog;
    const streams = new BucketStreams({
      backlog,
      make: (config, after, told) => new LiveStream(config, {
        context,
        record: this.recordOf(look, config),
        makeParts: (...of) => this.#makeParts(look, ...of),
        isPaced: look.limit?.config.over === 'backup',
        after,
        told,
        stopAtMs,
        onLeftOver: (...of) => this.#leaveOver(...of),
        now: () => clock.now(),
      }),
      hasSpool: spool !== undefined,
      clock,
      stopTimeoutMs,
      feedMs: () => stopAtMs() - clock.now() - STREAMS_END_MS,
      stopping,
    }, place.streams);
    for (const segment of left.get(key) ?? []) backlog.addLeft(segment);
    // Once: a bucket may end, and come again.
    left.delete(key);
    return { streams, backlog, limiter: this.#diverterOf(context, key, place, look) ?? this.rejecterOf(look, place, context.log) };
  }

  /** Undefined: it has no limit, or one that does not reject. */
  rejecterOf(look: KnownBucket, { streams }: Place, log: Log): Limiter | undefined {
    const { rejected, clock } = this.#parts;
    if (look.limit?.config.over !== 'reject') return undefined;
    return makeRejecter(look.limit, { name: look.name, accounts: streams.map((config) => this.recordOf(look, config).account), rejected, log, clock });
  }

  /** Undefined: it has no limit, or one that brings nothing to the backups. */
  #diverterOf(context: ActorContext<BucketMessage>, key: BucketKey, { bucket, streams }: Place, look: KnownBucket): Limiter | undefined {
    const { budget, maker, rejected, discards, turns, clock, stopAtMs, log } = this.#parts;
    if (look.limit?.config.over !== 'backup') return undefined;
    const { limiter, surplus } = makeDiverter(context, look.limit, {
      ...bucket,
      key,
      name: look.name,
      budget,
      streams: streams.map((config) => ({ config, account: this.recordOf(look, config).account, watch: this.recordOf(look, config).watch })),
      shared: { maker, rejected, discards, turns, startedAtMs: this.#startedAtMs },
      timing: { retryMs: RETRY_MS, errorRetryMs: ERROR_RETRY_MS, stopTimeoutMs: () => Math.min(stopAtMs(), look.endsAtMs) - clock.now() },
      onAbandoned: (run, reason) => this.rejectRun(run, look.name, reason),
      onLeftOver: (batch, reason) => this.#rejectBatch(batch, reason),
      log,
      before: look.surplus,
    });
    look.surplus = surplus;
    return limiter;
  }

  #makeParts(look: KnownBucket, config: WholeBucket['streams'][number], { account, ledger, watch }: StreamRecord, log: Log): ReturnType<typeof makeStreamParts> {
    const { maker, rejected, discards, turns } = this.#parts;
    const pace = look.limit && paceOfBackup(look.limit, config.id);
    return makeStreamParts(config, { maker, rejected, discards, turns, bucket: look.name, account, ledger, startedAtMs: this.#startedAtMs, watch, log, pace });
  }

  /** What could be delivered nowhere: it is in the spool already, for the next life, or else it is kept with the rejected frames. */
  #leaveOver(batch: Batch, reason: string, isTakenOut: boolean, log: Log): 'queued' | 'rejected' {
    if (this.#parts.spool === undefined || isTakenOut) return this.#rejectBatch(batch, reason);
    log.info(`${batch.frames} frames stay in the spool: ${reason}`);
    // Held for ever, so it never counts as settled, and its segment stays.
    batch.retain();
    return 'queued';
  }

  #rejectBatch({ bucket, bytes, length: end, frames }: Batch, reason: string): 'rejected' {
    this.#parts.rejected.reject({ bytes, start: 0, end, frames, bucket, reason });
    return 'rejected';
  }

  rejectRun({ chunk, start, end, frames }: Run, bucket: string, reason: string): void {
    this.#parts.rejected.reject({ bytes: chunk, start, end, frames, bucket, reason });
  }

  /** Streams count these as queued, or have had them: twice is better than never. */
  #keepAside({ bucket, bytes, length: end }: Batch, start: number, reason: string): void {
    let frames = 0;
    for (let at = start; at < end; at += PREFIX_BYTES + bodyLength(bytes, at)) frames++;
    this.#parts.rejected.reject({ bytes, start, end, frames, bucket, reason });
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
      ledger: new BackupLedger(account, () => look.surplus?.looks.get(id)?.leftFrames() ?? 0),
      watch: new StreamWatch(() => this.#parts.clock.now()),
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
