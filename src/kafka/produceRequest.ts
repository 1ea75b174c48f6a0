// The body of a Produce request, versions 3 to 7, as a list of buffers: the record batches go to the socket
// from where they were encoded. And its response. Source: kafka.apache.org/protocol#The_Messages_Produce
//
//   request: transactional_id nullable string (-1) | acks i16 | timeout_ms i32 | count i32 of topics
//     name string | count i32 of partitions
//       index i32 | size i32 | record batch
//   response: count i32 of topics
//     name string | count i32 of partitions
//       index i32 | error_code i16 | base_offset i64 | log_append_time i64 | from version 5: log_start_offset i64
//     throttle_time_ms i32

export interface ProduceRequest {
  readonly acks: -1 | 0 | 1;
  /** How long the broker may wait for its replicas. */
  readonly timeoutMs: number;
  readonly topics: readonly TopicRecords[];
}

export interface TopicRecords {
  readonly topic: string;
  readonly partitions: readonly PartitionRecords[];
}

export interface PartitionRecords {
  readonly partition: number;
  /** One whole record batch. */
  readonly records: Buffer;
}

/** The answer for one partition. */
export interface PartitionAnswer {
  readonly topic: string;
  readonly partition: number;
  readonly errorCode: number;
  /** The offset of the first record of the record batch; -1: not known, or there was an error. */
  readonly baseOffset: bigint;
}

export interface ProduceResponse {
  readonly answers: readonly PartitionAnswer[];
  /** How long nothing more is to be sent; undefined: the broker waits by itself, before version 6. */
  readonly throttleMs: number | undefined;
}

const OLDEST_WITH_START_OFFSET = 5;
const OLDEST_WITH_CLIENT_THROTTLE = 6;

export function produceBody(request: ProduceRequest): readonly Buffer[] {
  const head = Buffer.alloc(12);
  head.writeInt16BE(-1, 0);
  head.writeInt16BE(request.acks, 2);
  head.writeInt32BE(request.timeoutMs, 4);
  head.writeInt32BE(request.topics.length, 8);
  return [head, ...request.topics.flatMap(topicBody)];
}

function topicBody({ topic, partitions }: TopicRecords): Buffer[] {
  const name = Buffer.from(topic);
  const head = Buffer.alloc(2 + name.length + 4);
  head.writeInt16BE(name.length, 0);
  name.copy(head, 2);
  head.writeInt32BE(partitions.length, 2 + name.length);
  return [head, ...partitions.flatMap(partitionBody)];
}

function partitionBody({ partition, records }: PartitionRecords): Buffer[] {
  const head = Buffer.alloc(8);
  head.writeInt32BE(partition, 0);
  head.writeInt32BE(records.length, 4);
  return [head, records];
}

/** @throws RangeError when it ends too early */
export function parseProduceResponse(payload: Buffer, version: number): ProduceResponse {
  const partitionBytes = version < OLDEST_WITH_START_OFFSET ? 22 : 30;
  const answers: PartitionAnswer[] = [];
  let at = 4;
  for (let topics = payload.readInt32BE(0); topics > 0; topics--) {
    const nameEnd = at + 2 + payload.readInt16BE(at);
    const topic = payload.toString('utf8', at + 2, nameEnd);
    at = nameEnd + 4;
    for (let partitions = payload.readInt32BE(nameEnd); partitions > 0; partitions--) {
      answers.push({
        topic,
        partition: payload.readInt32BE(at),
        errorCode: payload.readInt16BE(at + 4),
        baseOffset: payload.readBigInt64BE(at + 6),
      });
      at += partitionBytes;
    }
  }
  const throttleMs = payload.readInt32BE(at);
  return { answers, throttleMs: version < OLDEST_WITH_CLIENT_THROTTLE ? undefined : throttleMs };
}
