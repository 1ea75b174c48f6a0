// Metrics of one value, without labels.
import type { Metric, Sample } from './metric.js';
import type { Snapshot } from '../snapshot.js';

/** One value; undefined: there is none. */
export function gauge(name: string, help: string, value: (snapshot: Snapshot) => number | undefined): Metric {
  return { type: 'gauge', name, help, labels: [], read: (snapshot) => one(value(snapshot)) };
}

export function counter(
  name: string,
  help: string,
  value: (snapshot: Snapshot) => number | undefined,
): Metric {
  return { type: 'counter', name, help, labels: [], read: (snapshot) => one(value(snapshot)) };
}

function one(value: number | undefined): readonly Sample[] {
  return value === undefined ? [] : [[{}, value]];
}
