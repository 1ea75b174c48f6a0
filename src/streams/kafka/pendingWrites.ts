// The writes of a Kafka stream that are not settled yet, in their order, and how the frames of each have
// ended so far. Promise: each write is answered once: when its last frame is settled, or with the frames that
// are handed back.
import type { Batch } from '../../frames/batch.js';
import { endOfFrame } from '../../frames/frame.js';
import type { RejectedEnd, RejectedFrames } from '../../losses/rejection.js';
import type { FrameOutcome, RejectCode, SettledRange } from '../../intake/outcome.js';
import { DeliveryError, type DeliveryErrorCode, type Settled } from '../stream.js';
import type { AwayPartitions } from './awayPartitions.js';
import type { FramePlace, FrameRange } from './recordBatch.js';

/** A batch on its way, until every frame of it is settled. */
export interface Write {
  readonly batch: Batch;
  unsettled: number;
  delivered: number;
  rejected: number;
  discarded: number;
  /** The same by ranges, of a batch that wants it. */
  readonly ranges: SettledRange[] | undefined;
  /** Frames, by their place in the batch, that are to be rejected and are not kept yet. */
  readonly rejecting: Set<number>;
  isAssigned: boolean;
  /** Which of its frames are for partitions that are away. */
  away: Set<number> | undefined;
  readonly resolve: (settled: Settled) => void;
  readonly reject: (error: DeliveryError) => void;
}

export interface StreamFailure {
  readonly code: DeliveryErrorCode;
  readonly message: string;
}

/** Where the first `frames` of a range have arrived. */
export interface Delivery {
  readonly range: FrameRange;
  readonly frames: number;
  readonly partition: number;
  /** -1: not known. */
  readonly baseOffset: bigint;
}

/** A frame that can never be delivered. */
export interface UndeliverableFrame {
  readonly place: FramePlace;
  readonly code: RejectCode;
  readonly reason: string;
}

type Rejected = FrameOutcome & { readonly kind: 'rejected' | 'discarded' };

export class PendingWrites {
  readonly #rejected: RejectedFrames;
  readonly #away: AwayPartitions;
  /** A batch is written once at a time. */
  readonly #writes = new Map<Batch, Write>();
  readonly #whenEmpty: (() => void)[] = [];
  /** Frames that are being kept with the rejected ones. */
  #offered = 0;

  constructor(rejected: RejectedFrames, away: AwayPartitions) {
    this.#rejected = rejected;
    this.#away = away;
  }

  get isEmpty(): boolean {
    return this.#writes.size === 0;
  }

  /** Are frames being kept with the rejected ones? */
  get isRejecting(): boolean {
    return this.#offered > 0;
  }

  /** Those that have no partitions yet. */
  get unassigned(): readonly Write[] {
    return [...this.#writes.values()].filter(({ isAssigned }) => !isAssigned);
  }

  of(batch: Batch): Write | undefined {
    return this.#writes.get(batch);
  }

  add(write: Write): void {
    this.#writes.set(write.batch, write);
  }

  /** Resolves as soon as none is left; there are some. */
  emptied(): Promise<void> {
    return new Promise((resolve) => this.#whenEmpty.push(resolve));
  }

  delivered(write: Write, { range: { picked, first }, frames, partition, baseOffset }: Delivery): void {
    write.ranges?.push({
      first,
      frames,
      indexes: picked?.indexes,
      outcome: { kind: 'delivered', partition, baseOffset: baseOffset < 0n ? undefined : baseOffset },
    });
    this.#settle(write, 'delivered', frames);
  }

  /**
   * The frame moves to the rejected ones; it is settled when it is there. Its bytes are held until then, also
   * when the stream is closed meanwhile.
   * @returns undefined: it was handed back meanwhile; it may be kept, and come once more
   */
  async reject(
    write: Write,
    { place: { index, at }, code, reason }: UndeliverableFrame,
  ): Promise<RejectedEnd | undefined> {
    const { bytes, bucket } = write.batch.retain();
    const from = new Map([[write.batch.originOf(index), 1]]);
    write.rejecting.add(index);
    this.#offered++;
    const end = endOfFrame(bytes, at);
    const kept = await this.#rejected.offer({ bytes, start: at, end, frames: 1, bucket, reason, from });
    this.#offered--;
    const isPending = this.#writes.get(write.batch) === write;
    if (isPending && kept === 'kept') this.#onRejected(write, index, { kind: 'rejected', code, reason });
    if (isPending && kept === 'discarded') this.#onRejected(write, index, { kind: 'discarded', reason });
    write.batch.release();
    return isPending ? kept : undefined;
  }

  #onRejected(write: Write, index: number, outcome: Rejected): void {
    write.rejecting.delete(index);
    write.ranges?.push({ first: index, frames: 1, outcome });
    this.#settle(write, outcome.kind, 1);
  }

  #settle(write: Write, end: 'delivered' | 'rejected' | 'discarded', frames: number): void {
    write[end] += frames;
    write.unsettled -= frames;
    this.#endIfSettled(write);
  }

  /** These frames are for partitions that are away: they go back when all others of the write are settled. */
  handBackAway(write: Write, indexes: ReadonlySet<number>): void {
    write.away = new Set([...(write.away ?? []), ...indexes]);
    write.unsettled -= indexes.size;
    this.#endIfSettled(write);
  }

  #endIfSettled(write: Write): void {
    if (write.unsettled > 0) return;
    this.#writes.delete(write.batch);
    if (write.away === undefined) write.resolve(settledOf(write));
    else handBack(write, write.away, { code: 'AWAY', message: this.#away.text ?? 'a partition was away' });
    if (this.isEmpty) this.#sayEmpty();
  }

  /** @param left by batch: which frames were not delivered */
  handBackAll(left: ReadonlyMap<Batch, ReadonlySet<number>>, failure: StreamFailure): void {
    const writes = [...this.#writes.values()];
    this.#writes.clear();
    for (const write of writes)
      handBack(write, new Set([...(left.get(write.batch) ?? []), ...(write.away ?? [])]), failure);
    this.#sayEmpty();
  }

  #sayEmpty(): void {
    for (const resolve of this.#whenEmpty.splice(0)) resolve();
  }
}

export function newWrite(batch: Batch, { resolve, reject }: Pick<Write, 'resolve' | 'reject'>): Write {
  return {
    batch,
    unsettled: batch.frames,
    delivered: 0,
    rejected: 0,
    discarded: 0,
    ranges: batch.wantsOutcomes ? [] : undefined,
    rejecting: new Set(),
    isAssigned: false,
    away: undefined,
    resolve,
    reject,
  };
}

/** What is not settled of a write goes back, in order. */
export function handBack(write: Write, left: ReadonlySet<number>, failure: StreamFailure): void {
  const { batch, delivered, rejected, discarded, rejecting } = write;
  const undelivered =
    delivered + rejected + discarded === 0
      ? batch.retain()
      : batch.pick((index) => left.has(index) || rejecting.has(index));
  write.reject(new DeliveryError(failure.code, failure.message, undelivered, settledOf(write)));
}

function settledOf({ delivered, rejected, discarded, ranges }: Write): Settled {
  return {
    delivered,
    rejected,
    ...(discarded === 0 ? {} : { discarded }),
    ...(ranges === undefined ? {} : { ranges }),
  };
}
