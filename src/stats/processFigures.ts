// What the process itself uses.
import { readdirSync } from 'node:fs';

export interface ProcessFigures {
  readonly userCpuSeconds: number;
  readonly systemCpuSeconds: number;
  readonly residentBytes: number;
  readonly heapUsedBytes: number;
  readonly externalBytes: number;
  /** Missing where the system does not say. */
  readonly openFiles?: number;
}

export function processFigures(): ProcessFigures {
  const { user, system } = process.cpuUsage();
  const { rss, heapUsed, external } = process.memoryUsage();
  const openFiles = countOpenFiles();
  return {
    userCpuSeconds: user / 1e6,
    systemCpuSeconds: system / 1e6,
    residentBytes: rss,
    heapUsedBytes: heapUsed,
    externalBytes: external,
    ...(openFiles === undefined ? {} : { openFiles }),
  };
}

function countOpenFiles(): number | undefined {
  try {
    // One of them is the folder that is being listed.
    return readdirSync('/proc/self/fd').length - 1;
  } catch {
    return undefined;
  }
}
