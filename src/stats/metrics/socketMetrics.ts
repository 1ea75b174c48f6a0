// Metrics of the socket, of memory, the spool and what was rejected or discarded.
import { BAD_REASONS } from '../../frames/frame.js';
import type { Metric } from './metric.js';
import { counter, gauge } from './singleMetrics.js';
import type { Snapshot } from '../snapshot.js';

/** There from the start, so that the first one shows as an increase. */
const NO_BAD_FRAMES = Object.fromEntries(BAD_REASONS.map((reason) => [reason, 0]));

export const SOCKET_METRICS: readonly Metric[] = [
  counter(
    'kahe_received_frames_total',
    'Frames that came over the socket, bad ones among them',
    ({ socket }) => socket.received,
  ),
  byLabel('kahe_bad_frames_total', 'Frames whose inside makes no sense; they are rejected', ({ socket }) => ({
    ...NO_BAD_FRAMES,
    ...socket.badByReason,
  })),
  counter(
    'kahe_lost_framing_total',
    'Connections that were closed because no frame could be told from the next, or one stayed half',
    ({ socket }) => socket.lostFraming,
  ),
  counter(
    'kahe_cut_frames_total',
    'Connections that ended in the middle of a frame',
    ({ socket }) => socket.cutFrames,
  ),
  counter('kahe_receipts_total', 'Receipts that were answered', ({ socket }) => socket.receipts),
  gauge('kahe_connections', 'Connections that are open', ({ socket }) => socket.open),
  counter('kahe_connections_total', 'Connections that were accepted', ({ socket }) => socket.accepted),
  counter(
    'kahe_connections_turned_away_total',
    'Connections for which there was no room: too many files are open (LimitNOFILE)',
    ({ socket }) => socket.turnedAway,
  ),
  gauge(
    'kahe_sockets_unreachable',
    'Sockets (SOCKET, ADMIN) by which no client can come in now, because the file is gone or is another',
    ({ unreachable }) => unreachable?.length ?? 0,
  ),
  gauge(
    'kahe_memory_held_bytes',
    'Bytes of frames in memory, in whatever form',
    ({ memory }) => memory.heldBytes,
  ),
  gauge(
    'kahe_memory_encoded_bytes',
    'Of these, bytes of encoded requests',
    ({ memory }) => memory.encodedBytes,
  ),
  gauge('kahe_memory_limit_bytes', 'MAXMEMORY', ({ memory }) => memory.limitBytes),
  {
    type: 'gauge',
    name: 'kahe_paused',
    help: 'Whether clients wait now (1), because memory is full, or the spool',
    labels: ['reason'],
    read: ({ paused }) => [
      [{ reason: 'memory' }, Number(paused.isForMemory)],
      [{ reason: 'spool' }, Number(paused.isForSpool)],
    ],
  },
  counter('kahe_paused_seconds_total', 'Time in which clients had to wait', ({ paused }) => paused.ms / 1000),
  counter('kahe_pauses_total', 'How often clients had to wait', ({ paused }) => paused.times),
  gauge('kahe_spool_bytes', 'Bytes in the spool', ({ spool }) => spool?.bytes),
  gauge('kahe_spool_limit_bytes', 'SPOOL_MAX', ({ spool }) => spool?.maxBytes),
  gauge('kahe_spool_full', 'Whether SPOOL_MAX is reached (1)', ({ spool }) => spool && Number(spool.isFull)),
  gauge(
    'kahe_spool_failing_segments',
    'Files of the spool that the disk does not take just now',
    ({ spool }) => spool?.failingSegments,
  ),
  counter(
    'kahe_rejected_frames_total',
    'Frames that can never be delivered, kept in REJECTED',
    ({ rejected: { reasons } }) => sumOf(reasons, 'frames'),
  ),
  counter('kahe_rejected_bytes_total', 'Bytes of these frames', ({ rejected: { reasons } }) =>
    sumOf(reasons, 'bytes'),
  ),
  rejected('kahe_rejected_by_reason_frames_total', 'The same, by reason', 'frames'),
  counter(
    'kahe_rejected_lost_frames_total',
    'Frames that were to be rejected and that nothing keeps (REJECTED_FULL=drop)',
    ({ rejected: { lostFrames } }) => lostFrames,
  ),
  gauge(
    'kahe_rejected_blocked',
    "1 while rejected frames can't be kept, so that those who send them wait; else 0",
    ({ rejected: { problem } }) => Number(problem !== undefined),
  ),
  counter(
    'kahe_discarded_frames_total',
    'Frames that were thrown away, where the configuration allows it or a disk left no choice',
    ({ discards }) => sumOf(discards, 'frames'),
  ),
  counter('kahe_discarded_bytes_total', 'Bytes of these frames', ({ discards }) => sumOf(discards, 'bytes')),
  discarded('kahe_discarded_by_reason_frames_total', 'The same, by bucket, stream and reason', 'frames'),
];

function sumOf(
  counts: readonly { readonly frames: number; readonly bytes: number }[],
  what: 'frames' | 'bytes',
): number {
  return counts.reduce((sum, count) => sum + count[what], 0);
}

function byLabel(
  name: string,
  help: string,
  values: (snapshot: Snapshot) => Readonly<Record<string, number>>,
): Metric {
  return {
    type: 'counter',
    name,
    help,
    labels: ['reason'],
    read: (snapshot) => Object.entries(values(snapshot)).map(([reason, value]) => [{ reason }, value]),
  };
}

function rejected(name: string, help: string, what: 'frames' | 'bytes'): Metric {
  return {
    type: 'counter',
    name,
    help,
    labels: ['reason'],
    read: (snapshot) => snapshot.rejected.reasons.map((reason) => [{ reason: reason.reason }, reason[what]]),
  };
}

function discarded(name: string, help: string, what: 'frames' | 'bytes'): Metric {
  return {
    type: 'counter',
    name,
    help,
    labels: ['bucket', 'stream', 'reason'],
    read: ({ discards }) =>
      discards.map(({ bucket, stream, reason, ...discard }) => [{ bucket, stream, reason }, discard[what]]),
  };
}
