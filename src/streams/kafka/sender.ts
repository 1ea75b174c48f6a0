// Brings record batches to the node that leads their partitions. What is ready for the same node at the same
// moment travels in one request; each partition has at most one in flight, so order is kept without
// idempotence.
import type { Clock } from '../../clock.js';
import type { Cluster } from '../../kafka/cluster.js';
import { errorName } from '../../kafka/errorCodes.js';
import { KafkaFailure } from '../../kafka/failure.js';
import type { BrokerCounters } from '../../kafka/brokerStats.js';
import type { EncodedBatch } from './batchEncoder.js';
import type { PartitionAnswer, PartitionRecords } from '../../kafka/produceRequest.js';

/** What a broker says of one record batch. */
export interface Answer {
  readonly errorCode: number;
  /** Of its first record; -1: not known, as with acks 0. */
  readonly baseOffset: bigint;
}

export type Outcome = Answer | KafkaFailure;

/** One partition of one stream, as the sender sees it. */
export interface SendingQueue {
  readonly topic: string;
  readonly partition: number;
  readonly acks: -1 | 0 | 1;
  readonly requestTimeoutMs: number;
  /** How long the next try may take. */
  deadlineMs(nowMs: number): number;
  /** The record batch to send next; undefined: nothing just now. */
  encode(nowMs: number): Promise<EncodedBatch | undefined>;
}

const REQUESTS_IN_FLIGHT = 5;
const PARTITIONS_PER_REQUEST = 64;
const BYTES_PER_REQUEST = 2 * 1024 * 1024;
/** So many queues encode at the same time: their codecs may run on several threads. */
const QUEUES_ENCODING = 4;

/** All senders of one cluster, by node. */
export class Sender {
  readonly #nodes = new Map<number, NodeSender>();

  constructor(
    readonly cluster: Cluster,
    readonly clock: Clock,
  ) {}

  /**
   * Sends the queue's next record batch to this node, as soon as its turn comes; one at a time for a queue.
   * @returns how it ended; undefined: the queue had nothing to send by then
   */
  send(nodeId: number, queue: SendingQueue): Promise<Outcome | undefined> {
    let node = this.#nodes.get(nodeId);
    if (node === undefined)
      this.#nodes.set(nodeId, (node = new NodeSender(nodeId, this.cluster, this.clock)));
    return node.send(queue);
  }
}

/** A queue that has something for a node, and whoever waits for how that ends. */
interface Offer {
  readonly queue: SendingQueue;
  readonly end: (outcome: Outcome | undefined) => void;
}

interface RequestPart extends Offer {
  readonly records: Buffer;
}

class NodeSender {
  readonly #ready: Offer[] = [];
  #inFlight = 0;
  #isGathering = false;

  constructor(
    readonly nodeId: number,
    readonly cluster: Cluster,
    readonly clock: Clock,
  ) {}

  send(queue: SendingQueue): Promise<Outcome | undefined> {
    return new Promise((end) => {
      this.#ready.push({ queue, end });
      this.#schedule();
    });
  }

  /** After the running code: what else becomes ready by then goes along. */
  #schedule(): void {
    if (this.#isGathering) return;
    this.#isGathering = true;
    queueMicrotask(() => void this.#sendReady());
  }

  /** One request is put together after the other, or each would travel with one record batch. */
  async #sendReady(): Promise<void> {
    while (this.#ready.length > 0 && this.#inFlight < REQUESTS_IN_FLIGHT) {
      const parts = await this.#gather();
      if (parts.length > 0) void this.#send(parts);
    }
    this.#isGathering = false;
  }

