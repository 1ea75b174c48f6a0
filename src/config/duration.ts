// Durations as people write them ("20s"). Promise: the result fits a timer.
import { ConfigError } from '../errors.js';
import { describeValue } from './values.js';

const MS_PER_UNIT: ReadonlyMap<string, number> = new Map([
  ['', 1000],
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
]);
const LONGEST_MS = 24 * 3_600_000;

/**
 * Reads "500ms", "20s", "2m", "1h" or a bare number of seconds, as milliseconds; at most 24 hours.
 * @throws ConfigError
 */
export function parseDuration(value: unknown): number {
  const text = typeof value === 'number' ? String(value) : value;
  const [, digits, unit] =
    (typeof text === 'string' && /^(\d+(?:\.\d+)?) ?([a-z]*)$/i.exec(text.trim())) || [];
  const factor = MS_PER_UNIT.get((unit ?? '').toLowerCase());
  if (digits === undefined || factor === undefined) {
    throw new ConfigError(
      `${describeValue(value)} is not a duration; write seconds (20) or a number with ms, s, m or h ("500ms", "20s", "2m")`,
    );
  }
  const ms = Math.round(Number(digits) * factor);
  if (ms > LONGEST_MS) throw new ConfigError(`${describeValue(value)} is too long; at most 24h`);
  return ms;
}
