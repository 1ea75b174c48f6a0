// A bucket's limiter from its configuration.
import type { ActorContext } from '../actors/actor.js';
import type { BucketMessage } from '../buckets/messages.js';
import type { Clock } from '../clock.js';
import type { RateLimitConfig } from '../config/rateLimit.js';
import type { StreamWatch } from '../streams/streamWatch.js';
import { BackupOverflow, type BackupOverflowOptions } from './backupOverflow.js';
import { Gate } from './gate.js';
import { type LimitCounts, LimitReport } from './limitReport.js';
import { Limiter } from './limiter.js';
import { RejectOverflow } from './rejectOverflow.js';

/** What outlives a bucket that was made on demand, so that its next life does not begin with an empty window. */
export interface Limit {
  readonly config: RateLimitConfig;
  readonly gate: Gate;
  readonly counts: LimitCounts;
}

export function newLimit(config: RateLimitConfig, streams: readonly { readonly watch: StreamWatch }[], clock: Clock): Limit {
  const replayed = config.over === 'backup' ? streams.map(({ watch }) => watch) : [];
  return { config, gate: new Gate(config, replayed, clock), counts: { reject: 0, backup: 0 } };
}

/** @returns also where the frames over the limit are, if that is the backups */
export function makeLimiter(context: ActorContext<BucketMessage>, limit: Limit, options: Omit<BackupOverflowOptions, 'gate'>): { readonly limiter: Limiter; readonly surplus: BackupOverflow | undefined } {
  const { config, gate, counts } = limit;
  const report = new LimitReport(config, counts, context.log, context.clock);
  const surplus = config.over === 'backup' ? new BackupOverflow(context, { ...options, gate }) : undefined;
  const accounts = options.streams.map(({ account }) => account);
  const overflow = surplus ?? new RejectOverflow(config, options.name, accounts, options.shared.rejected);
  return { limiter: new Limiter(gate, overflow, report), surplus };
}
