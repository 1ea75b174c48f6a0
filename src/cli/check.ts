// `kahe check`: is the configuration sound, what was understood of it, and could a daemon start with it here?
// With --connect also: does every Kafka in it answer?
import { resolve } from 'node:path';
import {
  type BackupConfig,
  type BucketConfig,
  type BucketsConfig,
  type StreamConfig,
  loadBuckets,
} from '../config/buckets.js';
import { type Environment, loadEnvironment } from '../config/env.js';
import { describePlace } from '../config/adminPlace.js';
import { rateText } from '../config/rateLimit.js';
import { formatSize } from '../config/size.js';
import { VariableSource } from '../config/variableSource.js';
import { ConfigError } from '../errors.js';
import { plural } from '../plural.js';
import { probeKafkas } from './checkConnect.js';
import { tryPlaces, userText } from './checkPlaces.js';
import { type Command, type CommandLine, UsageError, columns } from './command.js';
import { type Io, painted } from './io.js';
import type { Probed } from './probed.js';
import { bytesText, durationText } from './units.js';

export const checkCommand: Command = {
  name: 'check',
  summary:
    'checks .env, buckets.json and whether a daemon could start with them here, and shows what was understood',
  options: {
    connect: {
      help: 'also asks every Kafka cluster: is it reached, does the login work, are the topics there',
    },
    json: { help: 'the same as one JSON object' },
  },
  examples: ['environment=prod kahe check', 'kahe check --connect'],
  exitCodes: {
    0: 'all is well, warnings aside',
    1: 'something is wrong: a line for each problem',
    2: 'a wrong command line',
  },
  run: check,
};

/** What was read, as far as it can be. */
interface Reading {
  readonly environment: Environment | undefined;
  readonly buckets: BucketsConfig | undefined;
  /** A line each. */
  readonly problems: readonly string[];
}

/** What came of trying it. */
interface Tried {
  readonly places: readonly Probed[];
  readonly connect: readonly Probed[];
  readonly isWell: boolean;
}

async function check(line: CommandLine, io: Io): Promise<number> {
  if (line.operands.length > 0)
    throw new UsageError(
      `it takes no ${JSON.stringify(line.operands[0])}: the environment and its files say what is checked`,
    );
  const reading = read(io);
  const { environment, buckets, problems } = reading;
  const places =
    environment !== undefined && buckets !== undefined ? await tryPlaces(environment, buckets, io.env) : [];
  const connect =
    line.has('connect') && buckets !== undefined && environment !== undefined
      ? await probeKafkas(buckets)
      : [];
  const isWell = problems.length === 0 && [...places, ...connect].every(({ state }) => state !== 'failure');
  await io.out.write(
    line.has('json')
      ? `${JSON.stringify(asJson(reading, { places, connect, isWell }))}\n`
      : asText(reading, [...places, ...connect], io),
  );
  return isWell ? 0 : 1;
}

function read({ cwd, env }: Io): Reading {
  const problems: string[] = [];
  const environment = attempt(problems, () => loadEnvironment({ cwd, env }));
  // The other file's mistakes are shown at once too.
  const buckets = attempt(problems, () =>
    loadBuckets(environment?.bucketsFile ?? likelyBucketsFile(cwd, env), { cwd, env }),
  );
  return { environment, buckets, problems };
}

function attempt<T>(problems: string[], load: () => T): T | undefined {
  try {
    return load();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    problems.push(...error.message.split('\n'));
    return undefined;
  }
}

/** Where buckets.json is, as far as an environment that is wrong somewhere says. */
function likelyBucketsFile(cwd: string, env: Io['env']): string {
  const name = new VariableSource({ cwd, env }).get('BUCKETS_FILE')?.trim();
  return resolve(cwd, name === undefined || name === '' ? './buckets.json' : name);
}

function asText({ environment, buckets, problems }: Reading, probed: readonly Probed[], { out }: Io): string {
  const lines = problems.map((problem) => painted(out, 'red', problem));
  const warnings = [...(environment?.warnings ?? []), ...(buckets?.warnings ?? [])];
  lines.push(
    ...warnings.map((warning) => painted(out, 'yellow', `warning: ${warning}`)),
    ...(buckets?.notes ?? []).map((note) => `note: ${note}`),
  );
  if (problems.length === 0 && environment !== undefined && buckets !== undefined) {
    lines.push(
      `${environment.file ?? 'the environment'} and ${environment.bucketsFile} are sound`,
      columns(factsOf(environment)),
      '',
      ...bucketRows(buckets),
    );
  }
  if (probed.length > 0)
    lines.push(
      '',
      userText(),
      ...probed.map(
        ({ state, what, says }) => `${painted(out, COLOUR[state], SHOWN[state])} ${what}: ${says}`,
      ),
    );
  return `${lines.join('\n')}\n`;
}

