// How frames of a batch end in a stream, told back along the way the batch came. Only where somebody waits
// for it (`Batch.wantsOutcomes`) is it told by ranges of frames; everywhere else the counts of `Settled` are
// all there is. Promise: each frame of such a batch is in exactly one range, once it is settled.

/**
 * Why a frame can never be delivered; for programs, while the reason is for people.
 * `UNKNOWN_BUCKET`: the configuration has no place for it. `NO_ROOM`: MAXBUCKETS is reached. `BAD_NAME`: no
 * bucket can have this name. `BAD_FRAME`: malformed, see BAD_REASONS in frames/frame.ts. `RATE_LIMIT`: it was over the bucket's limit. `TOO_LARGE`: no record batch with
 * it is taken. `INVALID_RECORD`: the topic's rules refuse it. `UNKNOWN_PARTITION`: the topic does not have the
 * partition it is for. `NOT_DELIVERED`: its time was over. `INTERNAL`: a bug in Kahe.
 */
export const REJECT_CODES = [
  'UNKNOWN_BUCKET',
  'NO_ROOM',
  'BAD_NAME',
  'BAD_FRAME',
  'RATE_LIMIT',
  'TOO_LARGE',
  'INVALID_RECORD',
  'UNKNOWN_PARTITION',
  'NOT_DELIVERED',
  'INTERNAL',
] as const;
export type RejectCode = (typeof REJECT_CODES)[number];

export type FrameOutcome =
  /**
   * The primary has them. From Kafka: frame `first + i` of the range has the offset `baseOffset + i`;
   * undefined where that is not known (acks=0, files).
   */
  | {
      readonly kind: 'delivered';
      readonly partition: number | undefined;
      readonly baseOffset: bigint | undefined;
    }
  /** The backup has them, and the primary will. */
  | { readonly kind: 'stored' }
  /** The slice left them out. */
  | { readonly kind: 'slicedOut' }
  /** Kept in REJECTED. */
  | { readonly kind: 'rejected'; readonly code: RejectCode; readonly reason: string }
  /** Nothing has them, as the configuration allows. */
  | { readonly kind: 'discarded'; readonly reason: string };

/** Frames of one batch that ended in the same way. */
export interface SettledRange {
  /** The first frame's index: in the batch, or in `indexes` when it is there. */
  readonly first: number;
  readonly frames: number;
  /**
   * The frames' indexes in the batch when they are scattered:
   * `indexes[first]` … `indexes[first + frames - 1]`.
   */
  readonly indexes?: Uint32Array | undefined;
  readonly outcome: FrameOutcome;
}

export const STORED: FrameOutcome = { kind: 'stored' };
export const SLICED_OUT: FrameOutcome = { kind: 'slicedOut' };
/** By a stream that has no partitions. */
export const DELIVERED: FrameOutcome = { kind: 'delivered', partition: undefined, baseOffset: undefined };

/** Calls `visit` for each frame of the range, by its index in the batch. */
export function eachFrame({ first, frames, indexes }: SettledRange, visit: (index: number) => void): void {
  for (let i = first; i < first + frames; i++) visit(indexes === undefined ? i : indexes[i]!);
}
