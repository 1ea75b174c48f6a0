// buckets.json: JSON5 in, one frozen typed object out. Promise: whatever is wrong is reported at once, each
// with its path; and what is returned can be used as it is.
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { ConfigError } from '../errors.js';
import { parseBucket, parseDefaultBucket, type BucketConfig, type StreamIds } from './bucketConfig.js';
import type { EnvironmentSource } from './envFile.js';
import { fileNamesOf, type FileSettings } from './fileSettings.js';
import { interpolate } from './interpolation.js';
import { parseJson5 } from './json5.js';
import { pathOf, Problems } from './problems.js';
import { checkObject } from './zodProblems.js';
import { readableSecrets } from './secretFiles.js';
import { parseStream, type ParseContext, type StreamConfig } from './streamConfig.js';
import { deepFreeze, describeKind, describeValue, isRecord } from './values.js';
import { VariableSource } from './variableSource.js';

export type { BucketConfig } from './bucketConfig.js';
export type { FileSettings } from './fileSettings.js';
export type { OverLimit, RateLimitConfig } from './rateLimit.js';
export type { BackupConfig, FileStreamConfig, KafkaStreamConfig, StreamConfig } from './streamConfig.js';

export interface BucketsConfig {
  /** By id. It has no prototype, so any id that is not there is undefined. */
  readonly streamsConfigs: Readonly<Record<string, StreamConfig>>;
  /** At least one; their ids differ. */
  readonly buckets: readonly BucketConfig[];
  /** Takes frames for buckets that are not in `buckets`, under their own names. */
  readonly defaultBucket: BucketConfig | undefined;
  /** Lines for the log: accepted, but surely not meant. */
  readonly warnings: readonly string[];
  /** Lines for the log: settings that are accepted but change nothing. */
  readonly notes: readonly string[];
}

const rootSchema = z
  .strictObject({ streamsConfigs: z.unknown(), buckets: z.unknown(), defaultBucket: z.unknown() })
  .partial();

/**
 * Reads and parses a file; relative folders in it start from the source's folder, and `${NAME}` in it is a
 * variable of the source.
 * @throws ConfigError as parseBuckets, or when it can't be read.
 */
export function loadBuckets(file: string, source: EnvironmentSource): BucketsConfig {
  const variables = new VariableSource(source);
  const raw = parseJson5(readText(file), file);
  const config = parse(raw, file, source.cwd, variables);
  return deepFreeze({ ...config, warnings: [...config.warnings, ...readableSecrets(raw, file, variables)] });
}

/**
 * @throws ConfigError with one line for each problem: `fileName: path: what is wrong, and what would be
 * right`.
 */
export function parseBuckets(text: string, fileName: string, cwd: string = process.cwd()): BucketsConfig {
  return deepFreeze(parse(parseJson5(text, fileName), fileName, cwd, new VariableSource({ cwd, env: {} })));
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const why = code === 'ENOENT' ? 'not found' : `can't be read (${code ?? String(error)})`;
    throw new ConfigError(`${file}: ${why}; BUCKETS_FILE names this file`);
  }
}

function parse(written: unknown, fileName: string, cwd: string, variables: VariableSource): BucketsConfig {
  const context: ParseContext = { problems: new Problems(fileName), warnings: [], notes: [], cwd };
  const raw = interpolate(written, variables, context.problems);
  if (!isRecord(raw))
    throw new ConfigError(
      `${fileName}: ${describeKind(raw)} is not an object with streamsConfigs and buckets`,
    );
  checkObject(rootSchema, raw, '', context.problems);
  const config = parseRoot(raw, context);
  context.problems.throwIfAny();
  return config;
}

function parseRoot(root: Readonly<Record<string, unknown>>, context: ParseContext): BucketsConfig {
  const { problems, warnings, notes } = context;
  const streamsConfigs = parseStreams(root['streamsConfigs'], context);
  const streamIds = streamIdsOf(root['streamsConfigs']);
  const buckets = parseBucketList(root['buckets'], streamIds, problems);
  const defaultBucket =
    root['defaultBucket'] === undefined
      ? undefined
      : parseDefaultBucket(root['defaultBucket'], 'defaultBucket', streamIds, problems);
  const named = [
    ...buckets,
    ...(defaultBucket === undefined ? [] : [{ path: 'defaultBucket', bucket: defaultBucket }]),
  ];
  for (const { path, bucket } of named) checkFileNames(bucket, path, streamsConfigs, problems);
  warnOfUnused(
    streamIds.all,
    named.map(({ bucket }) => bucket),
    warnings,
  );
  return { streamsConfigs, buckets: buckets.map(({ bucket }) => bucket), defaultBucket, warnings, notes };
}