  async #gather(): Promise<readonly RequestPart[]> {
    const parts: RequestPart[] = [];
    const taken: SendingQueue[] = [];
    let bytes = 0;
    while (taken.length < PARTITIONS_PER_REQUEST && bytes < BYTES_PER_REQUEST) {
      const offers = this.#takeFitting(taken);
      if (offers.length === 0) break;
      taken.push(...offers.map(({ queue }) => queue));
      for (const part of await Promise.all(offers.map((offer) => this.#encoded(offer)))) {
        if (part === undefined) continue;
        parts.push(part);
        bytes += part.records.length;
      }
    }
    return parts;
  }

  /**
   * The next ones that may share a request with these: the same acks, and other partitions (two streams may
   * feed one topic).
   */
  #takeFitting(taken: readonly SendingQueue[]): readonly Offer[] {
    const offers: Offer[] = [];
    for (let i = 0; i < this.#ready.length && offers.length < QUEUES_ENCODING;) {
      const { queue } = this.#ready[i]!;
      const acks = (taken[0] ?? offers[0]?.queue ?? queue).acks;
      const isTaken =
        taken.some((other) => samePlace(other, queue)) ||
        offers.some((other) => samePlace(other.queue, queue));
      if (queue.acks === acks && !isTaken) offers.push(...this.#ready.splice(i, 1));
      else i++;
    }
    return offers;
  }

  async #encoded({ queue, end }: Offer): Promise<RequestPart | undefined> {
    try {
      const encoded = await queue.encode(this.clock.now());
      if (encoded !== undefined) return { queue, end, records: encoded.records };
      end(undefined);
    } catch (error) {
      end(cantBeEncoded(queue, error));
    }
    return undefined;
  }

  async #send(parts: readonly RequestPart[]): Promise<void> {
    this.#inFlight++;
    const outcome = await this.#exchange(parts);
    this.#inFlight--;
    for (const { queue, end } of parts)
      end(outcome instanceof KafkaFailure ? outcome : answerFor(queue, outcome));
    if (this.#ready.length > 0) this.#schedule();
  }

  async #exchange(parts: readonly RequestPart[]): Promise<readonly PartitionAnswer[] | KafkaFailure> {
    const queues = parts.map(({ queue }) => queue);
    const nowMs = this.clock.now();
    const deadlineMs = Math.min(...queues.map((queue) => queue.deadlineMs(nowMs)));
    // T16: the broker gives up well before we do, so that its answer, and not the end of our patience, says
    // what became of the records.
    const timeoutMs = Math.min(
      ...queues.map((queue) => queue.requestTimeoutMs),
      Math.ceil((deadlineMs * 2) / 3),
    );
    const { acks } = queues[0]!;
    try {
      const connection = await this.cluster.connection(this.nodeId);
      const answers = await counted(
        this.cluster.stats.of(connection.broker),
        parts,
        connection.produce({ acks, timeoutMs, topics: byTopic(parts) }, deadlineMs),
      );
      return acks === 0
        ? queues.map(({ topic, partition }) => ({ topic, partition, errorCode: 0, baseOffset: -1n }))
        : answers;
    } catch (error) {
      return error instanceof KafkaFailure ? error : new KafkaFailure('PROTOCOL', String(error));
    }
  }
}

export function cantBeEncoded({ topic, partition }: SendingQueue, error: unknown): KafkaFailure {
  return new KafkaFailure('PROTOCOL', `${topic}[${partition}] can't be encoded: ${String(error)}`);
}

function samePlace(a: SendingQueue, b: { readonly topic: string; readonly partition: number }): boolean {
  return a.topic === b.topic && a.partition === b.partition;
}

/** One request, with what became of it, in the counters of its broker. */
async function counted(
  counters: BrokerCounters,
  parts: readonly RequestPart[],
  request: Promise<readonly PartitionAnswer[]>,
): Promise<readonly PartitionAnswer[]> {
  const sinceMs = performance.now();
  counters.sent(
    parts.length,
    parts.reduce((sum, { records }) => sum + records.length, 0),
  );
  try {
    const answers = await request;
    counters.answered(performance.now() - sinceMs);
    for (const { errorCode } of answers) if (errorCode !== 0) counters.failed(errorName(errorCode));
    return answers;
  } catch (error) {
    counters.failed(error instanceof KafkaFailure ? error.code : 'PROTOCOL');
    throw error;
  }
}

/** T2b: only an answer for this very partition counts. */
function answerFor(queue: SendingQueue, answers: readonly PartitionAnswer[]): Outcome {
  const answer = answers.find((candidate) => samePlace(queue, candidate));
  return (
    answer ??
    new KafkaFailure('PROTOCOL', `the broker's answer says nothing of ${queue.topic}[${queue.partition}]`)
  );
}

function byTopic(parts: readonly RequestPart[]): { topic: string; partitions: PartitionRecords[] }[] {
  const topics = new Map<string, PartitionRecords[]>();
  for (const { queue, records } of parts) {
    const partitions = topics.get(queue.topic) ?? [];
    partitions.push({ partition: queue.partition, records });
    topics.set(queue.topic, partitions);
  }
  return [...topics].map(([topic, partitions]) => ({ topic, partitions }));
}
