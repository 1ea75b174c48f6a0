// What `systemctl status` shows of a running daemon, in a sentence.
import type { ReloadFigures } from '../stats/snapshot.js';
import { plural } from '../plural.js';
import { newAccount, type Account } from '../streams/account.js';

export interface Counted {
  /** Frames that came in, by all doors, and those of them that were bad. */
  readonly received: { readonly frames: number; readonly bad: number };
  /** By `bucket/stream`. */
  readonly accounts: ReadonlyMap<string, Account>;
  /** Sockets by which no client can come in, with the reason. */
  readonly unreachable: readonly string[];
}

/**
 * Beyond what came and what was delivered, only what there is of. A frame counts once for each stream of its
 * bucket.
 */
export function statusOf({ received, accounts, unreachable }: Counted, reloads?: ReloadFigures): string {
  const sums = newAccount();
  for (const account of accounts.values())
    for (const fate of Object.keys(sums) as (keyof Account)[]) sums[fate] += account[fate];
  const buckets = new Set([...accounts.keys()].map((name) => name.slice(0, name.lastIndexOf('/')))).size;
  const notable = {
    waiting: sums.queued,
    'in backups': sums.backedUp,
    rejected: sums.rejected,
    discarded: sums.discarded,
    bad: received.bad,
  };
  return [
    ...unreachable,
    `${buckets} ${plural(buckets, 'bucket')}`,
    `${received.frames} ${plural(received.frames, 'frame')} received`,
    `${sums.delivered} delivered`,
    ...Object.entries(notable).flatMap(([what, frames]) => (frames > 0 ? [`${frames} ${what}`] : [])),
    ...(reloads?.problem === undefined ? [] : [`the configuration was not reloaded: ${reloads.problem}`]),
  ].join(', ');
}
