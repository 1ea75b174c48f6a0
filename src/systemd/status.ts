// What `systemctl status` shows of a running daemon, in a sentence.
import type { SocketCounts } from '../doors/socket/client.js';
import type { ReloadFigures } from '../stats/snapshot.js';
import { plural } from '../plural.js';
import { newAccount, type Account } from '../streams/account.js';

export interface Counted {
  readonly socketCounts: SocketCounts;
  /** By `bucket/stream`. */
  readonly accounts: ReadonlyMap<string, Account>;
  /** Sockets by which no client can come in, with the reason. */
  readonly unreachable: readonly string[];
}

/**
 * Beyond what came and what was delivered, only what there is of. A frame counts once for each stream of its
 * bucket.
 */
export function statusOf({ socketCounts, accounts, unreachable }: Counted, reloads?: ReloadFigures): string {
  const sums = newAccount();
  for (const account of accounts.values())
    for (const fate of Object.keys(sums) as (keyof Account)[]) sums[fate] += account[fate];
  const buckets = new Set([...accounts.keys()].map((name) => name.slice(0, name.lastIndexOf('/')))).size;
  const notable = {
    waiting: sums.queued,
    'in backups': sums.backedUp,
    rejected: sums.rejected,
    discarded: sums.discarded,
    bad: socketCounts.bad,
  };
  return [
    ...unreachable,
    `${buckets} ${plural(buckets, 'bucket')}`,
    `${socketCounts.received} ${plural(socketCounts.received, 'frame')} received`,
    `${sums.delivered} delivered`,
    ...Object.entries(notable).flatMap(([what, frames]) => (frames > 0 ? [`${frames} ${what}`] : [])),
    ...(reloads?.problem === undefined ? [] : [`the configuration was not reloaded: ${reloads.problem}`]),
  ].join(', ');
}
