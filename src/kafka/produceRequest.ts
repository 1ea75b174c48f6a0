// The body of a Produce request, versions 3 to 7, as a list of buffers: the record batches go to the socket
// from where they were encoded. Source: kafka.apache.org/protocol#The_Messages_Produce
//
//   transactional_id nullable string (-1) | acks i16 | timeout_ms i32 | count i32 of topics
//     name string | count i32 of partitions
//       index i32 | size i32 | record batch

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
}

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
