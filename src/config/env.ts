// The environment: `.env.{environment}.local` and the real environment variables, which win. Promise: read
// once into a frozen object; whatever can't be used is named with its place, and then nothing is returned.
import { resolve } from 'node:path';
import { parse } from 'dotenv';
import { ConfigError } from '../errors.js';
import { LONGEST_BODY } from '../frames/walk.js';
import { LOG_FORMATS, type LogFormat } from '../log/formats.js';
import { LOG_LEVELS, type LogLevel } from '../log/log.js';
import { type AdminPlace, type TcpPlace, parseAdminPlaces, parseTcpPlace } from './adminPlace.js';
import { parseDuration } from './duration.js';
import { type EnvironmentSource, findEnvFile, readEnvFile } from './envFile.js';
import { checkEnvLines } from './envLines.js';
import { Problems } from './problems.js';
import { formatSize, parseSize } from './size.js';
import { checkSocketPath } from './socketPath.js';
import { type StatsdSettings, parseInterval, parsePrefix } from './statsd.js';
import { deepFreeze, describeValue, parseChoice, parseInteger } from './values.js';

export type { EnvironmentSource } from './envFile.js';

export interface Environment {
  /** The `.env` file that was read; undefined: there is none, the real environment says all. */
  readonly file: string | undefined;
  /** Absolute, as every path here. */
  readonly bucketsFile: string;
  readonly socket: {
    readonly path: string;
    /** Permission bits, 0o660 by default. */
    readonly mode: number;
    /** A group's name or number; undefined leaves the process's own. */
    readonly group: string | number | undefined;
  };
  readonly maxMemoryBytes: number;
  readonly maxCpus: number;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
  /** The largest frame, never over a quarter of maxMemoryBytes. */
  readonly maxFrameBytes: number;
  readonly maxBuckets: number;
  readonly stopTimeoutMs: number;
  /** The folder that keeps rejected frames, and how much it may hold. */
  readonly rejected: {
    readonly path: string;
    readonly maxBytes: number;
    readonly isSynced: boolean;
    readonly whenFull: RejectedFull;
  };
  /** Where open batches have a segment on disk; undefined: there is no spool. */
  readonly spool:
    | {
        readonly path: string;
        readonly maxBytes: number;
        readonly sync: SpoolSync;
        readonly whenFull: SpoolFull;
      }
    | undefined;
  /** Where metrics, health and the status page are; none: nowhere. */
  readonly admin: readonly AdminPlace[];
  /** Where figures are pushed to; undefined: nowhere. */
  readonly statsd: StatsdSettings | undefined;
  /** Lines for the log: settings that were understood but do not do what they seem to. */
  readonly warnings: readonly string[];
}

const MB = 1024 ** 2;
const SPOOL_SYNCS = ['never', 'batch', 'always'] as const;
/** When the spool's files are synced: never, when a batch is closed, or after each write. */
export type SpoolSync = (typeof SPOOL_SYNCS)[number];
const SPOOL_FULLS = ['wait', 'drop-oldest'] as const;
/**
 * What happens when SPOOL_MAX is reached or the disk is full: clients wait, or the oldest batches are
 * discarded.
 */
export type SpoolFull = (typeof SPOOL_FULLS)[number];
const REJECTED_FULLS = ['hold', 'drop'] as const;
/**
 * What happens when REJECTED_MAX is reached or its disk fails: those who bring frames to be rejected wait, or
 * the frames are discarded.
 */
export type RejectedFull = (typeof REJECTED_FULLS)[number];
const KNOWN = [
  'BUCKETS_FILE',
  'SOCKET',
  'SOCKET_MODE',
  'SOCKET_GROUP',
  'MAXMEMORY',
  'MAXCPUS',
  'LOG_LEVEL',
  'LOG_FORMAT',
  'MAXFRAME',
  'MAXBUCKETS',
  'STOP_TIMEOUT',
  'REJECTED',
  'REJECTED_MAX',
  'REJECTED_FULL',
  'SPOOL',
  'SPOOL_MAX',
  'SPOOL_SYNC',
  'SPOOL_FULL',
  'ADMIN',
  'STATSD',
  'STATSD_PREFIX',
  'STATSD_INTERVAL',
] as const;

