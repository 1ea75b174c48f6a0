// The server.properties of the test brokers: small, quick to start, quick to notice a broker that is gone,
// and strict about topics.
import type { Certificates } from './certificates.js';

/** The user of the SASL listener, for PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512. */
export const KAFKA_USER = 'kahe';
export const KAFKA_PASSWORD = 'kahe-secret';

/** All on 127.0.0.1. */
export interface NodePorts {
  /** PLAINTEXT, for the clients under test. */
  readonly plain: number;
  /** What the PLAINTEXT listener tells clients to use. */
  readonly advertised: number;
  /** The host of that; default 127.0.0.1. */
  readonly advertisedHost?: string;
  /** Between brokers, and for the harness itself. */
  readonly internal: number;
  readonly controller: number;
  readonly sasl: number;
  readonly ssl: number;
}

/** Everything but node.id and log.dirs. */
export function brokerProperties(
  own: NodePorts,
  all: readonly NodePorts[],
  certificates?: Certificates,
): Record<string, string> {
  const replicas = String(all.length);
  const inSync = String(all.length > 1 ? 2 : 1);
  return {
    'process.roles': 'broker,controller',
    'controller.quorum.voters': all
      .map(({ controller }, index) => `${index + 1}@127.0.0.1:${controller}`)
      .join(','),
    ...listeners(own, certificates !== undefined),
    ...(certificates && security(certificates)),
    'auto.create.topics.enable': 'false',
    'group.initial.rebalance.delay.ms': '0',
    'offsets.topic.num.partitions': '1',
    'offsets.topic.replication.factor': replicas,
    'transaction.state.log.num.partitions': '1',
    'transaction.state.log.replication.factor': replicas,
    'transaction.state.log.min.isr': inSync,
    // A killed broker may come back, and another may take its partitions, only once its session is over.
    'broker.heartbeat.interval.ms': '300',
    'broker.session.timeout.ms': '2500',
    'replica.lag.time.max.ms': '4000',
    'num.network.threads': '2',
    'num.io.threads': '4',
    'background.threads': '2',
    'log.cleaner.dedupe.buffer.size': '2097152',
    'log.segment.delete.delay.ms': '1000',
  };
}

/** As kafka.tools.StorageTool's --add-scram takes them. */
export function scramCredentials(): string[] {
  return ['SCRAM-SHA-256', 'SCRAM-SHA-512'].map(
    (mechanism) => `${mechanism}=[name=${KAFKA_USER},password=${KAFKA_PASSWORD}]`,
  );
}

function listeners(own: NodePorts, isSecure: boolean): Record<string, string> {
  const bound: [name: string, protocol: string, port: number][] = [
    ['PLAINTEXT', 'PLAINTEXT', own.plain],
    ['INTERNAL', 'PLAINTEXT', own.internal],
    ['CONTROLLER', 'PLAINTEXT', own.controller],
    ...(isSecure ? secureListeners(own) : []),
  ];
  const advertised = bound.filter(([name]) => name !== 'CONTROLLER');
  const advertisedAt = (name: string, port: number) =>
    name === 'PLAINTEXT' ? `${own.advertisedHost ?? '127.0.0.1'}:${own.advertised}` : `127.0.0.1:${port}`;
  return {
    listeners: bound.map(([name, , port]) => `${name}://127.0.0.1:${port}`).join(','),
    'advertised.listeners': advertised
      .map(([name, , port]) => `${name}://${advertisedAt(name, port)}`)
      .join(','),
    'listener.security.protocol.map': bound.map(([name, protocol]) => `${name}:${protocol}`).join(','),
    'inter.broker.listener.name': 'INTERNAL',
    'controller.listener.names': 'CONTROLLER',
  };
}

function secureListeners(own: NodePorts): [string, string, number][] {
  return [
    ['SASL', 'SASL_PLAINTEXT', own.sasl],
    ['SSL', 'SSL', own.ssl],
  ];
}

function security(certificates: Certificates): Record<string, string> {
  const plain = `org.apache.kafka.common.security.plain.PlainLoginModule required user_${KAFKA_USER}="${KAFKA_PASSWORD}";`;
  const scram = 'org.apache.kafka.common.security.scram.ScramLoginModule required;';
  return {
    'listener.name.sasl.sasl.enabled.mechanisms': 'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512',
    'listener.name.sasl.plain.sasl.jaas.config': plain,
    'listener.name.sasl.scram-sha-256.sasl.jaas.config': scram,
    'listener.name.sasl.scram-sha-512.sasl.jaas.config': scram,
    'listener.name.ssl.ssl.keystore.type': 'PEM',
    'listener.name.ssl.ssl.keystore.location': certificates.brokerKeystore,
    'listener.name.ssl.ssl.truststore.type': 'PEM',
    'listener.name.ssl.ssl.truststore.location': certificates.ca,
    'listener.name.ssl.ssl.client.auth': 'requested',
  };
}
