import { expect, test } from 'vitest';
import { Log, type LogEntry } from '../log/log.js';
import { logMode } from './modeLine.js';
import type { Mode } from './streamState.js';
import type { StreamMode } from './streamStats.js';

function lineOf(mode: Mode, shown: StreamMode, waiting: number): LogEntry {
  const entries: LogEntry[] = [];
  const log = new Log('INFO', { write: (entry) => entries.push(entry) });
  logMode({ kind: 'show', mode, shown, reason: 'R', waiting }, { retryMs: 10_000, errorRetryMs: 500 }, log);
  return entries[0]!;
}

test.each([
  ['normal', 'normal', 0, 'INFO', 'switched to normal: R', {}],
  [
    'backup',
    'backup',
    12,
    'WARN',
    'switched to backup: R; 12 queued frames and new ones go to the backup; next try in 10 s; nothing is lost',
    { frames: 12, retryMs: 10_000 },
  ],
  [
    'partial',
    'backup',
    1,
    'WARN',
    'switched to backup in part: R; its frames go to the backup, all others go to the primary; next try in 10 s; nothing is lost',
    { frames: 1, retryMs: 10_000 },
  ],
  [
    'error',
    'error',
    1,
    'ERROR',
    'delivery stopped: R; 1 queued frame and new ones wait; next try in 0.5 s; when there is no more room, clients wait',
    { frames: 1, retryMs: 500 },
  ],
  [
    'partial',
    'error',
    3,
    'ERROR',
    'delivery stopped in part: R; its frames wait, all others go to the primary; next try in 0.5 s; when there is no more room, clients wait',
    { frames: 3, retryMs: 500 },
  ],
] as const)('mode %s that shows as %s, with %i frames: level, text, fields', (...line) => {
  const [mode, shown, waiting, level, text, figures] = line;
  expect(lineOf(mode, shown, waiting)).toMatchObject({
    level,
    text,
    fields: { mode: shown, reason: 'R', ...figures },
  });
});
