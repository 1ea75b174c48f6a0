// Brings record batches to the node that leads their partitions. What is ready for the same node at the same moment travels in one request;
// each partition has at most one in flight, so order is kept without idempotence.
import type { Cluster } from './cluster.js';
import { KafkaFailure } from './failure.js';
import type { PartitionAnswer, PartitionRecords } from './produceRequest.js';

/** A record batch, encoded once and never again: a retry sends the same bytes. */
export interface Frozen {
  readonly records: Buffer;
  readonly frames: number;
}

export type Outcome = { readonly errorCode: number } | KafkaFailure;

/** One partition of one stream, as the sender sees it. */
export interface Lane {
  readonly topic: string;
  readonly partition: number;
  readonly acks: -1 | 0 | 1;
  readonly requestTimeoutMs: number;
  /** How long the next try may take. */
  deadlineMs(): number;
  /**
   * The record batch to send next; undefined: nothing any more. `no room`: memory for it is not there just now, offer it again later;
   * only said when it may not wait, for who holds encoded requests himself must send them first.
   */
  freeze(mayWait: boolean): Promise<Frozen | 'no room' | undefined>;
  /** How the try ended. The lane offers itself again when it has more. */
  settle(outcome: Outcome): void;
}

const REQUESTS_IN_FLIGHT = 5;
const LANES_PER_REQUEST = 64;
const BYTES_PER_REQUEST = 2 * 1024 * 1024;

/** All senders of one cluster, by node. */
export class Sender {
  readonly #nodes = new Map<number, NodeSender>();

  constructor(readonly cluster: Cluster) {}

  /** Says that the lane has something for this node. */
  offer(nodeId: number, lane: Lane): void {
    let node = this.#nodes.get(nodeId);
    if (node === undefined) this.#nodes.set(nodeId, (node = new NodeSender(nodeId, this.cluster)));
    node.offer(lane);
  }
}

class NodeSender {
  readonly #ready: Lane[] = [];
  #inFlight = 0;
  #isScheduled = false;

  constructor(readonly nodeId: number, readonly cluster: Cluster) {}

  offer(lane: Lane): void {
    this.#ready.push(lane);
    this.#schedule();
  }

  /** After the running code: what else becomes ready by then goes along. */
  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    queueMicrotask(() => {
      this.#isScheduled = false;
      while (this.#ready.length > 0 && this.#inFlight < REQUESTS_IN_FLIGHT) void this.#sendSome();
    });
  }

  async #sendSome(): Promise<void> {
    this.#inFlight++;
    const parcels: Parcel[] = [];
    let bytes = 0;
    while (parcels.length < LANES_PER_REQUEST && bytes < BYTES_PER_REQUEST) {
      const lane = this.#takeFitting(parcels);
      if (lane === undefined) break;
      const frozen = await lane.freeze(parcels.length === 0);
      if (frozen === 'no room') {
        this.#ready.unshift(lane);
        break;
      }
      if (frozen === undefined) continue;
      parcels.push({ lane, records: frozen.records });
      bytes += frozen.records.length;
    }
    if (parcels.length > 0) await this.#send(parcels);
    this.#inFlight--;
    if (this.#ready.length > 0) this.#schedule();
  }

  /** The next lane that may share a request with these: the same acks, and another partition (two streams may feed one topic). */
  #takeFitting(parcels: readonly Parcel[]): Lane | undefined {
    const first = parcels[0]?.lane ?? this.#ready[0];
    const index = this.#ready.findIndex((lane) => lane.acks === first?.acks && !parcels.some((parcel) => samePlace(parcel.lane, lane)));
    return index < 0 ? undefined : this.#ready.splice(index, 1)[0];
  }

  async #send(parcels: readonly Parcel[]): Promise<void> {
    const outcome = await this.#exchange(parcels);
    for (const { lane } of parcels) lane.settle(outcome instanceof KafkaFailure ? outcome : answerFor(lane, outcome));
  }

  async #exchange(parcels: readonly Parcel[]): Promise<readonly PartitionAnswer[] | KafkaFailure> {
    const lanes = parcels.map(({ lane }) => lane);
    const deadlineMs = Math.min(...lanes.map((lane) => lane.deadlineMs()));
    const timeoutMs = Math.min(...lanes.map((lane) => lane.requestTimeoutMs), deadlineMs);
    const { acks } = lanes[0]!;
    try {
      const link = await this.cluster.link(this.nodeId);
      const answers = await link.produce({ acks, timeoutMs, topics: byTopic(parcels) }, deadlineMs);
      return acks === 0 ? lanes.map(({ topic, partition }) => ({ topic, partition, errorCode: 0 })) : answers;
    } catch (error) {
      return error instanceof KafkaFailure ? error : new KafkaFailure('PROTOCOL', String(error));
    }
  }
}

interface Parcel {
  readonly lane: Lane;
  readonly records: Buffer;
}

function samePlace(a: Lane, b: { readonly topic: string; readonly partition: number }): boolean {
  return a.topic === b.topic && a.partition === b.partition;
}

/** T2b: only an answer for this very partition counts. */
function answerFor(lane: Lane, answers: readonly PartitionAnswer[]): Outcome {
  const answer = answers.find((candidate) => samePlace(lane, candidate));
  return answer ?? new KafkaFailure('PROTOCOL', `the broker's answer says nothing of ${lane.topic}[${lane.partition}]`);
}

function byTopic(parcels: readonly Parcel[]): { topic: string; partitions: PartitionRecords[] }[] {
  const topics = new Map<string, PartitionRecords[]>();
  for (const { lane, records } of parcels) {
    const partitions = topics.get(lane.topic) ?? [];
    partitions.push({ partition: lane.partition, records });
    topics.set(lane.topic, partitions);
  }
  return [...topics].map(([topic, partitions]) => ({ topic, partitions }));
}
