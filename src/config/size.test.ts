import { describe, expect, test } from 'vitest';
import { ConfigError } from '../errors.js';
import { parseDuration } from './duration.js';
import { formatSize, parseSize } from './size.js';

const RIGHT = 'write bytes (1048576) or a number with B, KB, MB or GB ("10MB", "1.5GB")';

describe('parseSize', () => {
  test.each([
    ['250MB', 250 * 1024 ** 2],
    ['10MB', 10_485_760],
    ['10mb', 10_485_760],
    ['10 Mb', 10_485_760],
    ['1M', 1_048_576],
    ['1k', 1024],
    ['1KB', 1024],
    ['1G', 1024 ** 3],
    ['1.5GB', 1_610_612_736],
    ['0.5K', 512],
    ['7B', 7],
    ['0', 0],
    ['1048576', 1_048_576],
    [1_048_576, 1_048_576],
    [0, 0],
    [' 5k ', 5120],
  ])('COMPAT MAXMEMORY: sizes are powers of 1024, a bare number is bytes: %j is %d', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  test.each([
    '',
    ' ',
    'MB',
    '10XB',
    '10MBB',
    '1e3',
    '-1',
    '-1MB',
    '1,5GB',
    '1.5',
    '1.5B',
    '.5KB',
    '5.KB',
    '0x10',
    '10  MB',
    '10\nMB',
    'NaN',
    'Infinity',
    '１０MB',
    `${'9'.repeat(400)}x`,
  ])('COMPAT MAXMEMORY: unparsable is an error: %j', (text) => {
    expect(() => parseSize(text)).toThrow(ConfigError);
    expect(() => parseSize(text)).toThrow(/ is not a size; write bytes/);
  });

  test.each([-1, 1.5, NaN, Infinity, 2 ** 53, null, undefined, true, [], {}])('refuses %s', (value) => {
    expect(() => parseSize(value)).toThrow(ConfigError);
  });

  test('a size past the safe integers is too large, not rounded', () => {
    expect(() => parseSize(`${'9'.repeat(400)}GB`)).toThrow(/is too large; at most/);
    expect(() => parseSize('9007199254740993')).toThrow(/is too large/);
  });

  test('says what would be right', () => {
    expect(() => parseSize('10XB')).toThrow(new ConfigError(`"10XB" is not a size; ${RIGHT}`));
    expect(() => parseSize([])).toThrow(new ConfigError(`a list is not a size; ${RIGHT}`));
  });

  test('limits are part of the range', () => {
    const range = { minBytes: 1024, maxBytes: 2048 };
    expect([parseSize(1024, range), parseSize('2K', range)]).toEqual([1024, 2048]);
    expect(() => parseSize(1023, range)).toThrow(new ConfigError('1023 is too small; at least 1KB'));
    expect(() => parseSize('2049', range)).toThrow(new ConfigError('"2049" is too large; at most 2KB'));
  });
});

test.each([
  [16_777_216, '16MB'],
  [1024 ** 3, '1GB'],
  [1536, '1536 bytes'],
  [1000, '1000 bytes'],
  [0, '0 bytes'],
])('formatSize: %d is %s', (bytes, text) => {
  expect(formatSize(bytes)).toBe(text);
});

describe('parseDuration', () => {
  test.each([
    ['500ms', 500],
    ['20s', 20_000],
    ['2m', 120_000],
    ['1h', 3_600_000],
    ['20', 20_000],
    [20, 20_000],
    ['1.5s', 1500],
    ['0', 0],
    ['24h', 86_400_000],
  ])('%j is %d ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  test.each(['', 's', '-1s', '1d', '20 seconds', '1e3', null, {}])('refuses %j', (text) => {
    expect(() => parseDuration(text)).toThrow(
      / is not a duration; write seconds \(20\) or a number with ms, s, m or h/,
    );
  });

  test('refuses what no timer can hold', () => {
    expect(() => parseDuration('25h')).toThrow(new ConfigError('"25h" is too long; at most 24h'));
    expect(() => parseDuration('9'.repeat(400))).toThrow(/is too long/);
  });
});
