// A program: the daemon on a machine that fails on demand. BAD_DISK (JSON, a list of PlannedFault) says which
// calls of its disk fail, stop half-way, or are the last thing the process ever does; each SIGUSR2 sets its
// clock forward or back by the next of CLOCK_STEPS_MS.
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import type { run } from '../../src/daemon/run.js';
import { FailingDisk, type Fault } from '../../support/failingDisk.js';

export interface PlannedFault extends Omit<Fault, 'path' | 'wait' | 'onCall' | 'onDone'> {
  /** A regular expression. */
  readonly path: string;
  /** The process kills itself before, or after, the call. */
  readonly dies?: 'before' | 'after';
}

const faults = JSON.parse(process.env['BAD_DISK'] ?? '[]') as readonly PlannedFault[];
const disk = new FailingDisk();
for (const { path: pattern, dies, ...fault } of faults) {
  const end = (): void => void process.kill(process.pid, 'SIGKILL');
  disk.fail({
    ...fault,
    path: new RegExp(pattern),
    ...(dies === 'before' ? { onCall: end } : dies === 'after' ? { onDone: end } : {}),
  });
}

const steps = (process.env['CLOCK_STEPS_MS'] ?? '').split(',').map(Number);
const realNow = Date.now.bind(Date);
let offsetMs = 0;
Date.now = () => realNow() + offsetMs;
process.on('SIGUSR2', () => (offsetMs += steps.shift() ?? 0));

const { run: runBuilt } = (await import(
  pathToFileURL(path.join(path.dirname(process.env['KAHE_MAIN']!), 'daemon/run.js')).href
)) as { readonly run: typeof run };
process.exit(await runBuilt({ fs: disk.fs }));
