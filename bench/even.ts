// What frames cost that come one by one, evenly spread, from many connections, as those of PHP workers do on a host that is not saturated:
// there most of the cost is that each of them wakes the receiver.
import type { Cores } from './cores.js';
import { inFolder } from './measure.js';
import { PacedLoad } from './pacedLoad.js';
import { cpuSeconds } from './processFigures.js';
import { sleep, type System } from './system.js';

export interface EvenCost {
  readonly name: string;
  /** Wanted. */
  readonly rate: number;
  readonly percentOfCore: number;
}

export const EVEN_RATES = [2_000, 10_000, 50_000, 150_000] as const;
export const EVEN_CLIENTS = 16;
const WARM_UP_MS = 2_000;
const WINDOW_MS = 5_000;
/** Of the rate, for the figure to count. */
const LEAST_OF_RATE = 0.97;

export async function measureEven(system: System, rate: number, cores: Cores): Promise<EvenCost> {
  return await inFolder(async (folder) => {
    const running = await system.start(folder);
    const load = await PacedLoad.connect({ clients: EVEN_CLIENTS, framesPerSecond: rate, payload: { kind: 'letters', bytes: 100 }, isEven: true }, running.receiver);
    cores.divide([load.pid], running.pid);
    load.start();
    await sleep(WARM_UP_MS);
    const [before, startMs] = [cpuSeconds(running.pid), performance.now()];
    await sleep(WINDOW_MS);
    const share = ((cpuSeconds(running.pid) - before) * 1000) / (performance.now() - startMs);
    const { frames, framesPerSecond } = await load.stop();
    await load.close();
    if (running.receiver.finish === 'silent') await running.untilArrived?.(frames);
    await running.stop();
    const arrived = (await running.countArrived?.()) ?? frames;
    if (arrived !== frames) throw new Error(`${system.name}: ${frames} frames sent, ${arrived} arrived`);
    if (framesPerSecond < rate * LEAST_OF_RATE) throw new Error(`${system.name}: only ${framesPerSecond.toFixed(0)} of ${rate} frames/s could be written`);
    return { name: system.name, rate, percentOfCore: share * 100 };
  });
}
