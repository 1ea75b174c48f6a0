// A closed batch on its way to the streams of its bucket.
import type { Batch } from '../frames/batch.js';
import type { Followers } from './followers.js';
import type { Segment } from '../spool/spool.js';

export interface Entry {
  /** Undefined while it lies on disk alone. */
  batch: Batch | undefined;
  /** Of a segment of a previous run: known once it was read. */
  frames: number;
  readonly segment: Segment;
  /** By stream: where the batch is with it. `settled` also in a previous run. */
  readonly at: ('waiting' | 'told' | 'settled')[];
  /** Streams that have been told of it and have not settled it. */
  heldBy: number;
  /** Who waits for its frames; undefined: nobody, or they know. */
  followers: Followers | undefined;
  /** The number of the stream whose outcomes connections and followers hear; -1: there is none. */
  readonly reporter: number;
  isLoading: boolean;
  /** Its file goes when it leaves; false: it stays, is gone already, or there never was one. */
  ownsFile: boolean;
}

export function newEntry(parts: Pick<Entry, 'batch' | 'segment' | 'at' | 'followers' | 'reporter'>): Entry {
  const { batch, segment } = parts;
  return {
    ...parts,
    frames: batch?.frames ?? 0,
    heldBy: 0,
    isLoading: false,
    ownsFile: segment.copy !== 'none',
  };
}

/** Could it be read back, whatever becomes of the memory? */
export function isOnDisk({ segment }: Entry): boolean {
  return segment.copy === 'complete';
}

export function isSettled({ at }: Entry): boolean {
  return at.every((place) => place === 'settled');
}