/**
 * @throws ConfigError that lists every problem: a missing file, an unknown variable in it, a value that can't
 * be used.
 */
export function loadEnvironment(source: EnvironmentSource): Environment {
  const { cwd, env } = source;
  const problems = new Problems();
  const file = findEnvFile(source);
  const text = file === undefined ? '' : readEnvFile(file);
  const variables = new Variables(file, new Map(Object.entries(parse(text))), env, problems);
  const bucketsFile = resolve(cwd, variables.read('BUCKETS_FILE', String, './buckets.json'));
  if (file !== undefined) checkEnvLines(text, { file, known: KNOWN, bucketsFile }, problems);
  const maxMemoryBytes = variables.read(
    'MAXMEMORY',
    (text) => parseSize(text, { minBytes: 16 * MB }),
    250 * MB,
  );
  const sync = variables.read('SPOOL_SYNC', (text) => parseChoice(text, SPOOL_SYNCS), 'batch' as const);
  const environment: Environment = {
    file,
    bucketsFile,
    socket: readSocket(variables, cwd),
    maxMemoryBytes,
    maxCpus: variables.read('MAXCPUS', (text) => parseInteger(text, 1, 1024), 2),
    logLevel: readLogLevel(variables),
    logFormat: variables.read('LOG_FORMAT', (text) => parseChoice(text, LOG_FORMATS), 'auto' as const),
    maxFrameBytes: readMaxFrame(variables, maxMemoryBytes),
    maxBuckets: variables.read('MAXBUCKETS', (text) => parseInteger(text, 1, 1_000_000), 1000),
    stopTimeoutMs: variables.read('STOP_TIMEOUT', parseDuration, 20_000),
    rejected: {
      path: resolve(cwd, variables.read('REJECTED', String, './rejected')),
      maxBytes: variables.read('REJECTED_MAX', (text) => parseSize(text, { minBytes: 1024 }), 100 * MB),
      isSynced: sync !== 'never',
      whenFull: variables.read('REJECTED_FULL', (text) => parseChoice(text, REJECTED_FULLS), 'hold' as const),
    },
    spool: readSpool(variables, cwd, sync),
    admin: variables.read<readonly AdminPlace[]>('ADMIN', (text) => parseAdminPlaces(text, cwd), []),
    statsd: readStatsd(variables),
    warnings: variables.warnings,
  };
  if (environment.admin.some((place) => 'path' in place && place.path === environment.socket.path)) {
    problems.add(
      'ADMIN',
      `${describeValue(environment.socket.path)} is the SOCKET that applications write to; give ADMIN a path of its own`,
    );
  }
  problems.throwIfAny();
  return deepFreeze(environment);
}

/**
 * Looks a variable up where it counts: the real environment first, then the file. An empty value means the
 * default.
 */
class Variables {
  readonly warnings: string[] = [];
  readonly #file: string | undefined;
  readonly #fromFile: ReadonlyMap<string, string>;
  readonly #env: EnvironmentSource['env'];
  readonly #problems: Problems;

  constructor(
    file: string | undefined,
    fromFile: ReadonlyMap<string, string>,
    env: EnvironmentSource['env'],
    problems: Problems,
  ) {
    this.#file = file;
    this.#fromFile = fromFile;
    this.#env = env;
    this.#problems = problems;
  }

  text(name: string): string | undefined {
    const text = (this.#env[name] ?? this.#fromFile.get(name) ?? '').trim();
    return text === '' ? undefined : text;
  }

  read<T>(name: string, parse: (text: string) => T, fallback: T): T {
    const text = this.text(name);
    if (text === undefined) return fallback;
    return this.#problems.attempt(this.#where(name), () => parse(text)) ?? fallback;
  }

  warn(name: string, text: string): void {
    this.warnings.push(`${this.#where(name)}: ${text}`);
  }

  #where(name: string): string {
    return this.#file === undefined || this.#env[name] !== undefined
      ? `environment variable ${name}`
      : `${this.#file}: ${name}`;
  }
}

