// One connection to one broker. kafkajs makes the connection, TLS and SASL, and speaks metadata; Produce goes
// past its encoder, from our own bytes. The traps of kafkajs are guarded here, each under its number:
// docs/kafkajs-traps.md.
import * as net from 'node:net';
import * as tls from 'node:tls';
import type { Log } from '../log/log.js';
import type { KafkaBroker } from '../config/kafka/brokerList.js';
import { messageOf } from '../errors.js';
import { dial } from './dial.js';
import { KafkaFailure } from './failure.js';
import {
  type ApiVersions,
  type Connection,
  type Lookup,
  type Protocol,
  type RawMetadata,
  type RequestHead,
  type VersionRange,
  kafkajs,
} from './kafkajs.js';
import {
  type ConnectionFacts,
  type ConnectionStage,
  closedByBroker,
  connectionFailure,
  socketFailure,
  strangeAnswer,
} from './connectionProblem.js';
import {
  type PartitionAnswer,
  type ProduceRequest,
  parseProduceResponse,
  produceBody,
} from './produceRequest.js';
import type { KafkaSettings } from '../config/kafka/settings.js';
import type { KafkaTls } from '../config/kafka/tlsSettings.js';

export interface TopicMetadata {
  readonly topic: string;
  readonly errorCode: number;
  /** By partition: the id of the node that leads it, -1 for none. */
  readonly leaders: readonly number[];
}

export interface Metadata {
  readonly nodes: ReadonlyMap<number, KafkaBroker>;
  readonly topics: readonly TopicMetadata[];
}

export type ConnectionSettings = Pick<
  KafkaSettings,
  'clientId' | 'security' | 'socketTimeoutMs' | 'socketConnectionSetupTimeoutMs' | 'allowAutoCreateTopics'
>;

const KEEP_ALIVE_MS = 60_000;
const OLDEST_PRODUCE_VERSION = 3;

export class BrokerConnection {
  readonly #connection: Connection;
  readonly #settings: ConnectionSettings;
  #lookup: Lookup | undefined;
  /** The TCP connection, and what is spoken on: the same without TLS. */
  #wire: net.Socket | undefined;
  #socket: net.Socket | undefined;
  readonly #dialling = new AbortController();
  #stage: ConnectionStage = 'connecting';
  #closedBy: KafkaFailure | undefined;
  readonly #onClosed = new Set<(why: KafkaFailure) => void>();

