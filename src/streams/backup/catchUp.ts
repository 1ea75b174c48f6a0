// A replay beside what comes, in runs:
//   sending  while the backup grows at its end: until little is left.
//   resting  nothing more is written to the backup; what is outstanding there ends.
//   last     what is left then; when the primary has had it, nothing is behind it but what waits.
import type { Log } from '../../log/log.js';
import type { BackupReplay } from '../stream.js';
import { messageOf } from '../../errors.js';
import { plural } from '../../plural.js';

/** `none`: it is not sent. */
export type CatchUpPhase = 'none' | 'sending' | 'resting' | 'last';

export interface CatchUpParts {
  /** Undefined: nothing is ever sent. */
  readonly replay: BackupReplay | undefined;
  readonly log: Log;
  /** A run has ended: with the reason, when it did not come to what it was to. */
  readonly onEnded: (problem: string | undefined) => void;
}

/**
 * So near the end of the backup, new batches wait for the rest of it instead of joining its end: that comes
 * to an end under any load.
 */
const NEAR_END_BYTES = 2 * 1024 * 1024;

export class CatchUp {
  readonly #parts: CatchUpParts;
  /** What the log has said last of a replay that does not go on. */
  #notSent: { readonly problem: string; readonly leftFrames: number } | undefined;

  constructor(parts: CatchUpParts) {
    this.#parts = parts;
  }

  /** The backup holds what the primary has not had, or it is not known yet. */
  get isDue(): boolean {
    const { replay } = this.#parts;
    return replay !== undefined && (!replay.isKnown || replay.leftBytes > 0);
  }

  /** Why there is something to send before all else, when that was so from the start. */
  get whatWasLeft(): string {
    const { isKnown, leftFrames } = this.#parts.replay!;
    return isKnown
      ? `a previous run has left ${leftFrames} ${plural(leftFrames, 'frame')} in the backup, which ${plural(leftFrames, 'goes', 'go')} first`
      : "what the backup holds can't be found out yet, and it goes first";
  }

  /** From the oldest on. @param phase `last`: nothing is written to the backup meanwhile */
  start(phase: 'sending' | 'last'): void {
    const { replay, log } = this.#parts;
    const { leftFrames } = replay!;
    replay!.rewind();
    if (this.#notSent?.leftFrames !== leftFrames)
      log.info(
        `the primary is back: it gets the ${leftFrames} ${plural(leftFrames, 'frame')} of the backup first`,
        { frames: leftFrames },
      );
    this.run(phase);
  }

  /** Ends a run after the piece that is being sent. */
  async stop(): Promise<void> {
    await this.#parts.replay?.stop();
  }

  /** Once, until something has changed: in error mode it is tried every second. */
  sayNotSent(problem: string): void {
    const { replay, log } = this.#parts;
    const { leftFrames } = replay!;
    if (this.#notSent?.problem === problem && this.#notSent.leftFrames === leftFrames) return;
    this.#notSent = { problem, leftFrames };
    log.warn(
      `the backup is not sent yet: ${problem}; ${leftFrames} ${plural(leftFrames, 'frame is', 'frames are')} left in it; it is tried again`,
      { reason: problem, frames: leftFrames },
    );
  }

  /** What was said of it belongs to a mode that is over. */
  forgetWhatWasSaid(): void {
    this.#notSent = undefined;
  }

  run(phase: 'sending' | 'last'): void {
    const { onEnded } = this.#parts;
    this.#send(phase).then(
      () => onEnded(undefined),
      (error: unknown) => onEnded(messageOf(error)),
    );
  }

  /** A replay that throws before it has made a promise fails like any other. */
  async #send(phase: 'sending' | 'last'): Promise<void> {
    await this.#parts.replay!.send(phase === 'last' ? 0 : NEAR_END_BYTES);
  }
}
