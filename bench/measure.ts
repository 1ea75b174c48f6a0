// One run: a fresh process of one system takes one load. Start-up and warming up are not counted, and what
// arrived is.
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { monotonicMs } from './clock.js';
import { type Load, Senders } from './load.js';
import { cpuSeconds, peakResidentBytes } from './processFigures.js';
import type { RunningSystem, System } from './system.js';

export interface Run {
  readonly frames: number;
  /** See Sent. */
  readonly framesPerSecond: number;
  /** Of the process under test, in that time. */
  readonly cpuSecondsPerMillion: number;
  readonly senderCpuSecondsPerMillion: number;
  /** Of Kafka, in that time. */
  readonly kafkaCpuSecondsPerMillion: number;
  readonly peakBytes: number;
  /** Why the figures mean nothing; undefined for a good run. */
  readonly invalid: string | undefined;
}

/**
 * So many frames, of those that are measured, come before them: a daemon that runs for months has long been
 * compiled.
 */
const WARM_UP_SHARE = 0.2;

/** @param kafka its pid */
export async function measure(system: System, load: Load, kafka: number): Promise<Run> {
  return await inFolder(async (folder) => {
    const running = await system.start(folder);
    const warmUp = await feed(running, { ...load, frames: load.frames * WARM_UP_SHARE }, kafka, 0);
    const figures = await feed(running, load, kafka, warmUp.frames);
    await running.stop();
    return {
      ...figures,
      invalid:
        warmUp.invalid ?? figures.invalid ?? (await whatIsWrong(running, warmUp.frames + figures.frames)),
    };
  });
}

/** @param earlier frames that were fed before */
async function feed(running: RunningSystem, load: Load, kafka: number, earlier: number): Promise<Run> {
  const senders = await Senders.connect(load, running.receiver);
  try {
    const [cpuBefore, kafkaBefore] = [cpuSeconds(running.pid), cpuSeconds(kafka)];
    const startMs = monotonicMs();
    const { frames, framesPerSecond, cpuSeconds: senderCpuSeconds, wrongAnswers } = await senders.send();
    await running.untilArrived?.(earlier + frames);
    const tookMs = monotonicMs() - startMs;
    return {
      frames,
      framesPerSecond: running.untilArrived === undefined ? framesPerSecond : (frames * 1000) / tookMs,
      cpuSecondsPerMillion: ((cpuSeconds(running.pid) - cpuBefore) * 1e6) / frames,
      senderCpuSecondsPerMillion: (senderCpuSeconds * 1e6) / frames,
      kafkaCpuSecondsPerMillion: ((cpuSeconds(kafka) - kafkaBefore) * 1e6) / frames,
      peakBytes: peakResidentBytes(running.pid),
      invalid: wrongAnswers.length > 0 ? wrongAnswers.join('; ') : undefined,
    };
  } finally {
    await senders.close();
  }
}

/** Gives `use` an empty folder, and removes it unless `use` throws. */
export async function inFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'kahe-bench-'));
  const result = await use(folder);
  rmSync(folder, { recursive: true });
  return result;
}

async function whatIsWrong(running: RunningSystem, frames: number): Promise<string | undefined> {
  if (running.countArrived === undefined) return undefined;
  const arrived = await running.countArrived();
  return arrived === frames ? undefined : `${frames} frames sent, ${arrived} arrived`;
}
