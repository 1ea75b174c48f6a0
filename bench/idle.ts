// What Kahe costs while nobody sends: memory for each connection that is open, and time of a daemon that has
// had its traffic.
import { readFileSync } from 'node:fs';
import { type Load, Senders } from './load.js';
import { inFolder } from './measure.js';
import { cpuSeconds, residentBytes } from './processFigures.js';
import { sleep, type System } from './system.js';

export interface IdleConnections {
  readonly name: string;
  readonly connections: number;
  readonly bytesEach: number;
}

export interface IdleDaemon {
  readonly seconds: number;
  /** Of one core. */
  readonly percent: number;
  /**
   * Between the last frame and then: what the garbage collector does once, when it sees that nothing comes
   * any more.
   */
  readonly tidyingSeconds: number;
  readonly tidyingCpuSeconds: number;
}

const CONNECTIONS = 10_000;
/** Descriptors that a process has open besides. */
const SPARE_DESCRIPTORS = 500;
const SETTLE_MS = 2_000;
/** V8 waits for some 8 s of quiet, collects all garbage in a few goes, and then no more. */
const TIDYING_MS = 20_000;
const IDLE_MS = 30_000;
const TRAFFIC: Load = {
  clients: 4,
  senders: 1,
  framesPerWrite: 1,
  frames: 200_000,
  payload: { kind: 'letters', bytes: 100 },
};

export async function measureIdleConnections(system: System): Promise<IdleConnections> {
  return await inFolder(async (folder) => {
    const running = await system.start(folder);
    await sleep(SETTLE_MS);
    const before = residentBytes(running.pid);
    const connections = Math.min(CONNECTIONS, mostDescriptors() - SPARE_DESCRIPTORS);
    const senders = await Senders.connect({ ...TRAFFIC, clients: connections }, running.receiver);
    await sleep(SETTLE_MS);
    const bytesEach = (residentBytes(running.pid) - before) / connections;
    await senders.close();
    await running.stop();
    await running.countArrived?.();
    return { name: system.name, connections, bytesEach };
  });
}

export async function measureIdleDaemon(system: System): Promise<IdleDaemon> {
  return await inFolder(async (folder) => {
    const running = await system.start(folder);
    const senders = await Senders.connect(TRAFFIC, running.receiver);
    await senders.send();
    await senders.close();
    const atTheEnd = cpuSeconds(running.pid);
    await sleep(TIDYING_MS);
    const before = cpuSeconds(running.pid);
    await sleep(IDLE_MS);
    const percent = ((cpuSeconds(running.pid) - before) / IDLE_MS) * 1000 * 100;
    await running.stop();
    await running.countArrived?.();
    return {
      seconds: IDLE_MS / 1000,
      percent,
      tidyingSeconds: TIDYING_MS / 1000,
      tidyingCpuSeconds: before - atTheEnd,
    };
  });
}

/** That one process may have open; Node takes all that it may. */
function mostDescriptors(): number {
  const hard = /^Max open files\s+\S+\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
  return hard === undefined ? CONNECTIONS + SPARE_DESCRIPTORS : Number(hard);
}
