// What a new buckets.json changes in the one that is in force. Pure: it compares what was parsed, defaults
// filled in, so that another way of writing the same thing is no change.
import { isDeepStrictEqual } from 'node:util';
import type { BucketConfig, BucketsConfig, StreamConfig } from './buckets.js';
import { plural } from '../plural.js';

/** A bucket's settings, and those of its streams. */
export interface WholeBucket {
  readonly bucket: BucketConfig;
  /** In the order of `bucket.streams`. */
  readonly streams: readonly StreamConfig[];
}

export interface BucketChange {
  /** Names of the bucket's own settings that differ. */
  readonly settings: readonly string[];
  /** Ids of streams. */
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly changed: readonly string[];
}

export interface Changes {
  /** Ids of buckets; `defaultBucket` is among them under that name, which no other line has. */
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly changed: ReadonlyMap<string, BucketChange>;
}

const DEFAULT_BUCKET = 'defaultBucket';

/** By what the configuration calls it: `buckets.NAME`, or `defaultBucket`. */
export function changesBetween(before: BucketsConfig, after: BucketsConfig): Changes {
  const [old, now] = [wholeBuckets(before), wholeBuckets(after)];
  const changed = new Map<string, BucketChange>();
  for (const [name, bucket] of now) {
    const change = old.has(name) ? bucketChange(old.get(name)!, bucket) : undefined;
    if (change !== undefined) changed.set(name, change);
  }
  return {
    added: [...now.keys()].filter((name) => !old.has(name)),
    removed: [...old.keys()].filter((name) => !now.has(name)),
    changed,
  };
}

/** The bucket of this name with its streams. */
export function wholeBucket(bucket: BucketConfig, { streamsConfigs }: BucketsConfig): WholeBucket {
  return { bucket, streams: bucket.streams.map((id) => streamsConfigs[id]!) };
}

/** Undefined: there is none. The names of the two and the order of their streams mean nothing. */
export function bucketChange(before: WholeBucket, after: WholeBucket): BucketChange | undefined {
  const [old, now] = [byId(before), byId(after)];
  const change = {
    settings: settingsThatDiffer(before.bucket, after.bucket),
    added: [...now.keys()].filter((id) => !old.has(id)),
    removed: [...old.keys()].filter((id) => !now.has(id)),
    changed: [...now]
      .filter(([id, stream]) => old.has(id) && !isDeepStrictEqual(old.get(id), stream))
      .map(([id]) => id),
  };
  return Object.values(change).every(({ length }) => length === 0) ? undefined : change;
}

/** For the log: one line for all of it. */
export function describeChanges({ added, removed, changed }: Changes): string {
  const parts = [
    ...(added.length > 0 ? [`added ${added.join(', ')}`] : []),
    ...(removed.length > 0 ? [`removed ${removed.join(', ')}`] : []),
    ...[...changed].map(([name, change]) => `changed ${name} (${describeChange(change)})`),
  ];
  return parts.length > 0 ? parts.join('; ') : 'nothing has changed';
}

function describeChange({ settings, added, removed, changed }: BucketChange): string {
  const streams = (what: string, ids: readonly string[]): string[] =>
    ids.length > 0 ? [`${what} ${plural(ids.length, 'stream')} ${ids.join(', ')}`] : [];
  return [
    ...settings,
    ...streams('new', added),
    ...streams('without', removed),
    ...streams('changed', changed),
  ].join(', ');
}

function wholeBuckets(config: BucketsConfig): ReadonlyMap<string, WholeBucket> {
  const { buckets, defaultBucket } = config;
  const named = buckets.map((bucket): [string, WholeBucket] => [
    `buckets.${bucket.id}`,
    wholeBucket(bucket, config),
  ]);
  return new Map(
    defaultBucket === undefined ? named : [...named, [DEFAULT_BUCKET, wholeBucket(defaultBucket, config)]],
  );
}

function byId({ streams }: WholeBucket): ReadonlyMap<string, StreamConfig> {
  return new Map(streams.map((stream) => [stream.id, stream]));
}

/** As they stand in buckets.json, where that differs. */
const KEYS: Readonly<Partial<Record<keyof BucketConfig, string>>> = {
  batchFrames: 'batch',
  batchTimeoutMs: 'batchTimeout',
};

function settingsThatDiffer(before: BucketConfig, after: BucketConfig): readonly string[] {
  const names = new Set([...Object.keys(before), ...Object.keys(after)] as (keyof BucketConfig)[]);
  return [...names]
    .filter((name) => name !== 'id' && name !== 'streams' && !isDeepStrictEqual(before[name], after[name]))
    .map((name) => KEYS[name] ?? name);
}
