// The oracle of the tests: everything that a topic holds, read without a consumer group (joining one takes
// about 3 s) and decoded by recordBatchDecoder.ts, which also checks each batch.
import { createRequire } from 'node:module';
import {
  connectBroker,
  isKafkaError,
  withBroker,
  type BrokerConnection,
  type ListenerSecurity,
} from './kafkajsBroker.js';
import { decodeRecordBatches, type DecodedRecordBatch } from './recordBatchDecoder.js';
import { WireReader } from './wire.js';

const require = createRequire(import.meta.url);
const fetchRequest = require('kafkajs/src/protocol/requests/fetch/v4/request.js') as (
  request: object,
) => object;

/** One message as it lies in Kafka. */
export interface Message {
  readonly offset: number;
  /** null: the message has no key; an empty Buffer is a key. */
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  /** Milliseconds since 1970. */
  readonly timestamp: number;
}

export interface ReadOptions extends ListenerSecurity {
  /** Wait until the topic holds at least so many messages; without it, whatever is there now. */
  readonly expected?: number;
  /** Default 30000. */
  readonly deadlineMs?: number;
}

/** How long a broker may hold a Fetch back while nothing new arrives. */
const FETCH_WAIT_MS = 100;
const FETCH_BYTES = 8 * 1024 * 1024;
const RETRY_MS = 50;

/**
 * Reads every partition from offset 0 to its end, in order; resolves as soon as all ends are reached and
 * `expected` messages are there. Every partition of the topic is in the answer, also an empty one. Survives
 * leaders that move or are away, until the deadline.
 * @param bootstrap "host:port,host:port"
 * @throws Error at the deadline, saying how many messages each partition gave; or at once for a batch that is
 * damaged.
 */
export async function readTopic(
  bootstrap: string,
  topic: string,
  options: ReadOptions = {},
): Promise<Map<number, Message[]>> {
  const batches = await readBatches(bootstrap, topic, options);
  return new Map(
    [...batches].map(([partition, list]) => [
      partition,
      list.flatMap((batch) => batch.records.map(toMessage)),
    ]),
  );
}

/**
 * As readTopic, but the record batches as the broker stores them: to see codec, sizes and how messages were
 * grouped.
 */
