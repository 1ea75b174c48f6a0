// Daemons on machines that fail, for the tests beside this: where they run, and what their folders hold in
// the end.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmdirSync, statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, onTestFinished } from 'vitest';
import { shortHash } from '../../src/disk/names.js';
import { launchDaemon, type DaemonOptions, type TestDaemon } from '../../support/daemon.js';
import type { PlannedFault } from './badMachine.js';
import { BATCH, BUCKET } from './senders.js';

const ROOT = path.resolve(import.meta.dirname, '../..');
/** By its path, for the program runs in another folder. */
const TSX = pathToFileURL(path.join(ROOT, 'node_modules/tsx/dist/esm/index.mjs')).href;
const PROGRAM = ['--import', TSX, path.join(import.meta.dirname, 'badMachine.ts')];

export function bucketsTo(
  stream: object,
  {
    bucket = BUCKET,
    ...settings
  }: { readonly bucket?: string; readonly batch?: number; readonly batchBytes?: number } = {},
): object {
  return {
    streamsConfigs: { out: stream },
    buckets: [{ id: bucket, streams: ['out'], batch: BATCH, batchTimeout: 20, ...settings }],
  };
}

/** As launchDaemon, on a disk with these faults. */
export function launchOnBadDisk(
  options: DaemonOptions,
  faults: readonly PlannedFault[],
  clockStepsMs: readonly number[] = [],
): Promise<TestDaemon> {
  return launchDaemon({
    ...options,
    program: PROGRAM,
    env: { ...options.env, BAD_DISK: JSON.stringify(faults), CLOCK_STEPS_MS: clockStepsMs.join(',') },
  });
}

/** Every file below a folder, relative to it. */
export async function everyFile(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)))
    .sort();
}

/**
 * Below a file stream's folder there is nothing that its journals do not name, and nothing that they name is
 * missing. A file that is empty may be unknown: it is made before the journal names it, and gets no frame
 * before that.
 */
export async function expectNoOrphans(folder: string): Promise<void> {
  const all = (await everyFile(folder)).filter((name) => statSync(path.join(folder, name)).size > 0);
  const journals = all.filter((name) => /^\.kahe\/[^/]+\.json$/.test(name));
  const known = journals.flatMap((name) =>
    (
      JSON.parse(readFileSync(path.join(folder, name), 'utf8')) as {
        readonly files: readonly { readonly name: string }[];
      }
    ).files.map((file) => file.name),
  );
  // When a file's frames came stands beside the journal.
  const times = new Set(known.map((name) => `.kahe/${shortHash(name)}.times`));
  expect(
    all.filter((name) => !journals.includes(name) && !times.has(name)),
    `the files below ${folder}`,
  ).toEqual(known.sort());
}

/**
 * A file system of its own, so small that it can be filled; gone after the test.
 * @throws Error when it may not be mounted: that is no reason to pass over the test
 */
export function smallDisk(megabytes: number): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'kahe-small-'));
  const { status, stderr } = spawnSync(
    'mount',
    ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', folder],
    { encoding: 'utf8' },
  );
  onTestFinished(() => {
    if (status === 0) spawnSync('umount', ['-l', folder]);
    rmdirSync(folder);
  });
  if (status !== 0)
    throw new Error(
      `a small disk is needed to fill, and mount says: ${stderr.trim()}; run the tests as root, where mounting is allowed`,
    );
  return folder;
}
