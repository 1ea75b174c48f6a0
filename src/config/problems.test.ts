import { describe, expect, test } from 'vitest';
import { ConfigError } from '../errors.js';
import { pathOf, Problems } from './problems.js';

describe('Problems', () => {
  test('attempt notes a ConfigError, and lets a defect of ours through', () => {
    const problems = new Problems('b.json');
    expect(problems.attempt('a', () => 7)).toBe(7);
    expect(
      problems.attempt('a.b', (): number => {
        throw new ConfigError('is wrong');
      }),
    ).toBeUndefined();
    expect(() =>
      problems.attempt('c', () => {
        throw new TypeError('ours');
      }),
    ).toThrow(TypeError);
    expect(problems.lines).toEqual(['b.json: a.b: is wrong']);
    expect(() => problems.throwIfAny()).toThrow(new ConfigError('b.json: a.b: is wrong'));
  });

  test('nothing wrong, nothing thrown', () => {
    expect(() => new Problems().throwIfAny()).not.toThrow();
  });
});

test('pathOf quotes what would not read as a path', () => {
  expect([pathOf('', 'a'), pathOf('a', 'b.c'), pathOf('a', 0), pathOf('a', 'b c'), pathOf('', '\n')]).toEqual(
    ['a', 'a.b.c', 'a[0]', 'a["b c"]', '["\\n"]'],
  );
});
