// The lock of those who want a socket's path: of several starters one has it. It is a folder that names its
// holder, so that one who was killed keeps nobody waiting.
import { lstatSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { errnoOf } from '../disk/fileSystem.js';
import { AlreadyRunningError, ConfigError, messageOf } from '../errors.js';
import { whose } from './whose.js';

export type Unlock = () => void;

/** A starter holds the lock for milliseconds; one older than this is of a starter that died. */
const STALE_MS = 10_000;
const TAKEN: ReadonlySet<string | undefined> = new Set(['EEXIST', 'ENOTEMPTY']);
/**
 * Another user's lock in a folder like /tmp, and a file in the lock's place; also what a folder says that is
 * none.
 */
const TAKEN_IF_THERE: ReadonlySet<string | undefined> = new Set(['EPERM', 'ENOTDIR']);

/**
 * Those that this process holds: any other lock with its number is of an earlier process, as in a container,
 * where each is number 1.
 */
const held = new Set<string>();

/**
 * Makes the folder under another name, and gives it its own in one step, which only one can: the loser of a
 * race finds it there. An empty one, which a holder that was killed has left, gives way by itself.
 * @param setting names what the path is of, for messages
 * @throws {AlreadyRunningError} somebody has it; {ConfigError} it can't be made
 */
export function takeLock(path: string, setting: string): Unlock {
  const mine = `${path}.${process.pid}`;
  for (;;) {
    try {
      // Of an earlier starter with our pid.
      rmSync(mine, { recursive: true, force: true });
      mkdirSync(mine, { mode: 0o700 });
      mkdirSync(join(mine, String(process.pid)));
      renameSync(mine, path);
      held.add(path);
      return () => unlock(path, mine);
    } catch (error) {
      clear(mine);
      if (!isTaken(error, path))
        throw new ConfigError(
          `${setting}: can't make ${path}: ${messageOf(error)}; the folder must exist and be writable${ownerHint(error, dirname(path))}`,
        );
      removeStale(path, setting);
    }
  }
}

/** In one step too: emptied in its place, the lock of the next one could come to lie in it. */
function unlock(path: string, aside: string): void {
  held.delete(path);
  try {
    renameSync(path, aside);
  } catch {
    // Somebody took it for that of a dead one, or the folder is gone.
  }
  clear(aside);
}

/** What can't be removed is in nobody's way: it has a name of its own. */
function clear(aside: string): void {
  try {
    rmSync(aside, { recursive: true, force: true });
  } catch {
    // The folder is not ours any more.
  }
}

/** Removes the lock of a starter that died; one that is given back meanwhile is no concern. */
function removeStale(path: string, setting: string): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isDirectory())
    throw new ConfigError(
      `${setting}: ${path} is needed for starting, and something else has that name; move it away or choose another path`,
    );
  const busy = new AlreadyRunningError(
    `another daemon is just starting on this socket (${path} exists); if none is, that folder gives way within ${(2 * STALE_MS) / 1000} s`,
  );
  // A time that is far ahead was written before the clock was set back.
  if (!isHolderDead(path) && Math.abs(Date.now() - found.mtimeMs) < STALE_MS) throw busy;
  const aside = `${path}.${process.pid}`;
  try {
    renameSync(path, aside);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return;
    throw new ConfigError(
      `${setting}: ${path} was left by a starter that died, and can't be taken away: ${messageOf(error)}; it ${whose(path)}: remove it`,
    );
  }
  if (lstatSync(aside).ino === found.ino) return clear(aside);
  // Another starter was quicker, and this is its lock.
  renameSync(aside, path);
  throw busy;
}

/**
 * The lock names its holder: one that was killed in the midst of starting must not keep its successor
 * waiting.
 */
function isHolderDead(path: string): boolean {
  if (held.has(path)) return false;
  try {
    const pid = Number(readdirSync(path)[0]);
    if (!Number.isInteger(pid) || pid <= 0) return false;
    if (pid === process.pid) return true;
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return errnoOf(error) === 'ESRCH';
  }
}

function isTaken(error: unknown, path: string): boolean {
  const code = errnoOf(error);
  return TAKEN.has(code) || (TAKEN_IF_THERE.has(code) && isThere(path));
}

function isThere(path: string): boolean {
  try {
    lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

function ownerHint(error: unknown, folder: string): string {
  return errnoOf(error) === 'EACCES' ? `; it ${whose(folder)}` : '';
}
