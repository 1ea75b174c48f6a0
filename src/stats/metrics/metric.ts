// One metric: what it is called, what it means, and where in the snapshot its samples stand.
import type { Snapshot } from '../snapshot.js';

export type Labels = Readonly<Record<string, string>>;

export type Sample = readonly [Labels, number];

export interface Metric {
  /** A counter never falls while the daemon lives. */
  readonly type: 'counter' | 'gauge';
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
  readonly read: (snapshot: Snapshot) => readonly Sample[];
}
