// What the fake broker reads and writes: ApiVersions v0-2, Metadata v0-6 and Produce v3-7, each as its
// grammar line says.
import type { WireReader, WireWriter } from './wire.js';

export type Api = 'Produce' | 'Metadata' | 'ApiVersions';

const APIS: Readonly<Record<Api, { readonly key: number; readonly min: number; readonly max: number }>> = {
  Produce: { key: 0, min: 3, max: 7 },
  Metadata: { key: 3, min: 0, max: 6 },
  ApiVersions: { key: 18, min: 0, max: 2 },
};
const UNSUPPORTED_VERSION = 35;

export interface RequestHeader {
  readonly api: Api;
  readonly version: number;
  readonly correlationId: number;
}

/** api_key api_version correlation_id client_id */
export function readHeader(reader: WireReader): RequestHeader {
  const key = reader.int16();
  const version = reader.int16();
  const correlationId = reader.int32();
  reader.string();
  const api = (Object.keys(APIS) as Api[]).find((name) => APIS[name].key === key);
  if (!api) throw new Error(`the fake broker does not speak API ${key}`);
  return { api, version, correlationId };
}

/** error_code [api_key min_version max_version] throttle_time_ms(v1) */
export function writeApiVersions(writer: WireWriter, version: number): void {
  const isKnown = version <= APIS.ApiVersions.max;
  writer.int16(isKnown ? 0 : UNSUPPORTED_VERSION);
  writer.array(Object.values(APIS), (each, { key, min, max }) => each.int16(key).int16(min).int16(max));
  if (version >= 1 && isKnown) writer.int32(0);
}

/** [topic]; undefined: all topics. */
export function readMetadataRequest(reader: WireReader, version: number): string[] | undefined {
  const topics = reader.array((each) => each.string() ?? '');
  return topics === null || (version === 0 && topics.length === 0) ? undefined : topics;
}

export interface MetadataAnswer {
  readonly nodes: readonly { readonly id: number; readonly port: number }[];
  /** Each with one leader a partition, -1 for none. */
  readonly topics: readonly {
    readonly topic: string;
    readonly errorCode: number;
    readonly leaders: readonly number[];
  }[];
}

/**
 * throttle_time_ms(v3) [node_id host port rack(v1)] cluster_id(v2) controller_id(v1)
 * [error_code topic is_internal(v1) [error_code partition leader [replica] [isr] [offline](v5)]]
 */
export function writeMetadata(writer: WireWriter, version: number, { nodes, topics }: MetadataAnswer): void {
  const replicas = nodes.map(({ id }) => id);
  const writeIds = (ids: readonly number[]) => writer.array(ids, (each, id) => each.int32(id));
  if (version >= 3) writer.int32(0);
  writer.array(nodes, (each, { id, port }) => {
    each.int32(id).string('127.0.0.1').int32(port);
    if (version >= 1) each.string(null);
  });
  if (version >= 2) writer.string('fake');
  if (version >= 1) writer.int32(1);
  writer.array(topics, (each, { topic, errorCode, leaders }) => {
    each.int16(errorCode).string(topic);
    if (version >= 1) each.boolean(false);
    each.array([...leaders.entries()], (inner, [partition, leader]) => {
      inner
        .int16(leader < 0 ? LEADER_NOT_AVAILABLE : 0)
        .int32(partition)
        .int32(leader);
      writeIds(replicas);
      writeIds(replicas);
      if (version >= 5) writeIds([]);
    });
  });
}
const LEADER_NOT_AVAILABLE = 5;

export interface ProduceRequest {
  readonly acks: number;
  readonly timeoutMs: number;
  readonly partitions: readonly {
    readonly topic: string;
    readonly partition: number;
    readonly recordBatch: Buffer;
  }[];
}

/** transactional_id acks timeout_ms [topic [partition records]] */
export function readProduceRequest(reader: WireReader): ProduceRequest {
  reader.string();
  const acks = reader.int16();
  const timeoutMs = reader.int32();
  const topics = reader.array(() => {
    const topic = reader.string() ?? '';
    return (
      reader.array(() => ({
        topic,
        partition: reader.int32(),
        recordBatch: Buffer.from(reader.bytes(reader.int32())),
      })) ?? []
    );
  });
  return { acks, timeoutMs, partitions: (topics ?? []).flat() };
}

export interface ProduceResult {
  readonly topic: string;
  readonly partition: number;
  readonly errorCode: number;
  readonly baseOffset: number;
}

/** [topic [partition error_code base_offset log_append_time log_start_offset(v5)]] throttle_time_ms */
export function writeProduce(writer: WireWriter, version: number, results: readonly ProduceResult[]): void {
  const topics = [...new Set(results.map(({ topic }) => topic))];
  writer.array(topics, (outer, topic) => {
    const own = results.filter((result) => result.topic === topic);
    outer.string(topic).array(own, (each, { partition, errorCode, baseOffset }) => {
      each.int32(partition).int16(errorCode).int64(baseOffset).int64(-1);
      if (version >= 5) each.int64(0);
    });
  });
  writer.int32(0);
}
