// The pace of a replay under a limit: it waits until there is room for a fair piece, a tenth of the limit
// where that can be, so that its position is not noted for every few frames.
import type { Clock, Timer } from '../../clock.js';
import type { RateLimitConfig } from '../../config/rateLimit.js';
import type { Pace } from '../../streams/backup/pace.js';

/** Frames that there is room for: now, and at best. */
export interface Room {
  readonly now: number;
  readonly most: number;
}

export interface ReplayPaceOptions {
  readonly limit: RateLimitConfig;
  readonly clock: Clock;
  readonly room: (nowMs: number) => Room;
  /** So many more frames, or fewer, are spoken for. */
  readonly hold: (frames: number) => void;
  readonly note: (frames: number, nowMs: number) => void;
}

const PIECES = 10;
/** How often it is looked for room, at most and at least. */
const LOOK_MS = { often: 10, seldom: 1_000 } as const;

export class ReplayPace implements Pace {
  readonly #options: ReplayPaceOptions;
  #waiting: { readonly timer: Timer; readonly letGo: () => void } | undefined;
  #stops = 0;

  constructor(options: ReplayPaceOptions) {
    this.#options = options;
  }

  async next(most: number): Promise<number> {
    const stops = this.#stops;
    for (;;) {
      const granted = this.#granted(most);
      if (granted > 0) {
        this.#options.hold(granted);
        return granted;
      }
      await this.#wait();
      if (this.#stops > stops) return 0;
    }
  }

  spend(granted: number, frames: number): void {
    this.#options.hold(-granted);
    this.#options.note(frames, this.#options.clock.now());
  }

  stop(): void {
    this.#stops++;
    this.#waiting?.timer.cancel();
    this.#waiting?.letGo();
  }

  #granted(wanted: number): number {
    const { limit, room, clock } = this.#options;
    const { now, most } = room(clock.now());
    const enough = Math.max(1, Math.min(wanted, most, Math.ceil(limit.frames / PIECES)));
    return now < enough ? 0 : Math.min(now, wanted);
  }

  async #wait(): Promise<void> {
    const { limit, clock } = this.#options;
    const ms = Math.min(LOOK_MS.seldom, Math.max(LOOK_MS.often, Math.ceil(limit.perMs / 60)));
    await new Promise<void>((letGo) => (this.#waiting = { timer: clock.after(ms, letGo), letGo }));
    this.#waiting = undefined;
  }
}
