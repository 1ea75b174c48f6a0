// A bench with a spool on a disk that fails when the test says so, and what lies in its folders.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from '../src/disk/fileSystem.js';
import { ReadTurns } from '../src/memory/readTurns.js';
import { DiskSpool } from '../src/spool/diskSpool.js';
import { Bench } from './bench.js';
import { untilSo } from './fakeClock.js';
import { FailingDisk } from './failingDisk.js';

export class SpoolBench extends Bench {
  readonly disk = new FailingDisk();
  readonly turns = new ReadTurns(this.budget, this.clock);

  newSpool(path: string, choice: Partial<ConstructorParameters<typeof DiskSpool>[0]> = {}): DiskSpool {
    const { log, clock, budget, turns, disk } = this;
    return new DiskSpool(
      { path, sync: 'never', maxBytes: 1e9, whenFull: 'wait', ...choice },
      { log, clock, budget, turns, fs: disk.fs },
    );
  }

  override until(what: string, isSo: () => boolean, stepMs?: number): Promise<void> {
    const told = (): string => [...this.disk.calls.slice(-20), ...this.lines.slice(-100)].join('\n');
    return untilSo(this.clock, what, isSo, told, stepMs);
  }
}

/** The files of a bucket's segments, sorted. */
export function segmentsIn(folder: string): string[] {
  return filesIn(folder).filter((name) => name.endsWith('.bckstm'));
}

/** What is in a folder, sorted; nothing, if it is not there. */
export function filesIn(folder: string): string[] {
  return orIfGone(() => readdirSync(folder).sort(), []);
}

/** By stream: the segment up to which it is noted to have settled all; undefined: nothing is noted. */
export function notesIn(folder: string): Record<string, string> | undefined {
  const text = orIfGone(() => readFileSync(join(folder, 'settled.json'), 'utf8'), undefined);
  return text === undefined ? undefined : (JSON.parse(text) as Record<string, string>);
}

function orIfGone<T, U>(read: () => T, otherwise: U): T | U {
  try {
    return read();
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    return otherwise;
  }
}
