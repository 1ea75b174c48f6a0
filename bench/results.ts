// What the runs of a line come to: medians with their range, and ratios to the floor's run just before.
import type { IdleConnections, IdleDaemon } from './idle.js';
import type { Run } from './measure.js';
import type { Line } from './scenario.js';

/** A system's run and the floor's just before it. */
export interface Pair {
  readonly line: Line;
  readonly system: string;
  readonly floor: Run;
  readonly run: Run;
}

export interface Results {
  readonly lines: readonly Line[];
  readonly pairs: readonly Pair[];
  /** Of runs, or pairs, that count for nothing. */
  readonly invalid: readonly string[];
  readonly idleConnections: readonly IdleConnections[];
  readonly idleDaemon: IdleDaemon | undefined;
}

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export interface Summary {
  readonly system: string;
  readonly runs: number;
  readonly cpu: Spread;
  readonly cpuRatio: Spread;
  readonly framesPerSecond: Spread;
  readonly speedRatio: Spread;
  /** The most of any run. */
  readonly peakBytes: number;
  readonly senderCpu: number;
}

/** The floor first, then the systems in their order. */
export function summaries({ pairs }: Results, line: Line): Summary[] {
  const own = pairs.filter((pair) => pair.line === line);
  if (own.length === 0) return [];
  const floors = own.map(({ floor }) => ({ run: floor, floor }));
  const systems = [...new Set(own.map(({ system }) => system))];
  return [summarize('floor', floors), ...systems.map((system) => summarize(system, own.filter((pair) => pair.system === system)))];
}

function summarize(system: string, pairs: readonly Pick<Pair, 'run' | 'floor'>[]): Summary {
  const of = (figure: (pair: Pick<Pair, 'run' | 'floor'>) => number): Spread => spread(pairs.map(figure));
  return {
    system,
    runs: pairs.length,
    cpu: of(({ run }) => run.cpuSecondsPerMillion),
    cpuRatio: of(({ run, floor }) => run.cpuSecondsPerMillion / floor.cpuSecondsPerMillion),
    framesPerSecond: of(({ run }) => run.framesPerSecond),
    speedRatio: of(({ run, floor }) => run.framesPerSecond / floor.framesPerSecond),
    peakBytes: of(({ run }) => run.peakBytes).max,
    senderCpu: of(({ run }) => run.senderCpuSecondsPerMillion).median,
  };
}

function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return { median: (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2, min: sorted[0]!, max: sorted.at(-1)! };
}
