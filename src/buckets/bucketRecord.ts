// What is kept of a bucket by its name, also after it has ended: its streams with their accounts, and what it
// holds while it lives. Whoever shows the daemon's state reads this.
import type { ActorRef } from '../actors/actor.js';
import { type Account, newAccount } from '../streams/account.js';
import type { BackupLedger } from '../streams/backup/backupLedger.js';
import type { StreamMessage } from '../streams/streamMessage.js';
import type { BackedUp } from '../streams/streamParts.js';
import type { StreamStats } from '../streams/streamStats.js';
import type { Backlog } from './backlog.js';
import type { LimitCounts } from './limit/limitReport.js';
import type { RateWindow } from './limit/rateWindow.js';

/** One stream of one bucket. */
export interface StreamRecord {
  readonly id: string;
  type: string;
  backupType: string | undefined;
  readonly account: Account;
  readonly ledger: BackupLedger;
  readonly stats: StreamStats;
  /** The actor that is, or was last. */
  ref: ActorRef<StreamMessage> | undefined;
  backedUp: () => BackedUp | undefined;
}

export interface BucketRecord {
  readonly name: string;
  isOnDemand: boolean;
  /** Also those that the configuration has no more. */
  readonly streams: StreamRecord[];
  backlog: Backlog | undefined;
  /**
   * What its rate limit has let through lately: a bucket made on demand does not begin with an empty window
   * each time. Undefined: it has no limit.
   */
  limitWindow: RateWindow | undefined;
  /** Frames over this limit, and those before it; undefined: it never had one. */
  overLimit: LimitCounts | undefined;
}

/** All buckets, by name, also those that have ended. */
export interface BucketRecords {
  /** Of the bucket that is about to live, again or for the first time. */
  of(name: string): BucketRecord;
  /** A bucket made on demand has ended. */
  ended(name: string): void;
}

export function newBucketRecord(name: string): BucketRecord {
  return {
    name,
    isOnDemand: false,
    streams: [],
    backlog: undefined,
    limitWindow: undefined,
    overLimit: undefined,
  };
}

/** Each stream's account, with what its bucket holds for it and has not told it of. */
export function accountsOf(bucket: BucketRecord): readonly (readonly [StreamRecord, Readonly<Account>])[] {
  const waiting = bucket.backlog?.waiting ?? [];
  return bucket.streams.map((stream) => {
    const { account } = stream;
    const frames = waiting.reduce((sum, one) => (one.account === account ? sum + one.frames : sum), 0);
    return [
      stream,
      { ...newAccount(), ...account, received: account.received + frames, queued: account.queued + frames },
    ];
  });
}
