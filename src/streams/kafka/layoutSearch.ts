// Asks for the partitions of a topic until they are known and one has a leader, or the time for delivering
// has passed. One search: it ends once, or is stopped.
import type { Clock, Timer } from '../../clock.js';
import type { KafkaSettings } from '../../config/kafka/settings.js';
import type { Cluster, TopicLayout } from '../../kafka/cluster.js';
import { KafkaFailure } from '../../kafka/failure.js';
import type { DeliveryNotes } from './deliveryNotes.js';
import type { StreamFailure } from './pendingWrites.js';

export interface LayoutSearchOptions {
  readonly topic: string;
  readonly settings: Pick<KafkaSettings, 'messageTimeoutMs' | 'retryBackoffMs' | 'retryBackoffMaxMs'>;
  readonly cluster: Pick<Cluster, 'refresh'>;
  readonly clock: Clock;
}

export class LayoutSearch {
  readonly #options: LayoutSearchOptions;
  readonly #notes: Pick<DeliveryNotes, 'retried'>;
  #sinceMs: number;
  #tries = 0;
  #timer: Timer | undefined;
  #isStopped = false;

  constructor(options: LayoutSearchOptions, notes: Pick<DeliveryNotes, 'retried'>) {
    this.#options = options;
    this.#notes = notes;
    this.#sinceMs = options.clock.now();
  }

  /** @returns why there is none; undefined: it was found, or the search was stopped */
  async run(): Promise<StreamFailure | undefined> {
    for (;;) {
      const problem = await askForLeader(this.#options.cluster, this.#options.topic);
      if (this.#isStopped || problem === undefined) return undefined;
      const leftMs = this.#leftMs();
      if (leftMs <= 0) return this.#failure(problem);
      this.#notes.retried(problem.message);
      await this.#backOff(leftMs);
    }
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  #leftMs(): number {
    const nowMs = this.#options.clock.now();
    this.#sinceMs = Math.min(this.#sinceMs, nowMs);
    return this.#options.settings.messageTimeoutMs - (nowMs - this.#sinceMs);
  }

  #failure({ code, message }: KafkaFailure): StreamFailure {
    const { messageTimeoutMs } = this.#options.settings;
    return {
      code: code === 'AUTH' || code === 'TOPIC' ? 'REFUSED' : 'UNREACHABLE',
      message: `${message}; tried for ${messageTimeoutMs} ms (message.timeout.ms)`,
    };
  }

  #backOff(leftMs: number): Promise<void> {
    const { retryBackoffMs, retryBackoffMaxMs } = this.#options.settings;
    const waitMs = Math.min(retryBackoffMs * 2 ** this.#tries++, retryBackoffMaxMs, leftMs);
    return new Promise((resolve) => (this.#timer = this.#options.clock.after(waitMs, resolve)));
  }
}

export function hasLeader({ leaders }: TopicLayout): boolean {
  return leaders.some((leader) => leader >= 0);
}

async function askForLeader(
  cluster: Pick<Cluster, 'refresh'>,
  topic: string,
): Promise<KafkaFailure | undefined> {
  try {
    if (hasLeader(await cluster.refresh(topic))) return undefined;
    return new KafkaFailure('CONNECTION', `no partition of topic ${topic} has a leader`);
  } catch (error) {
    return asKafkaFailure(error);
  }
}

export function asKafkaFailure(error: unknown): KafkaFailure {
  return error instanceof KafkaFailure ? error : new KafkaFailure('PROTOCOL', String(error));
}
