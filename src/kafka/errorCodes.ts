// Every error code of Kafka 4.1, sorted by what can change it: time, a person, or nothing.
// docs/kafka-errors.md shows the same table, code by code. Promise: only an error that concerns a frame
// itself ever takes it off the way to its topic. A code that is not here is tried again.

/**
 * What is done with the record batch that an error came for.
 * `retry`: the same bytes, as soon as the leader has been looked up.
 * `retryLater`: the same bytes, after the longest wait.
 * `waitForTopic`: retried too, but the error concerns the topic as a whole: somebody must change it.
 * `split`: some frame can never be delivered. Halves are sent, until what is refused is one frame: it is
 *   rejected.
 */
export type ErrorAction = 'delivered' | 'retry' | 'retryLater' | 'waitForTopic' | 'split';

export interface ErrorCode {
  readonly code: number;
  /** As Kafka has it: `MESSAGE_TOO_LARGE`. */
  readonly name: string;
  readonly action: ErrorAction;
  /** What a person can do about it; '' for what passes by itself. */
  readonly advice: string;
}

export const INVALID_TIMESTAMP = 32;
export const INVALID_RECORD = 87;

const TRANSIENT: Readonly<Record<'delivered' | 'retry' | 'retryLater', string>> = {
  delivered: '0 NONE',
  retryLater: `
    20 NOT_ENOUGH_REPLICAS_AFTER_APPEND 56 KAFKA_STORAGE_ERROR 89 THROTTLING_QUOTA_EXCEEDED`,
  retry: `
    -1 UNKNOWN_SERVER_ERROR 1 OFFSET_OUT_OF_RANGE 2 CORRUPT_MESSAGE 4 INVALID_FETCH_SIZE 5 LEADER_NOT_AVAILABLE
    6 NOT_LEADER_OR_FOLLOWER 7 REQUEST_TIMED_OUT 8 BROKER_NOT_AVAILABLE 9 REPLICA_NOT_AVAILABLE 11 STALE_CONTROLLER_EPOCH
    12 OFFSET_METADATA_TOO_LARGE 13 NETWORK_EXCEPTION 14 COORDINATOR_LOAD_IN_PROGRESS 15 COORDINATOR_NOT_AVAILABLE
    16 NOT_COORDINATOR 19 NOT_ENOUGH_REPLICAS 22 ILLEGAL_GENERATION 23 INCONSISTENT_GROUP_PROTOCOL 24 INVALID_GROUP_ID
    25 UNKNOWN_MEMBER_ID 26 INVALID_SESSION_TIMEOUT 27 REBALANCE_IN_PROGRESS 28 INVALID_COMMIT_OFFSET_SIZE
    36 TOPIC_ALREADY_EXISTS 41 NOT_CONTROLLER 45 OUT_OF_ORDER_SEQUENCE_NUMBER 46 DUPLICATE_SEQUENCE_NUMBER
    47 INVALID_PRODUCER_EPOCH 48 INVALID_TXN_STATE 49 INVALID_PRODUCER_ID_MAPPING 50 INVALID_TRANSACTION_TIMEOUT
    51 CONCURRENT_TRANSACTIONS 52 TRANSACTION_COORDINATOR_FENCED 55 OPERATION_NOT_ATTEMPTED 57 LOG_DIR_NOT_FOUND
    59 UNKNOWN_PRODUCER_ID 60 REASSIGNMENT_IN_PROGRESS 68 NON_EMPTY_GROUP 69 GROUP_ID_NOT_FOUND
    70 FETCH_SESSION_ID_NOT_FOUND 71 INVALID_FETCH_SESSION_EPOCH 72 LISTENER_NOT_FOUND 73 TOPIC_DELETION_DISABLED
    74 FENCED_LEADER_EPOCH 75 UNKNOWN_LEADER_EPOCH 77 STALE_BROKER_EPOCH 78 OFFSET_NOT_AVAILABLE 79 MEMBER_ID_REQUIRED
    80 PREFERRED_LEADER_NOT_AVAILABLE 81 GROUP_MAX_SIZE_REACHED 82 FENCED_INSTANCE_ID 83 ELIGIBLE_LEADERS_NOT_AVAILABLE
    84 ELECTION_NOT_NEEDED 85 NO_REASSIGNMENT_IN_PROGRESS 86 GROUP_SUBSCRIBED_TO_TOPIC 88 UNSTABLE_OFFSET_COMMIT
    90 PRODUCER_FENCED 91 RESOURCE_NOT_FOUND 92 DUPLICATE_RESOURCE 94 INCONSISTENT_VOTER_SET 95 INVALID_UPDATE_VERSION
    96 FEATURE_UPDATE_FAILED 98 SNAPSHOT_NOT_FOUND 99 POSITION_OUT_OF_RANGE 100 UNKNOWN_TOPIC_ID
    101 DUPLICATE_BROKER_REGISTRATION 102 BROKER_ID_NOT_REGISTERED 103 INCONSISTENT_TOPIC_ID 104 INCONSISTENT_CLUSTER_ID
    105 TRANSACTIONAL_ID_NOT_FOUND 106 FETCH_SESSION_TOPIC_ID_ERROR 107 INELIGIBLE_REPLICA 108 NEW_LEADER_ELECTED
    109 OFFSET_MOVED_TO_TIERED_STORAGE 110 FENCED_MEMBER_EPOCH 111 UNRELEASED_INSTANCE_ID 112 UNSUPPORTED_ASSIGNOR
    113 STALE_MEMBER_EPOCH 114 MISMATCHED_ENDPOINT_TYPE 115 UNSUPPORTED_ENDPOINT_TYPE 116 UNKNOWN_CONTROLLER_ID
    117 UNKNOWN_SUBSCRIPTION_ID 118 TELEMETRY_TOO_LARGE 119 INVALID_REGISTRATION 120 TRANSACTION_ABORTABLE
    121 INVALID_RECORD_STATE 122 SHARE_SESSION_NOT_FOUND 123 INVALID_SHARE_SESSION_EPOCH 124 FENCED_STATE_EPOCH
    125 INVALID_VOTER_KEY 126 DUPLICATE_VOTER 127 VOTER_NOT_FOUND 128 INVALID_REGULAR_EXPRESSION 129 REBOOTSTRAP_REQUIRED
    130 STREAMS_INVALID_TOPOLOGY 131 STREAMS_INVALID_TOPOLOGY_EPOCH 132 STREAMS_TOPOLOGY_FENCED 133 SHARE_SESSION_LIMIT_REACHED`,
};

