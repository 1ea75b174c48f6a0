// What can go wrong between Kahe and Kafka, and what becomes of the frames then. Nothing is ever dropped for an error we don't know.

export type KafkaFailureCode =
  /** No connection, or it broke. */
  | 'CONNECTION'
  /** No answer in time. The connection is given up, for a late answer can't be trusted. */
  | 'TIMEOUT'
  /** The login was refused. */
  | 'AUTH'
  /** The topic does not exist, or this user may not write to it. */
  | 'TOPIC'
  /** The broker is older than Kafka 0.11, or said something we don't understand. */
  | 'PROTOCOL';

export class KafkaFailure extends Error {
  override readonly name = 'KafkaFailure';
  constructor(readonly code: KafkaFailureCode, message: string) {
    super(message);
  }
}

/**
 * What a produce error means for the record batch it came for:
 * `retry` the same bytes later · `moved` likewise, with a fresh look at who leads · `park` likewise, and it concerns the topic as a whole ·
 * `split` send it in halves, a single frame is rejected · `reject` every frame of it is rejected.
 */
export type Verdict = 'delivered' | 'retry' | 'moved' | 'park' | 'split' | 'reject';

interface KnownError {
  readonly name: string;
  readonly verdict: Verdict;
}

/** Source: kafka.apache.org/protocol#protocol_error_codes */
const KNOWN: ReadonlyMap<number, KnownError> = new Map<number, KnownError>([
  [0, { name: 'NONE', verdict: 'delivered' }],
  [2, { name: 'CORRUPT_MESSAGE', verdict: 'retry' }],
  [3, { name: 'UNKNOWN_TOPIC_OR_PARTITION', verdict: 'park' }],
  [5, { name: 'LEADER_NOT_AVAILABLE', verdict: 'moved' }],
  [6, { name: 'NOT_LEADER_OR_FOLLOWER', verdict: 'moved' }],
  [7, { name: 'REQUEST_TIMED_OUT', verdict: 'retry' }],
  [8, { name: 'BROKER_NOT_AVAILABLE', verdict: 'moved' }],
  [9, { name: 'REPLICA_NOT_AVAILABLE', verdict: 'moved' }],
  [10, { name: 'MESSAGE_TOO_LARGE', verdict: 'split' }],
  [13, { name: 'NETWORK_EXCEPTION', verdict: 'moved' }],
  [17, { name: 'INVALID_TOPIC_EXCEPTION', verdict: 'reject' }],
  [18, { name: 'RECORD_LIST_TOO_LARGE', verdict: 'split' }],
  [19, { name: 'NOT_ENOUGH_REPLICAS', verdict: 'retry' }],
  [20, { name: 'NOT_ENOUGH_REPLICAS_AFTER_APPEND', verdict: 'retry' }],
  [29, { name: 'TOPIC_AUTHORIZATION_FAILED', verdict: 'park' }],
  [31, { name: 'CLUSTER_AUTHORIZATION_FAILED', verdict: 'park' }],
  [32, { name: 'INVALID_TIMESTAMP', verdict: 'split' }],
  [56, { name: 'KAFKA_STORAGE_ERROR', verdict: 'moved' }],
  [74, { name: 'FENCED_LEADER_EPOCH', verdict: 'moved' }],
  [75, { name: 'UNKNOWN_LEADER_EPOCH', verdict: 'moved' }],
  [76, { name: 'UNSUPPORTED_COMPRESSION_TYPE', verdict: 'park' }],
  [87, { name: 'INVALID_RECORD', verdict: 'split' }],
  [89, { name: 'THROTTLING_QUOTA_EXCEEDED', verdict: 'retry' }],
]);

export function verdictOf(errorCode: number): Verdict {
  return KNOWN.get(errorCode)?.verdict ?? 'retry';
}

/** The error's name for people, as `MESSAGE_TOO_LARGE`. */
export function errorName(errorCode: number): string {
  return KNOWN.get(errorCode)?.name ?? `error code ${errorCode}`;
}
