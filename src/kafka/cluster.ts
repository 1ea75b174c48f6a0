// A Kafka cluster as streams see it: which topic has which partitions, who leads them, and a connection to
// each leader. Streams with the same settings share one cluster, and so one set of connections, however many
// buckets there are.
import type { Clock } from '../clock.js';
import type { Log } from '../log/log.js';
import type { KafkaBroker } from '../config/kafka/brokerList.js';
import { errorText } from './errorCodes.js';
import { KafkaFailure } from './failure.js';
import { BrokerStats } from './brokerStats.js';
import {
  BrokerConnection,
  type ConnectionSettings,
  type Metadata,
  type TopicMetadata,
} from './brokerConnection.js';
import type { KafkaSettings } from '../config/kafka/settings.js';

export interface TopicLayout {
  /** By partition: the node that leads it, -1 for none just now. */
  readonly leaders: readonly number[];
  readonly fetchedAtMs: number;
}

export type ClusterSettings = ConnectionSettings &
  Pick<KafkaSettings, 'bootstrapServers' | 'clusterKey' | 'retryBackoffMs' | 'retryBackoffMaxMs'>;

interface Waiter {
  readonly resolve: (layout: TopicLayout) => void;
  readonly reject: (failure: KafkaFailure) => void;
}

interface Hold {
  readonly sinceMs: number;
  readonly waitMs: number;
  readonly failure: KafkaFailure;
}

/** A refused login is not asked again at once: brokers lock accounts. */
const AUTH_BACK_OFF_MS = 10_000;
const UNKNOWN_TOPIC = 3;
const LEADER_NOT_AVAILABLE = 5;

export class Cluster {
  readonly #settings: ClusterSettings;
  readonly #log: Log;
  readonly #clock: Clock;
  #nodes: ReadonlyMap<number, KafkaBroker> = new Map();
  readonly #layouts = new Map<string, TopicLayout>();
  readonly #connections = new Map<number, Promise<BrokerConnection>>();
  /**
   * Metadata has a connection of its own: on one that produces, a broker lets it wait for acknowledgements.
   */
  #metadataConnection: BrokerConnection | undefined;
  #nextBootstrap = 0;
  #wanted = new Map<string, Waiter[]>();
  #isAsking = false;
  /** Connecting failed: not before this time again, or with the failure until then. */
  readonly #backOff = new Map<string, Hold>();
  #isClosed = false;

  constructor(
    settings: ClusterSettings,
    log: Log,
    clock: Clock,
    readonly stats = new BrokerStats(),
  ) {
    this.#settings = settings;
    this.#log = log;
    this.#clock = clock;
  }

  /** The brokers by their ids, as they were advertised when somebody asked last. */
  get nodes(): ReadonlyMap<number, KafkaBroker> {
    return this.#nodes;
  }

  /** What is known of a topic, without asking. */
  layout(topic: string): TopicLayout | undefined {
    return this.#layouts.get(topic);
  }

