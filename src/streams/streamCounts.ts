// What a stream actor counts, and says to where its batches came from: every frame in the account once, every
// batch settled once. Of a batch that nobody waits for, nothing is kept by the frame.
import type { Batch } from '../frames/batch.js';
import { type FramesByOrigin, without } from '../frames/origins.js';
import { move } from './account.js';
import type { SettledRange } from '../intake/outcome.js';
import { DeliveryError, type Settled } from './stream.js';
import type { LeftOverEnd, StreamActorOptions } from './streamOptions.js';
import type { Write } from './streamState.js';
import { drawsOf } from './sliceDraws.js';
import { type Begun, type Waiting, accepted, endedRanges, giveBack, scattered, sliced } from './waiting.js';

export class StreamCounts {
  readonly #options: StreamActorOptions;

  constructor(options: StreamActorOptions) {
    this.#options = options;
  }

  accepted({ batch, begun }: { readonly batch: Batch; readonly begun?: Begun }): Waiting {
    return accepted(batch, this.#options.account, begun);
  }

  sliced(what: Waiting): Waiting {
    const { account, slice, sliceSeed, random = drawsOf(what.batch, sliceSeed) } = this.#options;
    return sliced(what, account, slice, random);
  }

  /** An outcome, of all of it or of a part. */
  ended(write: Write, outcome: Settled | DeliveryError): void {
    this.#note(write, outcome);
    const { account, origins } = this.#options;
    const { target, what } = write;
    const settled = outcome instanceof DeliveryError ? outcome.settled : outcome;
    const end = target === 'primary' ? 'delivered' : 'backedUp';
    move(account, settled.rejected, 'queued', 'rejected');
    move(account, settled.discarded ?? 0, 'queued', 'discarded');
    move(account, settled.delivered, 'queued', end);
    const undelivered = outcome instanceof DeliveryError ? outcome.undelivered : undefined;
    if (undelivered === what.batch || origins === undefined) return;
    // Some of it is settled now, so what was sliced out is too.
    origins.ended(what.slicedOut, 'slicedOut');
    if (end !== 'delivered') origins.ended(storedOf(what.batch, undelivered), 'stored');
  }

  #note({ target, what: { batch } }: Write, outcome: Settled | DeliveryError): void {
    const { stats } = this.#options;
    if (!(outcome instanceof DeliveryError))
      return stats.wrote(target, { frames: outcome.delivered, bytes: batch.length });
    stats.failed(
      target,
      { frames: outcome.settled.delivered, bytes: batch.length - outcome.undelivered.length },
      outcome.message,
    );
  }

  /** All of it has ended here: with this write, or because nothing of it was to be written. */
  settled(what: Waiting, write: Write | undefined): void {
    if (write === undefined) this.#options.origins?.ended(what.slicedOut, 'slicedOut');
    const outcome = write?.outcome;
    const isWritten = outcome !== undefined && !(outcome instanceof DeliveryError);
    this.#settle(what, isWritten ? endedRanges(what, write!.target, outcome) : what.ranges);
  }

  #settle({ batch, told }: Waiting, ranges: readonly SettledRange[] | undefined): void {
    batch.release();
    this.#options.source.settled(told, ranges);
  }

  /** It was left over, and this became of it. */
  leftOver(what: Waiting, end: LeftOverEnd, reason: string): void {
    const { account, origins } = this.#options;
    const { batch, ranges = [] } = what;
    origins?.ended(what.slicedOut, 'slicedOut');
    if (end !== 'queued') move(account, batch.frames, 'queued', end);
    // In the spool for the next run, or nothing keeps it: it is not settled, and no receipt may count it.
    if (end !== 'rejected') return batch.release();
    const all = Array.from({ length: batch.frames }, (_, index) => index);
    const outcome = { kind: 'rejected', code: 'NOT_DELIVERED', reason } as const;
    this.#settle(what, batch.wantsOutcomes ? [...ranges, scattered(batch, all, outcome)] : undefined);
  }

  gaveBack(what: Waiting): void {
    const { account, source } = this.#options;
    giveBack(what, account, source);
  }
}

function storedOf(batch: Batch, undelivered: Batch | undefined): FramesByOrigin {
  return undelivered === undefined ? batch.origins : without(batch.origins, undelivered.origins);
}
