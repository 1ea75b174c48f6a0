// Readers of single values. kahego wrote every setting as a string, so "10", 10, "true" and true are all
// understood. Each throws a ConfigError that says what the value is and what would be right; the caller adds
// where it stands.
import { ConfigError } from '../errors.js';

const LONGEST_SHOWN = 60;

/** A value as it may stand in an error message: short, on one line. */
export function describeValue(value: unknown): string {
  if (typeof value === 'string') {
    return JSON.stringify(value.length > LONGEST_SHOWN ? `${value.slice(0, LONGEST_SHOWN)}…` : value);
  }
  return describeKind(value);
}

/** As describeValue, but never shows the text of a string: for places where a password may stand. */
export function describeKind(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'an object';
  if (typeof value === 'string') return 'a text';
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : `a ${typeof value}`;
}

/** @throws ConfigError unless `value` is a whole number, or the text of one, from `min` to `max`. */
export function parseInteger(value: unknown, min: number, max: number): number {
  const number = typeof value === 'string' && /^[+-]?\d+$/.test(value.trim()) ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isInteger(number) || number < min || number > max) {
    throw new ConfigError(`${describeValue(value)} is not a whole number from ${min} to ${max}`);
  }
  return number;
}

/** @throws ConfigError unless `value` is a number, or the text of one, from `min` to `max`. */
export function parseFraction(value: unknown, min: number, max: number): number {
  const number = typeof value === 'string' && /^\d*\.?\d+$/.test(value.trim()) ? Number(value) : value;
  if (typeof number !== 'number' || !(number >= min && number <= max)) {
    throw new ConfigError(`${describeValue(value)} is not a number from ${min} to ${max}`);
  }
  return number;
}

const BOOLEANS: ReadonlyMap<string, boolean> = new Map([
  ['true', true],
  ['t', true],
  ['1', true],
  ['false', false],
  ['f', false],
  ['0', false],
]);

/** librdkafka's spellings: true, t, 1, false, f, 0, in any case. @throws ConfigError */
export function parseBoolean(value: unknown): boolean {
  const isScalar = typeof value === 'boolean' || typeof value === 'number' || typeof value === 'string';
  const boolean = isScalar ? BOOLEANS.get(String(value).trim().toLowerCase()) : undefined;
  if (boolean === undefined) throw new ConfigError(`${describeValue(value)} is not true or false`);
  return boolean;
}

/** One of `allowed`, in any case; returned as it stands there. @throws ConfigError */
export function parseChoice<T extends string>(value: unknown, allowed: readonly T[]): T {
  const text =
    typeof value === 'string' || typeof value === 'number' ? String(value).trim().toLowerCase() : undefined;
  const found = allowed.find((choice) => choice.toLowerCase() === text);
  if (found === undefined) throw new ConfigError(notOneOf(value, allowed));
  return found;
}

/** `"alll" is not one of all, -1, 0, 1` */
export function notOneOf(value: unknown, allowed: readonly string[]): string {
  return `${describeValue(value)} is not one of ${allowed.join(', ')}`;
}

/** A text that is not empty; a number that keeps its digits is taken as its text. @throws ConfigError */
export function parseText(value: unknown): string {
  if (typeof value === 'number' && Number.isSafeInteger(value)) return String(value);
  if (typeof value !== 'string') throw new ConfigError(`${describeKind(value)} is not a text in quotes`);
  if (value === '') throw new ConfigError('is empty');
  if (value.includes('\0')) throw new ConfigError('has a zero byte in it');
  return value;
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Freezes a plain object or list, and everything in it. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  Object.values(value).forEach((part) => deepFreeze(part as unknown));
  return Object.freeze(value);
}
