// What buckets know of the spool, the place on disk where each batch lies until every stream has settled it.
// Two things keep this promise: DiskSpool, and NO_SPOOL, with which batches are in memory alone. Nobody has to
// ask which of the two it is.
import type { Batch } from '../frames/batch.js';
import type { BucketKey } from '../frames/bucketName.js';
import type { MemoryBudget } from '../memory/memoryBudget.js';
import type { RecoveredSegment } from './recover.js';
import type { Droppable } from './room.js';

export interface Spool {
  /**
   * When a frame outlives the daemon: once it is `written` to its segment, or, because there is none, once
   * every stream has `settled` it.
   */
  readonly safeWhen: 'written' | 'settled';
  /** How many batches a stream is given at a time: the others can wait on disk. */
  readonly window: number;
  /**
   * Memory, for those who can give it up because their batches are on disk: never short where they can't.
   */
  readonly memory: Pick<MemoryBudget, 'isTight' | 'isOver' | 'onPressure' | 'onSqueeze'>;
  /** For whoever reports; undefined: there is nothing to report. */
  readonly figures: SpoolFigures | undefined;
  /** The disk does not take all segments just now. */
  readonly isFailing: boolean;

  /**
   * Before `open`: no other daemon has this spool, for as long as this one runs.
   * @throws {ConfigError} one has, or the folder can't be made
   */
  lock(): Promise<void>;

  /**
   * What a previous run has left, by bucket, in the order of the batches.
   * @throws {ConfigError} the folder can't be made, read or written
   */
  open(): Promise<ReadonlyMap<BucketKey, readonly Segment[]>>;

  /** The end: another daemon may have it. */
  close(): void;

  /** The segment of a batch that was just opened. */
  newSegment(batch: Batch): GrowingSegment;

  /**
   * Reads a segment whole: every piece that is sound, as one batch; damaged pieces are put aside, a torn end
   * is left out. Never throws for its content.
   */
  read(segment: Pick<Segment, 'path' | 'isOfPreviousRun'>): Promise<RecoveredSegment>;

  /** What is noted of a bucket's streams. */
  notes(bucket: string): StreamNotes;

  /** Called each time when the disk begins to fail. Returns the way to end it. */
  onFailing(run: () => void): () => void;

  /**
   * Asked, when the spool is full and the oldest may go, which segment of a bucket could go first. Returns
   * the way to end it.
   */
  onFull(oldest: () => Droppable | undefined): () => void;
}

/** Where a batch lies on disk. */
export interface Segment {
  /** Of the file that is written now, or was last. */
  readonly path: string;
  /** It was found at the start. Which batch it holds is known once it was read. */
  readonly isOfPreviousRun: boolean;
  /**
   * `none`: the batch is in memory alone. `growing`: what is missing is written from its memory, which must
   * stay. `complete`: it can be read back, so that its memory can be given up.
   */
  readonly copy: 'none' | 'growing' | 'complete';
  /** Bytes of the batch that outlive a crash of the process; of a previous run's the size of its file. */
  readonly safeBytes: number;
  /** All of the closed batch is as safe as it will be: streams may have it. */
  readonly isWritten: boolean;
  /** Resolves when it grows no more: it is complete, or is not wanted any more. */
  readonly completed: Promise<void>;

  /** Calls once the batch's first `bytes` are safe. */
  whenSafe(bytes: number, run: () => void): void;

  /**
   * Every stream has settled the batch: nothing more is written, for its bytes may be gone, and nobody waits
   * for it. Resolves when the file is gone.
   */
  remove(): Promise<void>;
}

/** The segment of a batch of this run. */
export interface GrowingSegment extends Segment {
  /** The batch has grown. */
  grow(): void;

  /** The batch is closed: what is missing is written, and the file too. */
  seal(): void;

  /** Calls once it is written. */
  whenWritten(run: () => void): void;
}

/** Up to where each stream of a bucket has settled all, for the next run. */
export interface StreamNotes {
  /** False: there is no next run that would read them. */
  readonly areKept: boolean;

  /** Had the stream settled this segment before this run began? */
  hasSettled(stream: string, segmentPath: string): boolean;

  /** The stream has settled all segments up to this one, while another has not: noted a little later. */
  note(stream: string, segmentPath: string): void;

  /** Resolves when all is noted on the disk, or could not be, which is said. */
  flush(): Promise<void>;
}

export interface SpoolFigures {
  readonly path: string;
  /** Of all segments, and SPOOL_MAX. */
  readonly bytes: number;
  readonly maxBytes: number;
  readonly isFull: boolean;
  /** Segments that the disk does not take just now. */
  readonly failingSegments: number;
}
