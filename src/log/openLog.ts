// The daemon's log: in the format that fits its reader, floods folded, to stderr.
import { systemClock } from '../clock.js';
import { Log, kahegoLines, type LogLevel, type LogSink, type LogWriter } from './log.js';
import { plural } from '../plural.js';
import { Floods } from './floods.js';
import { type LogFormat, type LogPlace, formatFor, hasColors } from './formats.js';
import { isJournal, withPriorities } from './journal.js';
import { StandardError } from './standardError.js';

export interface OpenLog {
  readonly log: Log;
  /** At the very end of the process: says what is still kept back. */
  readonly close: () => void;
}

export async function openLog(level: LogLevel, format: LogFormat, env: LogPlace['env']): Promise<OpenLog> {
  // Touching process.stderr also makes Node open a pipe there as one that doesn't block: see
  // standardError.ts.
  const place = { env, isTerminal: process.stderr.isTTY };
  const stderr = new StandardError({
    onLost: (lines) =>
      log.warn(
        `this log has lost ${lines} ${plural(lines, 'line')}: its reader stood still or had no room; frames are not affected`,
        { lines, reason: 'the reader of the log stood still or had no room' },
      ),
  });
  const lines = (sink: LogSink): Promise<LogWriter> => linesFor(format, place, sink);
  const floods = new Floods(
    await (isJournal(env) ? withPriorities(stderr.sink, lines) : lines(stderr.sink)),
    systemClock,
  );
  const log = new Log(level, floods);
  return {
    log,
    close: () => {
      floods.flush();
      stderr.close();
    },
  };
}

async function linesFor(format: LogFormat, place: LogPlace, sink: LogSink): Promise<LogWriter> {
  const chosen = formatFor(format, place);
  if (chosen === 'text') return kahegoLines(sink);
  const { jsonLines, prettyLines } = await import('./pinoLines.js');
  return chosen === 'json' ? jsonLines(sink) : prettyLines(sink, { isColored: hasColors(place) });
}
