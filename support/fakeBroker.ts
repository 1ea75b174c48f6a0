// A Kafka cluster that follows a script: it answers Produce and Metadata as the test says, and records every
// Produce it was sent, byte for byte, so that tests assert on what was really delivered.
import { FakeNode } from './fakeNode.js';
import {
  readHeader,
  readMetadataRequest,
  readProduceRequest,
  writeApiVersions,
  writeMetadata,
  writeProduce,
  type Api,
  type ProduceResult,
} from './fakeProtocol.js';
import { decodeRecordBatch, type DecodedRecord } from './recordBatchDecoder.js';
import { WireReader, WireWriter } from './wire.js';

/** Kafka's numbers for the errors that tests use most. */
export const ErrorCode = {
  none: 0,
  unknownTopicOrPartition: 3,
  leaderNotAvailable: 5,
  notLeaderOrFollower: 6,
  requestTimedOut: 7,
  messageTooLarge: 10,
  networkException: 13,
  invalidTimestamp: 32,
  recordListTooLarge: 18,
  notEnoughReplicas: 19,
  topicAuthorizationFailed: 29,
  clusterAuthorizationFailed: 31,
} as const;

/** Which requests and, within them, which partitions an answer is for; what is left out fits everything. */
export interface FakeTarget {
  readonly node?: number;
  readonly topic?: string;
  /** Means nothing for Metadata. */
  readonly partition?: number;
}

/** What becomes of a request, or of the targeted partitions in it: the others are served well. */
export type FakeAnswer = FakeTarget &
  (
    | { readonly kind: 'ok' }
    /** The code in the answer; nothing is appended. For Metadata: the code of the topic. */
    | { readonly kind: 'error'; readonly code: number }
    /** The answer lacks the partition (Metadata: the topic), of which nothing is appended. */
    | { readonly kind: 'omit' }
    /**
     * No answer ever; the connection stays open. `append`: the batches are kept all the same, as when an
     * answer is lost.
     */
    | { readonly kind: 'swallow'; readonly append?: boolean }
    /** The connection is closed instead of an answer. `append` as above. */
    | { readonly kind: 'close'; readonly append?: boolean }
    /** A good answer, so much later; the requests that follow on the connection wait behind it. */
    | { readonly kind: 'delay'; readonly ms: number }
    /**
     * The targeted partitions get node `to` as their leader; the answer is what this node then has to say.
     */
    | { readonly kind: 'moveLeader'; readonly to: number }
  );

/** One partition of one Produce request. */
export interface ProducedPartition {
  readonly node: number;
  /** Counts the connections of the whole cluster from 1, in the order in which they were made. */
  readonly connection: number;
  /** Counts the Produce requests of the whole cluster from 1; the partitions of one request share it. */
  readonly request: number;
  readonly topic: string;
  readonly partition: number;
  readonly acks: number;
  readonly timeoutMs: number;
  readonly apiVersion: number;
  /** Date.now() when it was served. */
  readonly time: number;
  /** The record batch as it was sent. */
  readonly recordBatch: Buffer;
  /** Whether the fake kept it, as a broker would have. */
  readonly isAppended: boolean;
  /** The code in the answer; undefined when there is none: swallowed, closed, omitted, or acks=0. */
  readonly errorCode: number | undefined;
}

/** Node ids count from 1. Use startFakeCluster. */
export class FakeCluster {
  /** Every partition of every Produce, in order of arrival. */
  readonly produced: ProducedPartition[] = [];
  /**
   * Answers to come: a request takes (and removes) the first one that targets it, and is served well if there
   * is none.
   */
  readonly script: Record<Api, FakeAnswer[]> = { Produce: [], Metadata: [], ApiVersions: [] };
  /** The answer to requests for which the script has none; it stays. */
  readonly always: Partial<Record<Api, FakeAnswer>> = {};
  /**
   * Looks into each record batch that would be kept: the error code for it, 0 for none. For refusals that
   * depend on content.
   */
  judge: ((recordBatch: Buffer) => number) | undefined;
  /** How many requests of each kind have arrived. */
  readonly requests: Record<Api, number> = { Produce: 0, Metadata: 0, ApiVersions: 0 };
  /** What the fake could not understand; should be empty. */
  readonly problems: unknown[] = [];
  /** How many connections were ever made. */
  connections = 0;
  readonly #nodes: FakeNode[] = [];
  readonly #leaders = new Map<string, number[]>();
  readonly #endOffsets = new Map<string, number>();

