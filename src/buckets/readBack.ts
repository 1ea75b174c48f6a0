// Reads a batch back from the spool, as often as it takes: what is behind it waits, so that order is kept,
// but not for ever.
import type { Clock } from '../clock.js';
import { errnoOf } from '../disk/fileSystem.js';
import { explained, isTransient } from '../disk/ioAdvice.js';
import type { Batch } from '../frames/batch.js';
import type { Log } from '../log/log.js';
import type { Segment, Spool } from '../spool/spool.js';

export interface ReadBack {
  /** Undefined: it gives no frames. */
  readonly batch: Batch | undefined;
  /** Its file has something that nobody has had, and stays. */
  readonly mustStay: boolean;
}

export interface ReadBackParts {
  readonly spool: Spool;
  readonly clock: Clock;
  readonly log: Log;
  /** False: nobody waits for it any more. */
  readonly isWanted: () => boolean;
}

const TRIES = 5;
const RETRY_MS = 1_000;

/** @returns undefined: it is not wanted any more */
export async function readBack(
  segment: Segment,
  { spool, clock, log, isWanted }: ReadBackParts,
): Promise<ReadBack | undefined> {
  const { path } = segment;
  for (let tries = 1; isWanted(); tries++) {
    try {
      const { batch, mayGo } = await spool.read(segment);
      return { batch, mustStay: !mayGo };
    } catch (error) {
      if (!isWorthAnotherTry(error, tries)) return giveUp(path, error, log);
      const reason = explained(error);
      if (tries === 1)
        log.warn(
          `${path} can't be read: ${reason}; next try in ${RETRY_MS / 1000} s; the batches behind it wait`,
          { reason, file: path, retryMs: RETRY_MS },
        );
      await new Promise<void>((resolve) => clock.after(RETRY_MS, resolve));
    }
  }
  return undefined;
}

function isWorthAnotherTry(error: unknown, tries: number): boolean {
  return errnoOf(error) !== 'ENOENT' && (isTransient(error) || tries < TRIES);
}

function giveUp(path: string, error: unknown, log: Log): ReadBack {
  const advice =
    errnoOf(error) === 'ENOENT'
      ? 'it has been removed'
      : 'it is left there; send it with `kahe replay` once it can be read';
  const reason = explained(error);
  log.error(`${path} can't be read: ${reason}; ${advice}; the batches behind it go on`, {
    reason,
    file: path,
  });
  return { batch: undefined, mustStay: true };
}
