// What the log says of a mode.
import type { Log } from '../log/log.js';
import { plural } from '../plural.js';
import type { StreamEffect } from './streamEvent.js';

export function logMode(
  { mode, shown, reason, waiting }: Extract<StreamEffect, { readonly kind: 'show' }>,
  { retryMs, errorRetryMs }: { readonly retryMs: number; readonly errorRetryMs: number },
  log: Log,
): void {
  switch (mode) {
    case 'partial':
      return shown === 'backup'
        ? log.warn(
            `mode backup: ${reason}; its frames go to the backup, all others to the primary, which is asked every ${retryMs} ms; nothing is lost, and it goes on by itself`,
          )
        : log.error(
            `mode error: ${reason}; its frames wait, all others go to the primary, which is asked every ${errorRetryMs} ms; fix the cause, and it goes on by itself: until then frames pile up, and then clients wait`,
          );
    case 'normal':
      return log.info(`mode normal: ${reason}`);
    case 'backup':
      return log.warn(
        `mode backup: ${reason}; ${waiting} ${plural(waiting, 'frame')} and what follows go to the backup, the primary is tried every ${retryMs} ms; nothing is lost, and once the cause is mended it goes on by itself`,
      );
    case 'error':
      return log.error(
        `mode error: ${reason}; ${waiting} ${plural(waiting, 'frame waits', 'frames wait')}, tried again every ${errorRetryMs} ms; mend the cause, and it goes on by itself: until then frames pile up, and then clients wait`,
      );
  }
}
