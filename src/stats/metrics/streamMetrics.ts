// Metrics of buckets and their streams. The account of a stream adds up in them:
// kahe_stream_received_frames_total = the sum of kahe_stream_frames_total + the sum of
// kahe_stream_held_frames.
import type { Metric } from './metric.js';
import type { BucketSnapshot, StreamSnapshot } from '../snapshot.js';

const MODES = ['normal', 'backup', 'error'] as const;

export const STREAM_METRICS: readonly Metric[] = [
  ofBucket('counter', 'kahe_bucket_batches_total', 'Batches that were closed', ({ closed }) => ({
    '': closed.batches,
  })),
  ofBucket('counter', 'kahe_bucket_frames_total', 'Frames in closed batches', ({ closed }) => ({
    '': closed.frames,
  })),
  ofBucket('counter', 'kahe_bucket_bytes_total', 'Bytes in closed batches', ({ closed }) => ({
    '': closed.bytes,
  })),
  ofBucket(
    'counter',
    'kahe_bucket_rate_limited_frames_total',
    'Frames over the rate limit of a bucket, by where they went; nothing for a bucket without a limit',
    ({ overLimit }) => ({ ...overLimit }),
    'over',
  ),
  ofBucket('gauge', 'kahe_bucket_open_frames', 'Frames in the batch that is being filled', ({ open }) => ({
    '': open.frames,
  })),
  ofBucket('gauge', 'kahe_bucket_open_bytes', 'Bytes in the batch that is being filled', ({ open }) => ({
    '': open.bytes,
  })),
  ofBucket(
    'gauge',
    'kahe_backlog_batches',
    'Closed batches that some stream has not settled',
    ({ backlog }) => ({ '': backlog.batches }),
  ),
  ofBucket(
    'gauge',
    'kahe_backlog_bytes',
    'Bytes of these, by where they are; most are in both places',
    ({ backlog }) => ({ memory: backlog.memoryBytes, disk: backlog.diskBytes }),
    'place',
  ),
  ofStream(
    'counter',
    'kahe_stream_received_frames_total',
    'Frames that came for a stream, also what earlier runs have left',
    ({ account }) => ({ '': account.received }),
  ),
  ofStream(
    'counter',
    'kahe_stream_frames_total',
    'Frames by how they ended',
    ({ account }) => ({
      delivered: account.delivered,
      sliced_out: account.slicedOut,
      rejected: account.rejected,
      discarded: account.discarded,
    }),
    'outcome',
  ),
  ofStream(
    'gauge',
    'kahe_stream_held_frames',
    'Frames that are still to be delivered: queued in memory or the spool, or backed up in files',
    ({ account }) => ({
      queued: account.queued,
      backed_up: account.backedUp,
    }),
    'place',
  ),
  ofStream(
    'counter',
    'kahe_stream_retimed_frames_total',
    'Frames that were delivered with the time of sending, because the topic refuses that of their arrival',
    ({ retimedFrames }) => ({ '': retimedFrames }),
  ),
  ofStream(
    'counter',
    'kahe_stream_bytes_total',
    'Bytes that were written, by where to',
    ({ written }) => ({ delivered: written.primary.bytes, backed_up: written.backup.bytes }),
    'outcome',
  ),
  ofStream(
    'counter',
    'kahe_backup_written_frames_total',
    'Frames that were written to the backup',
    ({ written }) => ({ '': written.backup.frames }),
  ),
  ofStream(
    'counter',
    'kahe_backup_replayed_frames_total',
    'Frames that were delivered from the backup',
    ({ replayedFrames }) => ({ '': replayedFrames }),
  ),
  ofStream(
    'counter',
    'kahe_stream_batches_total',
    'Batches by how their writing ended; failed: a part or all was handed back',
    ({ written, failedBatches }) => ({
      delivered: written.primary.batches,
      backed_up: written.backup.batches,
      failed: failedBatches,
    }),
    'outcome',
  ),
  ofStream(
    'counter',
    'kahe_stream_retries_total',
    'How often something was sent again, or a stream that failed was asked in vain whether it is back',
    ({ retries }) => ({ '': retries }),
  ),
  ofStream(
    'counter',
    'kahe_stream_failures_total',
    'How often a stream has left mode normal',
    ({ failures }) => ({ '': failures }),
  ),
  ofStream(
    'gauge',
    'kahe_stream_mode',
    'The mode a stream is in (1); nothing for a stream that has ended',
    ({ isAlive, mode }) => {
      return isAlive ? Object.fromEntries(MODES.map((each) => [each, Number(each === mode)])) : {};
    },
    'mode',
  ),
  ofStream(
    'counter',
    'kahe_stream_mode_seconds_total',
    'Time in each mode',
    ({ modeMs }) => Object.fromEntries(MODES.map((mode) => [mode, modeMs[mode] / 1000])),
    'mode',
  ),
  ofStream(
    'gauge',
    'kahe_stream_last_problem_timestamp_seconds',
    'When something last went wrong, seconds since 1970',
    ({ lastProblem }) => (lastProblem === undefined ? {} : { '': lastProblem.atMs / 1000 }),
  ),
  ofStream('gauge', 'kahe_backup_files', 'Files in the backup', ({ backedUp }) =>
    backedUp === undefined ? {} : { '': backedUp.files },
  ),
  ofStream('gauge', 'kahe_backup_bytes', 'Bytes in the backup that were not sent yet', ({ backedUp }) =>
    backedUp === undefined ? {} : { '': backedUp.bytes },
  ),
  ofStream(
    'gauge',
    'kahe_backup_being_sent',
    'Whether the backup is being sent to the stream (1)',
    ({ backedUp }) => (backedUp === undefined ? {} : { '': Number(backedUp.isBeingSent) }),
  ),
];

/** Values by what the further label says, `''` where there is none. */
type Values = Readonly<Record<string, number>>;

function ofBucket(
  type: Metric['type'],
  name: string,
  help: string,
  values: (bucket: BucketSnapshot) => Values,
  label?: string,
): Metric {
  return {
    type,
    name,
    help,
    labels: ['bucket', ...(label === undefined ? [] : [label])],
    read: ({ buckets }) =>
      buckets.flatMap((bucket) => {
        return Object.entries(values(bucket)).map(
          ([is, value]) =>
            [{ bucket: bucket.name, ...(label === undefined ? {} : { [label]: is }) }, value] as const,
        );
      }),
  };
}

function ofStream(
  type: Metric['type'],
  name: string,
  help: string,
  values: (stream: StreamSnapshot) => Values,
  label?: string,
): Metric {
  return {
    type,
    name,
    help,
    labels: ['bucket', 'stream', ...(label === undefined ? [] : [label])],
    read: ({ buckets }) =>
      buckets.flatMap((bucket) =>
        bucket.streams.flatMap((stream) => {
          return Object.entries(values(stream)).map(
            ([is, value]) =>
              [
                { bucket: bucket.name, stream: stream.id, ...(label === undefined ? {} : { [label]: is }) },
                value,
              ] as const,
          );
        }),
      ),
  };
}
