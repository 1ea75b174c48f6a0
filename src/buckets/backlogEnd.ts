// The end of a backlog whose batches are not all settled: what the next run will not deliver is logged, and
// goes to REJECTED where it is nowhere else.
import { type Clock, doneWithin } from '../clock.js';
import type { Batch } from '../frames/batch.js';
import type { Log } from '../log/log.js';
import { plural } from '../plural.js';
import type { RecordOutcome } from '../intake/ticket.js';
import type { Entry } from './entry.js';
import type { EntryStorage } from './entryStorage.js';
import type { StreamCursor } from './streamCursor.js';
import type { StreamProgress } from './streamProgress.js';

export interface DiskParts {
  readonly entries: readonly Entry[];
  readonly storage: EntryStorage;
  readonly progress: StreamProgress;
}

export interface UnwrittenParts {
  readonly log: Log;
  readonly clock: Clock;
  /** Frames that are nowhere but in memory, because the disk did not take them in time. */
  readonly onUnkept?: (batch: Batch, from: number, reason: string) => void;
}

/** A stream that was taken out will not be there to get it from the spool in the next run. */
export function logMissed(cursors: readonly StreamCursor[], entries: readonly Entry[], log: Log): void {
  cursors.forEach(({ stream: { id }, takesMore, isGone }, number) => {
    if (takesMore || isGone) return;
    const batches = entries.filter(({ at }) => at[number] === 'waiting').length;
    if (batches > 0)
      log.error(
        `stream ${id} was taken out of the configuration, and the daemon stopped too soon: the stream misses ${batches} ${plural(batches, 'batch', 'batches')} of the spool, unless it is configured again`,
        { stream: id, batches },
      );
  });
}

/**
 * When this resolves, what is not settled is on disk, complete, and what is settled is not; unless the disk
 * fails, or hangs: then that is logged.
 */
export async function endOnDisk(
  { entries, storage, progress }: DiskParts,
  withinMs: number,
  options: UnwrittenParts,
): Promise<void> {
  const completed = Promise.all(entries.map(({ segment }) => segment.completed));
  // What becomes complete only now is noted by that.
  const noted = completed.then(() => progress.flush());
  const all = Promise.all([noted, storage.removed(), progress.flush()]);
  if (!(await doneWithin(options.clock, withinMs, all))) keepUnwritten(entries, withinMs, options);
}

/** Batches that the disk has not taken in time. */
function keepUnwritten(entries: readonly Entry[], withinMs: number, { log, onUnkept }: UnwrittenParts): void {
  for (const { segment, batch } of entries) {
    if (segment.copy !== 'growing' || batch === undefined) continue;
    const { path, safeBytes } = segment;
    log.error(
      `${path} could not be ended within ${withinMs} ms: it has ${safeBytes} of ${batch.length} bytes of frames; the rest goes to REJECTED`,
      { file: path, bytes: batch.length - safeBytes, timeoutMs: withinMs },
    );
    onUnkept?.(batch, safeBytes, `its segment in the spool could not be written before the end: ${path}`);
  }
}

/** No stream will say in this run how its frames end. */
export function tellFollowers(entry: Entry, outcome: RecordOutcome): void {
  entry.followers?.ended(outcome);
  entry.followers = undefined;
}
