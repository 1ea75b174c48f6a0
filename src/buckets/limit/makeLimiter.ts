// A bucket's limiter from its configuration.
import type { Clock } from '../../clock.js';
import type { RateLimitConfig } from '../../config/rateLimit.js';
import type { Log } from '../../log/log.js';
import type { Pace } from '../../streams/backup/pace.js';
import type { StreamWatch } from '../../streams/streamStats.js';
import { Gate } from './gate.js';
import { type LimitCounts, LimitReport } from './limitReport.js';
import { Limiter, type Overflow } from './limiter.js';

/**
 * It outlives a bucket that was made on demand, so that its next life does not begin with an empty window.
 */
export interface Limit {
  readonly config: RateLimitConfig;
  readonly gate: Gate;
  readonly counts: LimitCounts;
  /** Ids of the streams that the gate knows by their place. */
  readonly streams: readonly string[];
}

/**
 * @param before the limit that this one follows: its counts go on, and so does its window, if it is as long
 */
export function newLimit(
  config: RateLimitConfig,
  streams: readonly { readonly id: string; readonly watch: StreamWatch }[],
  clock: Clock,
  counts: LimitCounts,
  before?: Limit,
): Limit {
  const replayed = config.over === 'backup' ? streams : [];
  const gate = new Gate(
    config,
    replayed.map(({ watch }) => watch),
    clock,
    before?.config.perMs === config.perMs ? before.gate : undefined,
  );
  return { config, gate, counts, streams: replayed.map(({ id }) => id) };
}

/** How fast what the stream's backup holds may be sent; undefined: the limit does not say. */
export function paceOfBackup({ gate, streams }: Limit, id: string): Pace | undefined {
  const place = streams.indexOf(id);
  return place < 0 ? undefined : gate.paceOfBackup(place);
}

/** @param overflow where what is over the limit goes */
export function makeLimiter(
  { config, gate, counts }: Limit,
  overflow: Overflow,
  log: Log,
  clock: Clock,
): Limiter {
  return new Limiter(gate, overflow, new LimitReport(config, counts, log, clock));
}
