// What frames cost that come one by one, evenly spread, from many connections, as those of PHP workers do on
// a host that is not saturated: there most of the cost is that each of them wakes the receiver.
import { inFolder } from './measure.js';
import { PacedLoad } from './pacedLoad.js';
import { cpuSeconds } from './processFigures.js';
import { type RunningSystem, sleep, type System } from './system.js';

export interface EvenCost {
  readonly name: string;
  /** Wanted. */
  readonly rate: number;
  readonly percentOfCore: number;
}

export const EVEN_RATES = [10_000, 50_000, 150_000] as const;
export const EVEN_CLIENTS = 16;
const WARM_UP_MS = 1_500;
const WINDOW_MS = 4_000;
/** Of the rate, for the figure to count. */
const LEAST_OF_RATE = 0.97;

/** @throws when the rate was not held, or what arrived is not what was sent */
export async function measureEven(system: System, rate: number): Promise<EvenCost> {
  return await inFolder(async (folder) => {
    const running = await system.start(folder);
    const { frames, framesPerSecond, share } = await load(running, rate).finally(() => running.stop());
    const arrived = (await running.countArrived?.()) ?? frames;
    if (arrived !== frames) throw new Error(`${system.name}: ${frames} frames sent, ${arrived} arrived`);
    if (framesPerSecond < rate * LEAST_OF_RATE)
      throw new Error(
        `${system.name}: only ${framesPerSecond.toFixed(0)} of ${rate} frames/s could be written`,
      );
    return { name: system.name, rate, percentOfCore: share * 100 };
  });
}

async function load(
  running: RunningSystem,
  rate: number,
): Promise<{ readonly frames: number; readonly framesPerSecond: number; readonly share: number }> {
  const sender = await PacedLoad.connect(
    { clients: EVEN_CLIENTS, framesPerSecond: rate, payload: { kind: 'letters', bytes: 100 }, isEven: true },
    running.receiver,
  );
  try {
    sender.start();
    await sleep(WARM_UP_MS);
    const [before, startMs] = [cpuSeconds(running.pid), performance.now()];
    await sleep(WINDOW_MS);
    const share = ((cpuSeconds(running.pid) - before) * 1000) / (performance.now() - startMs);
    const { frames, framesPerSecond } = await sender.stop();
    await running.untilArrived?.(frames);
    return { frames, framesPerSecond, share };
  } finally {
    await sender.close();
  }
}
