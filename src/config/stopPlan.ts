// How the time of a stop, STOP_TIMEOUT, is spent. Each deadline of the end stands here:
//
//   0          readingMs                              -streamsMs            -backupMs            STOP_TIMEOUT
//   | doors read |  streams get what waits in the spool  |  and deliver what  |  backups get what     |
//   | what was   |  for them                             |  they hold         |  primaries did not    |
//   | sent       |                                       |                    |  take; all is closed  |
//
// A stream that a reload takes out has STOP_TIMEOUT for itself, with `takenOutMs` in the place of `streamsMs`.
// At the very end the spool has `spoolMs` to write what is nowhere else, because its disk may hang.

export interface StopPlan {
  /** STOP_TIMEOUT. */
  readonly totalMs: number;
  /** At most so long, doors read what clients have sent. */
  readonly readingMs: number;
  /** So long before the end, streams get no more from the spool. */
  readonly streamsMs: number;
  /** So long before its end, a stream that was taken out gives its primary up. */
  readonly takenOutMs: number;
}

const READING_SHARE = 0.25;
const STREAMS_MS = 5_000;
/** So long at most before its end, a stream gives its primary up, because the backup must still be written. */
const BACKUP_MS = 3_000;
/** So much longer than its time a door may take to end; then the end goes on without it. */
export const DOOR_PATIENCE_MS = 1_000;
/** How long the spool's disk is waited for. */
export const SPOOL_END_MS = 3_000;

export function stopPlan(stopTimeoutMs: number): StopPlan {
  return {
    totalMs: stopTimeoutMs,
    readingMs: stopTimeoutMs * READING_SHARE,
    streamsMs: STREAMS_MS,
    takenOutMs: Math.min(STREAMS_MS, stopTimeoutMs / 2),
  };
}

/** Of what a stream has left, its backup's share: of little time each of the two has half. */
export function backupMs(leftMs = Infinity): number {
  return Math.min(BACKUP_MS, Math.max(0, leftMs / 2));
}
