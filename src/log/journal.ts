// Priorities for systemd's journal: `<4>` before a line, as sd-daemon(3) has it. journald takes it off and
// keeps it, so that `journalctl --priority warning` finds the line.
import { fstatSync } from 'node:fs';
import type { LogLevel, LogSink, LogWriter } from './log.js';

/** syslog's: 7 debug, 6 info, 4 warning, 3 error, 2 critical. */
const PRIORITIES: Readonly<Record<LogLevel, string>> = {
  TRACE: '<7>',
  DEBUG: '<7>',
  INFO: '<6>',
  WARN: '<4>',
  ERROR: '<3>',
  FATAL: '<2>',
};

/**
 * Is stderr the journal itself? A pipe to somebody else has the variable, too, and would be given what nobody
 * takes off.
 */
export function isJournal({ JOURNAL_STREAM: stream }: Readonly<Record<string, string | undefined>>): boolean {
  const { dev, ino } = fstatSync(2);
  return stream === `${dev}:${ino}`;
}

/** @param lines makes the writer whose lines get them */
export async function withPriorities(
  sink: LogSink,
  lines: (sink: LogSink) => Promise<LogWriter>,
): Promise<LogWriter> {
  let priority = '';
  const writer = await lines((line) => sink(`${priority}${line}`));
  return {
    write(entry) {
      // Its line comes before this returns.
      priority = PRIORITIES[entry.level];
      writer.write(entry);
    },
  };
}
