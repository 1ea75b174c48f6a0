// A batch on its way to a destination, from when its stream accepts it until it is said what became of it.
// Its slice is taken only when it is first written, so that until then, and again when nothing of it was
// settled, it can go back to its bucket as if it had never come. What is left of it goes back too, when its
// stream changes.
import type { Batch } from '../frames/batch.js';
import { type FramesByOrigin, without } from '../frames/origins.js';
import { type Account, book, move } from './account.js';
import { DELIVERED, type FrameOutcome, SLICED_OUT, STORED, type SettledRange } from '../intake/outcome.js';
import type { DeliveryError, Settled } from './stream.js';

/** Where a batch is written. */
export type Target = 'primary' | 'backup';

/** What is known of a batch of which a part is settled, or sliced out. */
export interface Begun {
  readonly isSliced: boolean;
  /** How its other frames ended; of a batch that wants outcomes. */
  readonly ranges: readonly SettledRange[] | undefined;
  /** Frames that the slice left out, until their connections hear of it. */
  readonly slicedOut: FramesByOrigin | undefined;
}

export interface Waiting extends Begun {
  /** What is to be written still. */
  readonly batch: Batch;
  /** The batch as it came: by this its bucket knows it. */
  readonly told: Batch;
  /** How many frames came; undefined once some of them are settled. */
  readonly came: number | undefined;
}

/** Where a stream's batches come from, and where they go back to: its bucket's backlog. */
export interface BatchSource {
  /**
   * All of it is settled. The ranges of a batch that wants outcomes; their indexes are those of `placeOf`.
   */
  settled(batch: Batch, ranges: readonly SettledRange[] | undefined): void;
  /**
   * It has not ended here, and is given again once the stream is ready: the whole of it, or its `rest`, which
   * is held for the source.
   */
  returned(batch: Batch, rest?: Rest): void;
  /** The stream has use for batches again, after it returned some. */
  ready(): void;
  /** It can't write what it holds, and would return it. */
  stuck(): void;
  /**
   * Of so many batches frames wait for a part of the primary that is away, and for nothing else: the other
   * parts have use for more.
   */
  aside(batches: number): void;
}

export interface Rest {
  readonly batch: Batch;
  readonly begun: Begun;
}

/** Frames that were accepted just now. @param begun of a rest that comes again */
export function accepted(batch: Batch, account: Account, begun?: Begun): Waiting {
  book(account, batch.frames, 'queued');
  if (begun !== undefined) return { ...begun, batch, told: batch, came: undefined };
  return {
    batch,
    told: batch,
    isSliced: false,
    came: batch.frames,
    ranges: undefined,
    slicedOut: undefined,
  };
}

/** Keeps each frame with the probability `slice`. The batch may come out empty. */
export function sliced(waiting: Waiting, account: Account, slice: number, random: () => number): Waiting {
  const { batch, isSliced } = waiting;
  if (isSliced || slice === 1) return waiting;
  const leftOut: number[] = [];
  const kept = batch.pick((index) => {
    const isKept = random() < slice;
    if (!isKept && batch.wantsOutcomes) leftOut.push(index);
    return isKept;
  });
  const ranges = batch.wantsOutcomes ? [scattered(batch, leftOut, SLICED_OUT)] : undefined;
  const slicedOut = batch.hasOrigins ? without(batch.origins, kept.origins) : undefined;
  batch.release();
  move(account, batch.frames - kept.frames, 'queued', 'slicedOut');
  return { ...waiting, batch: kept, isSliced: true, ranges, slicedOut };
}

/** Frames of a batch that wants outcomes, by their indexes in it. */
export function scattered(batch: Batch, indexes: readonly number[], outcome: FrameOutcome): SettledRange {
  return {
    first: 0,
    frames: indexes.length,
    indexes: Uint32Array.from(indexes, (i) => batch.placeOf(i)),
    outcome,
  };
}

/** What a write has handed back: the batch itself when it settled nothing. */
export function handedBack(waiting: Waiting, target: Target, error: DeliveryError): Waiting {
  const { undelivered } = error;
  if (undelivered === waiting.batch) return waiting;
  const ranges = endedRanges(waiting, target, error.settled);
  return { ...waiting, batch: undelivered, came: undefined, ranges, slicedOut: undefined };
}

/** How its frames have ended up to now, by their places in the batch as its bucket closed it. */
export function endedRanges(
  { batch, ranges: before = [] }: Waiting,
  target: Target,
  settled: Settled,
): readonly SettledRange[] | undefined {
  if (!batch.wantsOutcomes) return undefined;
  const isWhole = settled.delivered === batch.frames;
  const whole = { first: 0, frames: batch.frames, outcome: target === 'primary' ? DELIVERED : STORED };
  const now = settled.ranges ?? (isWhole ? [whole] : []);
  return [...before, ...now.map((range) => placed(target === 'primary' ? range : stored(range), batch))];
}

/** A backup may be a stream of Kafka too: what it has, the primary has not. */
function stored(range: SettledRange): SettledRange {
  return range.outcome.kind === 'delivered' ? { ...range, outcome: STORED } : range;
}

function placed(range: SettledRange, batch: Batch): SettledRange {
  if (!batch.isPicked) return range;
  const { first, frames, indexes } = range;
  const places = Uint32Array.from({ length: frames }, (_, i) =>
    batch.placeOf(indexes === undefined ? first + i : indexes[first + i]!),
  );
  return { ...range, first: 0, indexes: places };
}

/** Can it go back as if it had never come? */
export function isWhole({ came }: Waiting): boolean {
  return came !== undefined;
}

/** Back to where it came from: as if it had never come, or what is left of it. */
export function giveBack(waiting: Waiting, account: Account, source: BatchSource): void {
  const { batch, told, came, isSliced, ranges, slicedOut } = waiting;
  if (came === undefined) {
    book(account, -batch.frames, 'queued');
    return source.returned(told, { batch, begun: { isSliced, ranges, slicedOut } });
  }
  move(account, came - batch.frames, 'slicedOut', 'queued');
  book(account, -came, 'queued');
  batch.release();
  source.returned(told);
}
