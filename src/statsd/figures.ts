// The snapshot as statsd has it: the metrics of the admin door under names of levels,
// `kahe_stream_frames_total{bucket,stream,outcome}` as `stream_frames.<bucket>.<stream>.<outcome>`; and
// ekaf's events of a stream: down, up, time down, replayed.
import { METRICS } from '../stats/metrics/metrics.js';
import type { BucketSnapshot, Snapshot, StreamSnapshot } from '../stats/snapshot.js';
import { statName } from './statName.js';

/** By name, each as it stands now. */
export interface Figures {
  readonly counters: ReadonlyMap<string, number>;
  readonly gauges: ReadonlyMap<string, number>;
  /**
   * By the name of the timing: how often a stream has come back, and the time, ms, that it was away in all
   * when it had.
   */
  readonly downtimes: ReadonlyMap<string, Downtime>;
}

export interface Downtime {
  readonly times: number;
  readonly ms: number;
}

/** Moments and texts, which are nothing to be added up or drawn. */
const LEFT_OUT = new Set([
  'kahe_build_info',
  'kahe_stream_last_problem_timestamp_seconds',
  'process_start_time_seconds',
]);

export function figuresOf(snapshot: Snapshot, prefix: string): Figures {
  const figures = {
    counters: new Map<string, number>(),
    gauges: new Map<string, number>(),
    downtimes: new Map<string, Downtime>(),
  };
  for (const { type, name, labels, read } of METRICS) {
    if (LEFT_OUT.has(name)) continue;
    const plain = name.replace(/^kahe_/, '').replace(/_total$/, '');
    const target = type === 'counter' ? figures.counters : figures.gauges;
    for (const [values, value] of read(snapshot)) {
      // A counter that counted nothing yet is not told.
      if (value !== 0 || type === 'gauge')
        add(target, statName(prefix, plain, ...labels.map((label) => values[label] ?? '')), value);
    }
  }
  for (const bucket of snapshot.buckets)
    for (const stream of bucket.streams) addEvents(figures, prefix, bucket, stream, snapshot.takenAtMs);
  return figures;
}

function addEvents(
  {
    counters,
    downtimes,
  }: { readonly counters: Map<string, number>; readonly downtimes: Map<string, Downtime> },
  prefix: string,
  { name }: BucketSnapshot,
  stream: StreamSnapshot,
  nowMs: number,
): void {
  const { id, mode, modeSinceMs, modeMs, failures, replayedFrames } = stream;
  const event = (what: string): string => statName(prefix, 'stream', name, id, what);
  const isDown = mode !== 'normal';
  const times = failures - Number(isDown);
  const ms = modeMs.backup + modeMs.error - (isDown ? Math.max(0, nowMs - modeSinceMs) : 0);
  add(counters, event('down'), failures);
  add(counters, event('up'), times);
  add(counters, event('replayed'), replayedFrames);
  const before = downtimes.get(event('downtime'));
  downtimes.set(event('downtime'), { times: times + (before?.times ?? 0), ms: ms + (before?.ms ?? 0) });
}

/** Names that became the same are added up. */
function add(to: Map<string, number>, name: string, value: number): void {
  to.set(name, (to.get(name) ?? 0) + value);
}
