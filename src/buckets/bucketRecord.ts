// What is kept of a bucket by its name, also after it has ended: its streams with their accounts, and what it
// holds while it lives. Whoever shows the daemon's state reads this.
import type { ActorRef } from '../actors/actor.js';
import { type Account, newAccount } from '../streams/account.js';
import type { StreamMessage } from '../streams/streamMessage.js';
import type { BackedUp } from '../streams/streamParts.js';
import type { StreamStats } from '../streams/streamStats.js';
import type { Backlog } from './backlog.js';
import type { LimitCounts } from './limit/limitReport.js';
import type { RateWindow } from './limit/rateWindow.js';

/** One stream of one bucket, to be looked at. */
export interface StreamLook {
  readonly id: string;
  type: string;
  backupType: string | undefined;
  readonly account: Account;
  readonly watch: StreamStats;
  /** Of the life of the bucket that is, or was last. */
  ref: ActorRef<StreamMessage> | undefined;
  backedUp: () => BackedUp | undefined;
}

export interface BucketLook {
  readonly name: string;
  isOnDemand: boolean;
  /** Also those that the configuration has no more. */
  readonly streams: readonly StreamLook[];
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
export interface BucketRecords<Look> {
  /** The bucket that is about to live, again or for the first time. */
  of(name: string, make: () => Look): Look;
  /** A bucket made on demand has ended. */
  ended(name: string): void;
}

/** Each stream's account, with what its bucket holds for it and has not told it of. */
export function accountsOf(look: BucketLook): readonly (readonly [StreamLook, Readonly<Account>])[] {
  const waiting = look.backlog?.waiting ?? [];
  return look.streams.map((stream) => {
    const { account } = stream;
    const frames = waiting.reduce((sum, one) => (one.account === account ? sum + one.frames : sum), 0);
    return [
      stream,
      { ...newAccount(), ...account, received: account.received + frames, queued: account.queued + frames },
    ];
  });
}
