// The settings of a kafka stream: librdkafka's names in, one typed frozen object out.
// Promise: every value was checked, every default is filled in, and files named in it were read.
import { createHash } from 'node:crypto';
import { ConfigError } from '../../errors.js';
import type { Problems } from '../problems.js';
import { deepFreeze, describeValue, notOneOf } from '../values.js';
import { parseBrokers, type KafkaBroker } from './brokerList.js';
import { readSecurity, type KafkaSecurity } from './securitySettings.js';
import { SettingReader } from './settingReader.js';

export const COMPRESSION_CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const;
export type CompressionCodec = (typeof COMPRESSION_CODECS)[number];

export const PARTITIONERS = [
  'consistent',
  'consistent_random',
  'murmur2',
  'murmur2_random',
  'fnv1a',
  'fnv1a_random',
  'random',
] as const;
export type PartitionerName = (typeof PARTITIONERS)[number];

/**
 * Each field is the librdkafka setting of the same name; a default that differs from librdkafka's says why.
 * Holds secrets: never log it whole.
 */
export interface KafkaSettings {
  /** `bootstrap.servers`: at least one; an IPv6 host stands without brackets. */
  readonly bootstrapServers: readonly KafkaBroker[];
  /** `client.id`, default kahe. */
  readonly clientId: string;
  /**
   * Brokers that must confirm: -1 (written `all`) every in-sync replica, 1 the leader, 0 nobody. Default -1.
   */
  readonly acks: -1 | 0 | 1;
  readonly compressionCodec: CompressionCodec;
  /** -1: the codec's own default. gzip 0–9, lz4 0–12, zstd 0–19; always -1 for none and snappy. */
  readonly compressionLevel: number;
  /** `batch.num.messages`: most records of one record batch, default 10000. */
  readonly batchNumMessages: number;
  /** `batch.size`: most bytes of one record batch before compression, default 1000000. */
  readonly batchSizeBytes: number;
  /** `message.max.bytes`: most bytes of one request, default 1000000. */
  readonly messageMaxBytes: number;
  /**
   * `message.timeout.ms`: how long delivery is tried before the batch goes to the backup; Infinity when
   * written 0. Default 10000. librdkafka has 300000, but a stuck broker must reach the backup before memory
   * fills.
   */
  readonly messageTimeoutMs: number;
  /**
   * `request.timeout.ms`: how long the broker may wait for its replicas, default 10000, or less when
   * `socket.timeout.ms` is.
   */
  readonly requestTimeoutMs: number;
  /** `socket.timeout.ms`: after this a request without an answer counts as lost, default 15000. */
  readonly socketTimeoutMs: number;
  /** `socket.connection.setup.timeout.ms`: for TCP, TLS and SASL together, default 5000. */
  readonly socketConnectionSetupTimeoutMs: number;
  /**
   * First wait before a retry, default 100; it grows up to retryBackoffMaxMs, default 1000, which is never
   * smaller.
   */
  readonly retryBackoffMs: number;
  readonly retryBackoffMaxMs: number;
  readonly partitioner: PartitionerName;
  /**
   * `replace.refused.timestamps`, which librdkafka does not have: frames whose time of arrival the topic
   * refuses are sent with the time of sending. Default true; else they wait for a person.
   */
  readonly replaceRefusedTimestamps: boolean;
  /** `topic.metadata.refresh.interval.ms`, default 300000; Infinity when written -1 or 0. */
  readonly topicMetadataRefreshIntervalMs: number;
  /** `metadata.max.age.ms`, default three times the interval. */
  readonly metadataMaxAgeMs: number;
  /**
   * `allow.auto.create.topics`: asking for an unknown topic may create it. Default false, where librdkafka's
   * producers have true: a client that mistypes a bucket must not make a topic.
   */
  readonly allowAutoCreateTopics: boolean;
  readonly security: KafkaSecurity;
  /** Lines for the log: settings that are accepted but change nothing, each opening with its path. */
  readonly notes: readonly string[];
  /** Equal for settings that can share one cluster's connections; a hash, so it shows no secret. */
  readonly clusterKey: string;
}

const INT_MAX = 2_147_483_647;
const FINEST_LEVEL: Readonly<Record<CompressionCodec, number>> = {
  none: -1,
  snappy: -1,
  gzip: 9,
  lz4: 12,
  zstd: 19,
};

/**
 * Reads the `settings` of a kafka stream. Values may be texts, numbers or booleans. What is wrong is added to
 * `problems` under `path`, and defaults stand in for it: use the result only when none was added.
 */
export function parseKafkaSettings(
  settings: Readonly<Record<string, unknown>>,
  path: string,
  problems: Problems,
): KafkaSettings {
  const reader = new SettingReader(settings, path, problems);
  const connection = { ...readConnection(reader), ...readMetadata(reader), ...readRetry(reader) };
  const all = { ...connection, ...readDelivery(reader, connection.socketTimeoutMs), ...readBatch(reader) };
  return deepFreeze({ ...all, notes: reader.notes, clusterKey: hashOf(connection) });
}

