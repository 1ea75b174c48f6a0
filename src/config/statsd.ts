// Where figures are pushed to: STATSD, STATSD_PREFIX and STATSD_INTERVAL.
import { ConfigError } from '../errors.js';
import { parseDuration } from './duration.js';
import { describeValue } from './values.js';

export interface StatsdSettings {
  readonly host: string;
  readonly port: number;
  /** What each name begins with; `{hostname}` in it is yet to be replaced. */
  readonly prefix: string;
  readonly intervalMs: number;
}

const SHORTEST_MS = 100;

/** @throws ConfigError unless it is levels of a name, dots between them, `{hostname}` among them if wished */
export function parsePrefix(text: string): string {
  const plain = text.replaceAll('{hostname}', 'host');
  if (/^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/.test(plain) && text.length <= 100) return text;
  throw new ConfigError(
    `${describeValue(text)} can't begin a name of statsd; write up to 100 of A-Z a-z 0-9 _ - with dots between, and {hostname} where the machine's name is to stand ("kahe.{hostname}")`,
  );
}

/** @throws ConfigError as parseDuration, or under 100 ms */
export function parseInterval(text: string): number {
  const ms = parseDuration(text);
  if (ms >= SHORTEST_MS) return ms;
  throw new ConfigError(`${describeValue(text)} is too short; at least ${SHORTEST_MS}ms`);
}
