// What a door brings in: whole frames of one bucket, as they lie in what was read.
import type { BucketKey } from '../frames/bucketName.js';
import type { FramesByOrigin } from '../frames/origins.js';
import type { MemoryBudget } from '../memory/memoryBudget.js';
import type { Followed } from './ticket.js';

/** Whole frames of one bucket, all plain or all full. `chunk` is borrowed: it is good only until `tell` returns. */
export interface Run {
  readonly kind: 'run';
  readonly bucket: BucketKey;
  readonly chunk: Buffer;
  readonly start: number;
  readonly end: number;
  readonly frames: number;
  /** When they were read, ms since the epoch. */
  readonly nowMs: number;
  readonly budget: MemoryBudget;
  /** The connection that they came on. */
  readonly origin?: number;
  /** Somebody waits to hear how each of them ends. */
  readonly followed?: Followed | undefined;
  /** The bytes are the run's own, and taken from the budget until `endRun`. */
  readonly isOwned?: true;
}

/** The run with bytes of its own, fit to wait; who deals with it in the end calls `endRun`. */
export function ownRun(run: Run): Run {
  if (run.isOwned) return run;
  const chunk = Buffer.from(run.chunk.subarray(run.start, run.end));
  run.budget.take(chunk.length);
  return { ...run, chunk, start: 0, end: chunk.length, isOwned: true };
}

/** By connection, as those want it who settle frames. */
export function originsOf({ origin, frames }: Pick<Run, 'origin' | 'frames'>): FramesByOrigin | undefined {
  return origin === undefined ? undefined : new Map([[origin, frames]]);
}

/** Gives back the memory of a run that had to wait. */
export function endRun(run: Run): void {
  if (run.isOwned) run.budget.give(run.end);
}
