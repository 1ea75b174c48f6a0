// What `systemctl status` shows of a running daemon, in a sentence.
import type { SocketCounts } from '../socket/client.js';
import type { StreamCounts } from '../streams/streamActor.js';

export interface Counted {
  readonly socketCounts: SocketCounts;
  /** By `bucket/stream`. */
  readonly streamCounts: ReadonlyMap<string, StreamCounts>;
}

/** Of what went wrong only what has happened. */
export function statusOf({ socketCounts, streamCounts }: Counted): string {
  const sums = { delivered: 0, backedUp: 0, rejected: 0 };
  for (const counts of streamCounts.values()) {
    sums.delivered += counts.delivered;
    sums.backedUp += counts.backedUp;
    sums.rejected += counts.rejected;
  }
  const buckets = new Set([...streamCounts.keys()].map((name) => name.slice(0, name.lastIndexOf('/')))).size;
  const parts = [
    `${buckets} ${buckets === 1 ? 'bucket' : 'buckets'}`,
    `${socketCounts.received} frames received`,
    `${sums.delivered} delivered`,
    ...(sums.backedUp > 0 ? [`${sums.backedUp} in backups`] : []),
    ...(sums.rejected > 0 ? [`${sums.rejected} rejected`] : []),
    ...(socketCounts.bad > 0 ? [`${socketCounts.bad} bad`] : []),
  ];
  return parts.join(', ');
}
