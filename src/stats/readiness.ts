// Whether the daemon should be given work: clients can connect and are read, every stream delivers or has a
// backup that takes what comes. In words it is the same for `kahe status`, `kahe top` and the status page.
import type { StreamMode } from '../streams/streamStats.js';
import type { Snapshot } from './snapshot.js';
import { plural } from '../plural.js';

const MOST_NAMED = 20;

export interface Readiness {
  /** `normal` and `backup`: it is ready; `error`: it is not. */
  readonly state: StreamMode;
  /** As `ready, 1 stream in backup`. */
  readonly text: string;
  /** Why it is not ready. */
  readonly reasons: readonly string[];
}

export function readinessOf(snapshot: Snapshot): Readiness {
  const reasons = reasonsNotReady(snapshot);
  if (reasons.length > 0) return { state: 'error', text: 'not ready', reasons };
  const inBackup = snapshot.buckets
    .flatMap(({ streams }) => streams)
    .filter(({ isAlive, mode }) => isAlive && mode === 'backup').length;
  if (inBackup === 0) return { state: 'normal', text: 'ready', reasons };
  return { state: 'backup', text: `ready, ${inBackup} ${plural(inBackup, 'stream')} in backup`, reasons };
}

/** Why it is not ready, a line each; none: it is. */
export function reasonsNotReady(snapshot: Snapshot): readonly string[] {
  const {
    paused: { isForMemory, isForSpool },
    rejected: { problem },
  } = snapshot;
  return [
    ...(snapshot.isStopping ? ['stopping'] : []),
    ...(snapshot.unreachable ?? []),
    ...(isForMemory ? ['clients wait: memory is full (MAXMEMORY)'] : []),
    ...(isForSpool ? ['clients wait: the spool is full, or its disk fails'] : []),
    ...(problem === undefined
      ? []
      : [`rejected frames can't be kept, and those who send them wait: ${problem}`]),
    ...streamsInError(snapshot),
  ];
}

function streamsInError({ buckets }: Snapshot): readonly string[] {
  const reasons = buckets.flatMap(({ name, streams }) =>
    streams
      .filter(({ isAlive, mode }) => isAlive && mode === 'error')
      .map(({ id, lastProblem }) => {
        return `bucket ${JSON.stringify(name)}, stream ${id}: mode error: ${lastProblem?.text ?? 'no reason is known'}`;
      }),
  );
  const more = reasons.length - MOST_NAMED;
  return more <= 0
    ? reasons
    : [...reasons.slice(0, MOST_NAMED), `and ${more} more ${plural(more, 'stream')} in mode error`];
}
