// What the runs of a line come to: medians with their range, and ratios to the run of the line's base just
// before.
import type { EvenCost } from './even.js';
import type { IdleConnections, IdleDaemon } from './idle.js';
import type { Run } from './measure.js';
import type { ReceiptWaits } from './receipts.js';
import type { ReplayFigures } from './replay.js';
import type { Line } from './scenario.js';
import type { VisitCost } from './visits.js';

/** A system's run and the one of the line's base just before it. */
export interface Pair {
  readonly line: Line;
  readonly system: string;
  readonly base: Run;
  readonly run: Run;
}

export interface Results {
  readonly lines: readonly Line[];
  readonly pairs: readonly Pair[];
  /** Of runs, or pairs, that count for nothing. */
  readonly invalid: readonly string[];
  readonly evenCosts: readonly EvenCost[];
  readonly visitCosts: readonly VisitCost[];
  readonly receipts: readonly ReceiptWaits[];
  readonly replay: ReplayFigures | undefined;
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
  readonly kafkaCpu: number;
}

export function baseName(line: Line): string {
  return line.base?.name ?? 'floor';
}

/** The base first, then the systems in their order. */
export function summaries({ pairs }: Results, line: Line): Summary[] {
  const own = pairs.filter((pair) => pair.line === line);
  if (own.length === 0) return [];
  const bases = own.map(({ base }) => ({ run: base, base }));
  const systems = [...new Set(own.map(({ system }) => system))];
  return [
    summarize(baseName(line), bases),
    ...systems.map((system) =>
      summarize(
        system,
        own.filter((pair) => pair.system === system),
      ),
    ),
  ];
}

function summarize(system: string, pairs: readonly Pick<Pair, 'run' | 'base'>[]): Summary {
  const of = (figure: (pair: Pick<Pair, 'run' | 'base'>) => number): Spread => spread(pairs.map(figure));
  return {
    system,
    runs: pairs.length,
    cpu: of(({ run }) => run.cpuSecondsPerMillion),
    cpuRatio: of(({ run, base }) => run.cpuSecondsPerMillion / base.cpuSecondsPerMillion),
    framesPerSecond: of(({ run }) => run.framesPerSecond),
    speedRatio: of(({ run, base }) => run.framesPerSecond / base.framesPerSecond),
    peakBytes: of(({ run }) => run.peakBytes).max,
    senderCpu: of(({ run }) => run.senderCpuSecondsPerMillion).median,
    kafkaCpu: of(({ run }) => run.kafkaCpuSecondsPerMillion).median,
  };
}

/** undefined: not measured. */
export function evenSpread(costs: readonly EvenCost[], name: string, rate: number): Spread | undefined {
  return spreadOfAny(
    costs
      .filter((cost) => cost.name === name && cost.rate === rate)
      .map(({ percentOfCore }) => percentOfCore),
  );
}

/** undefined: not measured. */
export function visitSpread(
  costs: readonly VisitCost[],
  name: string,
  figure: (cost: VisitCost) => number | undefined,
): Spread | undefined {
  return spreadOfAny(
    costs
      .filter((cost) => cost.name === name)
      .map(figure)
      .filter((value) => value !== undefined),
  );
}

function spreadOfAny(values: readonly number[]): Spread | undefined {
  return values.length === 0 ? undefined : spread(values);
}

function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return {
    median: (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2,
    min: sorted[0]!,
    max: sorted.at(-1)!,
  };
}
