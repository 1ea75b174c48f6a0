// What all parts say through: a level, the path of the part, a text, and fields. Promise: an event is one line,
// whatever a client has named in it. The text is complete without the fields: a person reads the text, a
// program the fields. WARN: nothing is lost. ERROR: something is, or a person is needed.
import type { LogFields } from './fields.js';

export const LOG_LEVELS = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LogEntry {
  readonly level: LogLevel;
  /** Milliseconds since the epoch. */
  readonly timeMs: number;
  /** The part that says it, as `/bucket.requests/stream.kafka_01`; '' for the daemon as a whole. */
  readonly path: string;
  /** One line, without control characters; so is `path`. */
  readonly text: string;
  /** Its strings are as safe as `text`. */
  readonly fields?: LogFields;
  /** Must it be said although a thousand like it were said just now? */
  readonly isUnfolded: boolean;
  /** So many entries like this one are told by it: see floods.ts. */
  readonly folded?: number;
}

/** Takes entries; throws nothing. */
export interface LogWriter {
  write(entry: LogEntry): void;
}

/** Where finished lines go, each with its line feed; an array in tests. */
export type LogSink = (line: string) => void;

/**
 * What would break a line, or change what is seen of it on a terminal: controls, and marks that turn the
 * direction of writing.
 */
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
/** journald cuts lines of 48 KiB in two; this is less in any format. */
const LONGEST_TEXT = 8192;
const LONGEST_FIELD = 1024;

export class Log {
  readonly #rank: number;
  readonly #writer: LogWriter;

  /** @param out a sink gets kahego's lines */
  constructor(
    readonly level: LogLevel,
    out: LogWriter | LogSink,
    readonly path = '',
    readonly now: () => number = Date.now,
    readonly isUnfolded = false,
  ) {
    this.#rank = LOG_LEVELS.indexOf(level);
    this.#writer = typeof out === 'function' ? kahegoLines(out) : out;
  }

  /**
   * The same log for a part of the program; its lines carry the path, as `/bucket.requests/stream.kafka_01`.
   */
  at(path: string): Log {
    return new Log(this.level, this.#writer, path, this.now, this.isUnfolded);
  }

  /** The same log for lines that must all be there, as the account at the end: they are never folded. */
  get unfolded(): Log {
    return new Log(this.level, this.#writer, this.path, this.now, true);
  }

  trace(text: string, fields?: LogFields): void {
    this.#write('TRACE', text, fields);
  }
  debug(text: string, fields?: LogFields): void {
    this.#write('DEBUG', text, fields);
  }
  info(text: string, fields?: LogFields): void {
    this.#write('INFO', text, fields);
  }
  warn(text: string, fields?: LogFields): void {
    this.#write('WARN', text, fields);
  }
  error(text: string, fields?: LogFields): void {
    this.#write('ERROR', text, fields);
  }
  fatal(text: string, fields?: LogFields): void {
    this.#write('FATAL', text, fields);
  }

  #write(level: LogLevel, text: string, fields: LogFields | undefined): void {
    if (LOG_LEVELS.indexOf(level) < this.#rank) return;
    this.#writer.write({
      level,
      timeMs: this.now(),
      path: safe(this.path),
      text: safe(text),
      ...(fields === undefined ? {} : { fields: safeFields(fields) }),
      isUnfolded: this.isUnfolded,
    });
  }
}

/** As kahego writes them: `LEVEL | date time | path text`. */
export function kahegoLines(sink: LogSink): LogWriter {
  return {
    write({ level, timeMs, path, text }) {
      const time = new Date(timeMs).toISOString().replace('T', ' ').replace('Z', '');
      sink(`${level} | ${time} | ${path === '' ? '' : `${path} `}${text}\n`);
    },
  };
}

/** A line stays a line: what a client named can't forge another one. */
function safe(text: string, longest = LONGEST_TEXT): string {
  const shown = text
    .slice(0, longest)
    .replace(UNSAFE, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
  if (text.length <= longest && shown.length <= longest) return shown;
  return `${shown.slice(0, longest)}… (cut)`;
}

function safeFields(fields: LogFields): LogFields {
  const entries = Object.entries(fields).map(([name, value]: readonly [string, unknown]) => [
    name,
    typeof value === 'string' ? safe(value, LONGEST_FIELD) : value,
  ]);
  return Object.fromEntries(entries) as LogFields;
}
