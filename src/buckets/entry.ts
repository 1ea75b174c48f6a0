// A closed batch on its way to the streams of its bucket.
import type { Batch } from '../frames/batch.js';
import type { Segment } from '../spool/segment.js';
import type { LeftSegment } from '../spool/spool.js';

export interface Entry {
  /** Undefined while it lies on disk alone. */
  batch: Batch | undefined;
  /** Of a segment that an earlier life has left: known once it was read. */
  frames: number;
  /** Its segment: of this life, or of an earlier one; undefined without a spool. */
  readonly segment: Segment | undefined;
  readonly left: LeftSegment | undefined;
  /** By stream: where the batch is with it. `settled` also in an earlier life. */
  readonly at: ('waiting' | 'told' | 'settled')[];
  /** Streams that have been told of it and have not settled it. */
  heldBy: number;
  isLoading: boolean;
  /** Its file stays when it leaves, or is gone already. */
  mustStay: boolean;
}

export function newEntry(parts: Pick<Entry, 'batch' | 'segment' | 'left' | 'at'>): Entry {
  return { ...parts, frames: parts.batch?.frames ?? 0, heldBy: 0, isLoading: false, mustStay: false };
}

/** Could it be read back, whatever becomes of the memory? */
export function isOnDisk({ segment, left }: Entry): boolean {
  return left !== undefined || segment?.isComplete === true;
}

export function pathOf({ segment, left }: Entry): string {
  return segment?.path ?? left!.path;
}

export function isSettled({ at }: Entry): boolean {
  return at.every((place) => place === 'settled');
}
