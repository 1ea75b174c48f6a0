// What is told along the path: Client → BucketManager → Bucket → StreamActor. Coarse on purpose: a run, a
// batch, never a frame.
import type { StreamConfig } from '../config/buckets.js';
import type { Batch } from '../frames/batch.js';
import type { BucketKey } from '../frames/bucketName.js';
import type { Run } from '../intake/run.js';
import type { Limiter } from './limit/limiter.js';
import type { GrowingSegment } from '../spool/spool.js';
import type { Receipt } from '../intake/receipt.js';

/**
 * Asks to be let go once everything told before is settled by every stream. The teller has had the receipt
 * hold.
 */
export interface Fence {
  readonly kind: 'fence';
  readonly receipt: Receipt;
}

export interface ManagerFence {
  readonly kind: 'fence';
  readonly receipt: Receipt;
  readonly buckets: ReadonlySet<BucketKey> | 'all';
}

export type ManagerMessage =
  | Run
  | ManagerFence
  /** A bucket made on demand has had nothing to do for a while. */
  | { readonly kind: 'idle'; readonly bucket: BucketKey }
  /** Another configuration is in force: these must be there, and those end, for it has no place for them. */
  | {
      readonly kind: 'configured';
      readonly buckets: readonly BucketKey[];
      readonly removed: readonly BucketKey[];
    };

export type BucketMessage =
  | Run
  | Fence
  /** `batchTimeout` has passed for the batch that was open then. */
  | { readonly kind: 'timeout'; readonly batch: Batch }
  /** Batches have left the backlog: every stream has settled them. */
  | { readonly kind: 'settled' }
  | { readonly kind: 'idleCheck' }
  /**
   * It is configured otherwise from now on. `onTaken` is called once, when its streams go on as they are now.
   */
  | {
      readonly kind: 'configure';
      readonly settings: BucketSettings;
      readonly streams: readonly StreamConfig[];
      readonly limiter: Pick<Limiter, 'admit' | 'close'> | undefined;
      readonly onTaken: () => void;
    }
  /** What a failed predecessor held. */
  | {
      readonly kind: 'inherit';
      readonly open: Batch | undefined;
      readonly segment: GrowingSegment;
      readonly fences: readonly PendingFence[];
    };

/** What of a bucket may change while it lives. */
export interface BucketSettings {
  readonly batchFrames: number;
  readonly batchBytes: number;
  readonly batchTimeoutMs: number;
  /** Only for buckets made on demand: how long they live with nothing to do, and whom to tell then. */
  readonly idle?: { readonly afterMs: number; readonly tell: (bucket: BucketKey) => void } | undefined;
}

/** A receipt that waits until the first `until` batches of the bucket's life are settled. */
export interface PendingFence {
  readonly receipt: Receipt;
  readonly until: number;
}
