// The contract of a stream: where batches end. Kafka and files keep it, and support/streamContract.ts holds
// each of them to it.
import type { Batch } from '../frames/batch.js';
import type { SettledRange } from '../intake/outcome.js';

/** How the frames of a written batch ended; the sum is the batch's number of frames. */
export interface Settled {
  readonly delivered: number;
  /** Frames that can't be delivered; `RejectedFrames` keeps them, each with its reason. */
  readonly rejected: number;
  /** Frames that can't be delivered, and that nothing keeps: only with REJECTED_FULL=drop. Missing: none. */
  readonly discarded?: number;
  /** The same by ranges of frames, of a batch that wants it (`Batch.wantsOutcomes`) and of no other. */
  readonly ranges?: readonly SettledRange[];
}

export type DeliveryErrorCode =
  /** The deadline (`message.timeout.ms`) passed, or nothing answers. */
  | 'UNREACHABLE'
  /** The destination says no to this stream as a whole (login, topic missing or not authorised). */
  | 'REFUSED'
  /** Frames must be rejected, and `RejectedFrames` can't keep them now. */
  | 'REJECTED'
  /** A file could not be written. */
  | 'IO'
  /** The stream was closed first. */
  | 'CLOSED'
  /**
   * A part of the destination is away (a partition without a leader), and these are its frames: the stream
   * goes on with all others. See `Stream.away`.
   */
  | 'AWAY';

/**
 * A write that ended without every frame settled. The undelivered frames are handed back, in order; the rest
 * is settled.
 */
export class DeliveryError extends Error {
  override readonly name = 'DeliveryError';
  /**
   * @param undelivered the frames not delivered, in order, a batch of its own that the catcher releases.
   *   It is the written batch itself (retained once more) when none was delivered.
   */
  constructor(
    readonly code: DeliveryErrorCode,
    message: string,
    readonly undelivered: Batch,
    readonly settled: Settled,
  ) {
    super(message);
  }
}

/**
 * One destination of one bucket. Writes may overlap: a stream settles them in the order of the calls, per
 * partition where it has any. Once a write has failed, those behind it fail too (with code of their own),
 * until `probe` has succeeded: order is kept. AWAY is no such failure.
 */
export interface Stream {
  /** How many writes it is worth having outstanding at once. */
  readonly depth: number;

  /**
   * Makes ready. Does not wait for a destination that is away: that is the first write's business. Rejects on
   * what a person must fix.
   */
  open(): Promise<void>;

  /**
   * Delivers every frame of the batch. The caller holds the batch until this settles.
   * @returns resolves once every frame is delivered, or rejected with a reason
   * @throws {DeliveryError} with the undelivered frames; nothing else
   */
  write(batch: Batch): Promise<Settled>;

  /**
   * After a failure: asks the destination for real whether it is back. Resolves when writes may go on,
   * rejects with an Error that says why not.
   */
  probe(): Promise<void>;

  /**
   * What of the destination is away while the rest of it is written, for people; undefined: nothing is. The
   * frames for it are handed back (AWAY) until `readmit`, so that what comes later for it does not overtake
   * them.
   */
  readonly away?: string | undefined;

  /** Has the last `probe` found some of that back? */
  readonly hasReturned?: boolean;

  /**
   * Lets in again what is back. Nothing may be outstanding, and what was handed back for it must be written
   * before all else.
   */
  readmit?(): void;

  /**
   * Ends: outstanding writes settle or fail with CLOSED within `deadlineMs`. Never rejects, never waits
   * longer.
   */
  close(options: { readonly deadlineMs: number }): Promise<void>;
}

/**
 * Brings what the backup of a stream holds to its primary, oldest first. Frames of what is away of the
 * primary are kept in the backup, before all that is younger, and passed over until `rewind`.
 */
export interface BackupReplay {
  /** What the backup holds and the primary has not had, with what was passed over. */
  readonly leftBytes: number;
  readonly leftFrames: number;
  /** False: it could not be found out yet what there is. */
  readonly isKnown: boolean;

  /**
   * Sends until no more than `enoughBytes` are left. With 0 nothing may be written to the backup meanwhile,
   * and then none of its files is left. What was passed over does not count. Called again while it runs, it
   * is the same run.
   * @throws Error why it can't go on now
   */
  send(enoughBytes: number): Promise<void>;

  /** From the oldest on again: what was away may be back. */
  rewind(): void;

  /** Ends a run after the piece that is being sent, and gives its memory back. */
  stop(): Promise<void>;
}
