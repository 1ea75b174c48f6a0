// What is to be seen of the daemon's buckets, by name, also of those that have ended: what they counted must
// not go. Names of buckets made on demand are chosen by clients, so of these only the last that have ended
// are kept each for itself; the others are added up.
import type { BucketSnapshot } from './snapshot.js';
import { bucketSnapshot } from './takeSnapshot.js';
import {
  type BucketRecord,
  type BucketRecords,
  accountsOf,
  newBucketRecord,
} from '../buckets/bucketRecord.js';
import { together } from './fold.js';
import type { Account } from '../streams/account.js';

/** Buckets made on demand that have ended, and are kept each for itself. */
const MOST_ENDED = 200;

export class BucketHistory implements BucketRecords {
  readonly #byName = new Map<string, BucketRecord>();
  /** The longest ended first. */
  readonly #ended = new Set<string>();
  #others: BucketSnapshot | undefined;

  constructor(readonly mostEnded = MOST_ENDED) {}

  of(name: string): BucketRecord {
    this.#ended.delete(name);
    const record = this.#byName.get(name) ?? newBucketRecord(name);
    this.#byName.set(name, record);
    return record;
  }

  ended(name: string): void {
    this.#ended.add(name);
    if (this.#ended.size <= this.mostEnded) return;
    const oldest = [...this.#ended].find((each) => isAtRest(this.#byName.get(each)!));
    if (oldest !== undefined) this.#fold(oldest);
  }

  get snapshots(): readonly BucketSnapshot[] {
    const records = [...this.#byName.values()];
    // A reader that shows only so many shows those that a person has named.
    const each = [
      ...records.filter(({ isOnDemand }) => !isOnDemand),
      ...records.filter(({ isOnDemand }) => isOnDemand),
    ].map(bucketSnapshot);
    return this.#others === undefined ? each : [...each, this.#others];
  }

  /** By `bucket/stream`. */
  get accounts(): ReadonlyMap<string, Account> {
    const each = [...this.#byName.values()].flatMap((record) =>
      accountsOf(record).map(([{ id }, account]): [string, Account] => [`${record.name}/${id}`, account]),
    );
    const { name, streams = [] } = this.#others ?? {};
    return new Map([
      ...each,
      ...streams.map(({ id, account }): [string, Account] => [`${name}/${id}`, account]),
    ]);
  }

  #fold(name: string): void {
    const { streams, ...rest } = bucketSnapshot(this.#byName.get(name)!);
    // In whichever mode a stream has ended, it is in none now that anybody must fix.
    const ended = { ...rest, streams: streams.map((stream) => ({ ...stream, mode: 'normal' as const })) };
    this.#byName.delete(name);
    this.#ended.delete(name);
    this.#others = this.#others === undefined ? together(ended) : together(this.#others, ended);
  }
}

/** Nothing in its account can move any more. */
function isAtRest(record: BucketRecord): boolean {
  return accountsOf(record).every(([, { queued, backedUp }]) => queued === 0 && backedUp === 0);
}