export async function readBatches(
  bootstrap: string,
  topic: string,
  options: ReadOptions = {},
): Promise<Map<number, DecodedRecordBatch[]>> {
  const deadline = Date.now() + (options.deadlineMs ?? 30_000);
  const reading = new TopicReading(bootstrap, topic, options);
  try {
    for (;;) {
      const hitch = await reading.advance(options.expected ?? 0);
      if (hitch === undefined && reading.isComplete(options.expected ?? 0)) return reading.batches();
      if (Date.now() > deadline)
        throw new Error(`${reading.describe(options.expected)}${hitch ? `; last: ${hitch.message}` : ''}`);
      if (hitch !== undefined) await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  } finally {
    await reading.close();
  }
}

/** All messages of a topic in one list, partition after partition. */
export function allMessages(partitions: ReadonlyMap<number, readonly Message[]>): Message[] {
  return [...partitions.values()].flat();
}

function toMessage(record: Message): Message {
  return { offset: record.offset, key: record.key, value: record.value, timestamp: record.timestamp };
}

interface PartitionReading {
  nextOffset: number;
  /** Unknown until the first answer. */
  endOffset: number | undefined;
  messages: number;
  readonly batches: DecodedRecordBatch[];
}

interface FetchedPartition {
  readonly partition: number;
  readonly errorCode: number;
  readonly endOffset: number;
  readonly records: Buffer;
}

class TopicReading {
  readonly #bootstrap: string;
  readonly #topic: string;
  readonly #security: ListenerSecurity;
  readonly #partitions = new Map<number, PartitionReading>();
  readonly #leaders = new Map<number, BrokerConnection>();
  #partitionsByLeader: Map<number, number[]> | undefined;

  constructor(bootstrap: string, topic: string, security: ListenerSecurity) {
    this.#bootstrap = bootstrap;
    this.#topic = topic;
    this.#security = security;
  }

  /** One round of Fetch to every leader. Resolves with what stood in the way, if it may pass by itself. */
  async advance(expected: number): Promise<Error | undefined> {
    try {
      this.#partitionsByLeader ??= await this.#findLeaders();
      const rounds = [...this.#partitionsByLeader].map(([leader, partitions]) =>
        this.#fetch(leader, partitions, expected),
      );
      const failed = (await Promise.allSettled(rounds)).find((round) => round.status === 'rejected');
      if (failed) throw failed.reason as unknown;
      return undefined;
    } catch (error) {
      if (!mayPass(error)) throw error;
      this.#partitionsByLeader = undefined;
      await this.close();
      return error;
    }
  }

  isComplete(expected: number): boolean {
    return this.#count() >= expected && [...this.#partitions.values()].every(isAtEnd);
  }

  batches(): Map<number, DecodedRecordBatch[]> {
    return new Map(
      [...this.#partitions]
        .sort(([a], [b]) => a - b)
        .map(([partition, reading]) => [partition, reading.batches]),
    );
  }

  describe(expected: number | undefined): string {
    const partitions = [...this.#partitions].map(([id, { messages, nextOffset, endOffset }]) => {
      return `${id}: ${messages} (at ${nextOffset} of ${endOffset ?? '?'})`;
    });
    const wanted = expected === undefined ? '' : ` of ${expected} expected`;
    return `deadline: read ${this.#count()}${wanted} messages of topic ${this.#topic}; by partition: ${partitions.join(', ') || 'none'}`;
  }

  async close(): Promise<void> {
    const connections = [...this.#leaders.values()];
    this.#leaders.clear();
    await Promise.all(connections.map((connection) => connection.disconnect()));
  }

  #count(): number {
    return [...this.#partitions.values()].reduce((sum, { messages }) => sum + messages, 0);
  }

  async #findLeaders(): Promise<Map<number, number[]>> {
    const metadata = await withBroker(
      this.#bootstrap,
      (broker) => broker.metadata([this.#topic]),
      this.#security,
    );
    const byLeader = new Map<number, number[]>();
    for (const { partitionId, leader } of metadata.topicMetadata[0]?.partitionMetadata ?? []) {
      if (!this.#partitions.has(partitionId)) {
        this.#partitions.set(partitionId, { nextOffset: 0, endOffset: undefined, messages: 0, batches: [] });
      }
      byLeader.set(leader, [...(byLeader.get(leader) ?? []), partitionId]);
    }
    for (const nodeId of byLeader.keys()) {
      const node = metadata.brokers.find((broker) => broker.nodeId === nodeId);
      if (!node) throw new PassingError(`leader ${nodeId} of ${this.#topic} is not in the cluster now`);
      this.#leaders.set(nodeId, await connectBroker(`${node.host}:${node.port}`, this.#security));
    }
    return byLeader;
  }

  async #fetch(leader: number, partitions: readonly number[], expected: number): Promise<void> {
    const connection = this.#leaders.get(leader);
    if (!connection) throw new PassingError(`no connection to leader ${leader}`);
    // Partitions read to their end are asked again only while messages are missing.
    const open = partitions.filter(
      (partition) => this.#count() < expected || !isAtEnd(this.#partitions.get(partition)!),
    );
    if (open.length === 0) return;
    const request = fetchRequest({
      replicaId: -1,
      maxWaitTime: this.#count() < expected ? FETCH_WAIT_MS : 0,
      minBytes: 1,
      maxBytes: 4 * FETCH_BYTES,
      topics: [{ topic: this.#topic, partitions: open.map((partition) => this.#position(partition)) }],
    });
    const response = {
      decode: async (raw: Buffer) => decodeFetchResponse(raw),
      parse: async (fetched: FetchedPartition[]) => fetched,
    };
    for (const fetched of await connection.connectionPool.send({ request, response })) this.#take(fetched);
  }

  #position(partition: number): object {
    return {
      partition,
      fetchOffset: String(this.#partitions.get(partition)!.nextOffset),
      maxBytes: FETCH_BYTES,
    };
  }

  #take(fetched: FetchedPartition): void {
    const reading = this.#partitions.get(fetched.partition);
    if (fetched.errorCode !== 0 || !reading) {
      const text = `Fetch of ${this.#topic}-${fetched.partition} answered with error ${fetched.errorCode}`;
      throw fetched.errorCode === OFFSET_OUT_OF_RANGE
        ? new Error(`${text}: its beginning was removed`)
        : new PassingError(text);
    }
    reading.endOffset = fetched.endOffset;
    for (const batch of decodeRecordBatches(fetched.records)) {
      if (batch.baseOffset < reading.nextOffset) continue;
      reading.nextOffset = batch.baseOffset + batch.lastOffsetDelta + 1;
      if (batch.isControl) continue;
      reading.batches.push(batch);
      reading.messages += batch.records.length;
    }
  }
}

const OFFSET_OUT_OF_RANGE = 1;

/** Something that asking again may cure. */
class PassingError extends Error {}

function mayPass(error: unknown): error is Error {
  if (error instanceof PassingError || error instanceof AggregateError) return true;
  if (isKafkaError(error, 'UNKNOWN_TOPIC_OR_PARTITION', 'LEADER_NOT_AVAILABLE')) return true;
  return error instanceof Error && /^KafkaJS(Connection|RequestTimeout|LockTimeout)/.test(error.name);
}

function isAtEnd(reading: PartitionReading): boolean {
  return reading.endOffset !== undefined && reading.nextOffset >= reading.endOffset;
}

/**
 * Fetch response v4: throttle_time_ms [topic [partition error_code high_watermark last_stable_offset
 * [aborted] records]]
 */
function decodeFetchResponse(raw: Buffer): FetchedPartition[] {
  const reader = new WireReader(raw);
  reader.int32();
  const topics = reader.array(() => {
    reader.string();
    return reader.array(() => decodeFetchedPartition(reader)) ?? [];
  });
  return (topics ?? []).flat();
}

function decodeFetchedPartition(reader: WireReader): FetchedPartition {
  const partition = reader.int32();
  const errorCode = reader.int16();
  reader.int64();
  const lastStableOffset = reader.safeInt64();
  reader.array(() => [reader.int64(), reader.int64()]);
  const length = reader.int32();
  return {
    partition,
    errorCode,
    endOffset: lastStableOffset,
    records: length > 0 ? reader.bytes(length) : Buffer.alloc(0),
  };
}
