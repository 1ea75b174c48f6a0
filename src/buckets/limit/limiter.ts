// Holds a bucket to its limit: what is over it is rejected before it reaches a batch. It looks at a run once,
// and into one only where the limit falls.
import type { Clock } from '../../clock.js';
import { endOfFrames } from '../../frames/frame.js';
import type { Run } from '../../intake/run.js';
import { behind } from '../../intake/ticket.js';
import type { Excess } from './excess.js';
import type { LimitReport } from './limitReport.js';
import type { RateWindow } from './rateWindow.js';

/** The beginning of a run. */
export interface Within {
  readonly frames: number;
  readonly end: number;
}

export interface LimiterParts {
  /** At most so many frames in the time of the window. */
  readonly frames: number;
  /** It outlives the limiter: see bucketRecord.ts. */
  readonly window: RateWindow;
  readonly excess: Excess;
  readonly report: LimitReport;
  readonly clock: Clock;
}

export class Limiter {
  readonly #parts: LimiterParts;

  constructor(parts: LimiterParts) {
    this.#parts = parts;
  }

  /** How much of the run is within the limit; the rest is rejected. */
  admit(run: Run): Within {
    const { frames: most, window, excess, report, clock } = this.#parts;
    const frames = window.take(run.frames, most, clock.now());
    if (frames === run.frames) return run;
    const end = endOfFrames(run.chunk, run.start, frames);
    const over = run.frames - frames;
    excess.reject({
      ...run,
      start: end,
      frames: over,
      followed: run.followed && behind(run.followed, frames),
    });
    report.over(over);
    return { frames, end };
  }

  /** Nothing comes any more: the log gets what it has not been told. */
  close(): void {
    this.#parts.report.close();
  }
}
