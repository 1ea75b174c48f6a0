// `"over": "reject"`: what is over the limit is kept in REJECTED, and counts as rejected in the account of
// each stream.
import { type Run, originsOf } from '../../intake/run.js';
import { type RateLimitConfig, rateText } from '../../config/rateLimit.js';
import { type Account, book, move } from '../../streams/account.js';
import type { RejectedFrames } from '../../losses/rejection.js';
import type { Overflow } from './limiter.js';

export class RejectOverflow implements Overflow {
  readonly #reason: string;

  constructor(
    limit: RateLimitConfig,
    readonly bucket: string,
    readonly accounts: readonly Account[],
    readonly rejected: RejectedFrames,
  ) {
    this.#reason = `over the rate limit of the bucket: ${rateText(limit)}`;
  }

  take(run: Run): void {
    const { chunk, start, end, frames } = run;
    for (const account of this.accounts) book(account, frames, 'queued');
    void this.rejected
      .reject({
        bytes: chunk,
        start,
        end,
        frames,
        bucket: this.bucket,
        reason: this.#reason,
        from: originsOf(run),
      })
      .then((ended) => {
        for (const account of this.accounts)
          move(account, frames, 'queued', ended === 'kept' ? 'rejected' : 'discarded');
      });
  }

  /** Who answers a receipt waits until what was rejected is kept: see Client. */
  fence(): void {
    return;
  }

  stop(): Promise<void> {
    return Promise.resolve();
  }
}
