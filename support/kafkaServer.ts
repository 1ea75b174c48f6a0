// Real Kafka for tests: one broker or a cluster of three on 127.0.0.1, in a temporary folder that close()
// removes.
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { makeCertificates, type Certificates } from './certificates.js';
import { freePorts } from './freePorts.js';
import { fetchKafka, type Jvm, LocalNode, type KafkaNode } from './kafkaNode.js';
import { brokerProperties, scramCredentials, type NodePorts } from './kafkaProperties.js';
import { createTopic, deleteTopic, describeTopic, waitInSync, type TopicOptions } from './kafkaTopics.js';

export type { Certificates } from './certificates.js';
export type { KafkaNode } from './kafkaNode.js';
export type { TopicOptions } from './kafkaTopics.js';
export { freePorts } from './freePorts.js';
export { KAFKA_PASSWORD, KAFKA_USER } from './kafkaProperties.js';

export interface StartKafkaOptions {
  /** Default 1. Each is broker and controller. */
  readonly brokers?: 1 | 3;
  /** Lines of server.properties, added to or instead of the harness's own, on every broker. */
  readonly properties?: Readonly<Record<string, string>>;
  /** Adds a SASL_PLAINTEXT and an SSL listener. Default false. */
  readonly security?: boolean;
  /** Default: what starts soonest. */
  readonly jvm?: Jvm;
  /**
   * Ports, one a broker, that the PLAINTEXT listeners tell clients to use, so that a proxy can stand in
   * front. Default: the real ones.
   */
  readonly advertisedPorts?: readonly number[];
  /** The name that the PLAINTEXT listeners tell clients to use. Default: 127.0.0.1. */
  readonly advertisedHost?: string;
  /**
   * The caller never disturbs the broker: when KAFKA_BOOTSTRAP is set, that Kafka is used and none is
   * started. Default false.
   */
  readonly shared?: boolean;
}

interface KafkaServerParts {
  readonly nodes: readonly KafkaNode[];
  readonly saslBootstrap?: string | undefined;
  readonly sslBootstrap?: string | undefined;
  readonly certificates?: Certificates | undefined;
  readonly folder?: string;
}

/** A running cluster. Lists of addresses are "127.0.0.1:port,127.0.0.1:port". */
export class KafkaServer {
  /** PLAINTEXT, for the clients under test: where the brokers really listen, so behind any proxy. */
  readonly bootstrap: string;
  /** PLAINTEXT and never advertised elsewhere: for reading back while a proxy in front misbehaves. */
  readonly internalBootstrap: string;
  /** SASL_PLAINTEXT with KAFKA_USER and KAFKA_PASSWORD, also for SCRAM; undefined without security. */
  readonly saslPlainBootstrap: string | undefined;
  /** The same listener as saslPlainBootstrap. */
  readonly scramBootstrap: string | undefined;
  /** SSL; undefined without security. */
  readonly sslBootstrap: string | undefined;
  /**
   * PEM files for sslBootstrap: its CA, and a client's key and certificate that it accepts, but does not
   * demand.
   */
  readonly certificates: Certificates | undefined;
  readonly nodes: readonly KafkaNode[];
  readonly #folder: string | undefined;

  /** Use startKafka. */
  constructor({ nodes, saslBootstrap, sslBootstrap, certificates, folder }: KafkaServerParts) {
    this.nodes = nodes;
    this.bootstrap = nodes.map(({ address }) => address).join(',');
    this.internalBootstrap = nodes.map(({ internalAddress }) => internalAddress).join(',');
    this.saslPlainBootstrap = saslBootstrap;
    this.scramBootstrap = saslBootstrap;
    this.sslBootstrap = sslBootstrap;
    this.certificates = certificates;
    this.#folder = folder;
  }

