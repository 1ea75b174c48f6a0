// Which process has something, so that another can find out whether it still runs. A number alone is soon another's, so the mark also says in
// which life of the machine, and when in it, the process began: `<boot id>/<pid>/<start, in ticks since the boot>`.
import { readFileSync } from 'node:fs';

const MARK = /^[0-9a-f-]{36}\/(\d{1,10})\/\d+$/;
/** Of /proc/<pid>/stat, counted from behind the name, which may hold anything: the state, and when it began. */
const [STATE, START] = [0, 19];

/** @returns undefined: no such process runs, or this system does not say (it is not Linux) */
export function processMark(pid: number = process.pid): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // One that has ended, and whose parent has not asked how.
    if (fields[STATE] === 'Z') return undefined;
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()}/${pid}/${fields[START]!}`;
  } catch {
    return undefined;
  }
}

const ownMark = processMark();

/** Of this process. */
export function mark(): string | undefined {
  return ownMark;
}

/** @returns the pid of the process that is meant, when it runs and is not this one; undefined for a text that is no mark */
export function otherRunning(text: string): number | undefined {
  const pid = MARK.exec(text)?.[1];
  return pid !== undefined && text !== ownMark && processMark(Number(pid)) === text ? Number(pid) : undefined;
}
