// Tables that fit: by the room that characters take on a terminal, not by their number.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Column, tableOf } from './table.js';
import { cutToWidth, padToWidth, widthOf } from './textWidth.js';
import { escaped, lineOf, rateText } from './units.js';

interface Row {
  readonly name: string;
  readonly count: number;
  readonly more?: string;
}

const NAME: Column<Row> = { head: 'NAME', side: 'left', text: ({ name }) => name, atLeast: 6 };
const COUNT: Column<Row> = { head: 'COUNT', side: 'right', text: ({ count }) => String(count), spare: 2 };
const MORE: Column<Row> = { head: 'MORE', side: 'left', text: ({ more = '' }) => more, spare: 1 };

describe('widths', () => {
  test.each([
    ['plain', 10, 'plain'],
    ['plain text', 6, 'plain…'],
    ['日本語', 6, '日本語'],
    ['日本語', 5, '日本…'],
    ['日本語', 4, '日…'],
    ['👨‍👩‍👧 family', 4, '👨‍👩‍👧 …'],
    ['e\u0301e\u0301e\u0301', 3, 'e\u0301e\u0301e\u0301'],
    ['abc', 1, '…'],
    ['abc', 0, ''],
  ])('%j in %d columns is %j', (text, width, cut) => {
    expect(cutToWidth(text, width)).toBe(cut);
  });

  test('padding counts columns', () => {
    expect([
      padToWidth('日', 4, 'left'),
      padToWidth('日', 4, 'right'),
      padToWidth('abcd', 2, 'left'),
    ]).toEqual(['日  ', '  日', 'abcd']);
  });
});

describe('a table', () => {
  test('columns are aligned, whatever their characters', () => {
    expect(
      tableOf(
        [NAME, COUNT, MORE],
        [
          { name: '日本', count: 5, more: 'x' },
          { name: 'a', count: 12_345 },
        ],
        Infinity,
      ),
    ).toEqual(['NAME  COUNT  MORE', '日本      5  x', 'a     12345']);
  });

  test('where there is no room: first what says nothing goes, then what can be spared, then texts are cut', () => {
    const rows = [{ name: 'requests', count: 0, more: 'and so on' }];
    expect(tableOf([NAME, COUNT, MORE], rows, 26)).toEqual([
      'NAME      COUNT  MORE',
      'requests      0  and so on',
    ]);
    expect(tableOf([NAME, COUNT, MORE], rows, 25)).toEqual([
      'NAME     COUNT  MORE',
      'reques…      0  and so on',
    ]);
    expect(tableOf([NAME, COUNT, MORE], rows, 20)).toEqual(['NAME      MORE', 'requests  and so on']);
    expect(tableOf([NAME, COUNT, MORE], [{ ...rows[0]!, count: 7 }], 14)).toEqual(['NAME', 'requests']);
    expect(tableOf([NAME, COUNT, MORE], rows, 5)).toEqual(['NAME', 'requ…']);
  });

  test('what is painted has been cut before', () => {
    const paint = (text: string): string => `<${text}>`;
    expect(tableOf([{ ...NAME, paint }, COUNT], [{ name: 'requests', count: 1 }], 14)).toEqual([
      'NAME     COUNT',
      '<reques…>      1',
    ]);
  });

  test('whatever is in it, no line is too wide', () => {
    const name = fc
      .oneof(fc.string({ unit: 'binary', maxLength: 40 }), fc.string({ unit: 'grapheme', maxLength: 40 }))
      .map((text) => lineOf(Buffer.from(text)));
    fc.assert(
      fc.property(
        fc.array(fc.record({ name, count: fc.nat(), more: name }), { maxLength: 8 }),
        fc.integer({ min: 1, max: 120 }),
        (rows, room) => {
          for (const line of tableOf([NAME, COUNT, MORE], rows, room))
            expect(widthOf(line)).toBeLessThanOrEqual(room);
        },
      ),
      { numRuns: 100 },
    );
  });
});

test.each([
  [0, '0'],
  [0.01, '<0.1'],
  [0.34, '0.3'],
  [9.9, '9.9'],
  [9.99, '10'],
  [1_234.5, '1,235'],
])('%d a second is %s', (rate, text) => {
  expect(rateText(rate)).toBe(text);
});

test('escaped: one line, and nothing that does something to a terminal', () => {
  expect(escaped(' a\r\n\tb \u001b[2J\u202e\u009b ü 日 ')).toBe('a\\u{d} b \\u{1b}[2J\\u{202e}\\u{9b} ü 日');
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      expect(escaped(text)).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/);
    }),
  );
});
