// What connections cost that bring one frame each.
import { endScript, forkScript, reportOf, within } from './childScript.js';
import { inFolder } from './measure.js';
import { cpuSeconds } from './processFigures.js';
import type { RunningSystem, System } from './system.js';
import type { VisitorOptions, VisitorReport } from './visitor.js';

export interface VisitCost {
  readonly name: string;
  /** undefined: it doesn't answer, so nobody knows when it has taken the last one. */
  readonly visitsPerSecond: number | undefined;
  readonly cpuMicrosecondsEach: number;
}

export const VISITS = 60_000;
export const ROWS = 20;
const DEADLINE_MS = 120_000;

/** @throws when not every frame arrived */
export async function measureVisits(system: System, visits = VISITS): Promise<VisitCost> {
  return await inFolder(async (folder) => {
    const running = await system.start(folder);
    const cost = await visit(running, visits).finally(() => running.stop());
    const arrived = (await running.countArrived?.()) ?? visits;
    if (arrived !== visits) throw new Error(`${system.name}: ${visits} frames sent, ${arrived} arrived`);
    return { name: system.name, ...cost };
  });
}

async function visit(running: RunningSystem, visits: number): Promise<Omit<VisitCost, 'name'>> {
  const {
    pid,
    receiver: { path, wire, finish },
  } = running;
  const options: VisitorOptions = {
    path,
    wire,
    finish,
    visits,
    rows: ROWS,
    payload: { kind: 'letters', bytes: 100 },
  };
  const child = forkScript('visitor.ts', options);
  try {
    await reportOf<VisitorReport, 'ready'>(child, 'ready');
    const before = cpuSeconds(pid);
    const done = reportOf<VisitorReport, 'done'>(child, 'done');
    child.send('go');
    const { seconds } = await within(DEADLINE_MS, done);
    await running.untilArrived?.(visits);
    return {
      visitsPerSecond: finish === 'silent' ? undefined : visits / seconds,
      cpuMicrosecondsEach: ((cpuSeconds(pid) - before) * 1e6) / visits,
    };
  } finally {
    await endScript(child);
  }
}
