// Whether the daemon is being stopped, and how much of STOP_TIMEOUT is left.
import type { Clock } from '../clock.js';
import { type StopPlan, stopPlan } from '../config/stopPlan.js';

export class Shutdown {
  readonly plan: StopPlan;
  /** Resolves when it begins. */
  readonly begun: Promise<void>;
  readonly #clock: Clock;
  #markBegun: () => void = () => undefined;
  /** When all must have ended, ms since the epoch; Infinity: the daemon is not being stopped. */
  #atMs = Infinity;

  constructor(clock: Clock, stopTimeoutMs: number) {
    this.#clock = clock;
    this.plan = stopPlan(stopTimeoutMs);
    this.begun = new Promise((resolve) => (this.#markBegun = resolve));
  }

  begin(): void {
    this.#atMs = this.#clock.now() + this.plan.totalMs;
    this.#markBegun();
  }

  get hasBegun(): boolean {
    return this.#atMs !== Infinity;
  }

  /** Infinity: the daemon is not being stopped. */
  get leftMs(): number {
    return this.#atMs - this.#clock.now();
  }

  /** How long streams may still be given what waits in the spool. */
  get feedMs(): number {
    return this.leftMs - this.plan.streamsMs;
  }
}
