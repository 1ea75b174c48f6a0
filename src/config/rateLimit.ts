// `rateLimit` of a bucket: how many of its frames may come, and where the others go. Promise: what can take
// them is there.
import { z } from 'zod';
import type { Problems } from './problems.js';
import { checkObject, readBy } from './schema.js';
import { describeValue, parseInteger } from './values.js';
import { plural } from '../plural.js';

const OVERS = ['reject', 'backup'] as const;
/** Where the frames over the limit go: to REJECTED, or to the backup of each stream. */
export type OverLimit = (typeof OVERS)[number];

export interface RateLimitConfig {
  /** At most so many frames in any `perMs` milliseconds. */
  readonly frames: number;
  readonly perMs: number;
  /** Default `reject`. */
  readonly over: OverLimit;
}

const schema = z.strictObject({
  frames: readBy((value) => parseInteger(value, 1, 1_000_000_000)),
  perMs: readBy((value) => parseInteger(value, 1, 86_400_000)),
  over: z.enum(OVERS).default('reject'),
});

/** Undefined when something is wrong with it, which is then in `problems` under `path`. */
export function parseRateLimit(raw: unknown, path: string, problems: Problems): RateLimitConfig | undefined {
  return checkObject(schema, raw, path, problems);
}

/** @param backedUp the streams that have a backup */
export function checkBackups(
  streams: readonly unknown[],
  backedUp: ReadonlySet<string>,
  path: string,
  problems: Problems,
): void {
  for (const id of streams) {
    if (typeof id !== 'string' || backedUp.has(id)) continue;
    problems.add(
      `${path}.over`,
      `"backup" needs a backup in every stream of the bucket, and ${describeValue(id)} has none; give it one, or write "reject"`,
    );
  }
}

/** As people read it: `100 frames in 1000 ms`. */
export function rateText({ frames, perMs }: Pick<RateLimitConfig, 'frames' | 'perMs'>): string {
  return `${frames} ${plural(frames, 'frame')} in ${perMs} ms`;
}
