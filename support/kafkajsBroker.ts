// One connection to one broker, made through the insides of kafkajs (pinned at 2.2.4): its TLS and SASL, but
// no consumer group, no retries and no metadata cache. The harness asks brokers directly with it; tests
// should use readTopic and KafkaServer instead.
import { createRequire } from 'node:module';
import type { TlsOptions, ConnectionOptions } from 'node:tls';
import type { SASLOptions } from 'kafkajs';

const require = createRequire(import.meta.url);
const KafkajsBroker = require('kafkajs/src/broker/index.js') as new (options: object) => BrokerConnection;
const ConnectionPool = require('kafkajs/src/network/connectionPool.js') as new (options: object) => object;
const { createLogger } = require('kafkajs/src/loggers/index.js') as {
  createLogger: (options: object) => object;
};
const createSocketFactory = require('kafkajs/src/network/socketFactory.js') as () => object;

const silent = createLogger({ level: 0, logCreator: () => () => undefined });

/** How to reach a listener that is not PLAINTEXT. */
export interface ListenerSecurity {
  readonly sasl?: SASLOptions;
  readonly ssl?: boolean | (ConnectionOptions & Pick<TlsOptions, 'ca'>);
}

export interface TopicMetadata {
  readonly topic: string;
  readonly partitionMetadata: readonly {
    readonly partitionId: number;
    readonly partitionErrorCode: number;
    /** Node id, -1 when there is none now. */
    readonly leader: number;
    readonly replicas: readonly number[];
    readonly isr: readonly number[];
  }[];
}

export interface ClusterMetadata {
  readonly brokers: readonly { readonly nodeId: number; readonly host: string; readonly port: number }[];
  readonly topicMetadata: readonly TopicMetadata[];
}

/**
 * The part of kafkajs's Broker that the harness uses. Failed requests throw errors with Kafka's name for them
 * in `type`.
 */
export interface BrokerConnection {
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  metadata(topics: readonly string[]): Promise<ClusterMetadata>;
  createTopics(request: { topics: readonly object[]; timeout: number }): Promise<unknown>;
  listOffsets(request: { topics: readonly object[] }): Promise<unknown>;
  deleteTopics(request: { topics: readonly string[]; timeout: number }): Promise<unknown>;
  readonly connectionPool: {
    send<T>(exchange: {
      request: object;
      response: { decode(raw: Buffer): Promise<T>; parse(decoded: T): Promise<T> };
    }): Promise<T>;
  };
}

/**
 * Connects, and authenticates when `security` says so, to `address` ("host:port"). The caller disconnects.
 */
export async function connectBroker(
  address: string,
  security: ListenerSecurity = {},
): Promise<BrokerConnection> {
  const colon = address.lastIndexOf(':');
  const connectionPool = new ConnectionPool({
    host: address.slice(0, colon),
    port: Number(address.slice(colon + 1)),
    sasl: security.sasl ?? null,
    ssl: security.ssl === true ? {} : (security.ssl ?? null),
    clientId: 'kahe-test',
    connectionTimeout: 5_000,
    requestTimeout: 20_000,
    socketFactory: createSocketFactory(),
    logger: silent,
  });
  const broker = new KafkajsBroker({ connectionPool, logger: silent, allowAutoTopicCreation: false });
  try {
    await broker.connect();
  } catch (error) {
    await broker.disconnect();
    throw error;
  }
  return broker;
}

/**
 * Connects to the first of the addresses ("host:port,host:port") that answers, hands the connection to `use`,
 * and closes it.
 */
export async function withBroker<T>(
  bootstrap: string,
  use: (broker: BrokerConnection) => Promise<T>,
  security?: ListenerSecurity,
): Promise<T> {
  const broker = await connectAny(bootstrap, security);
  try {
    return await use(broker);
  } finally {
    await broker.disconnect();
  }
}

async function connectAny(bootstrap: string, security?: ListenerSecurity): Promise<BrokerConnection> {
  const failures: unknown[] = [];
  for (const address of bootstrap.split(',')) {
    try {
      return await connectBroker(address.trim(), security);
    } catch (error) {
      failures.push(error);
    }
  }
  throw new AggregateError(failures, `no broker answers at ${bootstrap}: ${failures.map(String).join('; ')}`);
}

/** Whether `error` is Kafka's error of that name, such as "UNKNOWN_TOPIC_OR_PARTITION". */
export function isKafkaError(error: unknown, ...types: readonly string[]): error is Error {
  return error instanceof Error && 'type' in error && types.includes(String(error.type));
}
