// The few error classes of Kahe, each with a closed `code`. Callers match on class or code, never on a
// message's text.

/**
 * A setting that can't be used. The message names the file, the path of the setting, its value and what would
 * be right.
 */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly code = 'CONFIG';
}

/** Somebody answers on the socket: a daemon is at work there. */
export class AlreadyRunningError extends Error {
  override readonly name = 'AlreadyRunningError';
  readonly code = 'ALREADY_RUNNING';
}

export type FrameErrorCode =
  /** N = 1, or N over MAXFRAME: where the next frame starts is unknown. */
  | 'LENGTH'
  /** A half frame that stayed half for too long. */
  | 'HALF_FRAME_TIMEOUT';

/** The framing of a connection is lost: that connection is closed, every whole frame before it is kept. */
export class FrameError extends Error {
  override readonly name = 'FrameError';
  constructor(
    readonly code: FrameErrorCode,
    message: string,
  ) {
    super(message);
  }
}

/** What was thrown, as an error. */
export function errorOf(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

/**
 * Of whatever was thrown; never empty. What failed in several ways, as a connection to a name with several
 * addresses, says all of them.
 */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '')
    return [...new Set(error.errors.map(messageOf))].join('; ') || 'AggregateError';
  if (!(error instanceof Error)) return String(error);
  return error.message || (error as NodeJS.ErrnoException).code || error.name;
}

/** An error that should never be: all that helps to find the bug. */
export function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** What a person is told of it. */
export function asBug(error: unknown): string {
  return `${stackOf(error)}; this is a bug in Kahe, please report it`;
}