  /** "127.0.0.1:port,127.0.0.1:port" of all nodes, also those that are down. */
  get bootstrap(): string {
    return this.#nodes.map(({ port }) => `127.0.0.1:${port}`).join(',');
  }

  /** How many connections are open now. */
  get openConnections(): number {
    return this.#nodes.reduce((sum, { sockets }) => sum + sockets.size, 0);
  }

  /**
   * Sets the topic's leaders: one node id a partition, -1 for none. Makes the topic, and may make it larger
   * or smaller.
   */
  setTopic(topic: string, leaders: readonly number[]): void {
    this.#leaders.set(topic, [...leaders]);
  }

  removeTopic(topic: string): void {
    this.#leaders.delete(topic);
  }

  moveLeader(topic: string, partition: number, to: number): void {
    const leaders = this.#leaders.get(topic);
    if (leaders?.[partition] === undefined) throw new Error(`there is no partition ${topic}-${partition}`);
    leaders[partition] = to;
  }

  /**
   * The records kept for the partition, in order of arrival; each batch is checked by the decoder. Offsets
   * are those of the batches.
   */
  appended(topic: string, partition: number): DecodedRecord[] {
    const kept = this.produced.filter(
      (sent) => sent.isAppended && sent.topic === topic && sent.partition === partition,
    );
    return kept.flatMap(({ recordBatch }) => [...decodeRecordBatch(recordBatch).records]);
  }

  async addNode(): Promise<void> {
    this.#nodes.push(
      await FakeNode.listening(this.#nodes.length + 1, {
        connected: () => ++this.connections,
        serve: (...request) => this.#serve(...request),
        failed: (error) => this.problems.push(error),
      }),
    );
  }

  /** The node stops listening, and its connections are reset. */
  async takeDown(node: number): Promise<void> {
    await this.#nodes[node - 1]!.close();
  }

  /** The node listens again on the same port. */
  async bringUp(node: number): Promise<void> {
    await this.#nodes[node - 1]!.listen();
  }

  /** Resets every open connection. */
  resetConnections(): void {
    for (const node of this.#nodes) for (const socket of node.sockets) socket.resetAndDestroy();
  }

  async close(): Promise<void> {
    await Promise.all(this.#nodes.map((node) => node.close()));
  }

  async #serve(node: number, connection: number, request: Buffer): Promise<Reply> {
    const reader = new WireReader(request);
    const { api, version, correlationId } = readHeader(reader);
    this.requests[api]++;
    const writer = new WireWriter().int32(correlationId);
    const from: Origin = { node, connection, version };
    const { answer, isExpected } = this.#handlers[api](reader, writer, from);
    if (answer.kind === 'delay') await new Promise((resolve) => setTimeout(resolve, answer.ms));
    if (answer.kind === 'close') return 'close';
    return answer.kind === 'swallow' || !isExpected ? 'silence' : writer.toBuffer();
  }

  /**
   * Each reads its request, does what the script says, and writes the answer; `isExpected`: whether the
   * client waits for one.
   */
  readonly #handlers: Record<Api, (reader: WireReader, writer: WireWriter, from: Origin) => Outcome> = {
    ApiVersions: (_reader, writer, from) => {
      writeApiVersions(writer, from.version);
      return { answer: this.#nextAnswer('ApiVersions', [from]), isExpected: true };
    },
    Metadata: (reader, writer, from) => {
      const asked = readMetadataRequest(reader, from.version) ?? [...this.#leaders.keys()];
      const answer = this.#nextAnswer(
        'Metadata',
        asked.length > 0 ? asked.map((topic) => ({ ...from, topic })) : [from],
      );
      const isOmitted = (topic: string) => answer.kind === 'omit' && isTarget(answer, { ...from, topic });
      const topics = asked
        .filter((topic) => !isOmitted(topic))
        .map((topic) => this.#describe(topic, from, answer));
      writeMetadata(writer, from.version, { nodes: this.#nodes, topics });
      return { answer, isExpected: true };
    },
    Produce: (reader, writer, from) => {
      const { acks, timeoutMs, partitions } = readProduceRequest(reader);
      const answer = this.#nextAnswer(
        'Produce',
        partitions.map((partition) => ({ ...from, ...partition })),
      );
      const { node, connection, version } = from;
      const common = {
        node,
        connection,
        request: this.requests.Produce,
        acks,
        timeoutMs,
        apiVersion: version,
        time: Date.now(),
      };
      const results = partitions.flatMap(({ topic, partition, recordBatch }) => {
        const result = this.#append(topic, partition, { recordBatch, from, answer });
        const isAnswered = result.isAnswered && acks !== 0;
        const errorCode = isAnswered ? result.errorCode : undefined;
        this.produced.push({
          ...common,
          topic,
          partition,
          recordBatch,
          isAppended: result.isAppended,
          errorCode,
        });
        return isAnswered ? [result] : [];
      });
      writeProduce(writer, version, results);
      return { answer, isExpected: acks !== 0 };
    },
  };

  /** Takes the first answer that targets any part of a request, and moves the leaders if it says so. */
  #nextAnswer(api: Api, parts: readonly FakeTarget[]): FakeAnswer {
    const script = this.script[api];
    const index = script.findIndex((answer) => parts.some((part) => isTarget(answer, part)));
    const steady = this.always[api];
    const fallback = steady && parts.some((part) => isTarget(steady, part)) ? steady : OK;
    const answer = index < 0 ? fallback : script.splice(index, 1)[0]!;
    if (answer.kind === 'moveLeader') {
      for (const [topic, leaders] of this.#leaders) {
        for (const partition of leaders.keys())
          if (isTarget(answer, { topic, partition })) leaders[partition] = answer.to;
      }
    }
    return answer;
  }

  #describe(
    topic: string,
    from: Origin,
    answer: FakeAnswer,
  ): { topic: string; errorCode: number; leaders: readonly number[] } {
    const leaders = this.#leaders.get(topic);
    if (answer.kind === 'error' && isTarget(answer, { ...from, topic }))
      return { topic, errorCode: answer.code, leaders: [] };
    return {
      topic,
      errorCode: leaders ? ErrorCode.none : ErrorCode.unknownTopicOrPartition,
      leaders: leaders ?? [],
    };
  }

  #append(
    topic: string,
    partition: number,
    sent: { recordBatch: Buffer; from: Origin; answer: FakeAnswer },
  ): AppendResult {
    const { recordBatch, from, answer } = sent;
    const fate = isTarget(answer, { ...from, topic, partition }) ? answer : OK;
    const isSilent = answer.kind === 'swallow' || answer.kind === 'close';
    const isRefused = (isSilent && !answer.append) || fate.kind === 'omit' || fate.kind === 'error';
    const refusal = fate.kind === 'error' ? fate.code : this.#leaderError(topic, partition, from.node);
    const errorCode = refusal === ErrorCode.none ? (this.judge?.(recordBatch) ?? ErrorCode.none) : refusal;
    const isAppended = !isRefused && errorCode === ErrorCode.none;
    const name = `${topic}-${partition}`;
    const baseOffset = this.#endOffsets.get(name) ?? 0;
    if (isAppended) this.#endOffsets.set(name, baseOffset + recordBatch.readInt32BE(RECORD_COUNT_AT));
    const isAnswered = !isSilent && fate.kind !== 'omit';
    return { topic, partition, errorCode, baseOffset: isAppended ? baseOffset : -1, isAppended, isAnswered };
  }

  #leaderError(topic: string, partition: number, node: number): number {
    const leader = this.#leaders.get(topic)?.[partition];
    if (leader === undefined) return ErrorCode.unknownTopicOrPartition;
    return leader === node ? ErrorCode.none : ErrorCode.notLeaderOrFollower;
  }
}

