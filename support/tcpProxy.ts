// A TCP proxy in front of a broker, whose faults can be switched while it runs. Start the broker with
// `advertisedPorts`, or its clients will learn its real address and go around the proxy.
import { once } from 'node:events';
import net from 'node:net';
import { freePorts } from './freePorts.js';
import { startKafka, type KafkaServer, type StartKafkaOptions } from './kafkaServer.js';

/** `up`: from client to broker; `down`: from broker to client. */
export type Direction = 'up' | 'down';

/** Faults in force; assign to change one. They hold for open connections and for new ones. */
export interface ProxyFaults {
  /**
   * Directions in which nothing passes, without any RST or FIN, as when packets are dropped. As TCP would
   * send again what was lost, the bytes (and ends of connections) that wait pass on when the direction is
   * taken off. Connecting still succeeds: the kernel accepts.
   */
  drop: ReadonlySet<Direction>;
  /** Each chunk passes so many milliseconds after it arrived, in each direction. */
  delayMs: number;
  /** Each direction of each connection passes at most so many bytes a second. */
  bytesPerSecond: number;
  /** Connections are reset as soon as they are made. */
  refuse: boolean;
  /** Asked for each new connection: it is reset once so many bytes have passed, both ways together. */
  resetAfterBytes: (() => number) | undefined;
}

export interface ProxyOptions {
  /** Where the broker really listens. */
  readonly target: { readonly host?: string; readonly port: number };
  /** The proxy's own port on 127.0.0.1. Default: a free one. */
  readonly port?: number;
}

/**
 * Up to so many bytes of a direction wait in the proxy; then it stops reading, and the sender's kernel makes
 * it wait.
 */
const WAITING_BYTES_MAX = 1024 * 1024;

export class TcpProxy {
  readonly port: number;
  readonly faults: ProxyFaults = {
    drop: new Set(),
    delayMs: 0,
    bytesPerSecond: Infinity,
    refuse: false,
    resetAfterBytes: undefined,
  };
  /** How many connections clients ever made, refused ones included. */
  connections = 0;
  /** Bytes that passed. */
  readonly bytes: Record<Direction, number> = { up: 0, down: 0 };
  readonly #target: { readonly host: string; readonly port: number };
  readonly #pairs = new Set<Pair>();
  readonly #server = net.createServer({ allowHalfOpen: true }, (client) => this.#accept(client));

