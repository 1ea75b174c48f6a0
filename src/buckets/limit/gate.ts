// Who may pass under the limit of a bucket: what clients send first, and what a replay sends in the room that
// they leave. So the limit holds for what a primary gets in all. While a stream's primary is away, clients'
// frames go to its backup and use no room there.
import type { Clock } from '../../clock.js';
import type { RateLimitConfig } from '../../config/rateLimit.js';
import type { Pace } from '../../streams/backup/pace.js';
import type { StreamMode } from '../../streams/streamStats.js';
import { Demand } from './demand.js';
import { RateWindow } from './rateWindow.js';
import { ReplayPace, type Room } from './replayPace.js';

/** A stream of the bucket, as the gate looks at it. */
export interface Watched {
  readonly mode: StreamMode;
}

/** So much more than clients sent is left for them, for they send unevenly. */
const UNEVEN = 1.1;

/** What the primary of one stream gets. */
interface Lane {
  readonly watch: Watched;
  readonly window: RateWindow;
  /** Frames that a replay is reading, to send them. */
  held: number;
}

export class Gate {
  readonly #limit: RateLimitConfig;
  readonly #clock: Clock;
  readonly #admitted: RateWindow;
  readonly #demand: Demand;
  readonly #lanes: readonly Lane[];

  /**
   * @param replayed the streams whose backups a replay may send; where frames are rejected none matters
   * @param before the gate of a limit for the same time, which this one follows: what it has let through
   * counts
   */
  constructor(limit: RateLimitConfig, replayed: readonly Watched[], clock: Clock, before?: Gate) {
    const { frames, perMs } = limit;
    this.#limit = limit;
    this.#clock = clock;
    this.#admitted = new RateWindow(frames, perMs, before && before.#admitted);
    this.#demand = new Demand(perMs);
    this.#lanes = replayed.map((watch) => ({
      watch,
      window: new RateWindow(frames, perMs, before && before.#windowOf(watch)),
      held: 0,
    }));
  }

  /** How many of the frames that a client sends are within the limit. */
  admit(frames: number): number {
    const nowMs = this.#clock.now();
    this.#demand.note(frames, nowMs);
    let fits = Math.min(frames, this.#admitted.room(nowMs));
    for (const lane of this.#lanes)
      if (lane.watch.mode === 'normal') fits = Math.min(fits, roomIn(lane, nowMs));
    this.#admitted.note(fits, nowMs);
    for (const { watch, window } of this.#lanes) if (watch.mode === 'normal') window.note(fits, nowMs);
    return fits;
  }

  /**
   * What the primary of this stream has had; what clients were let through when it had no window of its own.
   */
  #windowOf(watch: Watched): RateWindow {
    return this.#lanes.find((lane) => lane.watch === watch)?.window ?? this.#admitted;
  }

  /** For what the backup holds because the primary was away. */
  paceOfBackup(stream: number): Pace {
    const lane = this.#lanes[stream]!;
    return this.#pace(lane, (nowMs) => ({ now: roomIn(lane, nowMs), most: this.#limit.frames }));
  }

  /**
   * For what it holds because of the limit: only while the primary is there, and behind what clients send.
   */
  paceOfSurplus(stream: number): Pace {
    const lane = this.#lanes[stream]!;
    return this.#pace(lane, (nowMs) => {
      const most = this.#limit.frames - Math.ceil(this.#demand.expected(nowMs) * UNEVEN);
      if (lane.watch.mode !== 'normal' || most <= 0) return { now: 0, most: 0 };
      const replayed = Math.max(0, lane.window.used(nowMs) - this.#admitted.used(nowMs));
      return { now: Math.min(roomIn(lane, nowMs), most - replayed), most };
    });
  }

  #pace(lane: Lane, room: (nowMs: number) => Room): Pace {
    return new ReplayPace({
      limit: this.#limit,
      clock: this.#clock,
      room,
      hold: (frames) => (lane.held += frames),
      note: (frames, nowMs) => lane.window.note(frames, nowMs),
    });
  }
}

function roomIn({ window, held }: Lane, nowMs: number): number {
  return Math.max(0, window.room(nowMs) - held);
}
