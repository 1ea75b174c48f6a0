import { fstatSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { sayAtEveryLevel } from '../../support/everyLevel.js';
import { Log, kahegoLines } from './log.js';
import { isJournal, withPriorities } from './journal.js';
import { jsonLines } from './pinoLines.js';

test('isJournal: stderr is what the variable names', () => {
  const { dev, ino } = fstatSync(2);
  expect([
    isJournal({ JOURNAL_STREAM: `${dev}:${ino}` }),
    isJournal({ JOURNAL_STREAM: `${dev}:${ino}1` }),
    isJournal({ JOURNAL_STREAM: '' }),
    isJournal({}),
  ]).toEqual([true, false, false, false]);
});

describe('withPriorities', () => {
  test.each([
    ['text', kahegoLines],
    ['json', jsonLines],
  ])('%s: each line has that of its level', async (_format, lines) => {
    const out: string[] = [];
    const log = new Log(
      'TRACE',
      await withPriorities(
        (line) => out.push(line),
        (sink) => Promise.resolve(lines(sink)),
      ),
    );
    sayAtEveryLevel(log);
    const plain: string[] = [];
    expect(out.map((line) => line.slice(0, 3))).toEqual(['<7>', '<7>', '<6>', '<4>', '<3>', '<2>']);
    new Log(
      'TRACE',
      lines((line) => plain.push(line)),
    ).fatal('f');
    expect(out[5]!.slice(3).replace(/\d\d:\d\d:\d\d\.\d{3}/, '')).toBe(
      plain[0]!.replace(/\d\d:\d\d:\d\d\.\d{3}/, ''),
    );
  });
});
