// The buckets as the daemon runs them: which there are, what is to be seen of them, and how they turn to
// another configuration. What a reload does not change is not touched.
import type { ActorContext, ActorRef } from '../actors/actor.js';
import { type BucketLook, type BucketRecords, accountsOf } from './bucketRecord.js';
import {
  BucketMaker,
  type BucketMakerParts,
  type BucketParts,
  type KnownBucket,
  type Place,
} from './bucketFactory.js';
import { Bucket } from './bucket.js';
import { bucketName, keyOf, refuseName } from '../frames/bucketName.js';
import type { BucketMessage, BucketSettings, ManagerMessage } from './messages.js';
import type { BucketKey } from '../frames/bucketName.js';
import type { Taps } from './taps.js';
import type { BucketConfig, BucketsConfig } from '../config/buckets.js';
import { bucketChange, wholeBucket } from '../config/changes.js';
import type { LeftBackup } from '../streams/backup/leftBackups.js';

export interface LiveBucketsParts extends BucketMakerParts {
  readonly looks: BucketRecords<KnownBucket>;
  readonly taps: Taps;
  /** A bucket made on demand has had nothing to do for a while. */
  readonly onIdle: (bucket: BucketKey) => void;
}

interface Live {
  readonly ref: ActorRef<BucketMessage>;
  place: Place;
  lasting: BucketParts | undefined;
  isTakenOut: boolean;
}

/** A bucket made on demand that had nothing to do for one to two of these ends. */
const IDLE_MS = 60_000;

export class LiveBuckets {
  readonly #parts: LiveBucketsParts;
  readonly #maker: BucketMaker;
  #config: BucketsConfig;
  #configured: ReadonlyMap<BucketKey, BucketConfig>;
  readonly #live = new Map<BucketKey, Live>();

  constructor(config: BucketsConfig, parts: LiveBucketsParts) {
    this.#config = config;
    this.#configured = byKey(config);
    this.#parts = parts;
    this.#maker = new BucketMaker(parts);
  }

