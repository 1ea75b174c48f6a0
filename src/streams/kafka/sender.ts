// Brings record batches to the node that leads their partitions. What is ready for the same node at the same
// moment travels in one request; each partition has at most one in flight, so order is kept without
// idempotence.
import type { Cluster } from '../../kafka/cluster.js';
import { errorName } from '../../kafka/errorCodes.js';
import { KafkaFailure } from '../../kafka/failure.js';
import type { BrokerFigures } from '../../kafka/brokerStats.js';
import type { PartitionAnswer, PartitionRecords } from '../../kafka/produceRequest.js';

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
   * The record batch to send next. Undefined: nothing just now; should there be something later, the lane
   * offers itself again.
   */
  freeze(): Promise<Frozen | undefined>;
  /** How the try ended. The lane offers itself again when it has more. */
  settle(outcome: Outcome): void;
}

const REQUESTS_IN_FLIGHT = 5;
const LANES_PER_REQUEST = 64;
const BYTES_PER_REQUEST = 2 * 1024 * 1024;
/** So many lanes encode at the same time: their codecs may run on several threads. */
const LANES_FREEZING = 4;

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
  #isGathering = false;

  constructor(
    readonly nodeId: number,
    readonly cluster: Cluster,
  ) {}

  offer(lane: Lane): void {
    this.#ready.push(lane);
    this.#schedule();
  }

  /** After the running code: what else becomes ready by then goes along. */
  #schedule(): void {
    if (this.#isGathering) return;
    this.#isGathering = true;
    queueMicrotask(() => void this.#sendReady());
  }

  /** One request is put together after the other, or each would travel with one lane. */
  async #sendReady(): Promise<void> {
    while (this.#ready.length > 0 && this.#inFlight < REQUESTS_IN_FLIGHT) {
      const parcels = await this.#gather();
      if (parcels.length > 0) void this.#send(parcels);
    }
    this.#isGathering = false;
  }

  async #gather(): Promise<readonly Parcel[]> {
    const parcels: Parcel[] = [];
    const taken: Lane[] = [];
    let bytes = 0;
    while (taken.length < LANES_PER_REQUEST && bytes < BYTES_PER_REQUEST) {
      const lanes = this.#takeFitting(taken);
      if (lanes.length === 0) break;
      taken.push(...lanes);
      for (const parcel of await Promise.all(lanes.map(packed))) {
        if (parcel === undefined) continue;
        parcels.push(parcel);
        bytes += parcel.records.length;
      }
    }
    return parcels;
  }

  /**
   * The next lanes that may share a request with these: the same acks, and other partitions (two streams may
   * feed one topic).
   */
  #takeFitting(taken: readonly Lane[]): readonly Lane[] {
    const lanes: Lane[] = [];
    for (let i = 0; i < this.#ready.length && lanes.length < LANES_FREEZING;) {
      const lane = this.#ready[i]!;
      const acks = (taken[0] ?? lanes[0] ?? lane).acks;
      const isFitting = lane.acks === acks && ![...taken, ...lanes].some((other) => samePlace(other, lane));
      if (isFitting) lanes.push(...this.#ready.splice(i, 1));
      else i++;
    }
    return lanes;
  }

  async #send(parcels: readonly Parcel[]): Promise<void> {
    this.#inFlight++;
    const outcome = await this.#exchange(parcels);
    this.#inFlight--;
    for (const { lane } of parcels)
      lane.settle(outcome instanceof KafkaFailure ? outcome : answerFor(lane, outcome));
    if (this.#ready.length > 0) this.#schedule();
  }

  async #exchange(parcels: readonly Parcel[]): Promise<readonly PartitionAnswer[] | KafkaFailure> {
    const lanes = parcels.map(({ lane }) => lane);
    const deadlineMs = Math.min(...lanes.map((lane) => lane.deadlineMs()));
    // T16: the broker gives up well before we do, so that its answer, and not the end of our patience, says
    // what became of the records.
    const timeoutMs = Math.min(
      ...lanes.map((lane) => lane.requestTimeoutMs),
      Math.ceil((deadlineMs * 2) / 3),
    );
    const { acks } = lanes[0]!;
    try {
      const link = await this.cluster.link(this.nodeId);
      const answers = await counted(
        this.cluster.figures.of(link.broker),
        parcels,
        link.produce({ acks, timeoutMs, topics: byTopic(parcels) }, deadlineMs),
      );
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

async function packed(lane: Lane): Promise<Parcel | undefined> {
  try {
    const frozen = await lane.freeze();
    return frozen && { lane, records: frozen.records };
  } catch (error) {
    lane.settle(
      new KafkaFailure('PROTOCOL', `${lane.topic}[${lane.partition}] can't be encoded: ${String(error)}`),
    );
    return undefined;
  }
}

function samePlace(a: Lane, b: { readonly topic: string; readonly partition: number }): boolean {
  return a.topic === b.topic && a.partition === b.partition;
}

/** One request, with what became of it, in the figures of its broker. */
async function counted(
  figures: BrokerFigures,
  parcels: readonly Parcel[],
  request: Promise<readonly PartitionAnswer[]>,
): Promise<readonly PartitionAnswer[]> {
  const sinceMs = performance.now();
  figures.sent(
    parcels.length,
    parcels.reduce((sum, { records }) => sum + records.length, 0),
  );
  try {
    const answers = await request;
    figures.answered(performance.now() - sinceMs);
    for (const { errorCode } of answers) if (errorCode !== 0) figures.failed(errorName(errorCode));
    return answers;
  } catch (error) {
    figures.failed(error instanceof KafkaFailure ? error.code : 'PROTOCOL');
    throw error;
  }
}

/** T2b: only an answer for this very partition counts. */
function answerFor(lane: Lane, answers: readonly PartitionAnswer[]): Outcome {
  const answer = answers.find((candidate) => samePlace(lane, candidate));
  return (
    answer ??
    new KafkaFailure('PROTOCOL', `the broker's answer says nothing of ${lane.topic}[${lane.partition}]`)
  );
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
