// vitest's globalSetup: the daemon is built, because no test's own time is for that; and one real broker for
// the whole run, whose addresses tests get with `inject('kafka')`.
// A test that disturbs its broker starts its own with startKafka.
import type {} from 'vitest';
import type { TestProject } from 'vitest/node';
import { builtDaemon } from './daemonBuild.js';
import { startKafka, KAFKA_PASSWORD, KAFKA_USER, type KafkaServer } from './kafkaServer.js';

/**
 * How to reach the shared broker. Topics are never made by themselves: use createTopic of kafkaTopics.ts,
 * with a name of your own.
 */
export interface SharedKafka {
  /** PLAINTEXT, "127.0.0.1:port". */
  readonly bootstrap: string;
  /** undefined when KAFKA_BOOTSTRAP names a Kafka that is not ours. */
  readonly security: SharedKafkaSecurity | undefined;
}

export interface SharedKafkaSecurity {
  /** SASL_PLAINTEXT; mechanisms PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512. */
  readonly saslPlainBootstrap: string;
  readonly scramBootstrap: string;
  readonly user: string;
  readonly password: string;
  readonly sslBootstrap: string;
  /** Paths of PEM files. */
  readonly caFile: string;
  readonly clientCertificateFile: string;
  readonly clientKeyFile: string;
}

declare module 'vitest' {
  export interface ProvidedContext {
    kafka: SharedKafka;
  }
}

let server: KafkaServer | undefined;

export async function setup(project: TestProject): Promise<void> {
  [server] = await Promise.all([startKafka({ shared: true, security: true }), builtDaemon()]);
  const { bootstrap, saslPlainBootstrap, scramBootstrap, sslBootstrap, certificates } = server;
  const isSecure = saslPlainBootstrap && scramBootstrap && sslBootstrap && certificates;
  project.provide('kafka', {
    bootstrap,
    security: isSecure
      ? {
          saslPlainBootstrap,
          scramBootstrap,
          user: KAFKA_USER,
          password: KAFKA_PASSWORD,
          sslBootstrap,
          caFile: certificates.ca,
          clientCertificateFile: certificates.clientCertificate,
          clientKeyFile: certificates.clientKey,
        }
      : undefined,
  });
}

export async function teardown(): Promise<void> {
  await server?.close();
}
