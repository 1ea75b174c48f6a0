// Frames that a bucket could deliver nowhere when the time for it was over: they are in the spool, for the
// next run, or else they go to REJECTED.
import { countFrames } from '../frames/frame.js';
import type { Batch } from '../frames/batch.js';
import type { Origins } from '../frames/origins.js';
import type { Log } from '../log/log.js';
import type { Discards } from '../losses/discards.js';
import type { RejectedFrames } from '../losses/rejection.js';
import { plural } from '../plural.js';
import type { Spool } from '../spool/spool.js';
import type { LeftOverEnd } from '../streams/streamOptions.js';

export interface LeftOversParts {
  readonly spool: Pick<Spool, 'safeWhen'>;
  readonly rejected: RejectedFrames;
  readonly discards: Discards;
  /** Connections, which hear of what nothing keeps: no receipt counts it. */
  readonly origins: Pick<Origins, 'ended'>;
}

export class LeftOvers {
  readonly #parts: LeftOversParts;

  constructor(parts: LeftOversParts) {
    this.#parts = parts;
  }

  /** @param isTakenOut nobody will ask for it in the next run, because its stream is configured no more */
  async leave(batch: Batch, reason: string, isTakenOut: boolean, log: Log): Promise<LeftOverEnd> {
    if (this.#parts.spool.safeWhen === 'settled' || isTakenOut) return this.#reject(batch, reason);
    const { frames } = batch;
    log.info(`${frames} ${plural(frames, 'frame stays', 'frames stay')} in the spool: ${reason}`, {
      reason,
      frames,
    });
    return 'queued';
  }

  /**
   * What the spool's disk did not take, from this byte on. Streams count it as queued, or have had it: twice
   * is better than never.
   */
  keep({ bucket, bytes, length: end }: Batch, start: number, reason: string): void {
    const frames = countFrames(bytes, start, end);
    void this.#parts.rejected.reject({ bytes, start, end, frames, bucket, reason });
  }

  async #reject(batch: Batch, reason: string): Promise<LeftOverEnd> {
    const { bucket, bytes, length: end, frames, origins: from } = batch;
    const ended = await this.#parts.rejected.offer({ bytes, start: 0, end, frames, bucket, reason, from });
    if (ended === 'kept') return 'rejected';
    if (ended === 'refused') {
      const why = `${reason}, and REJECTED can't keep them`;
      this.#parts.origins.ended(from, 'discarded', why);
      this.#parts.discards.add({ bucket, stream: '*', frames, bytes: end, reason: why });
    }
    return 'discarded';
  }
}
