// Somebody wants it to stop: told once, and everything that waits is woken.
import type { Clock } from '../../clock.js';

export class StopSignal {
  #isStopped = false;
  readonly #wakers = new Set<() => void>();

  hasStopped(): boolean {
    return this.#isStopped;
  }

  stop(): void {
    this.#isStopped = true;
    for (const wake of this.#wakers) wake();
    this.#wakers.clear();
  }

  /** Calls when it is to stop; at once, if it is. Returns the way to end it. */
  onStop(wake: () => void): () => void {
    if (this.#isStopped) wake();
    else this.#wakers.add(wake);
    return () => this.#wakers.delete(wake);
  }

  /** Resolves after a time, or when it is to stop. */
  orAfter(delayMs: number, clock: Clock): Promise<void> {
    return new Promise((resolve) => {
      const timer = clock.after(delayMs, end);
      const forget = this.onStop(end);
      function end(): void {
        timer.cancel();
        // Once in a while it is stopped already, and there is nothing to forget yet.
        queueMicrotask(() => forget());
        resolve();
      }
    });
  }
}
