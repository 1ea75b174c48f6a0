// What is told along the path, and back. Coarse on purpose: a run, a batch, never a frame.
//
//   door ─run─► BucketRouter ─run─► Bucket ─batch─► Backlog ─share─► StreamActor ─► Stream (Kafka, files)
//                  ▲ idle, ended       ▲ settled       ▲ BatchSource: settled, returned      │ outcome
//                  └───────────────────┴───────────────┴─────────────────────────────────────┘
//   a question: the same way as a fence; whoever must be waited for is added to its Receipt, and says `done`
//
// LiveBucket makes a bucket's actor, BucketMaker what it is made of, BucketStream each stream's actor.
import type { BucketsConfig } from '../config/buckets.js';
import type { Batch } from '../frames/batch.js';
import type { BucketKey } from '../frames/bucketName.js';
import type { Run } from '../intake/run.js';
import type { Limiter } from './limit/limiter.js';
import type { GrowingSegment } from '../spool/spool.js';
import type { Receipt } from '../intake/receipt.js';
import type { LeftBackup } from '../streams/backup/leftBackups.js';
import type { Followers } from './followers.js';
import type { StreamChanges } from './generation.js';

/**
 * Asks when everything told before is safe, or settled by every stream: see the receipt's level. The teller
 * has added the bucket to the receipt.
 */
export interface Fence {
  readonly kind: 'fence';
  readonly receipt: Receipt;
}

export interface RouterFence {
  readonly kind: 'fence';
  readonly receipt: Receipt;
  readonly buckets: ReadonlySet<BucketKey> | 'all';
}

export type RouterMessage =
  | Run
  | RouterFence
  /** A bucket made on demand has had nothing to do for a while. */
  | { readonly kind: 'idle'; readonly bucket: BucketKey }
  /** Its actor has stopped. */
  | { readonly kind: 'ended'; readonly bucket: BucketKey }
  /**
   * Another configuration is in force. `onTaken` is called once, when every bucket goes on as it says; with
   * an error when a bug has kept one from that.
   */
  | {
      readonly kind: 'reload';
      readonly config: BucketsConfig;
      readonly leftBackups: readonly LeftBackup[];
      readonly onTaken: (error?: Error) => void;
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
   * It is configured otherwise from now on, and this is what it is made of then. `onTaken` is called once,
   * when its streams go on as they are now; with an error when a bug has kept them from that.
   */
  | ({
      readonly kind: 'reconfigure';
      readonly settings: BucketSettings;
      readonly onTaken: (error?: Error) => void;
    } & ChangedParts)
  /** What a failed predecessor held. */
  | {
      readonly kind: 'inherit';
      readonly open: Batch | undefined;
      readonly segment: GrowingSegment;
      readonly followers: Followers | undefined;
      readonly fences: readonly PendingFence[];
    };

/** What of a bucket may change while it lives. */
export interface BucketSettings {
  readonly batchFrames: number;
  readonly batchBytes: number;
  readonly batchTimeoutMs: number;
  /** Only for buckets made on demand: how long they live with nothing to do. */
  readonly idleMs?: number | undefined;
}

/** What a reload brings to a bucket. */
export interface ChangedParts {
  readonly streams: StreamChanges;
  /** Undefined: the bucket takes whatever comes. */
  readonly limiter: Pick<Limiter, 'admit' | 'close'> | undefined;
}

/** A receipt that waits until the first `until` batches of the bucket's life are settled. */
export interface PendingFence {
  readonly receipt: Receipt;
  readonly until: number;
}
