// What tests of the daemon wait for.
import path from 'node:path';
import { launchDaemon, type DaemonOptions, type TestDaemon } from './daemon.js';
import { filesOf } from './daemonFrames.js';

/** Resolves when it takes frames and has looked through its spool. */
export async function launchReady(options: DaemonOptions): Promise<TestDaemon> {
  const daemon = await launchDaemon(options);
  await isUp(daemon);
  return daemon;
}

export async function isUp(daemon: TestDaemon): Promise<void> {
  await daemon.line(/ listens on /);
}

export function segments(daemon: TestDaemon): Promise<string[]> {
  return filesOf(path.join(daemon.folder, 'spool'));
}

export async function untilSpoolEmpty(daemon: TestDaemon, deadlineMs?: number): Promise<void> {
  await daemon.until('an empty spool', async () => (await segments(daemon)).length === 0, deadlineMs);
}

/** Resolves when the figure has not moved for half a second. */
export async function standstill(daemon: TestDaemon, figure: () => number): Promise<void> {
  let [last, since] = [figure(), Date.now()];
  await daemon.until('a standstill', () => {
    if (figure() !== last) [last, since] = [figure(), Date.now()];
    return Date.now() - since >= 500;
  });
}
