// Mistakes in JSON5, as people see them.
import { expect, test } from 'vitest';
import { parseJson5 } from './json5.js';

function mistake(text: string): string {
  try {
    parseJson5(text, 'b.json');
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('there is none');
}

test.each([
  ['in the middle', '{a: 1,\n  b: }\n', "b.json: line 2, column 6: invalid character '}': b: »}«"],
  [
    'a comma that is missing',
    '{\n  "a": 1\n  "b": 2, "c": 3 }',
    'b.json: line 3, column 3: invalid character \'\\"\': »"«b": 2, "c": 3 }',
  ],
  ['at the end', '{"a": 1', 'b.json: line 1, column 8: invalid end of input: {"a": 1»«'],
  ['behind the last line', '{"a": 1\n', 'b.json: line 2, column 1: invalid end of input'],
  ['in an empty file', '', 'b.json: line 1, column 1: invalid end of input'],
  [
    "what would turn a terminal's text",
    '{a: 1,\n b: \u001b[2J }',
    "b.json: line 2, column 5: invalid character '\\x1b': b: »?«[2J }",
  ],
])('%s', (_where, text, message) => {
  expect(mistake(text)).toBe(message);
});

test('of a long line the neighbourhood', () => {
  const message = mistake(`{a: [${'1, '.repeat(200)}], b: ], c: [${'2, '.repeat(200)}]}`);
  expect(message).toContain('], b: »]«, c: [2, 2');
  expect(message.length).toBeLessThan(200);
});

test.each([
  '{"sasl.password": geheim}',
  '{"sasl.password":\n  geheim}',
  '{"sasl.password": "a\\\n geh"eim"}',
  '{"ssl.key.pem": "-----BEGIN PRIVATE KEY-----\\\n\\\n geheim"x}',
  '{"sasl.password": "geheim" "b": 1}',
  '{"sasl.password": // the one, or the other,\n  "geheim" "b": 1}',
  '{"sasl.password":\n  // the one,\n\n  /* not the other */\n  "geheim" "b": 1}',
  '{"sasl.password"\n  : "geheim" "b": 1}',
])('a line that may hold a secret is not shown: %j', (text) => {
  const message = mistake(text);
  expect(message).toMatch(/^b\.json: line \d, column \d+: invalid character '[^']*'$/);
});
