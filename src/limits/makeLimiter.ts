// A bucket's limiter from its configuration.
import type { ActorContext } from '../actors/actor.js';
import type { BucketMessage } from '../buckets/messages.js';
import type { Clock } from '../clock.js';
import type { RateLimitConfig } from '../config/rateLimit.js';
import type { Log } from '../log.js';
import type { Pace } from '../replay/pace.js';
import type { Account } from '../streams/account.js';
import type { RejectedFrames } from '../streams/stream.js';
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
  /** Ids of the streams that the gate knows by their place. */
  readonly streams: readonly string[];
}

/** @param counts of the limit that this one follows; they are counted on */
export function newLimit(config: RateLimitConfig, streams: readonly { readonly id: string; readonly watch: StreamWatch }[], clock: Clock, counts: LimitCounts = { reject: 0, backup: 0 }): Limit {
  const replayed = config.over === 'backup' ? streams : [];
  return { config, gate: new Gate(config, replayed.map(({ watch }) => watch), clock), counts, streams: replayed.map(({ id }) => id) };
}

/** How fast what the stream's backup holds may be sent; undefined: the limit does not say. */
export function paceOfBackup({ gate, streams }: Limit, id: string): Pace | undefined {
  const place = streams.indexOf(id);
  return place < 0 ? undefined : gate.paceOfBackup(place);
}

/** One that rejects what is over the limit. */
export function makeRejecter({ config, gate, counts }: Limit, { name, accounts, rejected, log, clock }: { readonly name: string; readonly accounts: readonly Account[]; readonly rejected: RejectedFrames; readonly log: Log; readonly clock: Clock }): Limiter {
  return new Limiter(gate, new RejectOverflow(config, name, accounts, rejected), new LimitReport(config, counts, log, clock));
}

/** One that brings it to the backups, whose bucket lives below `context`. */
export function makeDiverter(context: ActorContext<BucketMessage>, { config, gate, counts }: Limit, options: Omit<BackupOverflowOptions, 'gate'>): { readonly limiter: Limiter; readonly surplus: BackupOverflow } {
  const surplus = new BackupOverflow(context, { ...options, gate });
  return { limiter: new Limiter(gate, surplus, new LimitReport(config, counts, context.log, context.clock)), surplus };
}
