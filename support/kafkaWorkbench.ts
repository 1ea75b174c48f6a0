// Kafka streams as the daemon makes them, on whatever cluster a test has, with all that they were given to
// look at: the budget that must come back to nothing, the frames that were rejected, the lines of the log.
import { expect } from 'vitest';
import type { FakeCluster } from './fakeBroker.js';
import { FakeRejected } from './fakeRejected.js';
import { systemClock, type Clock } from '../src/clock.js';
import { Problems } from '../src/config/problems.js';
import { Batch } from '../src/frames/batch.js';
import { PREFIX_BYTES, bodyLength, encodeFrame } from '../src/frames/frame.js';
import { Log } from '../src/log/log.js';
import { MemoryBudget } from '../src/memory/memoryBudget.js';
import { Cluster } from '../src/kafka/cluster.js';
import { KafkaStream } from '../src/streams/kafka/kafkaStream.js';
import { Semaphore } from '../src/streams/kafka/semaphore.js';
import { Sender } from '../src/streams/kafka/sender.js';
import { parseKafkaSettings, type KafkaSettings } from '../src/config/kafka/settings.js';
import { DeliveryError, type Settled } from '../src/streams/stream.js';
import { StreamStats } from '../src/streams/streamStats.js';

export type LibrdkafkaSettings = Readonly<Record<string, string | number | boolean>>;

/** A frame as tests write and compare it. */
export interface Frame {
  readonly key: string | null;
  readonly message: string;
}

export interface Rejection {
  readonly bucket: string;
  readonly reason: string;
  readonly frames: number;
  readonly messages: readonly string[];
}

export interface Outcome {
  readonly settled: Settled;
  readonly undelivered: readonly Frame[];
  readonly error: DeliveryError | undefined;
}

/** Quick to give up and to try again, so that no test waits for long. */
const QUICK: LibrdkafkaSettings = {
  'socket.timeout.ms': 1_000,
  'socket.connection.setup.timeout.ms': 2_000,
  'retry.backoff.ms': 5,
  'retry.backoff.max.ms': 20,
  'message.timeout.ms': 5_000,
};

export class KafkaWorkbench {
  readonly budget: MemoryBudget;
  readonly rejections: Rejection[] = [];
  readonly lines: string[] = [];
  /** Of all its streams. */
  readonly stats = new StreamStats(Date.now);
  readonly log = new Log('DEBUG', (line) => this.lines.push(line));
  readonly rejected = new FakeRejected(({ bytes, start, end, frames, bucket, reason }) => {
    this.rejections.push({
      bucket,
      reason,
      frames,
      messages: framesIn(Buffer.from(bytes.slice(start, end))).map(({ message }) => message),
    });
  });
  readonly #semaphore = new Semaphore(2);
  readonly #clusters = new Map<string, { readonly cluster: Cluster; readonly sender: Sender }>();
  readonly #streams: KafkaStream[] = [];
  readonly #clock: Clock;

  constructor({
    limitBytes = 64 * 1024 * 1024,
    clock = systemClock,
  }: { readonly limitBytes?: number; readonly clock?: Clock } = {}) {
    this.budget = new MemoryBudget(limitBytes);
    this.#clock = clock;
  }

  /** A stream, not opened. Those with the same settings share a cluster. */
  stream(topic: string, bootstrap: string, settings: LibrdkafkaSettings = {}): KafkaStream {
    const parsed = settingsOf({ 'bootstrap.servers': bootstrap, ...QUICK, ...settings });
    const { cluster, sender } = this.share(parsed);
    const { budget, rejected, log, stats } = this;
    const stream = new KafkaStream({
      topic,
      settings: parsed,
      cluster,
      sender,
      budget,
      rejected,
      semaphore: this.#semaphore,
      log,
      stats,
      clock: this.#clock,
    });
    this.#streams.push(stream);
    return stream;
  }

  async opened(topic: string, bootstrap: string, settings: LibrdkafkaSettings = {}): Promise<KafkaStream> {
    const stream = this.stream(topic, bootstrap, settings);
    await stream.open();
    return stream;
  }

  share(settings: KafkaSettings): { readonly cluster: Cluster; readonly sender: Sender } {
    let shared = this.#clusters.get(settings.clusterKey);
    if (shared === undefined) {
      const cluster = new Cluster(settings, this.log, this.#clock);
      this.#clusters.set(
        settings.clusterKey,
        (shared = { cluster, sender: new Sender(cluster, this.#clock) }),
      );
    }
    return shared;
  }

  /** A batch of these messages; see `frame`. */
  batch(topic: string, messages: readonly (string | Frame)[], nowMs = Date.now()): Batch {
    const batch = new Batch(topic, this.budget);
    for (const { key, message } of messages.map(frame)) {
      const bytes = encodeFrame(topic, key, message);
      batch.append(bytes, 0, bytes.length, 1, nowMs);
    }
    return batch;
  }

  /** Writes one batch, and lets go of it and of what was handed back. */
  async write(stream: KafkaStream, topic: string, messages: readonly (string | Frame)[]): Promise<Outcome> {
    const batch = this.batch(topic, messages);
    try {
      return { settled: await stream.write(batch), undelivered: [], error: undefined };
    } catch (error) {
      if (!(error instanceof DeliveryError)) throw error;
      const undelivered = framesIn(error.undelivered.view());
      error.undelivered.release();
      return { settled: error.settled, undelivered, error };
    } finally {
      batch.release();
    }
  }

  /** Ends all streams and connections. */
  async close(): Promise<void> {
    for (const stream of this.#streams.splice(0)) await stream.close({ deadlineMs: 0 });
    for (const { cluster } of this.#clusters.values()) cluster.close();
    this.#clusters.clear();
  }
}

/** Ends both. Memory is held no more, and the cluster was asked nothing that a broker would not take. */
export async function endKafka(bench: KafkaWorkbench, cluster: FakeCluster): Promise<void> {
  await bench.close();
  await cluster.close();
  expect(bench.budget.heldBytes).toBe(0);
  // `heldBytes` could be 0 as a sum: what is encoded must be nothing by itself, or this much more would not
  // fit.
  expect(bench.budget.takeEncoded(bench.budget.limitBytes * 100)).toBe(true);
  expect(cluster.problems).toEqual([]);
}

/** @throws Error for settings that a configuration could not have */
export function settingsOf(settings: LibrdkafkaSettings): KafkaSettings {
  const problems = new Problems('test');
  const parsed = parseKafkaSettings(settings, 'settings', problems);
  problems.throwIfAny();
  return parsed;
}

/** A message without a key, or with one: `key|message`. */
export function frame(text: string | Frame): Frame {
  if (typeof text !== 'string') return text;
  const bar = text.indexOf('|');
  return bar < 0 ? { key: null, message: text } : { key: text.slice(0, bar), message: text.slice(bar + 1) };
}

export function framesIn(bytes: Buffer): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = at + PREFIX_BYTES + bodyLength(bytes, at);
    const keyAt = at + PREFIX_BYTES + 2 + bytes[at + PREFIX_BYTES]!;
    const messageAt = keyAt + bytes[keyAt - 1]!;
    frames.push({
      key: messageAt === keyAt ? null : bytes.toString('utf8', keyAt, messageAt),
      message: bytes.toString('utf8', messageAt, end),
    });
    at = end;
  }
  return frames;
}

/** `count` messages, each another, in the order of their numbers. */
export function numbered(count: number, name = 'message'): string[] {
  return Array.from({ length: count }, (_, i) => `${name} ${i}`);
}
