import { describe, expect, test } from 'vitest';
import { sayAtEveryLevel } from '../../support/everyLevel.js';
import { LOG_LEVELS, Log, type LogEntry, type LogLevel } from './log.js';

function lines(level: LogLevel, write: (log: Log) => void, path = ''): string[] {
  const out: string[] = [];
  write(
    new Log(
      level,
      (line) => out.push(line),
      path,
      () => Date.UTC(2024, 1, 3, 4, 5, 6, 7),
    ),
  );
  return out;
}

describe('Log', () => {
  test('COMPAT LOG_LEVEL: a line is `LEVEL | date time | text`', () => {
    expect(lines('INFO', (log) => log.info('hello'))).toEqual(['INFO | 2024-02-03 04:05:06.007 | hello\n']);
  });

  test.each(LOG_LEVELS.map((level, i) => [level, LOG_LEVELS.length - i] as const))(
    '%s lets it and what is graver through',
    (level, count) => {
      const written = lines(level, sayAtEveryLevel);
      expect(written.map((line) => line.split(' | ')[0])).toEqual(LOG_LEVELS.slice(-count));
    },
  );

  test('a part of the program has its path before the text', () => {
    expect(lines('INFO', (log) => log.at('/bucket.requests').warn('x'))).toEqual([
      'WARN | 2024-02-03 04:05:06.007 | /bucket.requests x\n',
    ]);
  });

  test("a line stays a line, whatever is in the text or in a bucket's name", () => {
    const evil =
      'a\nERROR | 2024-01-01 00:00:00.000 | forged\r\u0000\u001b[31m\u007f\u0085\u009b\u2028\u2029\u202e\u2067é';
    const safe =
      'a\\x0aERROR | 2024-01-01 00:00:00.000 | forged\\x0d\\x00\\x1b[31m\\x7f\\x85\\x9b\\x2028\\x2029\\x202e\\x2067é';
    expect(lines('INFO', (log) => log.info(evil))).toEqual([`INFO | 2024-02-03 04:05:06.007 | ${safe}\n`]);
    expect(lines('INFO', (log) => log.at(`/bucket.${evil}`).info('x'))).toEqual([
      `INFO | 2024-02-03 04:05:06.007 | /bucket.${safe} x\n`,
    ]);
  });

  test.each([
    ['plain', 'x'.repeat(1e6)],
    ['escaped', '\u0000'.repeat(1e6)],
    ['escaped to just over the limit', '\u0000'.repeat(2049)],
  ])('a text without end is cut: %s', (_what, text) => {
    const [line] = lines('INFO', (log) => log.info(text));
    expect(line!.length).toBeLessThan(8192 + 60);
    expect(line).toMatch(/(x|\\x00|\\x?)… \(cut\)\n$/);
  });

  test('a text of just the limit is not cut', () => {
    expect(lines('INFO', (log) => log.info('x'.repeat(8192)))[0]).toMatch(/x{8192}\n$/);
  });

  test('unfolded and at keep level, path and each other', () => {
    const entries: LogEntry[] = [];
    const log = new Log('INFO', { write: (entry) => entries.push(entry) }, '', () => 7);
    log.at('/a').unfolded.info('1');
    log.unfolded.at('/b').info('2');
    log.unfolded.debug('too little');
    log.at('/c').info('3');
    expect(entries.map(({ path, text, isUnfolded, timeMs }) => [path, text, isUnfolded, timeMs])).toEqual([
      ['/a', '1', true, 7],
      ['/b', '2', true, 7],
      ['/c', '3', false, 7],
    ]);
  });

  test("a line's fields are an entry's, and a text line is its text alone", () => {
    const entries: LogEntry[] = [];
    const write = (log: Log): void => log.warn('x', { reason: 'y', frames: 2, since: undefined });
    write(new Log('INFO', { write: (entry) => entries.push(entry) }));
    expect(entries[0]!.fields).toEqual({ reason: 'y', frames: 2 });
    expect(lines('INFO', write)).toEqual(['WARN | 2024-02-03 04:05:06.007 | x\n']);
  });

  test('a field is as safe as a text, and shorter', () => {
    const entries: LogEntry[] = [];
    const log = new Log('INFO', { write: (entry) => entries.push(entry) });
    log.info('x', { reason: 'a\nb\u001b[2J\u202e', file: 'x'.repeat(1e6), bucket: '\u0000'.repeat(1024) });
    const { reason, file, bucket } = entries[0]!.fields!;
    expect(reason).toBe('a\\x0ab\\x1b[2J\\x202e');
    expect([file, bucket]).toEqual(['x'.repeat(1024), '\\x00'.repeat(256)].map((all) => `${all}… (cut)`));
  });

  test('below the level nothing is looked at', () => {
    const fields = {
      get reason(): string {
        throw new Error('looked at');
      },
    };
    expect(lines('INFO', (log) => log.debug('x', fields))).toEqual([]);
    expect(() => lines('DEBUG', (log) => log.debug('x', fields))).toThrow('looked at');
  });
});
