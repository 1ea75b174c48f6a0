// JSON and pretty lines, by pino. Of it only the core: its transports write from a thread of their own, and
// the last line before a crash would be lost. Loaded only where it is used, for it takes some 5 MB.
import pino from 'pino';
import { prettyFactory } from 'pino-pretty';
import type { LogEntry, LogLevel, LogSink, LogWriter } from './log.js';

/**
 * An object a line: level, time (ISO 8601, UTC), path, the bucket and stream or the client that it names,
 * folded (a count: see floods.ts), the line's fields, msg.
 */
export function jsonLines(sink: LogSink): LogWriter {
  const logger = pino(
    {
      level: 'trace',
      base: null,
      timestamp: false,
      formatters: { level: (label) => ({ level: label.toUpperCase() }) },
    },
    { write: sink },
  );
  return { write: (entry) => logger[pinoLevel(entry.level)](membersOf(entry), entry.text) };
}

/** For people: `[15:04:05.678] WARN: path text`, in the time of this place. */
export function prettyLines(sink: LogSink, { isColored }: { readonly isColored: boolean }): LogWriter {
  const pretty = prettyFactory({
    colorize: isColored,
    translateTime: 'SYS:HH:MM:ss.l',
    hideObject: true,
    messageFormat: ({ path, msg }, _key, _level, { colors }) =>
      `${typeof path === 'string' ? `${colors.blue(path)} ` : ''}${String(msg)}`,
  });
  return jsonLines((line) => sink(pretty(line)));
}

function pinoLevel(level: LogLevel): Lowercase<LogLevel> {
  return level.toLowerCase() as Lowercase<LogLevel>;
}

/** No child logger of pino's for a path: each connection has a path, and most never say a word. */
function membersOf({ timeMs, path, folded, fields }: LogEntry): object {
  const own = known({
    time: new Date(timeMs).toISOString(),
    path: path === '' ? undefined : path,
    ...namedBy(path),
    folded,
  });
  return { ...own, ...known({ ...fields }), ...own };
}

function namedBy(path: string): object {
  const [, bucket, stream] = /^\/bucket\.([^/]*)(?:\/stream\.(.*))?$/.exec(path) ?? [];
  const [, client] = /\/client\.(\d+)$/.exec(path) ?? [];
  return { bucket, stream, client: client === undefined ? undefined : Number(client) };
}

function known(members: Readonly<Record<string, unknown>>): object {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));
}
