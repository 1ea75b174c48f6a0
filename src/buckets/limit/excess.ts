// Frames over the limit of a bucket: they are kept in REJECTED, and count as rejected in the account of each
// stream. Nothing here holds a receipt: a connection answers once what was rejected is kept (see Client).
import { type RateLimitConfig, rateText } from '../../config/rateLimit.js';
import type { Run } from '../../intake/run.js';
import { type Refusal, type RejectedFrames, rejectRun } from '../../losses/rejection.js';
import { type Account, book, move } from '../../streams/account.js';

export class Excess {
  readonly #refusal: Refusal;

  /** @param accounts of all streams of the bucket */
  constructor(
    limit: RateLimitConfig,
    readonly bucket: string,
    readonly accounts: readonly Account[],
    readonly rejected: RejectedFrames,
  ) {
    this.#refusal = {
      code: 'RATE_LIMIT',
      reason: `over the rate limit of the bucket: ${rateText(limit)}`,
    };
  }

  /** The end of a run; borrowed, and whoever has the run ends it. */
  reject(rest: Run): void {
    const { frames } = rest;
    for (const account of this.accounts) book(account, frames, 'queued');
    void rejectRun(this.rejected, rest, this.bucket, this.#refusal).then((ended) => {
      for (const account of this.accounts)
        move(account, frames, 'queued', ended === 'kept' ? 'rejected' : 'discarded');
    });
  }
}