function readConnection(reader: SettingReader) {
  const security = readSecurity(reader);
  const bootstrapServers =
    reader.read('metadata.broker.list', (value) => parseBrokers(value, security.protocol)) ?? [];
  if (!reader.has('metadata.broker.list'))
    reader.problem('bootstrap.servers', 'missing; name the brokers ("kafka1:9092,kafka2:9092")');
  return {
    bootstrapServers,
    clientId: reader.read('client.id', parseClientId) ?? 'kahe',
    security,
    socketTimeoutMs: reader.integer('socket.timeout.ms', 10, 300_000, 15_000),
    socketConnectionSetupTimeoutMs: reader.integer('socket.connection.setup.timeout.ms', 1000, INT_MAX, 5000),
  };
}

function readMetadata(reader: SettingReader) {
  const intervalMs = reader.integer('topic.metadata.refresh.interval.ms', -1, 3_600_000, 300_000);
  return {
    topicMetadataRefreshIntervalMs: intervalMs > 0 ? intervalMs : Infinity,
    metadataMaxAgeMs: reader.integer(
      'metadata.max.age.ms',
      1,
      86_400_000,
      intervalMs > 0 ? intervalMs * 3 : 900_000,
    ),
    allowAutoCreateTopics: reader.boolean('allow.auto.create.topics', false),
  };
}

function readDelivery(reader: SettingReader, socketTimeoutMs: number) {
  const acks = reader.read('request.required.acks', parseAcks) ?? -1;
  if (acks === 0)
    reader.note(
      'request.required.acks',
      'no broker confirms, so frames count as delivered once they are sent',
    );
  if (reader.boolean('enable.idempotence', false)) {
    reader.note(
      'enable.idempotence',
      'order is kept by one request in flight for each partition; after a fault there may be duplicates',
    );
  }
  const messageTimeoutMs = reader.integer('message.timeout.ms', 0, INT_MAX, 10_000);
  return {
    acks,
    partitioner: reader.choice('partitioner', PARTITIONERS, 'consistent_random'),
    replaceRefusedTimestamps: reader.boolean('replace.refused.timestamps', true),
    messageTimeoutMs: messageTimeoutMs === 0 ? Infinity : messageTimeoutMs,
    requestTimeoutMs: reader.integer('request.timeout.ms', 1, 900_000, Math.min(10_000, socketTimeoutMs)),
  };
}

function readRetry(reader: SettingReader) {
  const retryBackoffMs = reader.integer('retry.backoff.ms', 1, 300_000, 100);
  const retryBackoffMaxMs = reader.integer(
    'retry.backoff.max.ms',
    1,
    300_000,
    Math.max(1000, retryBackoffMs),
  );
  if (retryBackoffMaxMs < retryBackoffMs)
    reader.note('retry.backoff.ms', `over retry.backoff.max.ms, so that is used: ${retryBackoffMaxMs}`);
  return { retryBackoffMs: Math.min(retryBackoffMs, retryBackoffMaxMs), retryBackoffMaxMs };
}

function readBatch(reader: SettingReader) {
  const compressionCodec = reader.choice('compression.codec', COMPRESSION_CODECS, 'none');
  return {
    compressionCodec,
    compressionLevel: readLevel(reader, compressionCodec),
    batchNumMessages: reader.integer('batch.num.messages', 1, 1_000_000, 10_000),
    batchSizeBytes: reader.integer('batch.size', 1, INT_MAX, 1_000_000),
    messageMaxBytes: reader.integer('message.max.bytes', 1000, 1_000_000_000, 1_000_000),
  };
}

function readLevel(reader: SettingReader, codec: CompressionCodec): number {
  const finest = FINEST_LEVEL[codec];
  const level = reader.integer('compression.level', -1, finest === -1 ? INT_MAX : finest, -1);
  if (finest !== -1 || level === -1) return level;
  reader.note('compression.level', `compression.codec ${codec} has no levels`);
  return -1;
}

function parseAcks(value: unknown): -1 | 0 | 1 {
  const text =
    typeof value === 'string' || typeof value === 'number' ? String(value).trim().toLowerCase() : '';
  switch (text) {
    case 'all':
    case '-1':
      return -1;
    case '0':
      return 0;
    case '1':
      return 1;
    default:
      throw new ConfigError(notOneOf(value, ['all', '-1', '0', '1']));
  }
}

function parseClientId(value: unknown): string {
  if (value === 'kafkajs')
    throw new ConfigError(
      '"kafkajs" hides who is connected, for any program may have it; choose another name',
    );
  if (typeof value === 'string' && /^[\x20-\x7e]{1,249}$/.test(value)) return value;
  throw new ConfigError(`${describeValue(value)} is not a name of 1 to 249 plain characters`);
}

function hashOf(connection: object): string {
  return createHash('sha256').update(JSON.stringify(connection)).digest('hex');
}
