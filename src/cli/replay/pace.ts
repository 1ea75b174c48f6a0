// At most so many frames a second, evenly: what was not sent in its time is not made up for.
import type { Clock } from '../../clock.js';
import type { StopSignal } from './stopSignal.js';

export class Pace {
  #nextMs = -Infinity;
  #lastMs = 0;

  /** @param framesPerSecond undefined: as fast as it goes */
  constructor(
    readonly framesPerSecond: number | undefined,
    readonly clock: Clock,
  ) {}

  /** A piece should have no more, so that it goes evenly: a tenth of a second's. */
  get pieceFrames(): number {
    return this.framesPerSecond === undefined ? Infinity : Math.max(1, Math.floor(this.framesPerSecond / 10));
  }

  /** Resolves when it is time to send so many frames, or to stop. */
  async wait(frames: number, stop: StopSignal): Promise<void> {
    if (this.framesPerSecond === undefined) return;
    const aheadMs = this.#nextMs - this.clock.now();
    // A clock that was set back must not make it wait for hours.
    const isDue = aheadMs <= 0 || aheadMs > this.#lastMs;
    if (!isDue) await stop.orAfter(Math.min(aheadMs, LONGEST_TIMER_MS), this.clock);
    this.#lastMs = (frames * 1000) / this.framesPerSecond;
    this.#nextMs = (isDue ? this.clock.now() : Math.max(this.#nextMs, this.clock.now())) + this.#lastMs;
  }
}

const LONGEST_TIMER_MS = 2 ** 31 - 1;
