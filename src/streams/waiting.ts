// A batch on its way to a destination, from when its stream accepts it. Its slice is taken only when it is
// first written, so that until then, and again when nothing of it was settled, it can be given back to its
// bucket as if it had never come.
import type { Batch } from '../frames/batch.js';
import { type FramesByOrigin, type Origins, without } from '../frames/origins.js';
import { type Account, book, move } from './account.js';

export interface Waiting {
  readonly batch: Batch;
  readonly isSliced: boolean;
  /** How many frames came; undefined once some of them are settled. */
  readonly came: number | undefined;
  /** Of those that the slice left out: on which connections they came. */
  readonly slicedOut: FramesByOrigin | undefined;
}

/** Frames that were accepted just now. */
export function accepted(batch: Batch, account: Account): Waiting {
  book(account, batch.frames, 'queued');
  return { batch, isSliced: false, came: batch.frames, slicedOut: undefined };
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
  const slicedOut = origins && without(batch.origins, kept.origins);
  origins?.ended(slicedOut, 'slicedOut');
  batch.release();
  move(account, batch.frames - kept.frames, 'queued', 'slicedOut');
  return { batch: kept, isSliced: true, came, slicedOut };
}

/** What a write has handed back: the batch itself when it settled nothing. */
export function handedBack(what: Waiting, undelivered: Batch): Waiting {
  return { ...what, batch: undelivered, came: undelivered === what.batch ? what.came : undefined };
}

/** As if it had never come. @returns false: some of it is settled, and it stays */
export function giveBack(
  { batch, came, slicedOut }: Waiting,
  account: Account,
  origins: Origins | undefined,
): boolean {
  if (came === undefined) return false;
  origins?.comeAgain(slicedOut, 'slicedOut');
  move(account, came - batch.frames, 'slicedOut', 'queued');
  book(account, -came, 'queued');
  batch.giveUp();
  return true;
}
