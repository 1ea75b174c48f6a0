// How long a client waits for a receipt while others write at a steady rate, with the spool and without.
import type { AskerOptions, AskerReport } from './asker.js';
import { endScript, forkScript, reportOf, within } from './childScript.js';
import type { Receiver } from './load.js';
import { inFolder } from './measure.js';
import { PacedLoad } from './pacedLoad.js';
import type { Payload } from './payload.js';
import { sleep, type System } from './system.js';

export interface ReceiptWaits {
  readonly name: string;
  readonly questions: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** That were written beside, truly. */
  readonly framesPerSecond: number;
}

/** Of the load beside the questions. */
export const RECEIPTS_LOAD_PER_SECOND = 10_000;
const CLIENTS = 4;
const ASK_EVERY_MS = 10;
/** The load alone, before the first question. */
const WARM_UP_MS = 2_000;
/** For the last answer. */
const GRACE_MS = 30_000;
const LETTERS: Payload = { kind: 'letters', bytes: 100 };

/** @throws when an answer is wrong, or what arrived is not what was sent */
export async function measureReceipts(name: string, system: System, seconds: number): Promise<ReceiptWaits> {
  return await inFolder(async (folder) => {
    const running = await system.start(folder);
    const load = await PacedLoad.connect(
      { clients: CLIENTS, framesPerSecond: RECEIPTS_LOAD_PER_SECOND, payload: LETTERS },
      running.receiver,
    );
    load.start();
    await sleep(WARM_UP_MS);
    const waitsMs = await ask(running.receiver, seconds);
    const { frames, framesPerSecond } = await load.stop();
    await load.close();
    await running.stop();
    const arrived = await running.countArrived?.();
    if (arrived !== frames + waitsMs.length)
      throw new Error(`${frames + waitsMs.length} frames sent, ${arrived} arrived`);
    return { name, questions: waitsMs.length, framesPerSecond, ...percentiles(waitsMs) };
  });
}

async function ask({ path, wire }: Receiver, seconds: number): Promise<readonly number[]> {
  const options: AskerOptions = { path, wire, seconds, everyMs: ASK_EVERY_MS, payload: LETTERS };
  const asker = forkScript('asker.ts', options);
  await reportOf<AskerReport, 'connected'>(asker, 'connected');
  const done = reportOf<AskerReport, 'done'>(asker, 'done');
  asker.send('go');
  const { waitsMs, wrongAnswers } = await within(seconds * 1000 + GRACE_MS, done);
  await endScript(asker);
  if (wrongAnswers.length > 0) throw new Error(wrongAnswers.join('; '));
  return waitsMs;
}

function percentiles(waitsMs: readonly number[]): Pick<ReceiptWaits, 'p50Ms' | 'p99Ms' | 'maxMs'> {
  const sorted = waitsMs.toSorted((a, b) => a - b);
  const atShare = (share: number): number => sorted[Math.ceil(share * sorted.length) - 1]!;
  return { p50Ms: atShare(0.5), p99Ms: atShare(0.99), maxMs: atShare(1) };
}
