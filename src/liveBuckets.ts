// The buckets as the daemon runs them: what each is made of, what is to be seen of it, and how it turns to another configuration. What a
// reload does not change is not touched.
import { isDeepStrictEqual } from 'node:util';
import type { ActorContext, ActorRef } from './actors/actor.js';
import type { BucketLook } from './admin/snapshot.js';
import { Backlog } from './buckets/backlog.js';
import { Bucket, type LastingParts } from './buckets/bucket.js';
import { bucketName, keyOf, refuseName } from './buckets/bucketName.js';
import { BucketStreams } from './buckets/bucketStreams.js';
import type { BucketKey, BucketMessage, BucketSettings, ManagerMessage, Run } from './buckets/messages.js';
import type { Taps } from './buckets/taps.js';
import type { Clock } from './clock.js';
import type { BucketConfig, BucketsConfig } from './config/buckets.js';
import type { RateLimitConfig } from './config/rateLimit.js';
import { type WholeBucket, bucketChange, wholeBucket } from './config/changes.js';
import type { ReadTurns } from './disk/readTurns.js';
import type { Discards } from './discards.js';
import type { Batch } from './frames/batch.js';
import { PREFIX_BYTES, bodyLength } from './frames/frame.js';
import type { Limiter } from './limits/limiter.js';
import { type Limit, makeDiverter, makeRejecter, newLimit, paceOfBackup } from './limits/makeLimiter.js';
import { ERROR_RETRY_MS, LiveStream, RETRY_MS, type StreamRecord } from './liveStream.js';
import type { Log } from './log.js';
import { Looks } from './looks.js';
import type { MemoryBudget } from './memoryBudget.js';
import type { RejectedStore } from './rejected/rejectedStore.js';
import type { LeftBackup } from './replay/leftBackups.js';
import type { LeftSegment, Spool } from './spool/spool.js';
import { makeStreamParts } from './streamParts.js';
import { newAccount } from './streams/account.js';
import { BackupLedger } from './streams/backupLedger.js';
import type { StreamMaker } from './streams/makeStream.js';
import { StreamWatch } from './streams/streamWatch.js';

export interface LiveBucketsParts {
  readonly maker: StreamMaker;
  readonly budget: MemoryBudget;
  readonly turns: ReadTurns;
  readonly spool: Spool | undefined;
  /** Segments of an earlier life, by bucket; those that a bucket takes over are taken out. */
  readonly left: Map<BucketKey, readonly LeftSegment[]>;
  readonly rejected: RejectedStore;
  readonly discards: Discards;
  readonly taps: Taps;
  readonly log: Log;
  readonly clock: Clock;
  /** STOP_TIMEOUT. */
  readonly stopTimeoutMs: number;
  /** When the daemon must have stopped, ms since the epoch; Infinity: it is not being stopped. */
  readonly stopAtMs: () => number;
  /** Resolves when the daemon's end begins. */
  readonly stopping: Promise<void>;
  /** A bucket made on demand has had nothing to do for a while. */
  readonly onIdle: (bucket: BucketKey) => void;
}

/** A bucket and where in the configuration it stands. */
interface Place extends WholeBucket {
  /** Of `defaultBucket`. */
  readonly isOnDemand: boolean;
}

interface Live {
  readonly ref: ActorRef<BucketMessage>;
  place: Place;
  streams: BucketStreams | undefined;
  isTakenOut: boolean;
}

interface KnownBucket extends BucketLook {
  readonly streams: StreamRecord[];
  /** By when it must have ended, ms since the epoch; Infinity: it lives on. */
  endsAtMs: number;
}

/** A bucket made on demand that had nothing to do for one to two of these ends. */
const IDLE_MS = 60_000;
/** Time at the end that streams need for what they hold, after batches that wait in the spool are given to them no more. */
const STREAMS_END_MS = 5_000;

export class LiveBuckets {
  readonly #parts: LiveBucketsParts;
  readonly #startedAtMs: number;
  #config: BucketsConfig;
  #configured: ReadonlyMap<BucketKey, BucketConfig>;
  readonly looks = new Looks<KnownBucket>();
  readonly #live = new Map<BucketKey, Live>();

  constructor(config: BucketsConfig, parts: LiveBucketsParts) {
    this.#config = config;
    this.#configured = byKey(config);
    this.#parts = parts;
    this.#startedAtMs = parts.clock.now();
  }

