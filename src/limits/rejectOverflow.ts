// `"over": "reject"`: what is over the limit is kept in REJECTED, and counts as rejected in the account of each stream.
import type { Run } from '../buckets/messages.js';
import { type RateLimitConfig, rateText } from '../config/rateLimit.js';
import { type Account, book } from '../streams/account.js';
import type { RejectedFrames } from '../streams/stream.js';
import type { Overflow } from './limiter.js';

export class RejectOverflow implements Overflow {
  readonly #reason: string;

  constructor(limit: RateLimitConfig, readonly bucket: string, readonly accounts: readonly Account[], readonly rejected: RejectedFrames) {
    this.#reason = `over the rate limit of the bucket: ${rateText(limit)}`;
  }

  take({ chunk, start, end, frames }: Run): void {
    this.rejected.reject({ bytes: chunk, start, end, frames, bucket: this.bucket, reason: this.#reason });
    for (const account of this.accounts) book(account, frames, 'rejected');
  }

  /** Who answers a receipt waits for what was rejected to be kept: see Client. */
  fence(): void {
    return;
  }

  stop(): Promise<void> {
    return Promise.resolve();
  }
}
