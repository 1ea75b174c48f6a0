// Which buckets the configuration has a place for: the named ones, and through `defaultBucket` any other whose
// name can be one. Pure: it is made anew from each configuration.
import type { BucketConfig, BucketsConfig } from '../config/buckets.js';
import { type WholeBucket, wholeBucket } from '../config/changes.js';
import { type BucketKey, keyOf, refuseName } from '../frames/bucketName.js';
import type { Refusal } from '../losses/rejection.js';
import type { LeftBackup } from '../streams/backup/leftBackups.js';

/** A bucket and where in the configuration it stands. */
export interface Place extends WholeBucket {
  /** Of `defaultBucket`. */
  readonly isOnDemand: boolean;
}

const UNKNOWN: Refusal = {
  code: 'UNKNOWN_BUCKET',
  reason: 'unknown bucket, and there is no defaultBucket',
};

export class BucketPlaces {
  readonly #config: BucketsConfig;
  readonly #configured: ReadonlyMap<BucketKey, BucketConfig>;

  constructor(config: BucketsConfig) {
    this.#config = config;
    this.#configured = new Map(config.buckets.map((bucket) => [keyOf(bucket.id), bucket]));
  }

  get configured(): readonly BucketKey[] {
    return [...this.#configured.keys()];
  }

  /** Undefined: the configuration has no place for it. */
  of(key: BucketKey): Place | undefined {
    const bucket = this.#configOf(key);
    if (bucket === undefined || this.refuse(key) !== undefined) return undefined;
    return { ...wholeBucket(bucket, this.#config), isOnDemand: bucket === this.#config.defaultBucket };
  }

  /** Why no bucket can have this name, or why this configuration has none of this name; undefined: it has. */
  refuse(key: BucketKey): Refusal | undefined {
    const bucket = this.#configOf(key);
    if (bucket === undefined) return UNKNOWN;
    const reason = refuseName(key, this.#feedsKafka(bucket));
    return reason === undefined ? undefined : { code: 'BAD_NAME', reason };
  }

  /** Will a stream of this configuration send what an earlier one has backed up? */
  takesOn({ bucket, stream, isForeign }: LeftBackup): boolean {
    return !isForeign && this.#configOf(keyOf(bucket))?.streams.includes(stream) === true;
  }

  /** Is what this stream backs up sent without a person? */
  replaysByItself(stream: string): boolean {
    const backup = this.#config.streamsConfigs[stream]?.backup;
    return backup?.type === 'file' && backup.replay !== 'manual';
  }

  #configOf(key: BucketKey): BucketConfig | undefined {
    return this.#configured.get(key) ?? this.#config.defaultBucket;
  }

  #feedsKafka({ streams }: BucketConfig): boolean {
    return streams.some((id) => this.#config.streamsConfigs[id]!.type === 'kafka');
  }
}
