// The buckets as the daemon runs them: what each is made of, what is to be seen of it, and how it turns to another configuration. What a
// reload does not change is not touched.
import type { ActorContext, ActorRef } from './actors/actor.js';
import type { BucketLook } from './admin/snapshot.js';
import { Backlog } from './buckets/backlog.js';
import { Bucket, type LastingParts } from './buckets/bucket.js';
import { bucketName, keyOf, refuseName } from './buckets/bucketName.js';
import { BucketStreams } from './buckets/bucketStreams.js';
import type { BucketKey, BucketMessage, BucketSettings, ManagerMessage } from './buckets/messages.js';
import type { Taps } from './buckets/taps.js';
import type { Clock } from './clock.js';
import type { BucketConfig, BucketsConfig } from './config/buckets.js';
import { type WholeBucket, bucketChange, wholeBucket } from './config/changes.js';
import type { ReadTurns } from './disk/readTurns.js';
import type { Discards } from './discards.js';
import type { Batch } from './frames/batch.js';
import { PREFIX_BYTES, bodyLength } from './frames/frame.js';
import { LiveStream, type StreamRecord } from './liveStream.js';
import type { Log } from './log.js';
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
  /** By name; kept when a bucket ends. */
  readonly #looks = new Map<string, KnownBucket>();
  readonly #live = new Map<BucketKey, Live>();

  constructor(config: BucketsConfig, parts: LiveBucketsParts) {
    this.#config = config;
    this.#configured = byKey(config);
    this.#parts = parts;
    this.#startedAtMs = parts.clock.now();
  }

  get looks(): Iterable<BucketLook> {
    return this.#looks.values();
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
    const { budget, spool, rejected, taps } = this.#parts;
    const name = bucketName(key);
    const look = this.#lookAt(name, place);
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
      onAbandoned: ({ chunk, start, end, frames }, reason) => rejected.reject({ bytes: chunk, start, end, frames, bucket: name, reason }),
    }, (lasting ??= this.#lastingParts(inner, key, place, look))));
    const live: Live = { ref, place, streams: lasting?.streams, isTakenOut: false };
    this.#live.set(key, live);
    void ref.stopped.then(() => this.#live.get(key) === live && this.#live.delete(key));
    return ref;
  }

  /**
   * Another configuration is in force from now on.
   * @returns which buckets must end, for it has no place for them; and a promise that resolves when all others go on as it says
   */
  turnTo(config: BucketsConfig): { readonly removed: readonly BucketKey[]; readonly turned: Promise<unknown> } {
    this.#config = config;
    this.#configured = byKey(config);
    const removed: BucketKey[] = [];
    const turning: Promise<void>[] = [];
    for (const [key, live] of this.#live) {
      if (live.isTakenOut) continue;
      const place = this.#placeOf(key);
      if (place === undefined) {
        live.isTakenOut = true;
        live.streams?.takeOut();
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
    return new Promise((onTaken) => live.ref.tell({ kind: 'configure', settings: this.#settingsOf(place, look), streams: place.streams, onTaken }));
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
  #isMissed({ bucket, stream, journal, isForeign }: LeftBackup): boolean {
    const isOurs = !isForeign && this.#configOf(keyOf(bucket))?.streams.includes(stream) === true;
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
        makeParts: (...of) => this.#makeParts(bucket, ...of),
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
    return { streams, backlog };
  }

  #makeParts(bucket: string, config: WholeBucket['streams'][number], { account, ledger, watch }: StreamRecord, log: Log): ReturnType<typeof makeStreamParts> {
    const { maker, rejected, discards, turns } = this.#parts;
    return makeStreamParts(config, { maker, rejected, discards, turns, bucket, account, ledger, startedAtMs: this.#startedAtMs, watch, log });
  }

  /** What could be delivered nowhere: it is in the spool already, for the next life, or else it is kept with the rejected frames. */
  #leaveOver(batch: Batch, reason: string, isTakenOut: boolean, log: Log): 'queued' | 'rejected' {
    const { bucket, bytes, length: end, frames } = batch;
    if (this.#parts.spool === undefined || isTakenOut) {
      this.#parts.rejected.reject({ bytes, start: 0, end, frames, bucket, reason });
      return 'rejected';
    }
    log.info(`${frames} frames stay in the spool: ${reason}`);
    // Held for ever, so it never counts as settled, and its segment stays.
    batch.retain();
    return 'queued';
  }

  /** Streams count these as queued, or have had them: twice is better than never. */
  #keepAside({ bucket, bytes, length: end }: Batch, start: number, reason: string): void {
    let frames = 0;
    for (let at = start; at < end; at += PREFIX_BYTES + bodyLength(bytes, at)) frames++;
    this.#parts.rejected.reject({ bytes, start, end, frames, bucket, reason });
  }

  /** The bucket under this name, as it is now, with all the streams that it ever had. */
  #lookAt(name: string, { isOnDemand, streams }: Place): KnownBucket {
    const look = this.#looks.get(name) ?? { name, isOnDemand, streams: [], backlog: undefined };
    look.isOnDemand = isOnDemand;
    this.#looks.set(name, look);
    for (const { id } of streams) this.#recordOf(look, id);
    return look;
  }

  #recordOf(look: KnownBucket, id: string): StreamRecord {
    const known = look.streams.find((record) => record.id === id);
    if (known !== undefined) return known;
    const account = newAccount();
    const { type, backup } = this.#config.streamsConfigs[id]!;
    const record: StreamRecord = {
      id, type, backupType: backup?.type, account, ledger: new BackupLedger(account), watch: new StreamWatch(() => this.#parts.clock.now()), ref: undefined, backedUp: () => undefined,
    };
    look.streams.push(record);
    return record;
  }
}

function byKey({ buckets }: BucketsConfig): ReadonlyMap<BucketKey, BucketConfig> {
  return new Map(buckets.map((bucket) => [keyOf(bucket.id), bucket]));
}

/** What is settled last may be so after the bucket has stopped: then nobody waits for it. */
function tellIfThere(bucket: ActorRef<BucketMessage>): void {
  if (bucket.state !== 'stopped') bucket.tell({ kind: 'settled' });
}
