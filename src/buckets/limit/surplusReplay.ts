// Sends what lies in a backup because of the limit, in the room that clients leave, over and over: it is done
// only until more comes. It has the primary to itself, as a stream of its own: between its frames and those
// that clients send there is no order to keep.
import type { Clock, Timer } from '../../clock.js';
import type { Log } from '../../log/log.js';
import type { BackupReplay, Stream } from '../../streams/stream.js';
import { messageOf } from '../../errors.js';
import { plural } from '../../plural.js';

export interface SurplusReplayOptions {
  readonly replay: BackupReplay;
  readonly primary: Stream;
  /** Files of the backup, also such of which all was sent. */
  readonly files: () => number;
  /** How long between two tries after a failure. */
  readonly retryMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

const LOOK_MS = 1_000;
const CLOSE_MS = 3_000;

export class SurplusReplay {
  readonly #options: SurplusReplayOptions;
  #timer: Timer | undefined;
  #isStopped = false;
  #problem: string | undefined;
  #hasBegun = false;

  constructor(options: SurplusReplayOptions) {
    this.#options = options;
    void this.#open();
  }

  /** A piece that is on its way has a few seconds to arrive; what is left is the next life's. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    await Promise.all([this.#options.replay.stop(), this.#options.primary.close({ deadlineMs: CLOSE_MS })]);
  }

  async #open(): Promise<void> {
    await this.#options.primary.open().catch((error: unknown) => this.#onFailure(error));
    this.#again(LOOK_MS);
  }

  #again(ms: number): void {
    if (!this.#isStopped) this.#timer = this.#options.clock.after(ms, () => void this.#look());
  }

  async #look(): Promise<void> {
    const { replay, primary, files, retryMs } = this.#options;
    try {
      if (!replay.isKnown || files() === 0) return;
      if (this.#problem !== undefined || primary.away !== undefined) await primary.probe();
      if (this.#problem !== undefined || primary.hasReturned === true) replay.rewind();
      primary.readmit?.();
      this.#begin();
      // What is all sent goes, unless more is just being written.
      await replay.send(replay.leftBytes > 0 ? 1 : 0);
    } catch (error) {
      this.#onFailure(error);
    } finally {
      this.#again(this.#problem === undefined && primary.away === undefined ? LOOK_MS : retryMs);
    }
  }

  #begin(): void {
    const { log, replay } = this.#options;
    if (!this.#hasBegun && replay.leftFrames > 0)
      log.info(
        `${replay.leftFrames} ${plural(replay.leftFrames, 'frame')} in the backup ${plural(replay.leftFrames, 'is', 'are')} there because of the rate limit, and sent as it leaves room`,
      );
    if (this.#problem !== undefined) log.info('what was over the rate limit is being sent again');
    this.#hasBegun = true;
    this.#problem = undefined;
  }

  #onFailure(error: unknown): void {
    if (this.#isStopped) return;
    const { log, replay, retryMs } = this.#options;
    const isKnown = this.#problem !== undefined;
    this.#problem = messageOf(error);
    if (!isKnown)
      log.warn(
        `what was over the rate limit is not sent yet: ${this.#problem}; ${replay.leftFrames} ${plural(replay.leftFrames, 'frame is', 'frames are')} left, tried again every ${retryMs} ms`,
      );
  }
}
