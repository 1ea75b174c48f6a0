// How many clients there is room for: the process may have only so many files open at a time (LimitNOFILE,
// `ulimit -n`), and the spool, the streams and Kafka need some of them. Clients that took them all would stop
// the daemon that they wait for.
import { readFileSync } from 'node:fs';

const LEAST_KEPT = 32;
const MOST_KEPT = 1024;

/** @returns how many connections may be open; Infinity where the limit is not known */
export function mostConnections(limits = readLimits()): number {
  const limit = Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? Infinity);
  return Math.max(1, limit - Math.max(LEAST_KEPT, Math.min(MOST_KEPT, Math.floor(limit / 4))));
}

/** Linux alone says it; elsewhere there is no bound but the system's. */
function readLimits(): string {
  try {
    return readFileSync('/proc/self/limits', 'utf8');
  } catch {
    return '';
  }
}