  private constructor(
    readonly broker: KafkaBroker,
    settings: ConnectionSettings,
    log: Log,
  ) {
    this.#settings = settings;
    this.#connection = new kafkajs.Connection({
      host: broker.host,
      port: broker.port,
      clientId: settings.clientId,
      ssl: settings.security.tls,
      // kafkajs writes into this object, so each connection has its own.
      sasl: settings.security.sasl === undefined ? null : { ...settings.security.sasl },
      // T18: kafkajs prints to the console unless it is given a logger; what matters comes back as an error
      // anyway.
      logger: kafkajs.createLogger({
        level: log.level === 'TRACE' ? kafkajs.LOG_EVERYTHING : kafkajs.LOG_NOTHING,
        logCreator:
          () =>
          ({ log: entry }: { log: { message: string } }) =>
            log.trace(`kafkajs: ${entry.message}`),
      }),
      socketFactory: ({ onConnect }) => this.#connect(onConnect),
      connectionTimeout: settings.socketConnectionSetupTimeoutMs,
      requestTimeout: settings.socketTimeoutMs,
      // T4, T7, T17: kafkajs would look every 100 ms whether a request is late by the wall clock, and then
      // leave the dead socket open. Requests have a timer each here, and one that runs out ends the
      // connection.
      enforceRequestTimeout: false,
      // T12: what may be in flight is bounded by the sender.
      maxInFlightRequests: null,
    });
    this.#silenceIdleTimer();
    this.#surviveGarbage();
  }

  /**
   * Connects, learns the broker's versions and logs in.
   * @throws {KafkaFailure} and leaves nothing open
   */
  static async open(broker: KafkaBroker, settings: ConnectionSettings, log: Log): Promise<BrokerConnection> {
    const connection = new BrokerConnection(broker, settings, log);
    await connection.#within(settings.socketConnectionSetupTimeoutMs, 'the connection', connection.#setUp());
    return connection;
  }

  get isOpen(): boolean {
    return this.#closedBy === undefined;
  }

  /** Calls once it is closed; it is open still. */
  onClosed(run: () => void): void {
    this.#onClosed.add(run);
  }

  /**
   * Asks who leads the partitions of these topics; at least one, for none would mean all. Errors of a topic
   * stand in its entry.
   */
  async metadata(topics: readonly string[]): Promise<Metadata> {
    const { request, response } = this.#protocol('Metadata')({
      topics,
      allowAutoTopicCreation: this.#settings.allowAutoCreateTopics,
    });
    // T10: kafkajs's own parsing throws when any topic has an error, and so one bad topic would hide all
    // others.
    const decodeOnly = {
      decode: (raw: Buffer) => response.decode(raw),
      parse: (decoded: unknown) => Promise.resolve(decoded),
    };
    if (this.#stage === 'ready') this.#stage = 'metadata';
    const asked = this.#connection.send({ request, response: decodeOnly });
    const answer = (await this.#within(
      this.#settings.socketTimeoutMs,
      'a metadata request',
      asked,
    )) as RawMetadata;
    this.#stage = 'open';
    return readMetadata(answer);
  }

  /**
   * Sends record batches and gives the answer for each partition that the broker answered for (T2b: one may
   * be missing). With acks 0 there is no answer: an empty list, once the bytes are on their way.
   * @throws {KafkaFailure} TIMEOUT after `deadlineMs`, and then the connection is closed
   */
  async produce(produce: ProduceRequest, deadlineMs: number): Promise<readonly PartitionAnswer[]> {
    await this.#renewLogin();
    const protocol = this.#protocol('Produce')({
      acks: produce.acks,
      timeout: produce.timeoutMs,
      topicData: [],
    });
    if (protocol.request.apiVersion < OLDEST_PRODUCE_VERSION) {
      throw this.destroy(new KafkaFailure('PROTOCOL', `${this.#name} is older than Kafka 0.11`));
    }
    const { payload } = await this.#within(
      deadlineMs,
      'a produce request',
      this.#push(protocol.request, produce),
    );
    if (payload === null) return [];
    const { answers, throttleMs } = parseProduceResponse(payload, protocol.request.apiVersion);
    this.#connection.requestQueue.maybeThrottle(throttleMs ?? null);
    return answers;
  }

  /** Closes at once; what is in flight fails with `why`. Returns it, to throw. */
  destroy(why: KafkaFailure): KafkaFailure {
    if (this.#closedBy !== undefined) return this.#closedBy;
    this.#closedBy = why;
    // T4, T5: kafkajs's disconnect() waits for answers and leaves the socket to end by itself.
    this.#connection.connectionStatus = 'disconnected';
    this.#connection.requestQueue.rejectAll(why);
    this.#connection.requestQueue.destroy();
    this.#dialling.abort(why);
    this.#socket?.destroy();
    this.#wire?.destroy();
    for (const tell of this.#onClosed) tell(why);
    return why;
  }

  get #facts(): ConnectionFacts {
    const { host, port } = this.broker;
    return { host, port, stage: this.#stage, security: this.#settings.security };
  }

  get #name(): string {
    return `broker ${this.broker.host}:${this.broker.port}`;
  }

  async #setUp(): Promise<void> {
    this.#wire = await this.#dial();
    await this.#connection.connect();
    this.#stage = 'versions';
    const versions = await this.#askVersions();
    this.#connection.setVersions(versions);
    this.#lookup = kafkajs.lookup(versions);
    this.#connection.setSupportAuthenticationProtocol(
      versions[kafkajs.apiKeys['SaslAuthenticate']!] !== undefined,
    );
    this.#stage = 'login';
    await this.#connection.authenticate();
    this.#stage = 'ready';
  }

  async #askVersions(): Promise<ApiVersions> {
    // Version 0 is understood by every broker, and tells all that is needed.
    const { request, response } = kafkajs.requests['ApiVersions']!.protocol({ version: 0 })({});
    const { apiVersions } = (await this.#connection.send({ request, response })) as {
      apiVersions: ({ apiKey: number } & VersionRange)[];
    };
    return Object.fromEntries(
      apiVersions.map(({ apiKey, minVersion, maxVersion }) => [apiKey, { minVersion, maxVersion }]),
    );
  }

  #protocol(name: 'Metadata' | 'Produce'): (args: object) => Protocol {
    return this.#lookup!(kafkajs.apiKeys[name]!, kafkajs.requests[name]!);
  }

  /** SASL sessions may have a lifetime (KIP-368). */
  async #renewLogin(): Promise<void> {
    if (this.#settings.security.sasl === undefined || this.#connection.isAuthenticated()) return;
    await this.#within(this.#settings.socketTimeoutMs, 'a new login', this.#connection.authenticate());
  }

  /**
   * What kafkajs's send does, but for the encoding: it would copy the records twice, into memory cleared
   * first.
   */
  #push(request: RequestHead, produce: ProduceRequest): Promise<{ payload: Buffer | null }> {
    const body = produceBody(produce);
    const correlationId = this.#connection.nextCorrelationId();
    const head = requestHead(
      request,
      correlationId,
      this.#settings.clientId,
      body.reduce((sum, part) => sum + part.length, 0),
    );
    return new Promise((resolve, reject) => {
      if (this.#closedBy !== undefined) return reject(this.#closedBy);
      // Nobody answers acks 0: the frames count as delivered once the kernel has the bytes.
      if (produce.acks === 0)
        return this.#write(head, body, (error) => (error ? reject(error) : resolve({ payload: null })));
      this.#connection.requestQueue.push({
        entry: {
          apiKey: request.apiKey,
          apiName: request.apiName,
          apiVersion: request.apiVersion,
          correlationId,
          resolve,
          reject,
        },
        expectResponse: true,
        requestTimeout: null,
        sendRequest: () => this.#write(head, body),
      });
    });
  }

  #write(head: Buffer, body: readonly Buffer[], whenDone?: (error?: Error | null) => void): void {
    const socket = this.#socket!;
    socket.cork();
    socket.write(head);
    body.forEach((part, i) => socket.write(part, i === body.length - 1 ? whenDone : undefined));
    socket.uncork();
  }

  async #dial(): Promise<net.Socket> {
    try {
      return await dial(this.broker, this.#dialling.signal);
    } catch (error) {
      throw error instanceof KafkaFailure
        ? error
        : new KafkaFailure('CONNECTION', `${this.#name} can't be reached: ${messageOf(error)}`);
    }
  }

  #connect(onConnect: () => void): net.Socket {
    const { host } = this.broker;
    const { tls: secure } = this.#settings.security;
    const wire = this.#wire!;
    wire.setKeepAlive(true, KEEP_ALIVE_MS);
    const socket = secure === undefined ? wire : tls.connect(tlsOptions(wire, host, secure), onConnect);
    if (secure === undefined) queueMicrotask(onConnect);
    // kafkajs has no handler for 'close': a socket that goes without 'end' or 'error' would leave its
    // requests hanging.
    socket.on('close', () => this.destroy(closedByBroker(this.#facts)));
    // Before kafkajs, which keeps the message alone.
    socket.on('error', (error: Error) => this.destroy(socketFailure(error, this.#facts)));
    this.#socket = socket;
    return socket;
  }

  /**
   * T7: after the first request kafkajs sets a 1 ms timer anew for ever. It is needed only while a quota
   * holds requests back.
   */
  #silenceIdleTimer(): void {
    const queue = this.#connection.requestQueue;
    const schedule = queue.scheduleCheckPendingRequests.bind(queue);
    queue.scheduleCheckPendingRequests = () => {
      if (queue.pending.length > 0) schedule();
    };
  }

  /**
   * kafkajs parses inside the socket's 'data' event, where a throw would end the process; and it believes a
   * negative length.
   */
  #surviveGarbage(): void {
    const connection = this.#connection;
    const parse = connection.processData.bind(connection);
    connection.processData = (data) => {
      const strange = this.#stage === 'versions' ? strangeAnswer(data, this.#facts) : undefined;
      if (strange !== undefined) return void this.destroy(strange);
      try {
        parse(data);
      } catch (error) {
        this.destroy(new KafkaFailure('PROTOCOL', `${this.#name} does not speak Kafka: ${String(error)}`));
      }
    };
  }

  async #within<T>(deadlineMs: number, what: string, work: Promise<T>): Promise<T> {
    let tell: (why: KafkaFailure) => void = () => undefined;
    const closed = new Promise<never>((_, reject) => this.#onClosed.add((tell = reject)));
    const timer = setTimeout(
      () =>
        this.destroy(
          new KafkaFailure('TIMEOUT', `${this.#name} did not answer ${what} within ${deadlineMs} ms`),
        ),
      deadlineMs,
    );
    try {
      return await Promise.race([work, closed]);
    } catch (error) {
      throw this.destroy(connectionFailure(error, this.#facts));
    } finally {
      clearTimeout(timer);
      this.#onClosed.delete(tell);
    }
  }
}

function tlsOptions(wire: net.Socket, host: string, secure: KafkaTls): tls.ConnectionOptions {
  return {
    socket: wire,
    host,
    ...(net.isIP(host) === 0 ? { servername: host } : {}),
    ...(secure.ca === undefined ? {} : { ca: secure.ca }),
    ...(secure.certificate === undefined ? {} : { cert: secure.certificate, key: secure.key }),
    ...(secure.keyPassword === undefined ? {} : { passphrase: secure.keyPassword }),
    ...(secure.ciphers === undefined ? {} : { ciphers: secure.ciphers }),
    ...(secure.curves === undefined ? {} : { ecdhCurve: secure.curves }),
    ...(secure.signatureAlgorithms === undefined ? {} : { sigalgs: secure.signatureAlgorithms }),
    rejectUnauthorized: secure.verifiesCertificate,
    ...(secure.verifiesHostname ? {} : { checkServerIdentity: () => undefined }),
  };
}

/** size i32 | api key i16 | version i16 | correlation id i32 | client id string */
function requestHead(
  request: RequestHead,
  correlationId: number,
  clientId: string,
  bodyBytes: number,
): Buffer {
  const name = Buffer.from(clientId);
  const head = Buffer.alloc(14 + name.length);
  head.writeInt32BE(head.length - 4 + bodyBytes, 0);
  head.writeInt16BE(request.apiKey, 4);
  head.writeInt16BE(request.apiVersion, 6);
  head.writeInt32BE(correlationId, 8);
  head.writeInt16BE(name.length, 12);
  name.copy(head, 14);
  return head;
}

function readMetadata(raw: RawMetadata): Metadata {
  const topics = raw.topicMetadata.map(({ topic, topicErrorCode, partitionMetadata }) => {
    const leaders: number[] = [];
    for (const { partitionId, leader } of partitionMetadata) leaders[partitionId] = leader;
    return {
      topic,
      errorCode: topicErrorCode,
      leaders: Array.from(leaders, (leader: number | undefined) => leader ?? -1),
    };
  });
  return { nodes: new Map(raw.brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }])), topics };
}
