// Snapshots for tests: one of a quiet daemon, to be changed where a test wants it otherwise.
import type { BucketSnapshot, Snapshot, StreamSnapshot } from '../src/stats/snapshot.js';
import { newDoorCounts } from '../src/doors/doorCounts.js';
import { newAccount } from '../src/streams/account.js';
import { LATENCY_BOUNDS } from '../src/kafka/brokerStats.js';

export function streamSnapshot(more: Partial<StreamSnapshot> = {}): StreamSnapshot {
  return {
    id: 'kafka',
    type: 'kafka',
    isAlive: true,
    account: newAccount(),
    mode: 'normal',
    modeSinceMs: 1_000,
    modeMs: { normal: 1_000, backup: 0, error: 0 },
    failures: 0,
    retries: 0,
    failedBatches: 0,
    replayedFrames: 0,
    retimedFrames: 0,
    written: { primary: { batches: 0, frames: 0, bytes: 0 }, backup: { batches: 0, frames: 0, bytes: 0 } },
    ...more,
  };
}

export function bucketSnapshot(
  name: string,
  streams: readonly StreamSnapshot[] = [streamSnapshot()],
  more: Partial<BucketSnapshot> = {},
): BucketSnapshot {
  return {
    name,
    isOnDemand: false,
    closed: { batches: 1, frames: 10, bytes: 100 },
    open: { frames: 0, bytes: 0 },
    backlog: { batches: 0, memoryBytes: 0, diskBytes: 0 },
    streams,
    ...more,
  };
}

export function snapshot(more: Partial<Snapshot> = {}): Snapshot {
  return {
    program: { version: '1.2.3', node: '20.0.0', pid: 1, hostname: 'host' },
    startedAtMs: 1_000,
    takenAtMs: 2_000,
    isStopping: false,
    socket: { ...newDoorCounts(), path: '/run/kahe.sock', badByReason: {} },
    memory: { heldBytes: 1, encodedBytes: 0, limitBytes: 100 },
    paused: { isForMemory: false, isForSpool: false, ms: 0, times: 0 },
    rejected: { reasons: [], lostFrames: 0 },
    discards: [],
    buckets: [],
    brokers: [],
    latencyBounds: LATENCY_BOUNDS,
    process: { userCpuSeconds: 1, systemCpuSeconds: 1, residentBytes: 1, heapUsedBytes: 1, externalBytes: 1 },
    ...more,
  };
}
