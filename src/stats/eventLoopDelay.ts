// How late the event loop is: how long something that is due waits behind what is running. Measured while it
// is wanted, over the last whole window, so that any number of readers see the same.
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import type { Clock, Timer } from '../clock.js';

/** In seconds. */
export interface EventLoopDelay {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/**
 * Each look wakes the process, so more of them would cost what they are to watch: at 20 ms it was 6 % of the
 * processor time under load, measured.
 */
const RESOLUTION_MS = 100;
const WINDOW_MS = 10_000;

export class EventLoopWatch {
  readonly #histogram: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  readonly #timer: Timer;
  #last: EventLoopDelay | undefined;

  constructor(clock: Clock) {
    this.#histogram.enable();
    this.#timer = clock.every(WINDOW_MS, () => this.#turnOver());
  }

  /** Of the last window that is over, or of the first one until now. */
  get delay(): EventLoopDelay {
    return this.#last ?? this.#measured();
  }

  stop(): void {
    this.#timer.cancel();
    this.#histogram.disable();
  }

  #turnOver(): void {
    this.#last = this.#measured();
    this.#histogram.reset();
  }

  #measured(): EventLoopDelay {
    const { count, max } = this.#histogram;
    if (count === 0) return { p50: 0, p99: 0, max: 0 };
    return {
      p50: lateness(this.#histogram.percentile(50)),
      p99: lateness(this.#histogram.percentile(99)),
      max: lateness(max),
    };
  }
}

/** Node records the time from one look to the next, in nanoseconds: what is over the resolution is delay. */
function lateness(ns: number): number {
  return Math.max(0, ns / 1e9 - RESOLUTION_MS / 1e3);
}
