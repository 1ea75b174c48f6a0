// Brings record batches to the node that leads their partitions. What is ready for the same node at the same
// moment travels in one request; each partition has at most one in flight, so order is kept without
// idempotence.
import type { Cluster } from '../../kafka/cluster.js';
import { errorName } from '../../kafka/errorCodes.js';
import { KafkaFailure } from '../../kafka/failure.js';
import type { BrokerCounters } from '../../kafka/brokerStats.js';
import type { PartitionAnswer, PartitionRecords } from '../../kafka/produceRequest.js';

/** A record batch, encoded once and never again: a retry sends the same bytes. */
export interface EncodedBatch {
  readonly records: Buffer;
  readonly frames: number;
}

export type Outcome = { readonly errorCode: number } | KafkaFailure;

/** One partition of one stream, as the sender sees it. */
export interface SendingQueue {
  readonly topic: string;
  readonly partition: number;
  readonly acks: -1 | 0 | 1;
  readonly requestTimeoutMs: number;
  /** How long the next try may take. */
  deadlineMs(): number;
  /**
   * The record batch to send next. Undefined: nothing just now; should there be something later, the queue
   * offers itself again.
   */
  encode(): Promise<EncodedBatch | undefined>;
  /** How the try ended. The queue offers itself again when it has more. */
  settle(outcome: Outcome): void;
}

const REQUESTS_IN_FLIGHT = 5;
const PARTITIONS_PER_REQUEST = 64;
const BYTES_PER_REQUEST = 2 * 1024 * 1024;
/** So many queues encode at the same time: their codecs may run on several threads. */
const QUEUES_ENCODING = 4;

/** All senders of one cluster, by node. */
export class Sender {
  readonly #nodes = new Map<number, NodeSender>();

  constructor(readonly cluster: Cluster) {}

  /** Says that the queue has something for this node. */
  offer(nodeId: number, queue: SendingQueue): void {
    let node = this.#nodes.get(nodeId);
    if (node === undefined) this.#nodes.set(nodeId, (node = new NodeSender(nodeId, this.cluster)));
    node.offer(queue);
  }
}

class NodeSender {
  readonly #ready: SendingQueue[] = [];
  #inFlight = 0;
  #isGathering = false;

  constructor(
    readonly nodeId: number,
    readonly cluster: Cluster,
  ) {}

  offer(queue: SendingQueue): void {
    this.#ready.push(queue);
    this.#schedule();
  }

  /** After the running code: what else becomes ready by then goes along. */
  #schedule(): void {
    if (this.#isGathering) return;
    this.#isGathering = true;
    queueMicrotask(() => void this.#sendReady());
  }

  /** One request is put together after the other, or each would travel with one queue. */
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
      const queues = this.#takeFitting(taken);
      if (queues.length === 0) break;
      taken.push(...queues);
      for (const part of await Promise.all(queues.map(packed))) {
        if (part === undefined) continue;
        parts.push(part);
        bytes += part.records.length;
      }
    }
    return parts;
  }

  /**
   * The next queues that may share a request with these: the same acks, and other partitions (two streams may
   * feed one topic).
   */
  #takeFitting(taken: readonly SendingQueue[]): readonly SendingQueue[] {
    const queues: SendingQueue[] = [];
    for (let i = 0; i < this.#ready.length && queues.length < QUEUES_ENCODING;) {
      const queue = this.#ready[i]!;
      const acks = (taken[0] ?? queues[0] ?? queue).acks;
      const isFitting =
        queue.acks === acks && ![...taken, ...queues].some((other) => samePlace(other, queue));
      if (isFitting) queues.push(...this.#ready.splice(i, 1));
      else i++;
    }
    return queues;
  }

  async #send(parts: readonly RequestPart[]): Promise<void> {
    this.#inFlight++;
    const outcome = await this.#exchange(parts);
    this.#inFlight--;
    for (const { queue } of parts)
      queue.settle(outcome instanceof KafkaFailure ? outcome : answerFor(queue, outcome));
    if (this.#ready.length > 0) this.#schedule();
  }

  async #exchange(parts: readonly RequestPart[]): Promise<readonly PartitionAnswer[] | KafkaFailure> {
    const queues = parts.map(({ queue }) => queue);
    const deadlineMs = Math.min(...queues.map((queue) => queue.deadlineMs()));
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
        ? queues.map(({ topic, partition }) => ({ topic, partition, errorCode: 0 }))
        : answers;
    } catch (error) {
      return error instanceof KafkaFailure ? error : new KafkaFailure('PROTOCOL', String(error));
    }
  }
}

interface RequestPart {
  readonly queue: SendingQueue;
  readonly records: Buffer;
}

async function packed(queue: SendingQueue): Promise<RequestPart | undefined> {
  try {
    const encoded = await queue.encode();
    return encoded && { queue, records: encoded.records };
  } catch (error) {
    queue.settle(
      new KafkaFailure('PROTOCOL', `${queue.topic}[${queue.partition}] can't be encoded: ${String(error)}`),
    );
    return undefined;
  }
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
