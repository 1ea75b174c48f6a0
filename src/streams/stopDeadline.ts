// When the time of a stream that ends is over: first the primary's, and then, for what that has not taken,
// the backup's.
import type { Clock, Timer } from '../clock.js';
import { backupMs } from '../config/stopPlan.js';

/**
 * A stream may end long before the daemon does (a bucket that was idle): whether that has begun is looked at
 * so often.
 */
const CHECK_MS = 1_000;

export class StopDeadline {
  readonly #clock: Clock;
  readonly #leftMs: () => number;
  readonly #onReached: () => void;
  /** Known once the daemon stops. */
  #backupMs: number | undefined;
  #timer: Timer | undefined;

  /**
   * @param leftMs how long batches may still be tried, all in all: without end while the daemon does not stop
   */
  constructor(clock: Clock, leftMs: () => number, onReached: () => void) {
    this.#clock = clock;
    this.#leftMs = leftMs;
    this.#onReached = onReached;
  }

  /** Until the primary's time is over. */
  watchPrimary(): void {
    const stopMs = this.#leftMs();
    if (Number.isFinite(stopMs)) this.#backupMs ??= backupMs(stopMs);
    const primaryMs = Math.max(0, stopMs - (this.#backupMs ?? backupMs()));
    this.#timer = this.#clock.after(Math.min(primaryMs, CHECK_MS), () => {
      if (primaryMs > CHECK_MS) this.watchPrimary();
      else this.#onReached();
    });
  }

  /** Until the backup's is, from now on. */
  watchBackup(): void {
    this.#timer = this.#clock.after(this.#backupMs ?? backupMs(), this.#onReached);
  }

  /** `none`: no more. */
  watch(whose: 'primary' | 'backup' | 'none'): void {
    if (whose === 'primary') this.watchPrimary();
    else if (whose === 'backup') this.watchBackup();
    else this.cancel();
  }

  cancel(): void {
    this.#timer?.cancel();
  }
}