function parseStreams(raw: unknown, context: ParseContext): Record<string, StreamConfig> {
  const streams = Object.create(null) as Record<string, StreamConfig>;
  if (!isFilled(raw, 'streamsConfigs', 'object', context.problems)) return streams;
  for (const [id, rawStream] of Object.entries(raw)) {
    if (!/^[^\0-\x1f\x7f]{1,255}$/.test(id))
      context.problems.add(
        'streamsConfigs',
        `${describeValue(id)} can't name a stream: 1 to 255 characters, none of them a control character`,
      );
    const stream = parseStream(id, rawStream, context);
    if (stream !== undefined) streams[id] = stream;
  }
  return streams;
}

function parseBucketList(
  raw: unknown,
  streamIds: StreamIds,
  problems: Problems,
): { path: string; bucket: BucketConfig }[] {
  if (!isFilled(raw, 'buckets', 'list', problems)) return [];
  const pathOfId = new Map<unknown, string>();
  return Object.values(raw).flatMap((rawBucket, index) => {
    const path = pathOf('buckets', index);
    const bucket = parseBucket(rawBucket, path, streamIds, problems);
    if (isRecord(rawBucket)) checkUnique(rawBucket['id'], path, pathOfId, problems);
    return bucket === undefined ? [] : [{ path, bucket }];
  });
}

function checkUnique(id: unknown, path: string, pathOfId: Map<unknown, string>, problems: Problems): void {
  if (typeof id !== 'string') return;
  const first = pathOfId.get(id);
  if (first === undefined) pathOfId.set(id, path);
  else
    problems.add(`${path}.id`, `${describeValue(id)} is the id of ${first} too; each bucket needs its own`);
}

/** As in kahego, nothing can start without a stream and a bucket. */
function isFilled(
  raw: unknown,
  path: string,
  kind: 'object' | 'list',
  problems: Problems,
): raw is Readonly<Record<string, unknown>> {
  if (raw === undefined)
    problems.add(
      path,
      `missing; expected ${kind === 'list' ? 'a list' : 'an object'} with at least one entry`,
    );
  else if (kind === 'list' ? !Array.isArray(raw) : !isRecord(raw))
    problems.add(path, `${describeKind(raw)} is not ${kind === 'list' ? 'a list' : 'an object'}`);
  else if (Object.keys(raw as object).length === 0)
    problems.add(path, 'is empty; at least one entry is needed');
  else return true;
  return false;
}

/** From the raw text, so that a mistake in a stream does not make its buckets look wrong. */
function streamIdsOf(raw: unknown): StreamIds {
  if (!isRecord(raw)) return { all: [], kafka: new Set() };
  const isKafka = (target: unknown): boolean => isRecord(target) && target['type'] === 'kafka';
  const feedsKafka = (stream: unknown): boolean =>
    isKafka(stream) || (isRecord(stream) && isKafka(stream['backup']));
  const all = Object.keys(raw);
  return { all, kafka: new Set(all.filter((id) => feedsKafka(raw[id]))) };
}

/** Two streams of one bucket that write the same files would rotate and remove each other's. */
function checkFileNames(
  bucket: BucketConfig,
  path: string,
  streamsConfigs: Readonly<Record<string, StreamConfig>>,
  problems: Problems,
): void {
  const ownerOf = new Map<string, string>();
  for (const id of new Set(bucket.streams)) {
    for (const [owner, settings] of fileTargetsOf(id, streamsConfigs[id])) {
      const names = fileNamesOf(settings);
      const first = ownerOf.get(names);
      if (first === undefined) ownerOf.set(names, owner);
      else
        problems.add(
          `${path}.streams`,
          `${owner} writes the same files as ${first}: ${describeValue(names)}; give one another path or fileNameTemplate`,
        );
    }
  }
}

function fileTargetsOf(
  id: string,
  stream: StreamConfig | undefined,
): [owner: string, settings: FileSettings][] {
  const path = pathOf('streamsConfigs', id);
  const targets: [string, FileSettings][] = [];
  if (stream?.type === 'file') targets.push([path, stream.settings]);
  if (stream?.backup?.type === 'file') targets.push([`${path}.backup`, stream.backup.settings]);
  return targets;
}

function warnOfUnused(ids: readonly string[], buckets: readonly BucketConfig[], warnings: string[]): void {
  const used = new Set(buckets.flatMap((bucket) => bucket.streams));
  for (const id of ids.filter((unused) => !used.has(unused)))
    warnings.push(`${pathOf('streamsConfigs', id)}: no bucket uses this stream`);
}
