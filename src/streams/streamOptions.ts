// What a stream actor is made of.
import type { Batch } from '../frames/batch.js';
import type { Origins } from '../frames/origins.js';
import type { Account } from './account.js';
import type { BackupReplay, Stream } from './stream.js';
import type { StreamStats } from './streamStats.js';
import type { BatchSource } from './waiting.js';

/** `queued`: in the spool, for the next run. `discarded`: nothing keeps it. */
export type LeftOverEnd = 'queued' | 'rejected' | 'discarded';

export interface StreamActorOptions {
  /** Awaited before the streams are opened: others may be using what they use. */
  readonly beforeOpen?: () => Promise<void>;
  readonly primary: Stream;
  readonly backup: Stream | undefined;
  /** Sends what the backup holds; undefined: an operator does, or there is none. */
  readonly replay?: BackupReplay | undefined;
  /** The probability that a frame goes to this stream; 1 copies nothing. */
  readonly slice: number;
  /** Of the stream: two streams of a bucket do not take the same slice. */
  readonly sliceSeed?: number;
  /** How long between two tries of the primary in backup mode. */
  readonly retryMs: number;
  /** … and in error mode, where batches wait. */
  readonly errorRetryMs: number;
  /** At the end: how long batches are still tried before they go to the backup, or are left over. */
  readonly stopTimeoutMs: () => number;
  /** Why it ends, for what is left over then. Default: the daemon stopped. */
  readonly endReason?: () => string;
  readonly random?: () => number;
  /**
   * Called with what could be delivered nowhere when the time to stop was over. The batch is held until it is
   * known where it stays. `queued` and `discarded` are not settled.
   */
  readonly onLeftOver: (batch: Batch, reason: string) => Promise<LeftOverEnd>;
  /** To be told what becomes of frames that the primary does not deliver. */
  readonly origins?: Origins | undefined;
  /** Where its batches come from. */
  readonly source: BatchSource;
  readonly account: Account;
  readonly stats: StreamStats;
}
