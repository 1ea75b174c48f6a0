import { describe, expect, test } from 'vitest';
import { formatFor, hasColors } from './formats.js';

describe('formatFor', () => {
  test.each([
    ['a terminal', {}, true, 'pretty'],
    [
      'a terminal of a session that systemd began',
      { INVOCATION_ID: '1', JOURNAL_STREAM: '8:1' },
      true,
      'pretty',
    ],
    ['the journal', { JOURNAL_STREAM: '8:1' }, false, 'json'],
    ['a service', { INVOCATION_ID: '1' }, false, 'json'],
    ['a pipe', {}, false, 'text'],
    ['empty variables', { JOURNAL_STREAM: '', INVOCATION_ID: '' }, false, 'text'],
  ] as const)('auto, %s', (_place, env, isTerminal, format) => {
    expect(formatFor('auto', { env, isTerminal })).toBe(format);
  });

  test.each(['pretty', 'json', 'text'] as const)('%s, when asked for, whatever the place', (format) => {
    expect(formatFor(format, { env: {}, isTerminal: true })).toBe(format);
    expect(formatFor(format, { env: { JOURNAL_STREAM: '8:1' }, isTerminal: false })).toBe(format);
  });
});

test.each([
  [{ TERM: 'xterm' }, true, true],
  [{}, true, true],
  [{ TERM: 'xterm' }, false, false],
  [{ TERM: 'dumb' }, true, false],
  [{ NO_COLOR: '1' }, true, false],
  [{ NO_COLOR: '' }, true, true],
] as const)('hasColors: %j, a terminal: %s', (env, isTerminal, expected) => {
  expect(hasColors({ env, isTerminal })).toBe(expected);
});