function readSpool(variables: Variables, cwd: string, sync: SpoolSync): Environment['spool'] {
  const spool = {
    path: resolve(cwd, variables.read('SPOOL', String, '.')),
    maxBytes: variables.read('SPOOL_MAX', (text) => parseSize(text, { minBytes: 16 * MB }), 10 * 1024 * MB),
    sync,
    whenFull: variables.read('SPOOL_FULL', (text) => parseChoice(text, SPOOL_FULLS), 'wait' as const),
  };
  return variables.text('SPOOL') === undefined ? undefined : spool;
}

function readSocket(variables: Variables, cwd: string): Environment['socket'] {
  return {
    path: variables.read('SOCKET', (text) => checkSocketPath(resolve(cwd, text)), '/tmp/kahego.sock'),
    mode: variables.read('SOCKET_MODE', parseMode, 0o660),
    group: variables.read('SOCKET_GROUP', parseGroup, undefined),
  };
}

/**
 * A start that finds the socket asks whether somebody listens there, and for that it must be allowed to
 * write.
 */
const OWNER_WRITES = 0o200;

function parseMode(text: string): number {
  const digits = /^(?:0|0o)?([0-7]{3})$/.exec(text)?.[1];
  if (digits === undefined)
    throw new ConfigError(`${describeValue(text)} is not a file mode; write three octal digits ("0660")`);
  const mode = Number.parseInt(digits, 8);
  if ((mode & OWNER_WRITES) !== 0) return mode;
  const better = (mode | 0o600).toString(8).padStart(4, '0');
  throw new ConfigError(
    `${describeValue(text)} does not let the socket's owner write, so the next start could not find out whether this one still runs; write "${better}"`,
  );
}

function parseGroup(text: string): string | number {
  if (/^\d+$/.test(text)) return parseInteger(text, 0, 0xffff_fffe);
  if (/[\s:/]/.test(text))
    throw new ConfigError(`${describeValue(text)} is not a group; write its name or number`);
  return text;
}

/** As kahego, an unknown level is INFO; unlike kahego, that is said. */
function readLogLevel(variables: Variables): LogLevel {
  const text = variables.text('LOG_LEVEL');
  if (text === undefined) return 'INFO';
  const level = LOG_LEVELS.find((name) => name === text.toUpperCase());
  if (level === undefined)
    variables.warn(
      'LOG_LEVEL',
      `${describeValue(text)} is not one of ${LOG_LEVELS.join(', ')}; INFO is used`,
    );
  return level ?? 'INFO';
}

/** The default gives way to a small MAXMEMORY; a value that was asked for does not, it is refused. */
function readMaxFrame(variables: Variables, maxMemoryBytes: number): number {
  const most = Math.floor(maxMemoryBytes / 4);
  return variables.read(
    'MAXFRAME',
    (text) => {
      const bytes = parseSize(text, { minBytes: 1024 });
      if (bytes > LONGEST_BODY)
        throw new ConfigError(
          `${describeValue(text)} is too large; at most ${formatSize(LONGEST_BODY)}, because a longer frame in a file counts as damage`,
        );
      if (bytes <= most) return bytes;
      throw new ConfigError(
        `${describeValue(text)} is over a quarter of MAXMEMORY (${formatSize(maxMemoryBytes)}); make it ${formatSize(most)} or less, or MAXMEMORY more`,
      );
    },
    Math.min(16 * MB, most),
  );
}

/** Its names are read also where they mean nothing, so that a mistake in them is told at once. */
function readStatsd(variables: Variables): StatsdSettings | undefined {
  const place = variables.read<TcpPlace | undefined>(
    'STATSD',
    (text) => {
      const found = parseTcpPlace(text);
      if (found !== undefined) return found;
      throw new ConfigError(
        `${describeValue(text)} is no address; write HOST:PORT ("127.0.0.1:8125", "[::1]:8125")`,
      );
    },
    undefined,
  );
  const prefix = variables.read('STATSD_PREFIX', parsePrefix, 'kahe');
  const intervalMs = variables.read('STATSD_INTERVAL', parseInterval, 10_000);
  return place && { ...place, prefix, intervalMs };
}
