// Sizes as people write them ("10MB"). Units are powers of 1024, as in kahego.
import { ConfigError } from '../errors.js';
import { plural } from '../plural.js';
import { describeValue } from './values.js';

const BYTES_PER_UNIT: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ['b', 1],
  ['k', 1024],
  ['kb', 1024],
  ['m', 1024 ** 2],
  ['mb', 1024 ** 2],
  ['g', 1024 ** 3],
  ['gb', 1024 ** 3],
]);
const RIGHT = 'write bytes (1048576) or a number with B, KB, MB or GB ("10MB", "1.5GB")';

export interface SizeRange {
  readonly minBytes?: number;
  readonly maxBytes?: number;
}

/**
 * Reads "10MB", "1.5GB", "64k", "1048576" or 1048576 as bytes, rounded to a whole byte.
 * @throws ConfigError when it is no size, or outside `range` (limits included).
 */
export function parseSize(value: unknown, range: SizeRange = {}): number {
  const bytes = readBytes(value);
  if (bytes === undefined) throw new ConfigError(`${describeValue(value)} is not a size; ${RIGHT}`);
  const { minBytes = 0, maxBytes = Number.MAX_SAFE_INTEGER } = range;
  if (bytes < minBytes)
    throw new ConfigError(`${describeValue(value)} is too small; at least ${formatSize(minBytes)}`);
  if (bytes > maxBytes)
    throw new ConfigError(`${describeValue(value)} is too large; at most ${formatSize(maxBytes)}`);
  return bytes;
}

function readBytes(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 0 ? value : undefined;
  if (typeof value !== 'string') return undefined;
  const [, digits, unit] = /^(\d+(?:\.\d+)?) ?([a-z]*)$/i.exec(value.trim()) ?? [];
  const factor = BYTES_PER_UNIT.get((unit ?? '').toLowerCase());
  if (digits === undefined || factor === undefined) return undefined;
  if (factor === 1 && digits.includes('.')) return undefined;
  return Math.round(Number(digits) * factor);
}

/** The shortest exact way to write a size: 16777216 → "16MB", 1000 → "1000 bytes". */
export function formatSize(bytes: number): string {
  for (const unit of ['gb', 'mb', 'kb']) {
    const factor = BYTES_PER_UNIT.get(unit)!;
    if (bytes >= factor && bytes % factor === 0) return `${bytes / factor}${unit.toUpperCase()}`;
  }
  return `${bytes} ${plural(bytes, 'byte')}`;
}