  /**
   * Why no bucket can have this name, if none can. Nothing about names that the configuration has no place
   * for.
   */
  refuseName(key: BucketKey): string | undefined {
    const config = this.#configOf(key);
    return config && refuseName(key, this.#feedsKafka(config));
  }

  isKnown(key: BucketKey): boolean {
    return this.#placeOf(key) !== undefined;
  }

  /**
   * The configured ones, and those that have left something in the spool or in a backup, so that it is
   * delivered.
   */
  namedBy(leftBackups: readonly LeftBackup[]): readonly BucketKey[] {
    const left = [...this.#parts.left.keys()];
    for (const key of left.filter((found) => !this.isKnown(found))) {
      this.#parts.log.warn(
        `the spool holds batches of bucket ${bucketName(key)}, which is configured no more: they stay there; configure it, or a defaultBucket, and they are delivered`,
      );
    }
    const backedUp = leftBackups
      .filter((backup) => this.#isMissed(backup))
      .map(({ bucket }) => keyOf(bucket));
    return [
      ...new Set([...this.#configured.keys(), ...left.filter((key) => this.isKnown(key)), ...backedUp]),
    ];
  }

  /** Starts the actor of a bucket; undefined: the configuration has no place for it. */
  spawn(context: ActorContext<ManagerMessage>, key: BucketKey): ActorRef<BucketMessage> | undefined {
    const place = this.#placeOf(key);
    if (place === undefined) return undefined;
    const { budget, spool, taps } = this.#parts;
    const name = bucketName(key);
    const look = this.#lookAt(name, place);
    // Made once: they outlive a bucket that fails.
    let lasting: BucketParts | undefined;
    // A slash in a name makes no step of the path that is the log's.
    const ref = context.spawn<BucketMessage>(
      `bucket.${name.replaceAll('/', '\\x2f')}`,
      (inner) =>
        new Bucket(
          inner,
          {
            ...this.#settingsOf(this.#live.get(key)?.place ?? place, look),
            key,
            name,
            budget,
            spool,
            taps,
            onAbandoned: (run, reason) => this.#maker.rejectRun(run, name, reason),
          },
          (lasting ??= this.#maker.lastingParts(inner, key, place, look)),
        ),
    );
    const live: Live = { ref, place, lasting, isTakenOut: false };
    this.#live.set(key, live);
    void ref.stopped.then(() => {
      if (this.#live.get(key) === live) this.#live.delete(key);
      // At the daemon's end all are told of, each for itself.
      if (live.place.isOnDemand && !this.#live.has(key) && this.#parts.stopAtMs() === Infinity)
        this.#parts.looks.ended(name);
    });
    return ref;
  }

  /**
   * Another configuration is in force from now on.
   * @returns which buckets must end, for it has no place for them; and a promise that resolves when all
   * others go on as it says
   */
  turnTo(config: BucketsConfig): {
    readonly removed: readonly BucketKey[];
    readonly turned: Promise<unknown>;
  } {
    this.#config = config;
    this.#configured = byKey(config);
    const removed: BucketKey[] = [];
    const turning: Promise<void>[] = [];
    for (const [key, live] of this.#live) {
      if (live.isTakenOut) continue;
      const place = this.#placeOf(key);
      if (place === undefined) {
        live.isTakenOut = true;
        live.lasting?.streams.takeOut();
        removed.push(key);
      } else if (
        place.isOnDemand !== live.place.isOnDemand ||
        bucketChange(live.place, place) !== undefined
      ) {
        turning.push(this.#turn(key, live, place));
      }
    }
    return { removed, turned: Promise.all(turning) };
  }

  #turn(key: BucketKey, live: Live, place: Place): Promise<void> {
    live.place = place;
    const look = this.#lookAt(bucketName(key), place);
    const limiter = this.#maker.limiterOf(look, place, this.#parts.log.at(live.ref.path));
    return new Promise((onTaken) =>
      live.ref.tell({
        kind: 'configure',
        settings: this.#settingsOf(place, look),
        streams: place.streams,
        limiter,
        onTaken,
      }),
    );
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
    const config = this.#configOf(keyOf(bucket));
    const isOurs = !isForeign && config?.streams.includes(stream) === true;
    if (!isOurs)
      this.#parts.log.warn(
        `the backup of bucket ${bucket} that ${journal} tells of belongs to no stream of this configuration: nobody sends it; give that stream back, or send it with kahe replay`,
      );
    return isOurs;
  }

  #settingsOf({ bucket, isOnDemand }: Place, look: BucketLook): BucketConfig & BucketSettings {
    return {
      ...bucket,
      idle: isOnDemand
        ? { afterMs: IDLE_MS, tell: (key) => this.#isAtRest(look) && this.#parts.onIdle(key) }
        : undefined,
    };
  }

  /** Nothing of it lies anywhere where only its streams would take it on. */
  #isAtRest(look: BucketLook): boolean {
    return accountsOf(look).every(([{ id }, { queued, backedUp }]) => {
      const backup = this.#config.streamsConfigs[id]?.backup;
      return queued === 0 && (backup?.type !== 'file' || backup.replay === 'manual' || backedUp === 0);
    });
  }

  /** The bucket under this name, as it is now, with all the streams that it ever had. */
  #lookAt(name: string, place: Place): KnownBucket {
    const { isOnDemand } = place;
    const look = this.#parts.looks.of(name, () => ({
      name,
      place,
      isOnDemand,
      streams: [],
      backlog: undefined,
      limitWindow: undefined,
      overLimit: undefined,
    }));
    look.isOnDemand = isOnDemand;
    look.place = place;
    return look;
  }
}

function byKey({ buckets }: BucketsConfig): ReadonlyMap<BucketKey, BucketConfig> {
  return new Map(buckets.map((bucket) => [keyOf(bucket.id), bucket]));
}
