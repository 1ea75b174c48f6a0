// Everything that is to be known of the daemon, as one plain object, made at the moment of asking from what
// its parts count anyway. The metrics, /status.json and the status page are made of it and of nothing else.
import { hostname } from 'node:os';
import type { ActorRef } from '../actors/actor.js';
import type { Backlog, Closed } from '../buckets/backlog.js';
import type { DiscardCount } from '../losses/discards.js';
import type { BackupOverflow, SurplusLook } from '../buckets/limit/backupOverflow.js';
import type { LimitCounts } from '../buckets/limit/limitReport.js';
import type { Limit } from '../buckets/limit/makeLimiter.js';
import type { MemoryBudget } from '../memory/memoryBudget.js';
import type { RejectedStore } from '../losses/rejectedStore.js';
import type { SocketCounts } from '../doors/socket/client.js';
import type { Spool, SpoolFigures } from '../spool/spool.js';
import type { BackedUp } from '../streams/streamParts.js';
import { type Account, newAccount } from '../streams/account.js';
import { type KafkaFigures, LATENCY_BOUNDS } from '../kafka/brokerStats.js';
import type { StreamMessage } from '../streams/streamMessage.js';
import type { Problem, StreamMode, StreamWatch, Written, WrittenTo } from '../streams/streamStats.js';
import type { EventLoopDelay } from './eventLoopDelay.js';
import { added, bothBackups, foldBuckets, foldDiscards, sumOf } from './fold.js';
import { type ProcessFigures, processFigures } from './processFigures.js';
import { VERSION } from './version.js';

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

export interface SocketSnapshot extends Readonly<Omit<SocketCounts, 'badByReason'>> {
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

/** One stream of one bucket, to be looked at. */
export interface StreamLook {
  readonly id: string;
  type: string;
  backupType: string | undefined;
  readonly account: Account;
  readonly watch: StreamWatch;
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
  limit: Limit | undefined;
  /** What is over the limit, on its way to the backups. */
  surplus: BackupOverflow | undefined;
  /** Batches of that, also of surpluses that were. */
  readonly surplusClosed: Closed;
  /** Frames over this limit, and those before it; undefined: it never had one. */
  limitCounts: LimitCounts | undefined;
}

export interface SnapshotParts {
  readonly startedAtMs: number;
  readonly nowMs: number;
  readonly isStopping: boolean;
  readonly unreachable: readonly string[];
  readonly socketPath: string;
  readonly socket: SocketCounts;
  readonly budget: MemoryBudget;
  readonly spool: Spool | undefined;
  readonly rejected: RejectedStore;
  readonly discards: readonly Readonly<DiscardCount>[];
  readonly kafka: KafkaFigures;
  readonly buckets: readonly BucketSnapshot[];
  readonly eventLoopDelay: EventLoopDelay | undefined;
  readonly reloads: ReloadFigures | undefined;
}

export function takeSnapshot(parts: SnapshotParts): Snapshot {
  const { budget, rejected, socket } = parts;
  return {
    program: { version: VERSION, node: process.versions.node, pid: process.pid, hostname: hostname() },
    startedAtMs: parts.startedAtMs,
    takenAtMs: parts.nowMs,
    isStopping: parts.isStopping,
    ...(parts.unreachable.length === 0 ? {} : { unreachable: parts.unreachable }),
    socket: { ...socket, path: parts.socketPath, badByReason: Object.fromEntries(socket.badByReason) },
    memory: { heldBytes: budget.heldBytes, encodedBytes: budget.encodedBytes, limitBytes: budget.limitBytes },
    paused: budget.paused,
    ...(parts.spool === undefined ? {} : { spool: parts.spool.figures }),
    rejected: {
      reasons: [...rejected.counts].map(([reason, { frames, bytes, firstMs, lastMs }]) => ({
        reason,
        frames,
        bytes,
        firstMs,
        lastMs,
      })),
      lostFrames: rejected.lostFrames,
      ...(rejected.problem === undefined ? {} : { problem: rejected.problem }),
    },
    discards: foldDiscards(parts.discards),
    buckets: foldBuckets(parts.buckets),
    brokers: [...parts.kafka.brokers].map(([name, broker]) => ({
      ...broker,
      name,
      latency: [...broker.latency],
      errors: Object.fromEntries(broker.errors),
    })),
    latencyBounds: LATENCY_BOUNDS,
    process: processFigures(),
    ...(parts.eventLoopDelay === undefined ? {} : { eventLoopDelay: parts.eventLoopDelay }),
    ...(parts.reloads === undefined ? {} : { reloads: parts.reloads }),
  };
}

/** Each stream's account, with what its bucket holds for it and has not told it of. */
export function accountsOf(look: BucketLook): readonly (readonly [StreamLook, Readonly<Account>])[] {
  const waiting = backlogsOf(look).flatMap((backlog) => backlog.waiting);
  return look.streams.map((stream) => {
    const { account } = stream;
    const frames = sumOf(waiting, (one) => (one.account === account ? one.frames : 0));
    return [
      stream,
      { ...newAccount(), ...account, received: account.received + frames, queued: account.queued + frames },
    ];
  });
}

function backlogsOf({ backlog, surplus }: BucketLook): readonly Backlog[] {
  return [backlog, surplus?.backlog].filter((found) => found !== undefined);
}

export function bucketSnapshot(look: BucketLook): BucketSnapshot {
  const { name, isOnDemand, backlog, limitCounts, surplus, surplusClosed } = look;
  const backlogs = backlogsOf(look);
  const held = backlogs.map(({ heldBytes }) => heldBytes);
  return {
    name,
    isOnDemand,
    closed: added({ batches: 0, frames: 0, bytes: 0, ...backlog?.closed }, surplusClosed),
    open: {
      frames: sumOf(backlogs, ({ open }) => open?.frames ?? 0),
      bytes: sumOf(backlogs, ({ open }) => open?.length ?? 0),
    },
    backlog: {
      batches: sumOf(backlogs, ({ entries }) => entries.length),
      memoryBytes: sumOf(held, ({ memory }) => memory),
      diskBytes: sumOf(held, ({ disk }) => disk),
    },
    ...(limitCounts === undefined ? {} : { overLimit: { ...limitCounts } }),
    streams: accountsOf(look).map(([stream, account]) =>
      streamSnapshot(stream, account, surplus?.looks.get(stream.id)),
    ),
  };
}

function streamSnapshot(
  { id, type, backupType, watch, ref, backedUp }: StreamLook,
  account: Readonly<Account>,
  surplus: SurplusLook | undefined,
): StreamSnapshot {
  const files = bothBackups(backedUp(), surplus?.backedUp());
  // A stream that delivers, but whose backup does not take what is over the limit, is in trouble too.
  const { mode, sinceMs, lastProblem } = surplus?.watch.mode === 'error' ? surplus.watch : watch;
  return {
    id,
    type,
    ...(backupType === undefined ? {} : { backupType }),
    isAlive: ref !== undefined && ref.state !== 'stopped',
    account,
    mode,
    modeSinceMs: sinceMs,
    modeMs: watch.modeMs,
    failures: watch.failures,
    retries: watch.retries,
    failedBatches: watch.failedBatches,
    replayedFrames: watch.replayedFrames,
    retimedFrames: watch.retimedFrames,
    written: { primary: { ...watch.written.primary }, backup: { ...watch.written.backup } },
    ...(lastProblem === undefined ? {} : { lastProblem }),
    ...(files === undefined ? {} : { backedUp: files }),
  };
}
