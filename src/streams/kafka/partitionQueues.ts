// The queues of one stream's partitions, each made when its partition first gets something, with the timers
// of their next tries.
import type { Timer } from '../../clock.js';
import type { Batch } from '../../frames/batch.js';
import type { KafkaSettings } from '../../config/kafka/settings.js';
import type { BatchEncoder } from './batchEncoder.js';
import { PartitionQueue } from './partitionQueue.js';
import { addIndexes } from './partitioning.js';

export interface PartitionQueuesOptions {
  readonly topic: string;
  readonly settings: KafkaSettings;
  readonly random: () => number;
}

/** By batch: which of its frames. */
export type FramesLeft = ReadonlyMap<Batch, Set<number>>;

export class PartitionQueues {
  readonly #options: PartitionQueuesOptions;
  readonly #queues = new Map<number, PartitionQueue>();
  readonly #timers = new Map<PartitionQueue, Timer>();

  constructor(options: PartitionQueuesOptions) {
    this.#options = options;
  }

  /** Must an answer be waited for? */
  get areSending(): boolean {
    for (const queue of this.#queues.values()) if (queue.isSending) return true;
    return false;
  }

  of(partition: number, encoder: BatchEncoder): PartitionQueue {
    let queue = this.#queues.get(partition);
    if (queue === undefined) {
      const { topic, settings, random } = this.#options;
      queue = new PartitionQueue({ ...settings, topic, partition, encoder, random });
      this.#queues.set(partition, queue);
    }
    return queue;
  }

  /** The queue's next try comes with this timer, unless it is stopped before. */
  keepTimer(queue: PartitionQueue, timer: Timer): void {
    this.#timers.set(queue, timer);
  }

  /** They send nothing more, but for what is on its way. */
  stop(): void {
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
    for (const queue of this.#queues.values()) queue.stop();
  }

  /** Takes the queue out. @returns what it has not delivered */
  remove(queue: PartitionQueue): FramesLeft {
    this.#timers.get(queue)?.cancel();
    this.#timers.delete(queue);
    this.#queues.delete(queue.partition);
    return leftIn([queue]);
  }

  /** Takes all out: those that come next begin with no history. @returns what they have not delivered */
  removeAll(): FramesLeft {
    this.stop();
    const left = leftIn(this.#queues.values());
    this.#queues.clear();
    return left;
  }
}

function leftIn(queues: Iterable<PartitionQueue>): FramesLeft {
  const left = new Map<Batch, Set<number>>();
  for (const queue of queues) {
    for (const range of queue.takeBack()) {
      const indexes = left.get(range.batch) ?? new Set<number>();
      left.set(range.batch, indexes);
      addIndexes(indexes, range);
    }
  }
  return left;
}
