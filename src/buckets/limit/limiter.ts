// Holds a bucket to its limit: what is over it goes elsewhere before it reaches a batch. It looks at a run
// once, and into one only where the limit falls.
import type { Admission, Within } from '../messages.js';
import type { Run } from '../../intake/run.js';
import type { Receipt } from '../../intake/receipt.js';
import { endOfFrames } from '../../frames/frame.js';
import type { Gate } from './gate.js';
import type { LimitReport } from './limitReport.js';

/** Where the frames over the limit go. */
export interface Overflow {
  /** Whole frames; borrowed, as every run. */
  take(run: Run): void;
  /** The receipt holds until all that was taken before is safe. */
  fence(receipt: Receipt): void;
  /** Resolves when nothing is left here that has not ended somewhere. */
  stop(): Promise<void>;
}

export class Limiter implements Admission {
  constructor(
    readonly gate: Gate,
    readonly overflow: Overflow,
    readonly report: LimitReport,
  ) {}

  admit(run: Run): Within {
    const frames = this.gate.admit(run.frames);
    if (frames === run.frames) return run;
    const end = endOfFrames(run.chunk, run.start, frames);
    const { kind, bucket, chunk, nowMs, budget, origin } = run;
    const over = run.frames - frames;
    // Not the run's own bytes any more: who got the whole run ends it.
    this.overflow.take({
      kind,
      bucket,
      chunk,
      start: end,
      end: run.end,
      frames: over,
      nowMs,
      budget,
      ...(origin === undefined ? {} : { origin }),
    });
    this.report.over(over);
    return { frames, end };
  }

  fence(receipt: Receipt): void {
    this.overflow.fence(receipt);
  }

  async stop(): Promise<void> {
    await this.overflow.stop();
    this.report.close();
  }
}
