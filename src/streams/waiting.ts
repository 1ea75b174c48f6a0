// A batch on its way to a destination, from when its stream accepts it. Its slice is taken only when it is
// first written, so that until then, and again when nothing of it was settled, it can be given back to its
// bucket as if it had never come.
import type { Batch } from '../frames/batch.js';
import { type Origins, without } from '../frames/origins.js';
import { type Account, book, move } from './account.js';

export interface Waiting {
  readonly batch: Batch;
  readonly isSliced: boolean;
  /** How many frames came; undefined once some of them are settled. */
  readonly came: number | undefined;
}

/** Frames that were accepted just now. */
export function accepted(batch: Batch, account: Account): Waiting {
  book(account, batch.frames, 'queued');
  return { batch, isSliced: false, came: batch.frames };
}

export interface Slicing {
  readonly slice: number;
  readonly random: () => number;
  readonly origins?: Origins | undefined;
}

/**
 * Keeps each frame with the probability `slice`; what is not kept is settled by that. The batch may come out
 * empty.
 */
export function sliced(waiting: Waiting, account: Account, { slice, random, origins }: Slicing): Waiting {
  const { batch, isSliced, came } = waiting;
  if (isSliced || slice === 1) return waiting;
  const kept = batch.pick(() => random() < slice);
  origins?.ended(without(batch.origins, kept.origins), 'slicedOut');
  batch.release();
  move(account, batch.frames - kept.frames, 'queued', 'slicedOut');
  return { batch: kept, isSliced: true, came };
}

/** What a write has handed back: the batch itself when it settled nothing. */
export function handedBack({ batch, isSliced, came }: Waiting, undelivered: Batch): Waiting {
  return { batch: undelivered, isSliced, came: undelivered === batch ? came : undefined };
}

/** As if it had never come. @returns false: some of it is settled, and it stays */
export function giveBack({ batch, came }: Waiting, account: Account): boolean {
  if (came === undefined) return false;
  move(account, came - batch.frames, 'slicedOut', 'queued');
  book(account, -came, 'queued');
  batch.giveUp();
  return true;
}
