// One broker process on this machine, in the folder it was given. Whatever happens, it does not outlive the
// process that started it.
import { execFile, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, openSync, closeSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { withBroker } from './kafkajsBroker.js';

const run = promisify(execFile);
/** For Java: Kafka, and all that it needs. */
export const KAFKA_CLASSES = path.resolve(import.meta.dirname, '../.cache/kafka/libs', '*');
const FETCH = path.resolve(import.meta.dirname, '../test/kafka/fetch.sh');

const START_DEADLINE_MS = 180_000;
const STOP_DEADLINE_MS = 90_000;
const POLL_MS = 50;
const LOG_TAIL_LINES = 40;

export type NodeState = 'stopped' | 'running' | 'paused';

/** A broker that tests can disturb. */
export interface KafkaNode {
  readonly id: number;
  /** Address of its PLAINTEXT listener, "127.0.0.1:port": where it really listens, whatever it advertises. */
  readonly address: string;
  readonly port: number;
  /** Address of its INTERNAL listener, which is advertised as it is. */
  readonly internalAddress: string;
  readonly state: NodeState;
  /** undefined while stopped. */
  readonly pid: number | undefined;
  /** What the broker prints. */
  readonly logFile: string;
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
  /** SIGTERM, so an orderly stop with leaders handed over; resolves when the process is gone. */
  stop(): Promise<void>;
  /** SIGSTOP: the kernel still accepts connections and bytes for it, but nothing answers. */
  pause(): void;
  /** SIGCONT. */
  resume(): void;
  /** Starts it again on the same data and ports; resolves when it answers. */
  start(): Promise<void>;
}

/** Makes sure that Kafka is in .cache; throws with what to install when it cannot. */
export function fetchKafka(): void {
  const { status, stderr, error } = spawnSync('sh', [FETCH], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`test/kafka/fetch.sh failed:\n${stderr || String(error)}`);
}

/** What a LocalNode needs to know. */
export interface NodeSettings {
  readonly id: number;
  readonly clusterId: string;
  /** Its own folder; made when missing. */
  readonly folder: string;
  readonly port: number;
  readonly internalPort: number;
  /** server.properties without node.id and log.dirs. */
  readonly properties: Readonly<Record<string, string>>;
  /** Default: what starts soonest. */
  readonly jvm?: Jvm | undefined;
  /** As kafka.tools.StorageTool's --add-scram takes them. */
  readonly scramCredentials: readonly string[];
}

export class LocalNode implements KafkaNode {
  readonly id: number;
  readonly port: number;
  readonly address: string;
  readonly internalAddress: string;
  readonly logFile: string;
  readonly #settings: NodeSettings;
  readonly #propertiesFile: string;
  #process: ChildProcess | undefined;
  #isPaused = false;

  constructor(settings: NodeSettings) {
    this.#settings = settings;
    this.id = settings.id;
    this.port = settings.port;
    this.address = `127.0.0.1:${settings.port}`;
    this.internalAddress = `127.0.0.1:${settings.internalPort}`;
    this.logFile = path.join(settings.folder, 'broker.log');
    this.#propertiesFile = path.join(settings.folder, 'server.properties');
  }

  get state(): NodeState {
    if (!this.#process) return 'stopped';
    return this.#isPaused ? 'paused' : 'running';
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Writes the configuration and formats the storage; leaves data that is there already as it is. */
  async prepare(): Promise<void> {
    const { id, folder, properties, clusterId, scramCredentials } = this.#settings;
    mkdirSync(folder, { recursive: true });
    const all = { 'node.id': String(id), 'log.dirs': path.join(folder, 'data'), ...properties };
    writeFileSync(
      this.#propertiesFile,
      Object.entries(all)
        .map(([name, value]) => `${name}=${value}\n`)
        .join(''),
      { mode: 0o600 },
    );
    const scram = scramCredentials.flatMap((credential) => ['--add-scram', credential]);
    const format = [
      'kafka.tools.StorageTool',
      'format',
      '--ignore-formatted',
      '-t',
      clusterId,
      '-c',
      this.#propertiesFile,
      ...scram,
    ];
    try {
      await run('java', [...javaOptions('soon'), ...format]);
    } catch (error) {
      throw new Error(`formatting the storage of broker ${id} failed: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  async start(): Promise<void> {
    if (this.#process) throw new Error(`broker ${this.id} is already running`);
    const log = openSync(this.logFile, 'a');
    const [command, ...args] = [
      ...dieWithParent(),
      'java',
      ...javaOptions(this.#settings.jvm ?? 'soon'),
      'kafka.Kafka',
      this.#propertiesFile,
    ];
    const child = spawn(command, args, { stdio: ['ignore', log, log], cwd: this.#settings.folder });
    closeSync(log);
    this.#process = child;
    this.#isPaused = false;
    running.add(child);
    const forget = () => {
      running.delete(child);
      if (this.#process === child) this.#process = undefined;
    };
    child.once('exit', forget);
    child.once('error', forget);
    await this.#untilItAnswers(child);
  }

  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  async stop(): Promise<void> {
    if (this.#isPaused) this.resume();
    const deadline = setTimeout(() => this.#process?.kill('SIGKILL'), STOP_DEADLINE_MS);
    await this.#end('SIGTERM');
    clearTimeout(deadline);
  }

  /** Resolves when the process is gone, however that came about. */
  async exited(): Promise<void> {
    if (this.#process) await once(this.#process, 'exit');
  }

  pause(): void {
    this.#signal('SIGSTOP');
    this.#isPaused = true;
  }

  resume(): void {
    this.#signal('SIGCONT');
    this.#isPaused = false;
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    if (!child) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }

  #signal(signal: NodeJS.Signals): void {
    if (!this.#process) throw new Error(`broker ${this.id} is not running`);
    this.#process.kill(signal);
  }

  async #untilItAnswers(child: ChildProcess): Promise<void> {
    const deadline = Date.now() + START_DEADLINE_MS;
    for (let last: unknown; ;) {
      try {
        const { brokers } = await withBroker(this.internalAddress, (broker) => broker.metadata([]));
        if (brokers.some(({ nodeId }) => nodeId === this.id)) return;
        last = new Error('it answers, but is not part of the cluster yet');
      } catch (error) {
        last = error;
      }
      if (this.#process !== child) throw this.#startError('ended while starting', last);
      if (Date.now() > deadline) {
        await this.kill();
        throw this.#startError(`did not answer within ${START_DEADLINE_MS / 1000} s`, last);
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  #startError(problem: string, cause: unknown): Error {
    const tail = readFileSync(this.logFile, 'utf8').trimEnd().split('\n').slice(-LOG_TAIL_LINES).join('\n');
    return new Error(
      `Kafka broker ${this.id} (${this.address}) ${problem}. End of ${this.logFile}:\n${tail}`,
      { cause },
    );
  }
}

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/**
 * Linux's setpriv can ask the kernel to kill the broker when we die without a word; elsewhere the 'exit'
 * handler must do.
 */
function dieWithParent(): string[] {
  deathSignal ??=
    spawnSync('setpriv', ['--pdeathsig', 'KILL', 'true']).status === 0
      ? ['setpriv', '--pdeathsig', 'KILL']
      : [];
  return deathSignal;
}
let deathSignal: string[] | undefined;

/** `soon`: starts soonest, and never gets fast. `asShipped`: as kafka-server-start.sh starts it. */
export type Jvm = 'soon' | 'asShipped';

const JVM_OPTIONS: Readonly<Record<Jvm, readonly string[]>> = {
  soon: ['-Xmx512m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'],
  asShipped: [
    '-Xmx1G',
    '-Xms1G',
    '-server',
    '-XX:+UseG1GC',
    '-XX:MaxGCPauseMillis=20',
    '-XX:InitiatingHeapOccupancyPercent=35',
    '-XX:+ExplicitGCInvokesConcurrent',
  ],
};

function javaOptions(jvm: Jvm): string[] {
  const logger = Object.entries({
    defaultLogLevel: 'warn',
    logFile: 'System.out',
    showDateTime: true,
    dateTimeFormat: 'HH:mm:ss.SSS',
  });
  return [
    ...JVM_OPTIONS[jvm],
    ...logger.map(([name, value]) => `-Dorg.slf4j.simpleLogger.${name}=${value}`),
    '-cp',
    KAFKA_CLASSES,
  ];
}