  /**
   * Asks who leads the topic's partitions. Askers that come while a request is on its way share the next one.
   * @throws {KafkaFailure} TOPIC when it does not exist or is not ours to write, or why nothing answers
   */
  refresh(topic: string): Promise<TopicLayout> {
    return new Promise((resolve, reject) => {
      const waiters = this.#wanted.get(topic) ?? [];
      this.#wanted.set(topic, [...waiters, { resolve, reject }]);
      if (!this.#isAsking) void this.#ask();
    });
  }

  /**
   * As `refresh`, but a failure that is only remembered is no answer: waits until some broker may be asked. A
   * refused login is the exception.
   * @throws {KafkaFailure}
   */
  async ask(topic: string): Promise<TopicLayout> {
    const holds = this.#brokers().map(({ host, port }) => this.#backOff.get(`${host}:${port}`));
    const waitMs = Math.min(
      ...holds.map((hold) => (hold === undefined || hold.failure.code === 'AUTH' ? 0 : this.#leftMs(hold))),
    );
    // A timer may end a millisecond before the clock says so.
    if (waitMs > 0 && this.#metadataConnection?.isOpen !== true)
      await new Promise<void>((resolve) => void this.#clock.after(waitMs + 1, resolve));
    return this.refresh(topic);
  }

  /**
   * The connection to a node, made when there is none.
   * @throws {KafkaFailure}
   */
  async connection(nodeId: number): Promise<BrokerConnection> {
    const known = this.#connections.get(nodeId);
    if (known !== undefined) {
      const connection = await known;
      if (connection.isOpen) return connection;
      if (this.#connections.get(nodeId) === known) {
        this.#connections.delete(nodeId);
        this.#refreshLedBy(nodeId);
      }
      return this.connection(nodeId);
    }
    const broker = this.#nodes.get(nodeId);
    if (broker === undefined)
      throw new KafkaFailure('CONNECTION', `node ${nodeId} is not part of the cluster just now`);
    const opening = this.#open(broker);
    this.#connections.set(nodeId, opening);
    opening.catch(() => {
      if (this.#connections.get(nodeId) === opening) this.#connections.delete(nodeId);
    });
    return opening;
  }

  /** Closes all connections at once. */
  close(): void {
    this.#isClosed = true;
    const why = new KafkaFailure('CONNECTION', 'the cluster was closed');
    this.#metadataConnection?.destroy(why);
    for (const connection of this.#connections.values())
      connection.then(
        (open) => open.destroy(why),
        () => undefined,
      );
    this.#connections.clear();
  }

  async #ask(): Promise<void> {
    this.#isAsking = true;
    while (this.#wanted.size > 0) {
      const wanted = this.#wanted;
      this.#wanted = new Map();
      try {
        this.#learn(await this.#fetch([...wanted.keys()]), wanted);
      } catch (error) {
        const failure = error instanceof KafkaFailure ? error : new KafkaFailure('PROTOCOL', String(error));
        for (const waiters of wanted.values()) for (const { reject } of waiters) reject(failure);
      }
    }
    this.#isAsking = false;
  }

  async #fetch(topics: readonly string[]): Promise<Metadata> {
    if (this.#metadataConnection?.isOpen !== true) this.#metadataConnection = await this.#openAny();
    try {
      return await this.#metadataConnection.metadata(topics);
    } catch (error) {
      // It lets us in and then says nothing: the next try is another's.
      this.#nextBootstrap++;
      throw error;
    }
  }

  /** With acks 0 a broker that leads no more can only close the connection; nothing else would tell. */
  #refreshLedBy(nodeId: number): void {
    for (const [topic, { leaders }] of this.#layouts) {
      if (leaders.includes(nodeId))
        this.refresh(topic).catch((error: unknown) =>
          this.#log.debug(`metadata stays as it is: ${String(error)}`),
        );
    }
  }

  #learn(metadata: Metadata, wanted: ReadonlyMap<string, readonly Waiter[]>): void {
    this.#forgetMovedNodes(metadata.nodes);
    this.#nodes = metadata.nodes;
    for (const topic of metadata.topics) this.#learnTopic(topic, wanted.get(topic.topic) ?? []);
    const answered = new Set(metadata.topics.map(({ topic }) => topic));
    for (const [topic, waiters] of wanted) {
      if (!answered.has(topic))
        for (const { reject } of waiters)
          reject(new KafkaFailure('PROTOCOL', `the broker said nothing of topic ${topic}`));
    }
  }

  #learnTopic({ topic, errorCode, leaders }: TopicMetadata, waiters: readonly Waiter[]): void {
    // A topic that was just made has partitions without leaders for a moment.
    if ((errorCode === 0 || errorCode === LEADER_NOT_AVAILABLE) && leaders.length > 0) {
      const layout = { leaders, fetchedAtMs: this.#clock.now() };
      this.#layouts.set(topic, layout);
      for (const { resolve } of waiters) resolve(layout);
      return;
    }
    this.#layouts.delete(topic);
    const what =
      errorCode === UNKNOWN_TOPIC ? this.#missingTopic() : `can't be written to: ${errorText(errorCode)}`;
    for (const { reject } of waiters) reject(new KafkaFailure('TOPIC', `topic ${topic} ${what}`));
  }

  #missingTopic(): string {
    if (this.#settings.allowAutoCreateTopics)
      return 'does not exist, and the cluster does not make it (auto.create.topics.enable of its brokers): make it';
    return 'does not exist: make it, or set allow.auto.create.topics';
  }

  #forgetMovedNodes(nodes: ReadonlyMap<number, KafkaBroker>): void {
    for (const [nodeId, { host, port }] of this.#nodes) {
      const now = nodes.get(nodeId);
      if (now === undefined || (now.host === host && now.port === port)) continue;
      const why = new KafkaFailure('CONNECTION', `node ${nodeId} has moved to ${now.host}:${now.port}`);
      this.#connections.get(nodeId)?.then(
        (connection) => connection.destroy(why),
        () => undefined,
      );
      this.#connections.delete(nodeId);
    }
  }

  /** A connection to whichever broker answers first, bootstrap servers and known nodes in turn. */
  async #openAny(): Promise<BrokerConnection> {
    const brokers = this.#brokers();
    const failures: KafkaFailure[] = [];
    for (let i = 0; i < brokers.length; i++) {
      const broker = brokers[(this.#nextBootstrap + i) % brokers.length]!;
      try {
        const connection = await this.#open(broker);
        this.#nextBootstrap += i;
        return connection;
      } catch (error) {
        failures.push(error as KafkaFailure);
      }
    }
    throw noBroker(failures);
  }

  #brokers(): readonly KafkaBroker[] {
    return unique([...this.#settings.bootstrapServers, ...this.#nodes.values()]);
  }

  async #open(broker: KafkaBroker): Promise<BrokerConnection> {
    this.#refuseIfClosed();
    const name = `${broker.host}:${broker.port}`;
    const held = this.#backOff.get(name);
    // Answering with the last failure is as good as a new one, and costs the broker nothing.
    if (held !== undefined && this.#leftMs(held) > 0) throw held.failure;
    try {
      const connection = await BrokerConnection.open(broker, this.#settings, this.#log);
      this.#refuseIfClosed(connection);
      this.#backOff.delete(name);
      this.#count(connection);
      this.#log.debug(`connected to ${name}`);
      return connection;
    } catch (error) {
      const failure = error as KafkaFailure;
      this.stats.of(broker).failed(failure.code);
      this.#holdBack(name, failure, held?.waitMs ?? 0);
      throw failure;
    }
  }

  #count(connection: BrokerConnection): void {
    const counters = this.stats.of(connection.broker);
    counters.opened++;
    counters.open++;
    connection.onClosed(() => counters.open--);
  }

  #refuseIfClosed(connection?: BrokerConnection): void {
    if (!this.#isClosed) return;
    const why = new KafkaFailure('CONNECTION', 'the cluster was closed');
    connection?.destroy(why);
    throw why;
  }

  #holdBack(name: string, failure: KafkaFailure, lastWaitMs: number): void {
    const { retryBackoffMs, retryBackoffMaxMs } = this.#settings;
    const grown = Math.min(Math.max(lastWaitMs * 2, retryBackoffMs), retryBackoffMaxMs);
    const waitMs = failure.code === 'AUTH' ? AUTH_BACK_OFF_MS : grown;
    this.#backOff.set(name, { sinceMs: this.#clock.now(), waitMs, failure });
  }

  /** How long it is still held back. T17: a clock that was set back ends the wait, or it could take hours. */
  #leftMs({ sinceMs, waitMs }: Hold): number {
    const passedMs = this.#clock.now() - sinceMs;
    return passedMs < 0 ? 0 : waitMs - passedMs;
  }
}

/** One that answers and refuses says more than those that are away. */
function noBroker(failures: readonly KafkaFailure[]): KafkaFailure {
  const heard = failures.filter(({ code }) => code !== 'CONNECTION' && code !== 'TIMEOUT');
  const worst = heard.find(({ code }) => code === 'AUTH') ?? heard[0];
  const all = worst === undefined ? failures : [worst, ...failures.filter((failure) => failure !== worst)];
  const heading =
    worst === undefined
      ? 'no broker answers'
      : worst.code === 'AUTH'
        ? 'no broker lets us in'
        : 'no broker can be used';
  return new KafkaFailure(
    worst?.code ?? failures.at(-1)?.code ?? 'CONNECTION',
    `${heading}: ${all.map(({ message }) => message).join('; ')}`,
  );
}

function unique(brokers: readonly KafkaBroker[]): readonly KafkaBroker[] {
  return [...new Map(brokers.map((broker) => [`${broker.host}:${broker.port}`, broker])).values()];
}
