// One line an event, as kahego writes them: `LEVEL | date time | path text`. WARN: nothing is lost. ERROR: something is, or a person is needed.

export const LOG_LEVELS = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Where finished lines go; `process.stderr` in the daemon, an array in tests. */
export type LogSink = (line: string) => void;

export class Log {
  readonly #rank: number;

  constructor(
    readonly level: LogLevel,
    readonly sink: LogSink,
    readonly path = '',
    readonly now: () => number = Date.now,
  ) {
    this.#rank = LOG_LEVELS.indexOf(level);
  }

  /** The same log for a part of the program; its lines carry the path, as `/bucket.requests/stream.kafka_01`. */
  at(path: string): Log {
    return new Log(this.level, this.sink, path, this.now);
  }

  trace(text: string): void { this.#write('TRACE', text); }
  debug(text: string): void { this.#write('DEBUG', text); }
  info(text: string): void { this.#write('INFO', text); }
  warn(text: string): void { this.#write('WARN', text); }
  error(text: string): void { this.#write('ERROR', text); }
  fatal(text: string): void { this.#write('FATAL', text); }

  #write(level: LogLevel, text: string): void {
    if (LOG_LEVELS.indexOf(level) < this.#rank) return;
    const place = this.path === '' ? '' : `${this.path} `;
    const time = new Date(this.now()).toISOString().replace('T', ' ').replace('Z', '');
    // A line stays a line: what a client named can't forge another one.
    const safe = `${place}${text}`.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
    this.sink(`${level} | ${time} | ${safe}\n`);
  }
}