  /** Resolves when every running broker knows the topic and all its leaders. */
  async createTopic(topic: string, options: TopicOptions = {}): Promise<void> {
    await createTopic(this.#running(), topic, { replicationFactor: this.nodes.length, ...options });
  }

  /** Resolves when every running broker has forgotten the topic. */
  async deleteTopic(topic: string): Promise<void> {
    await deleteTopic(this.#running(), topic);
  }

  /** The node that leads the partition now. */
  async leaderOf(topic: string, partition: number): Promise<KafkaNode> {
    const metadata = await describeTopic(this.#running(), topic);
    const leader = metadata?.partitionMetadata.find(({ partitionId }) => partitionId === partition)?.leader;
    const node = this.nodes.find(({ id }) => id === leader);
    if (!node) throw new Error(`${topic}-${partition} has no leader now`);
    return node;
  }

  /**
   * Resolves when every replica of the topic is in sync, as it should be before the next broker is taken
   * down.
   */
  async waitInSync(topic: string): Promise<void> {
    await waitInSync(this.#running(), topic);
  }

  /** Kills the brokers that are left, and removes their folder. */
  async close(): Promise<void> {
    if (this.#folder === undefined) return;
    await Promise.all(this.nodes.map((node) => node.kill()));
    await rm(this.#folder, { recursive: true, force: true });
    foldersToRemove.delete(this.#folder);
  }

  #running(): string[] {
    const running = this.nodes.filter(({ state }) => state === 'running');
    if (running.length === 0) throw new Error('no broker is running');
    return running.map(({ internalAddress }) => internalAddress);
  }
}

/** Kafka's defaults: a broker that nobody kills should not be taken for dead on a busy machine. */
const CALM = { 'broker.heartbeat.interval.ms': '2000', 'broker.session.timeout.ms': '9000' };

const foldersToRemove = new Set<string>();
process.on('exit', () => {
  for (const folder of foldersToRemove) rmSync(folder, { recursive: true, force: true });
});

/**
 * Starts Kafka, fetching it first if need be; resolves when every broker answers.
 * @throws Error with the end of the broker's log and the path of its file, which is then kept.
 */
export async function startKafka(options: StartKafkaOptions = {}): Promise<KafkaServer> {
  const external = process.env['KAFKA_BOOTSTRAP'];
  if (options.shared && external) return new KafkaServer({ nodes: external.split(',').map(externalNode) });
  fetchKafka();
  const folder = await mkdtemp(path.join(os.tmpdir(), 'kahe-kafka-'));
  foldersToRemove.add(folder);
  const { server, nodes } = await configure(folder, options);
  try {
    await allOf(nodes.map((node) => node.prepare()));
  } catch (error) {
    await server.close();
    throw error;
  }
  try {
    await allOf(nodes.map((node) => node.start()));
  } catch (error) {
    foldersToRemove.delete(folder);
    await Promise.all(nodes.map((node) => node.kill()));
    throw error;
  }
  return server;
}

/** As Promise.all, but a failure is thrown only when none is under way any more. */
async function allOf(promises: readonly Promise<void>[]): Promise<void> {
  const failed = (await Promise.allSettled(promises)).find((settled) => settled.status === 'rejected');
  if (failed) throw failed.reason;
}

async function configure(
  folder: string,
  options: StartKafkaOptions,
): Promise<{ server: KafkaServer; nodes: LocalNode[] }> {
  const certificates = options.security ? await makeCertificates(folder) : undefined;
  const count = options.brokers ?? 1;
  const ports = await choosePorts(count, options.advertisedPorts);
  const { advertisedHost } = options;
  const id = randomBytes(16);
  // One that starts with "-" would be taken for an option.
  id[0]! &= 0x7f;
  const clusterId = id.toString('base64url');
  const nodes = ports.map((own, index) => {
    const properties = {
      ...brokerProperties(
        advertisedHost === undefined ? own : { ...own, advertisedHost },
        ports,
        certificates,
      ),
      ...(options.shared && CALM),
      ...options.properties,
    };
    const scram = certificates ? scramCredentials() : [];
    const id = index + 1;
    return new LocalNode({
      id,
      clusterId,
      folder: path.join(folder, `broker-${id}`),
      port: own.plain,
      internalPort: own.internal,
      properties,
      jvm: options.jvm,
      scramCredentials: scram,
    });
  });
  const list = (port: (own: NodePorts) => number) => ports.map((own) => `127.0.0.1:${port(own)}`).join(',');
  const security = certificates && {
    saslBootstrap: list(({ sasl }) => sasl),
    sslBootstrap: list(({ ssl }) => ssl),
    certificates,
  };
  return { server: new KafkaServer({ nodes, folder, ...security }), nodes };
}

async function choosePorts(nodes: number, advertised: readonly number[] | undefined): Promise<NodePorts[]> {
  if (advertised && advertised.length !== nodes)
    throw new Error(`advertisedPorts: ${nodes} wanted, ${advertised.length} given`);
  const free = await freePorts(5 * nodes);
  return Array.from({ length: nodes }, (_, index) => {
    const [plain, internal, controller, sasl, ssl] = free.slice(5 * index) as [
      number,
      number,
      number,
      number,
      number,
    ];
    return { plain, advertised: advertised?.[index] ?? plain, internal, controller, sasl, ssl };
  });
}

/** A broker that we did not start, and so must not disturb. */
function externalNode(address: string, index: number): KafkaNode {
  const refuse = (): never => {
    throw new Error(
      `this test disturbs its broker, but KAFKA_BOOTSTRAP names one that we did not start (${address})`,
    );
  };
  const port = Number(address.slice(address.lastIndexOf(':') + 1));
  const refuseLater = async () => refuse();
  return {
    id: index,
    address,
    port,
    internalAddress: address,
    state: 'running',
    pid: undefined,
    logFile: '',
    kill: refuseLater,
    stop: refuseLater,
    start: refuseLater,
    pause: refuse,
    resume: refuse,
  };
}
