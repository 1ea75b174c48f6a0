// Whether the daemon should be given work: every stream delivers or has a backup that takes what comes, and sockets are read.
import type { Snapshot } from './snapshot.js';

const MOST_NAMED = 20;

/** Why it is not ready, a line each; none: it is. */
export function reasonsNotReady(snapshot: Snapshot): readonly string[] {
  const { isForMemory, isForSpool } = snapshot.paused;
  return [
    ...(snapshot.isStopping ? ['stopping'] : []),
    ...(isForMemory ? ['clients wait: memory is full (MAXMEMORY)'] : []),
    ...(isForSpool ? ['clients wait: the spool is full, or its disk fails'] : []),
    ...streamsInError(snapshot),
  ];
}

function streamsInError({ buckets }: Snapshot): readonly string[] {
  const reasons = buckets.flatMap(({ name, streams }) => streams.filter(({ isAlive, mode }) => isAlive && mode === 'error').map(({ id, lastProblem }) => {
    return `bucket ${JSON.stringify(name)}, stream ${id}: mode error: ${lastProblem?.text ?? 'no reason is known'}`;
  }));
  const more = reasons.length - MOST_NAMED;
  return more <= 0 ? reasons : [...reasons.slice(0, MOST_NAMED), `and ${more} streams more in mode error`];
}
