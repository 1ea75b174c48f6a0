// Numbers and their words.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { plural } from './plural.js';

test('one is one, none and many are many', () => {
  expect([0, 1, 2, 1000].map((count) => `${count} ${plural(count, 'frame')}`)).toEqual([
    '0 frames',
    '1 frame',
    '2 frames',
    '1000 frames',
  ]);
  expect([1, 2].map((count) => plural(count, 'batch is', 'batches are'))).toEqual([
    'batch is',
    'batches are',
  ]);
});

/** A count that may be 1 has its word by `plural`, `counted` or `framesText`. */
test('no text has a plural straight behind a count', () => {
  const source = join(import.meta.dirname);
  const files = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter(
    (name) => name.endsWith('.ts') && !name.endsWith('.test.ts'),
  );
  const found = files.flatMap((name) =>
    readFileSync(join(source, name), 'utf8')
      .split('\n')
      .flatMap((line) => {
        const [text] =
          /\$\{[^}]*\} (?:whole |more )?(frames|batches|segments|buckets|streams|partitions|lines|files|times|clients|connections|brokers)\b/.exec(
            line,
          ) ?? [];
        return text === undefined ? [] : [`${name}: ${text}`];
      }),
  );
  expect(found).toEqual([]);
});