  /** Why no bucket can have this name, if none can. Nothing about names that the configuration has no place for. */
  refuseName(key: BucketKey): string | undefined {
    const config = this.#configOf(key);
    return config && refuseName(key, this.#feedsKafka(config));
  }

  isKnown(key: BucketKey): boolean {
    return this.#placeOf(key) !== undefined;
  }

  /** The configured ones, and those that have left something in the spool or in a backup, so that it is delivered. */
  namedBy(leftBackups: readonly LeftBackup[]): readonly BucketKey[] {
    const left = [...this.#parts.left.keys()];
    for (const key of left.filter((found) => !this.isKnown(found))) {
      this.#parts.log.warn(`the spool holds batches of bucket ${bucketName(key)}, which is configured no more: they stay there; configure it, or a defaultBucket, and they are delivered`);
    }
    const backedUp = leftBackups.filter((backup) => this.#isMissed(backup)).map(({ bucket }) => keyOf(bucket));
    return [...new Set([...this.#configured.keys(), ...left.filter((key) => this.isKnown(key)), ...backedUp])];
  }

  /** Starts the actor of a bucket; undefined: the configuration has no place for it. */
  spawn(context: ActorContext<ManagerMessage>, key: BucketKey): ActorRef<BucketMessage> | undefined {
    const place = this.#placeOf(key);
    if (place === undefined) return undefined;
    const { budget, spool, taps } = this.#parts;
    const name = bucketName(key);
    const look = this.#lookAt(name, place);
    look.endsAtMs = Infinity;
    // Made once: they outlive a bucket that fails.
    let lasting: LastingParts & { readonly streams: BucketStreams } | undefined;
    // A slash in a name makes no step of the path that is the log's.
    const ref = context.spawn<BucketMessage>(`bucket.${name.replaceAll('/', '\\x2f')}`, (inner) => new Bucket(inner, {
      ...this.#settingsOf(this.#live.get(key)?.place ?? place, look),
      key,
      name,
      budget,
      spool,
      taps,
      onAbandoned: (run, reason) => this.#rejectRun(run, name, reason),
    }, (lasting ??= this.#lastingParts(inner, key, place, look))));
    const live: Live = { ref, place, streams: lasting?.streams, isTakenOut: false };
    this.#live.set(key, live);
    void ref.stopped.then(() => {
      if (this.#live.get(key) === live) this.#live.delete(key);
      if (live.place.isOnDemand && !this.#live.has(key)) this.looks.ended(name);
    });
    return ref;
  }

  /**
   * Another configuration is in force from now on.
   * @returns which buckets must end, for it has no place for them, or they can only be made anew; and a promise that resolves when all others
   * go on as it says
   */
  turnTo(config: BucketsConfig): { readonly removed: readonly BucketKey[]; readonly turned: Promise<unknown> } {
    this.#config = config;
    this.#configured = byKey(config);
    const removed: BucketKey[] = [];
    const turning: Promise<void>[] = [];
    for (const [key, live] of this.#live) {
      if (live.isTakenOut) continue;
      const place = this.#placeOf(key);
      if (place === undefined || mustBeNew(live.place, place)) {
        live.isTakenOut = true;
        live.streams?.takeOut();
        this.#lookAt(bucketName(key), live.place).endsAtMs = this.#parts.clock.now() + this.#parts.stopTimeoutMs;
        removed.push(key);
      } else if (place.isOnDemand !== live.place.isOnDemand || bucketChange(live.place, place) !== undefined) {
        turning.push(this.#turn(key, live, place));
      }
    }
    return { removed, turned: Promise.all(turning) };
  }

  #turn(key: BucketKey, live: Live, place: Place): Promise<void> {
    live.place = place;
    const look = this.#lookAt(bucketName(key), place);
    const limiter = this.#rejecterOf(look, place, this.#parts.log.at(live.ref.path));
    return new Promise((onTaken) => live.ref.tell({ kind: 'configure', settings: this.#settingsOf(place, look), streams: place.streams, limiter, onTaken }));
  }

  #configOf(key: BucketKey): BucketConfig | undefined {
    return this.#configured.get(key) ?? this.#config.defaultBucket;
  }

  #feedsKafka({ streams }: BucketConfig): boolean {
    return streams.some((id) => this.#config.streamsConfigs[id]!.type === 'kafka');
  }

  #placeOf(key: BucketKey): Place | undefined {
    const config = this.#configOf(key);
    if (config === undefined || this.refuseName(key) !== undefined) return undefined;
    return { ...wholeBucket(config, this.#config), isOnDemand: config === this.#config.defaultBucket };
  }

  /** Is there a stream that will send it? Otherwise a person must know. */
  #isMissed({ bucket, stream, journal, isForeign, isSurplus }: LeftBackup): boolean {
    const config = this.#configOf(keyOf(bucket));
    const isOurs = !isForeign && config?.streams.includes(stream) === true && (!isSurplus || config.rateLimit?.over === 'backup');
    if (!isOurs) this.#parts.log.warn(`the backup of bucket ${bucket} that ${journal} tells of belongs to no stream of this configuration: nobody sends it; give that stream back, or send it with kahe replay`);
    return isOurs;
  }

  #settingsOf({ bucket, isOnDemand }: Place, look: BucketLook): BucketConfig & BucketSettings {
    return { ...bucket, idle: isOnDemand ? { afterMs: IDLE_MS, tell: (key) => this.#isAtRest(look) && this.#parts.onIdle(key) } : undefined };
  }

  /** Nothing of it lies anywhere where only its streams would take it on. */
  #isAtRest({ streams }: BucketLook): boolean {
    return streams.every(({ id, account }) => {
      const backup = this.#config.streamsConfigs[id]?.backup;
      return backup?.type !== 'file' || backup.replay === 'manual' || account.backedUp === 0;
    });
  }

  #lastingParts(context: ActorContext<BucketMessage>, key: BucketKey, place: Place, look: KnownBucket): LastingParts & { readonly streams: BucketStreams } {
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
        record: this.#recordOf(look, config.id),
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
    return { streams, backlog, limiter: this.#diverterOf(context, key, place, look) ?? this.#rejecterOf(look, place, context.log) };
  }

  /** Undefined: it has no limit, or one that does not reject. */
  #rejecterOf(look: KnownBucket, { streams }: Place, log: Log): Limiter | undefined {
    const { rejected, clock } = this.#parts;
    if (look.limit?.config.over !== 'reject') return undefined;
    return makeRejecter(look.limit, { name: look.name, accounts: streams.map(({ id }) => this.#recordOf(look, id).account), rejected, log, clock });
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
      streams: streams.map((config) => ({ config, account: this.#recordOf(look, config.id).account, watch: this.#recordOf(look, config.id).watch })),
      shared: { maker, rejected, discards, turns, startedAtMs: this.#startedAtMs },
      timing: { retryMs: RETRY_MS, errorRetryMs: ERROR_RETRY_MS, stopTimeoutMs: () => Math.min(stopAtMs(), look.endsAtMs) - clock.now() },
      onAbandoned: (run, reason) => this.#rejectRun(run, look.name, reason),
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

  #rejectRun({ chunk, start, end, frames }: Run, bucket: string, reason: string): void {
    this.#parts.rejected.reject({ bytes: chunk, start, end, frames, bucket, reason });
  }

  /** Streams count these as queued, or have had them: twice is better than never. */
  #keepAside({ bucket, bytes, length: end }: Batch, start: number, reason: string): void {
    let frames = 0;
    for (let at = start; at < end; at += PREFIX_BYTES + bodyLength(bytes, at)) frames++;
    this.#parts.rejected.reject({ bytes, start, end, frames, bucket, reason });
  }

  /** The bucket under this name, as it is now, with all the streams that it ever had. */
  #lookAt(name: string, { bucket: { rateLimit }, isOnDemand, streams }: Place): KnownBucket {
    const look = this.looks.of(name, () => ({ name, isOnDemand, streams: [], backlog: undefined, limit: undefined, surplus: undefined, endsAtMs: Infinity }));
    look.isOnDemand = isOnDemand;
    const records = streams.map(({ id }) => this.#recordOf(look, id));
    if (!isLimitFor(look.limit, rateLimit, streams)) look.limit = rateLimit && newLimit(rateLimit, records, this.#parts.clock, look.limit?.counts);
    return look;
  }

  #recordOf(look: KnownBucket, id: string): StreamRecord {
    const known = look.streams.find((record) => record.id === id);
    if (known !== undefined) return known;
    const account = newAccount();
    const { type, backup } = this.#config.streamsConfigs[id]!;
    const record: StreamRecord = {
      id, type, backupType: backup?.type, account, ledger: new BackupLedger(account, () => look.surplus?.looks.get(id)?.leftFrames() ?? 0), watch: new StreamWatch(() => this.#parts.clock.now()), ref: undefined, backedUp: () => undefined,
    };
    look.streams.push(record);
    return record;
  }
}

/** What goes to the backups over a limit has files and a replay of its own, which can't be changed while they are in use. */
function mustBeNew(before: Place, after: Place): boolean {
  const isDiverted = [before, after].some(({ bucket }) => bucket.rateLimit?.over === 'backup');
  return isDiverted && bucketChange(before, after) !== undefined;
}

/** One that is the same goes on, with what it has counted in its window. */
function isLimitFor(limit: Limit | undefined, config: RateLimitConfig | undefined, streams: Place['streams']): boolean {
  if (limit === undefined || config === undefined) return limit === config;
  return isDeepStrictEqual(limit.config, config) && (config.over === 'reject' || isDeepStrictEqual(limit.streams, streams.map(({ id }) => id)));
}

function byKey({ buckets }: BucketsConfig): ReadonlyMap<BucketKey, BucketConfig> {
  return new Map(buckets.map((bucket) => [keyOf(bucket.id), bucket]));
}

/** What is settled last may be so after the bucket has stopped: then nobody waits for it. */
function tellIfThere(bucket: ActorRef<BucketMessage>): void {
  if (bucket.state !== 'stopped') bucket.tell({ kind: 'settled' });
}
