// `rateLimit` of a bucket: how many of its frames may come; the others go to REJECTED.
import { z } from 'zod';
import type { Problems } from './problems.js';
import { checkObject, readBy } from './zodProblems.js';
import { isRecord, parseInteger } from './values.js';
import { plural } from '../plural.js';

const OVERS = ['reject'] as const;
/** Where the frames over the limit go: to REJECTED. */
export type OverLimit = (typeof OVERS)[number];

export interface RateLimitConfig {
  /** At most so many frames in any `perMs` milliseconds. */
  readonly frames: number;
  readonly perMs: number;
  readonly over: OverLimit;
}

const schema = z.strictObject({
  frames: readBy((value) => parseInteger(value, 1, 1_000_000_000)),
  perMs: readBy((value) => parseInteger(value, 1, 86_400_000)),
  over: z.enum(OVERS).default('reject'),
});

/** Undefined when something is wrong with it, which is then in `problems` under `path`. */
export function parseRateLimit(raw: unknown, path: string, problems: Problems): RateLimitConfig | undefined {
  if (!isRecord(raw) || raw['over'] !== 'backup') return checkObject(schema, raw, path, problems);
  problems.add(
    `${path}.over`,
    '"backup" is not there any more: frames over the limit go to REJECTED, and kahe replay --rate sends them later; write "reject", or leave it out',
  );
  // So that one start shows every mistake.
  checkObject(schema, { ...raw, over: 'reject' }, path, problems);
  return undefined;
}

/** As people read it: `100 frames in 1000 ms`. */
export function rateText({ frames, perMs }: Pick<RateLimitConfig, 'frames' | 'perMs'>): string {
  return `${frames} ${plural(frames, 'frame')} in ${perMs} ms`;
}
