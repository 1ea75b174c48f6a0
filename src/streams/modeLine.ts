// The line of a mode: what has happened, why, what becomes of the frames, and when it is tried again.
import type { Log } from '../log/log.js';
import { plural } from '../plural.js';
import type { StreamEffect } from './streamEvent.js';

export function logMode(
  { mode, shown, reason, waiting }: Extract<StreamEffect, { readonly kind: 'show' }>,
  delays: { readonly retryMs: number; readonly errorRetryMs: number },
  log: Log,
): void {
  if (shown === 'normal') return log.info(`switched to normal: ${reason}`, { mode: shown, reason });
  const retryMs = shown === 'backup' ? delays.retryMs : delays.errorRetryMs;
  const fields = { mode: shown, reason, frames: waiting, retryMs };
  const queued = `${waiting} queued ${plural(waiting, 'frame')}`;
  const next = `next try in ${retryMs / 1000} s`;
  const others = 'all others go to the primary';
  if (shown === 'backup')
    log.warn(
      mode === 'partial'
        ? `switched to backup in part: ${reason}; its frames go to the backup, ${others}; ${next}; nothing is lost`
        : `switched to backup: ${reason}; ${queued} and new ones go to the backup; ${next}; nothing is lost`,
      fields,
    );
  else
    log.error(
      mode === 'partial'
        ? `delivery stopped in part: ${reason}; its frames wait, ${others}; ${next}; when there is no more room, clients wait`
        : `delivery stopped: ${reason}; ${queued} and new ones wait; ${next}; when there is no more room, clients wait`,
      fields,
    );
}
