// Which look the log has: kahego's text, JSON for machines, or pretty for people.

export const LOG_FORMATS = ['auto', 'pretty', 'json', 'text'] as const;
/** auto: see `formatFor`. */
export type LogFormat = (typeof LOG_FORMATS)[number];

export interface LogPlace {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Is stderr one? */
  readonly isTerminal: boolean;
}

/** For a person at a terminal, for systemd's journal, or else for those who read kahego's lines. */
export function formatFor(format: LogFormat, { env, isTerminal }: LogPlace): Exclude<LogFormat, 'auto'> {
  if (format !== 'auto') return format;
  if (isTerminal) return 'pretty';
  return isSet(env['JOURNAL_STREAM']) || isSet(env['INVOCATION_ID']) ? 'json' : 'text';
}

/** As https://no-color.org asks. */
export function hasColors({ env, isTerminal }: LogPlace): boolean {
  return isTerminal && !isSet(env['NO_COLOR']) && env['TERM'] !== 'dumb';
}

function isSet(value: string | undefined): boolean {
  return value !== undefined && value !== '';
}
