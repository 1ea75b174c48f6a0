// Everything that is to be known of the daemon, as one plain object, made at the moment of asking from what
// its parts count anyway. The metrics, /status.json and the status page are made of it and of nothing else.
import type { DiscardCount } from '../losses/discards.js';
import type { LimitCounts } from '../buckets/limit/limitReport.js';
import type { DoorCounts } from '../doors/doorCounts.js';
import type { SpoolFigures } from '../spool/spool.js';
import type { BackedUp } from '../streams/streamParts.js';
import { type Account } from '../streams/account.js';
import type { Problem, StreamMode, Written, WrittenTo } from '../streams/streamStats.js';
import type { EventLoopDelay } from './eventLoopDelay.js';
import { type ProcessFigures } from './processFigures.js';

export interface Snapshot {
  readonly program: {
    readonly version: string;
    readonly node: string;
    readonly pid: number;
    readonly hostname: string;
  };
  /** Milliseconds since the epoch, as every `…Ms` that is no duration. */
  readonly startedAtMs: number;
  readonly takenAtMs: number;
  readonly isStopping: boolean;
  /**
   * Sockets (SOCKET, ADMIN) by which no client can come in now, a line each, with the reason; missing: there
   * is none.
   */
  readonly unreachable?: readonly string[];
  readonly socket: SocketSnapshot;
  readonly memory: { readonly heldBytes: number; readonly encodedBytes: number; readonly limitBytes: number };
  /** Sockets are not read: why now, how long and how often until now. */
  readonly paused: {
    readonly isForMemory: boolean;
    readonly isForSpool: boolean;
    readonly ms: number;
    readonly times: number;
  };
  /** Missing: there is none. */
  readonly spool?: SpoolFigures;
  /** `problem`: why rejected frames can't be kept now, so that they wait. */
  readonly rejected: {
    readonly reasons: readonly RejectedReason[];
    readonly lostFrames: number;
    readonly problem?: string;
  };
  readonly discards: readonly Readonly<DiscardCount>[];
  readonly buckets: readonly BucketSnapshot[];
  readonly brokers: readonly BrokerSnapshot[];
  /** Upper bounds of the steps of `latency`, in seconds. */
  readonly latencyBounds: readonly number[];
  readonly process: ProcessFigures;
  /** Missing: it is not measured. */
  readonly eventLoopDelay?: EventLoopDelay;
  /** Missing: nobody counts them. */
  readonly reloads?: ReloadFigures;
}

/** Reloads of the configuration since the start. */
export interface ReloadFigures {
  readonly successes: number;
  readonly failures: number;
  /** Also true before the first. */
  readonly wasLastSuccessful: boolean;
  /** When the configuration that is in force was read, at the start or later. */
  readonly lastSuccessMs: number;
  /** Of the last reload, when it failed. */
  readonly problem?: string;
}

export interface SocketSnapshot extends Readonly<Omit<DoorCounts, 'badByReason'>> {
  readonly path: string;
  readonly badByReason: Readonly<Record<string, number>>;
}

export interface RejectedReason {
  readonly reason: string;
  readonly frames: number;
  readonly bytes: number;
  readonly firstMs: number;
  readonly lastMs: number;
}

export interface BucketSnapshot {
  readonly name: string;
  /** Made from `defaultBucket`. */
  readonly isOnDemand: boolean;
  /** Batches that were closed since the start, and what was in them. */
  readonly closed: { readonly batches: number; readonly frames: number; readonly bytes: number };
  readonly open: { readonly frames: number; readonly bytes: number };
  /** Closed and not settled by every stream; most bytes are in memory and on the disk. */
  readonly backlog: { readonly batches: number; readonly memoryBytes: number; readonly diskBytes: number };
  /** Frames over its rate limit, by where they went; missing: it has none. */
  readonly overLimit?: Readonly<LimitCounts>;
  readonly streams: readonly StreamSnapshot[];
}

export interface StreamSnapshot {
  readonly id: string;
  readonly type: string;
  /** Of its backup; missing: it has none. */
  readonly backupType?: string;
  /** False: it has ended, or its bucket has. */
  readonly isAlive: boolean;
  /** With what its bucket holds for it: `received` is the sum of the others. */
  readonly account: Readonly<Account>;
  readonly mode: StreamMode;
  readonly modeSinceMs: number;
  readonly modeMs: Readonly<Record<StreamMode, number>>;
  readonly failures: number;
  readonly retries: number;
  readonly failedBatches: number;
  /** Delivered from the backup. */
  readonly replayedFrames: number;
  /** Delivered with the time of sending, because the topic refused that of their arrival. */
  readonly retimedFrames: number;
  readonly written: Readonly<Record<WrittenTo, Readonly<Written>>>;
  readonly lastProblem?: Problem;
  /** The files of its backup; missing: its backup has none. */
  readonly backedUp?: BackedUp;
}

export interface BrokerSnapshot {
  /** `host:port` */
  readonly name: string;
  readonly requests: number;
  readonly recordBatches: number;
  readonly bytes: number;
  /** Requests by the steps of `latencyBounds`, and those above. */
  readonly latency: readonly number[];
  readonly latencySumSeconds: number;
  readonly errors: Readonly<Record<string, number>>;
  readonly open: number;
  readonly opened: number;
}