  /** Use startProxy. */
  constructor(port: number, target: ProxyOptions['target']) {
    this.port = port;
    this.#target = { host: target.host ?? '127.0.0.1', port: target.port };
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  get openConnections(): number {
    return this.#pairs.size;
  }

  async listen(): Promise<void> {
    this.#server.listen(this.port, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  /** Nothing passes any more, both ways or in the directions given. */
  blackhole(...directions: readonly Direction[]): void {
    this.faults.drop = new Set(directions.length > 0 ? directions : ['up', 'down']);
  }

  /** Resets every open connection, towards client and broker. */
  resetAll(): void {
    for (const pair of this.#pairs) pair.reset();
  }

  /** Takes every fault off. */
  heal(): void {
    Object.assign(this.faults, {
      drop: new Set(),
      delayMs: 0,
      bytesPerSecond: Infinity,
      refuse: false,
      resetAfterBytes: undefined,
    });
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.resetAll();
    await closed;
  }

  #accept(client: net.Socket): void {
    this.connections++;
    if (this.faults.refuse) {
      client.resetAndDestroy();
      return;
    }
    const broker = net.connect({ ...this.#target, allowHalfOpen: true });
    const pair = new Pair(
      client,
      broker,
      this.faults,
      (direction, length) => (this.bytes[direction] += length),
    );
    this.#pairs.add(pair);
    pair.whenOver(() => this.#pairs.delete(pair));
  }
}

export async function startProxy(options: ProxyOptions): Promise<TcpProxy> {
  const [free] = await freePorts(1);
  const proxy = new TcpProxy(options.port ?? free!, options.target);
  await proxy.listen();
  return proxy;
}

/**
 * Kafka with a proxy in front of each broker. Clients under test start from `bootstrap`; read back through
 * `kafka.internalBootstrap`.
 */
export interface ProxiedKafka {
  readonly kafka: KafkaServer;
  /** In the order of kafka.nodes. */
  readonly proxies: readonly TcpProxy[];
  /** Addresses of the proxies. */
  readonly bootstrap: string;
  close(): Promise<void>;
}

export async function startKafkaBehindProxies(
  options: Omit<StartKafkaOptions, 'advertisedPorts' | 'shared'> = {},
): Promise<ProxiedKafka> {
  const ports = await freePorts(options.brokers ?? 1);
  const kafka = await startKafka({ ...options, advertisedPorts: ports });
  const proxies = await Promise.all(
    kafka.nodes.map((node, index) => startProxy({ port: ports[index]!, target: { port: node.port } })),
  );
  const close = async () => {
    await Promise.all(proxies.map((proxy) => proxy.close()));
    await kafka.close();
  };
  return { kafka, proxies, bootstrap: proxies.map(({ address }) => address).join(','), close };
}

/** A client's connection and the one to the broker that goes with it. */
class Pair {
  readonly #client: net.Socket;
  readonly #broker: net.Socket;
  #bytesLeft: number;

  constructor(
    client: net.Socket,
    broker: net.Socket,
    faults: ProxyFaults,
    onPassed: (direction: Direction, length: number) => void,
  ) {
    this.#client = client;
    this.#broker = broker;
    this.#bytesLeft = faults.resetAfterBytes?.() ?? Infinity;
    const passed = (direction: Direction) => (length: number) => {
      onPassed(direction, length);
      this.#bytesLeft -= length;
      if (this.#bytesLeft <= 0) this.reset();
    };
    // A lost connection on one side is the end of the other; but where packets are dropped, its RST is too,
    // and the other side stays.
    client.on('error', () => faults.drop.has('up') || broker.resetAndDestroy());
    broker.on('error', () => faults.drop.has('down') || client.resetAndDestroy());
    void pump({ source: client, sink: broker, direction: 'up', faults, passed: passed('up') });
    void pump({ source: broker, sink: client, direction: 'down', faults, passed: passed('down') });
  }

  reset(): void {
    this.#client.resetAndDestroy();
    this.#broker.resetAndDestroy();
  }

  whenOver(then: () => void): void {
    let open = 2;
    const closed = () => {
      if (--open === 0) then();
    };
    this.#client.once('close', closed);
    this.#broker.once('close', closed);
  }
}

interface Pipe {
  readonly source: net.Socket;
  readonly sink: net.Socket;
  readonly direction: Direction;
  readonly faults: ProxyFaults;
  readonly passed: (length: number) => void;
}

interface Waiting {
  readonly arrivedAt: number;
  /** undefined: the source has ended. */
  readonly chunk: Buffer | undefined;
}

/** How often a direction that is dropped looks whether it still is. */
const DROP_POLL_MS = 5;
/** Throttled chunks pass in pieces of so much time. */
const THROTTLE_SLICE_MS = 20;

/** Carries everything from source to sink, in order, as the faults in force allow. */
async function pump({ source, sink, direction, faults, passed }: Pipe): Promise<void> {
  for await (const { arrivedAt, chunk } of arrivals(source)) {
    await untilAllowed({ source, sink, direction, faults }, arrivedAt);
    if (sink.destroyed) return;
    if (chunk === undefined) sink.end();
    else await pass(chunk, sink, faults, passed);
  }
}

async function untilAllowed(pipe: Omit<Pipe, 'passed'>, arrivedAt: number): Promise<void> {
  while (!pipe.sink.destroyed) {
    if (pipe.faults.drop.has(pipe.direction)) await sleep(DROP_POLL_MS);
    else if (performance.now() < arrivedAt + pipe.faults.delayMs)
      await sleep(arrivedAt + pipe.faults.delayMs - performance.now());
    else return;
  }
}

async function pass(
  chunk: Buffer,
  sink: net.Socket,
  faults: ProxyFaults,
  passed: (length: number) => void,
): Promise<void> {
  for (let start = 0; start < chunk.length && !sink.destroyed;) {
    const limit = Math.max(1, Math.floor((faults.bytesPerSecond * THROTTLE_SLICE_MS) / 1000));
    const piece = chunk.subarray(start, start + limit);
    start += piece.length;
    const isRoomLeft = sink.write(piece);
    passed(piece.length);
    if (Number.isFinite(faults.bytesPerSecond)) await sleep((1000 * piece.length) / faults.bytesPerSecond);
    if (!isRoomLeft) await drained(sink);
  }
}

async function drained(sink: net.Socket): Promise<void> {
  if (sink.destroyed || !sink.writableNeedDrain) return;
  await new Promise<void>((resolve) => {
    const done = () => {
      sink.off('drain', done).off('close', done);
      resolve();
    };
    sink.on('drain', done).on('close', done);
  });
}

/**
 * The source's chunks with their times of arrival, then its end; read ahead of their being passed, up to
 * WAITING_BYTES_MAX.
 */
async function* arrivals(source: net.Socket): AsyncGenerator<Waiting> {
  const queue: Waiting[] = [];
  let waitingBytes = 0;
  let wake: () => void = () => undefined;
  const arrive = (chunk: Buffer | undefined) => {
    queue.push({ arrivedAt: performance.now(), chunk });
    waitingBytes += chunk?.length ?? 0;
    if (waitingBytes > WAITING_BYTES_MAX) source.pause();
    wake();
  };
  source.on('data', arrive);
  source.once('end', () => arrive(undefined));
  source.once('close', () => wake());
  for (;;) {
    const next = queue.shift();
    if (next) {
      yield next;
      waitingBytes -= next.chunk?.length ?? 0;
      if (waitingBytes <= WAITING_BYTES_MAX) source.resume();
    } else if (source.closed) return;
    else await new Promise<void>((resolve) => (wake = resolve));
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}