const SHOWN = { ok: 'ok  ', warning: 'warn', failure: 'FAIL' } as const;
const COLOUR = { ok: 'green', warning: 'yellow', failure: 'red' } as const;

function factsOf({
  socket,
  maxMemoryBytes,
  maxFrameBytes,
  spool,
  rejected,
  stopTimeoutMs,
  admin,
  statsd,
}: Environment): [string, string][] {
  return [
    [
      'socket',
      `${socket.path}, mode 0${socket.mode.toString(8)}${socket.group === undefined ? '' : `, group ${socket.group}`}`,
    ],
    ['memory', `${bytesText(maxMemoryBytes)}; frames up to ${bytesText(maxFrameBytes)}`],
    [
      'spool',
      spool === undefined
        ? 'none: frames are in memory alone until they are delivered'
        : `${spool.path}, up to ${bytesText(spool.maxBytes)}, sync ${spool.sync}, when full: ${spool.whenFull}`,
    ],
    ['rejected', `${rejected.path}, up to ${bytesText(rejected.maxBytes)}`],
    ['stopping', `takes up to ${durationText(stopTimeoutMs)}`],
    ...(admin.length === 0 ? [] : [['admin', admin.map(describePlace).join(', ')] as [string, string]]),
    ...(statsd === undefined
      ? []
      : [
          [
            'statsd',
            `${statsd.host}:${statsd.port} every ${durationText(statsd.intervalMs)}, as ${statsd.prefix}.…`,
          ] as [string, string],
        ]),
  ];
}

/** A row for each stream of each bucket. */
function bucketRows({ buckets, defaultBucket, streamsConfigs }: BucketsConfig): string[] {
  const named = [
    ...buckets.map((bucket) => [bucket.id, bucket] as const),
    ...(defaultBucket === undefined ? [] : [['(any other)', defaultBucket] as const]),
  ];
  const rows = named.flatMap(([name, bucket]) =>
    bucket.streams.map((id, i) => {
      const stream = streamsConfigs[id]!;
      return [
        i === 0 ? name : '',
        i === 0 ? batchText(bucket) : '',
        id,
        targetText(stream),
        backupText(stream),
      ];
    }),
  );
  const table = [['BUCKET', 'A BATCH', 'STREAM', 'GOES TO', 'BACKUP'], ...rows];
  const widths = table[0]!.map((_, column) => Math.max(...table.map((row) => row[column]!.length)));
  return table.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  );
}

function batchText({ batchFrames, batchTimeoutMs, batchBytes, rateLimit }: BucketConfig): string {
  const limit =
    rateLimit === undefined ? '' : `; at most ${rateText(rateLimit)}, over that: ${rateLimit.over}`;
  return `${batchFrames} ${plural(batchFrames, 'frame')}, ${formatSize(batchBytes)}, ${batchTimeoutMs} ms${limit}`;
}

export function targetText(target: StreamConfig | BackupConfig): string {
  const slice = 'slice' in target && target.slice !== 1 ? `, ${target.slice * 100}% of the frames` : '';
  if (target.type === 'file') return `files in ${target.settings.path}${slice}`;
  const { bootstrapServers, acks, compressionCodec, security } = target.settings;
  const brokers = bootstrapServers.map(({ host, port }) => `${host}:${port}`).join(',');
  return `Kafka ${brokers} (acks ${acks === -1 ? 'all' : acks}, ${compressionCodec}, ${security.protocol})${slice}`;
}

function backupText({ backup }: StreamConfig): string {
  if (backup === undefined) return 'none';
  return backup.type === 'file' ? `${targetText(backup)}, replay ${backup.replay}` : targetText(backup);
}

/** Without passwords: only what is listed here. */
function asJson({ environment, buckets, problems }: Reading, { places, connect, isWell }: Tried): object {
  const named =
    buckets === undefined
      ? []
      : [
          ...buckets.buckets,
          ...(buckets.defaultBucket === undefined ? [] : [{ ...buckets.defaultBucket, id: null }]),
        ];
  return {
    ok: isWell,
    problems,
    warnings: [...(environment?.warnings ?? []), ...(buckets?.warnings ?? [])],
    environment: environment === undefined ? null : { ...environment, warnings: undefined },
    buckets: named.map((bucket) => ({
      ...bucket,
      streams: bucket.streams.map((id) => streamJson(buckets!.streamsConfigs[id]!)),
    })),
    places: places.map(probedJson),
    connect: connect.map(probedJson),
  };
}

function probedJson({ what, state, says }: Probed): object {
  return { what, ok: state !== 'failure', state, says };
}

function streamJson({ id, type, slice, backup, ...rest }: StreamConfig): object {
  return {
    id,
    type,
    slice,
    target: targetText({ id, type, slice, backup, ...rest } as StreamConfig),
    backup:
      backup === undefined ? null : { type: backup.type, replay: backup.replay, target: targetText(backup) },
  };
}