/** By what a person can do. It concerns every frame of the topic, so they wait. */
const OF_THE_TOPIC: Readonly<Record<string, string>> = {
  'make the topic, or set allow.auto.create.topics': '3 UNKNOWN_TOPIC_OR_PARTITION',
  'no client may write to a topic of this name: give the bucket another one': '17 INVALID_TOPIC_EXCEPTION',
  'set acks to all': '21 INVALID_REQUIRED_ACKS',
  'let this user write to the topic (the ACLs Write and Describe)': '29 TOPIC_AUTHORIZATION_FAILED',
  "give this user the ACL that is missing; the broker's log names it": `
    30 GROUP_AUTHORIZATION_FAILED 31 CLUSTER_AUTHORIZATION_FAILED 53 TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    65 DELEGATION_TOKEN_AUTHORIZATION_FAILED`,
  "set this machine's clock, let the topic take older or newer times (message.timestamp.before.max.ms, message.timestamp.after.max.ms), or set replace.refused.timestamps":
    '32 INVALID_TIMESTAMP',
  'see to the login (security.protocol, sasl.mechanisms, sasl.username, sasl.password)': `
    33 UNSUPPORTED_SASL_MECHANISM 34 ILLEGAL_SASL_STATE 54 SECURITY_DISABLED 58 SASL_AUTHENTICATION_FAILED
    61 DELEGATION_TOKEN_AUTH_DISABLED 62 DELEGATION_TOKEN_NOT_FOUND 63 DELEGATION_TOKEN_OWNER_MISMATCH
    64 DELEGATION_TOKEN_REQUEST_NOT_ALLOWED 66 DELEGATION_TOKEN_EXPIRED 67 INVALID_PRINCIPAL_TYPE
    93 UNACCEPTABLE_CREDENTIAL 97 PRINCIPAL_DESERIALIZATION_FAILURE`,
  "the broker must be Kafka 0.11 or newer, and so must the topic's message.format.version":
    '35 UNSUPPORTED_VERSION 43 UNSUPPORTED_FOR_MESSAGE_FORMAT',
  'the brokers would not make the topic as they make topics by themselves: make it, or change num.partitions and default.replication.factor': `
    37 INVALID_PARTITIONS 38 INVALID_REPLICATION_FACTOR 39 INVALID_REPLICA_ASSIGNMENT 40 INVALID_CONFIG`,
  "see the broker's log: it says what it did not understand": '42 INVALID_REQUEST',
  "change the policy of the brokers, or what it asks of the topic; the broker's log names it":
    '44 POLICY_VIOLATION',
  'set another compression.codec': '76 UNSUPPORTED_COMPRESSION_TYPE',
};

/**
 * By what a person can do for those that were rejected. It concerns a frame by itself, which must not hold up
 * all behind it: it goes to the rejected frames, where it is kept.
 */
const OF_A_FRAME: Readonly<Record<string, string>> = {
  "raise the topic's max.message.bytes, and send what was rejected": '10 MESSAGE_TOO_LARGE',
  "raise the topic's segment.bytes, and send what was rejected": '18 RECORD_LIST_TOO_LARGE',
  'a compacted topic takes no frames without a key, and a schema no others than its own: change the topic or the sender':
    '87 INVALID_RECORD',
};

/** Source: kafka.apache.org/protocol#protocol_error_codes; a test compares it with Kafka's own. */
export const ERROR_CODES: readonly ErrorCode[] = [
  ...Object.entries(TRANSIENT).flatMap(([action, codes]) => rows(codes, action as ErrorAction, '')),
  ...Object.entries(OF_THE_TOPIC).flatMap(([advice, codes]) => rows(codes, 'waitForTopic', advice)),
  ...Object.entries(OF_A_FRAME).flatMap(([advice, codes]) => rows(codes, 'split', advice)),
].sort((a, b) => a.code - b.code);

const BY_CODE: ReadonlyMap<number, ErrorCode> = new Map(ERROR_CODES.map((row) => [row.code, row]));

export function actionFor(errorCode: number): ErrorAction {
  return BY_CODE.get(errorCode)?.action ?? 'retry';
}

/** The error's name for people, as `MESSAGE_TOO_LARGE`. */
export function errorName(errorCode: number): string {
  return BY_CODE.get(errorCode)?.name ?? `error code ${errorCode}`;
}

/** Its name, and what a person can do about it, when frames wait for that. */
export function errorText(errorCode: number): string {
  const row = BY_CODE.get(errorCode);
  return row?.action === 'waitForTopic' ? `${row.name} (${row.advice})` : errorName(errorCode);
}

function rows(codes: string, action: ErrorAction, advice: string): ErrorCode[] {
  return [...codes.matchAll(/(-?\d+) (\w+)/g)].map(([, code, name]) => ({
    code: Number(code),
    name: name!,
    action,
    advice,
  }));
}
