// Bounds what is shown: buckets made on demand have names that clients choose. Those beyond the bound are
// added up under one name, first come first served, so that a name that was shown once stays.
import type { DiscardCount } from '../losses/discards.js';
import { type Account, newAccount } from '../streams/account.js';
import type { StreamMode } from '../streams/streamStats.js';
import type { BucketSnapshot, StreamSnapshot } from './snapshot.js';

/** So many streams of buckets, and so many discards, are shown each for itself. */
export const MOST_SHOWN = 1000;
/** The name of all other buckets together. */
export const OTHER_BUCKETS = '_other';

const WORST_FIRST: readonly StreamMode[] = ['error', 'backup', 'normal'];

export function foldBuckets(
  buckets: readonly BucketSnapshot[],
  most = MOST_SHOWN,
): readonly BucketSnapshot[] {
  let streams = 0;
  const end = buckets.findIndex((bucket) => (streams += bucket.streams.length) > most);
  if (end === -1) return buckets;
  return [
    ...buckets.slice(0, end),
    together(...(buckets.slice(end) as [BucketSnapshot, ...BucketSnapshot[]])),
  ];
}

export function foldDiscards(
  discards: readonly Readonly<DiscardCount>[],
  most = MOST_SHOWN,
): readonly Readonly<DiscardCount>[] {
  if (discards.length <= most) return discards.map((discard) => ({ ...discard }));
  const rest = discards.slice(most);
  return [
    ...discards.slice(0, most),
    {
      bucket: OTHER_BUCKETS,
      stream: '*',
      reason: 'any',
      frames: sumOf(rest, ({ frames }) => frames),
      bytes: sumOf(rest, ({ bytes }) => bytes),
      firstMs: Math.min(...rest.map(({ firstMs }) => firstMs)),
      lastMs: Math.max(...rest.map(({ lastMs }) => lastMs)),
    },
  ];
}

/** All of them as one, under the name of those that are not shown each for itself. */
export function together(...buckets: readonly [BucketSnapshot, ...BucketSnapshot[]]): BucketSnapshot {
  const [first, ...rest] = buckets;
  return rest.reduce(both, { ...first, name: OTHER_BUCKETS });
}

function both(a: BucketSnapshot, b: BucketSnapshot): BucketSnapshot {
  const ids = [...new Set([...a.streams, ...b.streams].map(({ id }) => id))];
  return {
    name: OTHER_BUCKETS,
    isOnDemand: true,
    closed: added(a.closed, b.closed),
    open: added(a.open, b.open),
    backlog: added(a.backlog, b.backlog),
    ...overLimit(a, b),
    streams: ids.map((id) =>
      [...a.streams, ...b.streams].filter((stream) => stream.id === id).reduce(bothStreams),
    ),
  };
}

function overLimit(a: BucketSnapshot, b: BucketSnapshot): Pick<BucketSnapshot, 'overLimit'> {
  const [one, other] = [a.overLimit ?? b.overLimit, b.overLimit ?? a.overLimit];
  if (one === undefined || other === undefined) return {};
  return { overLimit: one === other ? one : added(one, other) };
}

function bothStreams(a: StreamSnapshot, b: StreamSnapshot): StreamSnapshot {
  const worse = WORST_FIRST.indexOf(b.mode) < WORST_FIRST.indexOf(a.mode) ? b : a;
  const lastProblem = (b.lastProblem?.atMs ?? 0) > (a.lastProblem?.atMs ?? 0) ? b.lastProblem : a.lastProblem;
  const backedUp = bothBackups(a.backedUp, b.backedUp);
  return {
    ...a,
    isAlive: a.isAlive || b.isAlive,
    account: added<Account>({ ...newAccount(), ...a.account }, b.account),
    mode: worse.mode,
    modeSinceMs: worse.modeSinceMs,
    modeMs: added(a.modeMs, b.modeMs),
    failures: a.failures + b.failures,
    retries: a.retries + b.retries,
    failedBatches: a.failedBatches + b.failedBatches,
    replayedFrames: a.replayedFrames + b.replayedFrames,
    retimedFrames: a.retimedFrames + b.retimedFrames,
    written: {
      primary: added(a.written.primary, b.written.primary),
      backup: added(a.written.backup, b.written.backup),
    },
    ...(lastProblem === undefined ? {} : { lastProblem }),
    ...(backedUp === undefined ? {} : { backedUp }),
  };
}

function bothBackups(
  a: StreamSnapshot['backedUp'],
  b: StreamSnapshot['backedUp'],
): StreamSnapshot['backedUp'] {
  if (a === undefined || b === undefined) return a ?? b;
  return { files: a.files + b.files, bytes: a.bytes + b.bytes, isBeingSent: a.isBeingSent || b.isBeingSent };
}

/** Two objects of numbers, key by key. */
export function added<T extends Readonly<Record<keyof T, number>>>(a: T, b: T): T {
  return Object.fromEntries(Object.keys(a).map((key) => [key, a[key as keyof T] + b[key as keyof T]])) as T;
}

export function sumOf<T>(all: readonly T[], of: (one: T) => number): number {
  return all.reduce((sum, one) => sum + of(one), 0);
}
