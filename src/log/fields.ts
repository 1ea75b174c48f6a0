// The fields of a log line, for programs: its text says the same to a person. Promise: one thing has one name
// in every line; docs/operations.md ("The log") lists them all.

/**
 * Flat. Beside them a line has `level`, `time`, `path`, `folded` and `msg`, which are none of these; `bucket`,
 * `stream` and `client` are taken from the path where it names them, and then that counts.
 */
export interface LogFields {
  /** Why it happened: an error's message, a broker's answer. */
  readonly reason?: string | undefined;
  readonly mode?: 'normal' | 'backup' | 'error' | undefined;
  readonly signal?: string | undefined;

  /** How many the line is about; with `totalFrames`: since the line before. */
  readonly frames?: number | undefined;
  readonly totalFrames?: number | undefined;
  readonly batches?: number | undefined;
  readonly segments?: number | undefined;
  readonly bytes?: number | undefined;
  /** The bound on `bytes`. */
  readonly limitBytes?: number | undefined;
  readonly buckets?: number | undefined;
  readonly connections?: number | undefined;
  readonly lines?: number | undefined;
  /** How often it has happened since the start. */
  readonly times?: number | undefined;

  /** The account of a bucket's frames in a stream, at the end: what became of those received. */
  readonly received?: number | undefined;
  readonly delivered?: number | undefined;
  readonly queued?: number | undefined;
  readonly backedUp?: number | undefined;
  readonly slicedOut?: number | undefined;
  readonly rejected?: number | undefined;
  readonly discarded?: number | undefined;

  /** When it is tried again. */
  readonly retryMs?: number | undefined;
  /** How long it is tried, or waited for. */
  readonly timeoutMs?: number | undefined;
  readonly intervalMs?: number | undefined;
  /** ISO 8601, UTC; so is `until`. */
  readonly since?: string | undefined;
  readonly until?: string | undefined;

  readonly bucket?: string | undefined;
  readonly stream?: string | undefined;
  readonly topic?: string | undefined;
  readonly partition?: number | undefined;
  readonly broker?: string | undefined;
  /** A file or a folder. */
  readonly file?: string | undefined;
  /** A byte in `file`. */
  readonly offset?: number | undefined;
  /** Another file, which has what is not in `file`. */
  readonly keptIn?: string | undefined;
  /** A socket's path, or host:port. */
  readonly address?: string | undefined;
}