/**
 * Starts `nodes` fake brokers on free ports of 127.0.0.1. `topics`: the leader's node id of each partition.
 */
export async function startFakeCluster(
  nodes = 1,
  topics: Readonly<Record<string, readonly number[]>> = {},
): Promise<FakeCluster> {
  const cluster = new FakeCluster();
  for (let node = 0; node < nodes; node++) await cluster.addNode();
  for (const [topic, leaders] of Object.entries(topics)) cluster.setTopic(topic, leaders);
  return cluster;
}

type Reply = Awaited<ReturnType<Parameters<typeof FakeNode.listening>[1]['serve']>>;

interface Origin {
  readonly node: number;
  readonly connection: number;
  readonly version: number;
}

interface Outcome {
  readonly answer: FakeAnswer;
  readonly isExpected: boolean;
}

interface AppendResult extends ProduceResult {
  readonly isAppended: boolean;
  readonly isAnswered: boolean;
}

const OK: FakeAnswer = { kind: 'ok' };
/** Where a record batch holds its number of records. */
const RECORD_COUNT_AT = 57;

function isTarget(answer: FakeTarget, part: FakeTarget): boolean {
  const fits = (wanted: unknown, actual: unknown) =>
    wanted === undefined || actual === undefined || wanted === actual;
  return (
    fits(answer.node, part.node) && fits(answer.topic, part.topic) && fits(answer.partition, part.partition)
  );
}
