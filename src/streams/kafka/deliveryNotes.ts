// What a Kafka stream tells people while it delivers: that something is tried again, every few seconds and no
// more often, and once that a topic refuses the time of its frames. The counts have each of them.
import type { Clock } from '../../clock.js';
import type { Log } from '../../log/log.js';
import type { StreamStats } from '../streamStats.js';

export interface DeliveryNotesOptions {
  readonly topic: string;
  readonly messageTimeoutMs: number;
  readonly stats: Pick<StreamStats, 'retried' | 'retimed'> | undefined;
  readonly log: Log;
  readonly clock: Clock;
}

const LOG_RETRY_EVERY_MS = 10_000;

export class DeliveryNotes {
  readonly #options: DeliveryNotesOptions;
  #loggedRetryMs = -Infinity;
  #hasToldOfTimes = false;

  constructor(options: DeliveryNotesOptions) {
    this.#options = options;
  }

  /** A record batch, or the question for the topic, is tried again. */
  retried(reason: string): void {
    const { stats, clock, log, topic, messageTimeoutMs } = this.#options;
    stats?.retried(reason);
    const now = clock.now();
    if (now - this.#loggedRetryMs < LOG_RETRY_EVERY_MS) return;
    this.#loggedRetryMs = now;
    log.warn(
      `${reason}; tried again for up to ${messageTimeoutMs / 1000} s (message.timeout.ms); nothing is lost`,
      { reason, topic, timeoutMs: messageTimeoutMs },
    );
  }

  /** So many frames were delivered with the time of sending. */
  retimed(frames: number): void {
    const { stats, log, topic } = this.#options;
    stats?.retimed(frames);
    if (this.#hasToldOfTimes) return;
    this.#hasToldOfTimes = true;
    log.warn(
      `topic ${topic} refuses the arrival time of some frames (message.timestamp.before.max.ms, message.timestamp.after.max.ms): they are sent with the time of sending; kahe_stream_retimed_frames_total counts them, this line comes once`,
      { reason: 'the topic refuses their arrival time', topic, frames },
    );
  }
}
