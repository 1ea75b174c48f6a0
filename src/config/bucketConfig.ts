// One entry of `buckets`, or `defaultBucket`. Promise: its streams exist, and its name is one that each of
// them can take.
import { z } from 'zod';
import { ConfigError } from '../errors.js';
import { TOPIC_RULE, isTopicName } from '../frames/bucketName.js';
import { didYouMean } from './didYouMean.js';
import type { Problems } from './problems.js';
import { type RateLimitConfig, parseRateLimit } from './rateLimit.js';
import { checkObject, readBy } from './zodProblems.js';
import { parseSize } from './size.js';
import { describeKind, describeValue, isRecord, parseInteger } from './values.js';

export interface BucketConfig {
  /**
   * The bucket's name in frames, the topic in Kafka, `{bucket}` in a file's name. Of `defaultBucket` it means
   * nothing.
   */
  readonly id: string;
  /** Keys of `streamsConfigs`, each once, at least one. */
  readonly streams: readonly string[];
  /** A batch closes at this many frames (`batch`, default 10000) … */
  readonly batchFrames: number;
  /** … or this long after its first frame (`batchTimeout`, default 1000) … */
  readonly batchTimeoutMs: number;
  /** … or at this many bytes (default 976KB), whichever comes first. */
  readonly batchBytes: number;
  /** Undefined: as many frames as come. */
  readonly rateLimit: RateLimitConfig | undefined;
}

/** The streams that a bucket may name, and those of them whose frames reach Kafka. */
export interface StreamIds {
  readonly all: readonly string[];
  readonly kafka: ReadonlySet<string>;
}

const KB = 1024;
/**
 * Of which one record batch of Kafka's is made, mostly: 1 MiB would leave a small rest, with a request of its
 * own.
 */
const DEFAULT_BATCH_BYTES = 976 * KB;
const LONGEST_ID_BYTES = 255;

const batchShape = {
  batch: readBy((value) => parseInteger(value, 1, 10_000_000)).default(10_000),
  batchTimeout: readBy((value) => parseInteger(value, 1, 3_600_000)).default(1000),
  batchBytes: readBy((value) => parseSize(value, { minBytes: KB, maxBytes: 8 * KB ** 2 })).default(
    DEFAULT_BATCH_BYTES,
  ),
};
const bucketSchema = z.strictObject({
  id: readBy(parseId),
  streams: z.array(z.string()),
  rateLimit: z.unknown().optional(),
  ...batchShape,
});
const defaultBucketSchema = bucketSchema.extend({ id: readBy(parseId).default('default') });

/** Undefined when something is wrong with it, which is then in `problems` under `path`. */
export function parseBucket(
  raw: unknown,
  path: string,
  streamIds: StreamIds,
  problems: Problems,
): BucketConfig | undefined {
  const bucket = checkBucket(bucketSchema, raw, path, streamIds, problems);
  if (isRecord(raw))
    checkTopic(raw['id'], raw['streams'], streamIds, (text) => problems.add(`${path}.id`, text));
  return bucket;
}

/** As parseBucket; its id may be missing, for each frame brings its own. */
export function parseDefaultBucket(
  raw: unknown,
  path: string,
  streamIds: StreamIds,
  problems: Problems,
): BucketConfig | undefined {
  return checkBucket(defaultBucketSchema, raw, path, streamIds, problems);
}

function checkBucket(
  schema: typeof bucketSchema | typeof defaultBucketSchema,
  raw: unknown,
  path: string,
  streamIds: StreamIds,
  problems: Problems,
): BucketConfig | undefined {
  const checked = checkObject(schema, raw, path, problems);
  const streams = isRecord(raw) ? raw['streams'] : undefined;
  if (Array.isArray(streams)) checkStreams(streams, `${path}.streams`, streamIds.all, problems);
  const rateLimit = readRateLimit(raw, path, problems);
  if (checked === undefined) return undefined;
  const { batch, batchTimeout, ...rest } = checked;
  return { ...rest, batchFrames: batch, batchTimeoutMs: batchTimeout, rateLimit };
}

/** Also when the rest of the entry is wrong, so that one start shows every mistake. */
function readRateLimit(raw: unknown, path: string, problems: Problems): RateLimitConfig | undefined {
  if (!isRecord(raw) || raw['rateLimit'] === undefined) return undefined;
  return parseRateLimit(raw['rateLimit'], `${path}.rateLimit`, problems);
}

function checkStreams(
  streams: readonly unknown[],
  path: string,
  known: readonly string[],
  problems: Problems,
): void {
  if (streams.length === 0) problems.add(path, 'is empty; name at least one stream of streamsConfigs');
  streams.forEach((id, index) => {
    if (typeof id !== 'string') return;
    if (!known.includes(id))
      problems.add(
        `${path}[${index}]`,
        `no stream ${describeValue(id)} in streamsConfigs${didYouMean(id, known)}`,
      );
    else if (streams.indexOf(id) < index)
      problems.add(
        `${path}[${index}]`,
        `${describeValue(id)} is named twice; each stream can have the frames once`,
      );
  });
}

function checkTopic(
  id: unknown,
  streams: unknown,
  streamIds: StreamIds,
  report: (text: string) => void,
): void {
  if (typeof id !== 'string' || id === '' || isTopicName(id)) return;
  if (!Array.isArray(streams) || !streams.some((stream) => streamIds.kafka.has(String(stream)))) return;
  report(`${describeValue(id)} is not a valid Kafka topic: ${TOPIC_RULE}, and not "." or ".."`);
}

function parseId(value: unknown): string {
  if (value === undefined) throw new ConfigError('missing; expected a text in quotes');
  if (typeof value !== 'string') throw new ConfigError(`${describeKind(value)} is not a text in quotes`);
  const length = Buffer.byteLength(value);
  if (length >= 1 && length <= LONGEST_ID_BYTES) return value;
  throw new ConfigError(
    `${describeValue(value)} has ${length} bytes; a bucket's name has 1 to ${LONGEST_ID_BYTES}`,
  );
}
