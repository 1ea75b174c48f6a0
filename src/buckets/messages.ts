// What is told along the path: Client → BucketManager → Bucket → StreamActor. Coarse on purpose: a run, a batch, never a frame.
import type { Batch } from '../frames/batch.js';
import type { Receipt } from './receipt.js';

/** The bytes of a bucket's name, one character a byte (latin1), so that any name is a key without loss. */
export type BucketKey = string;

/** Whole frames of one bucket. `chunk` is borrowed: it is good only until `tell` returns. */
export interface Run {
  readonly kind: 'run';
  readonly bucket: BucketKey;
  readonly chunk: Buffer;
  readonly start: number;
  readonly end: number;
  readonly frames: number;
  /** When they were read, ms since the epoch. */
  readonly nowMs: number;
}

/** Asks to be let go once everything told before is settled by every stream. */
export interface Fence {
  readonly kind: 'fence';
  readonly receipt: Receipt;
}

export type ManagerMessage =
  | Run
  | { readonly kind: 'fence'; readonly receipt: Receipt; readonly buckets: ReadonlySet<BucketKey> | 'all' }
  /** A bucket made on demand has had nothing to do for a while. */
  | { readonly kind: 'idle'; readonly bucket: BucketKey };

export type BucketMessage =
  | Run
  | Fence
  /** `batchTimeout` has passed for the batch that was open then. */
  | { readonly kind: 'timeout'; readonly batch: Batch }
  /** Every stream has settled this batch. */
  | { readonly kind: 'settled'; readonly batch: Batch }
  | { readonly kind: 'idleCheck' }
  /** What a failed predecessor held. */
  | { readonly kind: 'inherit'; readonly open: Batch | undefined; readonly outstanding: readonly Batch[]; readonly fences: readonly PendingFence[] };

/** A receipt that waits until `batch` and all before it are settled. */
export interface PendingFence {
  readonly receipt: Receipt;
  readonly batch: Batch;
}

/** The run with bytes of its own, fit to wait. */
export function ownRun(run: Run): Run {
  const chunk = Buffer.from(run.chunk.subarray(run.start, run.end));
  return { ...run, chunk, start: 0, end: chunk.length };
}
