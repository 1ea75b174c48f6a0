// Makes the snapshot, at the moment of asking, from what the daemon's parts count anyway.
import { hostname } from 'node:os';
import { type BucketRecord, type StreamRecord, accountsOf } from '../buckets/bucketRecord.js';
import type { DiscardCount } from '../losses/discards.js';
import type { MemoryBudget } from '../memory/memoryBudget.js';
import type { RejectedStore } from '../losses/rejectedStore.js';
import { type DoorCounts, newDoorCounts } from '../doors/doorCounts.js';
import type { Spool } from '../spool/spool.js';
import { type Account } from '../streams/account.js';
import { type BrokerStats, LATENCY_BOUNDS } from '../kafka/brokerStats.js';
import type { EventLoopDelay } from './eventLoopDelay.js';
import { foldBuckets, foldDiscards } from './fold.js';
import { processFigures } from './processFigures.js';
import { VERSION } from './version.js';
import type { BucketSnapshot, ReloadFigures, Snapshot, StreamSnapshot } from './snapshot.js';

export interface SnapshotParts {
  readonly startedAtMs: number;
  readonly nowMs: number;
  readonly isStopping: boolean;
  readonly unreachable: readonly string[];
  readonly socketPath: string;
  /** By the door's name. */
  readonly doors: ReadonlyMap<string, Readonly<DoorCounts>>;
  readonly budget: MemoryBudget;
  readonly spool: Pick<Spool, 'figures'>;
  readonly rejected: RejectedStore;
  readonly discards: readonly Readonly<DiscardCount>[];
  readonly kafka: BrokerStats;
  readonly buckets: readonly BucketSnapshot[];
  readonly eventLoopDelay: EventLoopDelay | undefined;
  readonly reloads: ReloadFigures | undefined;
}

export function takeSnapshot(parts: SnapshotParts): Snapshot {
  const { budget, rejected } = parts;
  const socket = parts.doors.get('socket') ?? newDoorCounts();
  return {
    program: { version: VERSION, node: process.versions.node, pid: process.pid, hostname: hostname() },
    startedAtMs: parts.startedAtMs,
    takenAtMs: parts.nowMs,
    isStopping: parts.isStopping,
    ...(parts.unreachable.length === 0 ? {} : { unreachable: parts.unreachable }),
    socket: { ...socket, path: parts.socketPath, badByReason: Object.fromEntries(socket.badByReason) },
    memory: { heldBytes: budget.heldBytes, encodedBytes: budget.encodedBytes, limitBytes: budget.limitBytes },
    paused: budget.paused,
    ...(parts.spool.figures === undefined ? {} : { spool: parts.spool.figures }),
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

export function bucketSnapshot(record: BucketRecord): BucketSnapshot {
  const { name, isOnDemand, backlog, overLimit } = record;
  const { memory = 0, disk = 0 } = backlog?.heldBytes ?? {};
  return {
    name,
    isOnDemand,
    closed: { batches: 0, frames: 0, bytes: 0, ...backlog?.closed },
    open: { frames: backlog?.open?.frames ?? 0, bytes: backlog?.open?.length ?? 0 },
    backlog: { batches: backlog?.entries.length ?? 0, memoryBytes: memory, diskBytes: disk },
    ...(overLimit === undefined ? {} : { overLimit: { ...overLimit } }),
    streams: accountsOf(record).map(([stream, account]) => streamSnapshot(stream, account)),
  };
}

function streamSnapshot(
  { id, type, backupType, stats, ref, backedUp }: StreamRecord,
  account: Readonly<Account>,
): StreamSnapshot {
  const files = backedUp();
  const { mode, sinceMs, lastProblem } = stats;
  return {
    id,
    type,
    ...(backupType === undefined ? {} : { backupType }),
    isAlive: ref !== undefined && ref.state !== 'stopped',
    account,
    mode,
    modeSinceMs: sinceMs,
    modeMs: stats.modeMs,
    failures: stats.failures,
    retries: stats.retries,
    failedBatches: stats.failedBatches,
    replayedFrames: stats.replayedFrames,
    retimedFrames: stats.retimedFrames,
    written: { primary: { ...stats.written.primary }, backup: { ...stats.written.backup } },
    ...(lastProblem === undefined ? {} : { lastProblem }),
    ...(files === undefined ? {} : { backedUp: files }),
  };
}
