// Titles of tests are read in lists and in reports, so they fit a line.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';

const ROOT = path.resolve(import.meta.dirname, '..');
const TITLE = /\b(?:test|it|describe)(?:\.\w+)*(?:\([^;]*?\))?\(\s*(['"`])((?:(?!\1)[^\\\n]|\\.)*)\1\s*,/g;

test('every title has fewer than 100 characters', () => {
  const files = ['src', 'test', 'support'].flatMap((folder) =>
    readdirSync(path.join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => path.join(folder, name)),
  );
  const long = files.flatMap((file) =>
    [...readFileSync(path.join(ROOT, file), 'utf8').matchAll(TITLE)]
      .filter(([, , title]) => title!.length >= 100)
      .map(([, , title]) => `${file}: ${title!}`),
  );
  expect(long).toEqual([]);
});
