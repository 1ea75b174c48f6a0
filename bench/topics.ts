// The topics of the bench: a fresh one for each run, so that its end offsets are the number of frames that
// arrived.
import { type Admin, Kafka, logLevel } from 'kafkajs';
import type { KafkaServer } from '../support/kafkaServer.js';
import { sleep } from './system.js';

const POLL_MS = 50;
/** When nothing has come for so long, nothing more will. */
const GIVE_UP_MS = 5_000;

export class Topics {
  readonly #kafka: KafkaServer;
  #made = 0;

  constructor(kafka: KafkaServer) {
    this.#kafka = kafka;
  }

  get bootstrap(): string {
    return this.#kafka.bootstrap;
  }

  async make(partitions: number): Promise<Topic> {
    // Always of the same length, for it is part of every frame.
    const name = `kh_bench_${String(++this.#made).padStart(3, '0')}`;
    await this.#kafka.createTopic(name, { partitions });
    return new Topic(name, this.#kafka);
  }
}

export class Topic {
  readonly name: string;
  readonly #kafka: KafkaServer;
  /**
   * Connected only once it is asked, for kafkajs wakes every millisecond then, on the cores that are
   * measured.
   */
  #admin: Admin | undefined;

  constructor(name: string, kafka: KafkaServer) {
    this.name = name;
    this.#kafka = kafka;
  }

  /** Messages in it. */
  async count(): Promise<number> {
    this.#admin ??= await connectedAdmin(this.#kafka.bootstrap);
    const offsets = await this.#admin.fetchTopicOffsets(this.name);
    return offsets.reduce((sum, { high, low }) => sum + Number(high) - Number(low), 0);
  }

  /** Resolves when it has so many, or nothing more comes. */
  async untilHas(frames: number): Promise<void> {
    let seen = 0;
    let seenMs = performance.now();
    for (;;) {
      const now = await this.count();
      if (now >= frames) return;
      if (now > seen) [seen, seenMs] = [now, performance.now()];
      if (performance.now() - seenMs > GIVE_UP_MS) return;
      await sleep(POLL_MS);
    }
  }

  /** Counts a last time. */
  async remove(): Promise<number> {
    const messages = await this.count();
    await this.#admin?.disconnect();
    await this.#kafka.deleteTopic(this.name);
    return messages;
  }
}

/**
 * One for each topic: kafkajs's asks again for every topic it was ever asked for, and fails when one of them
 * is gone.
 */
async function connectedAdmin(bootstrap: string): Promise<Admin> {
  const client = new Kafka({
    clientId: 'kahe-bench',
    brokers: bootstrap.split(','),
    logLevel: logLevel.NOTHING,
  });
  const admin = client.admin();
  await admin.connect();
  return admin;
}
