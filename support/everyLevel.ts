import type { Log } from '../src/log/log.js';

/** A line of each level, the least grave first; its text is the level's first letter. */
export function sayAtEveryLevel(log: Log): void {
  log.trace('t');
  log.debug('d');
  log.info('i');
  log.warn('w');
  log.error('e');
  log.fatal('f');
}
