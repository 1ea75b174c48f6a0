// A file that was replayed goes, and nothing with it that came meanwhile or is another's.
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { newFolder } from '../../../support/newFolder.js';
import { removeReplayed } from './removal.js';

let folder: string;
beforeEach(() => void (folder = newFolder()));

function write(name: string, text: string): string {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
}

test('a file and its reasons go, and no other', () => {
  const file = write('a.bckstm', 'replayed');
  for (const name of ['a.reasons.jsonl', 'b.bckstm', 'b.reasons.jsonl']) write(name, 'x');
  expect(removeReplayed(file, 8)).toBeUndefined();
  expect(readdirSync(folder).sort()).toEqual(['b.bckstm', 'b.reasons.jsonl']);
});

test('a file that holds more than was replayed stays as it is, with its reasons', () => {
  const file = write('a.bckstm', 'replayed, and more');
  write('a.reasons.jsonl', 'x');
  expect(removeReplayed(file, 8)).toBe('grown');
  expect([readFileSync(file, 'utf8'), readdirSync(folder).length]).toEqual(['replayed, and more', 2]);
});

test('a file of another name has no reasons beside it', () => {
  const file = write('backup', 'replayed');
  write('backup.reasons.jsonl', 'x');
  expect(removeReplayed(file, 8)).toBeUndefined();
  expect([existsSync(file), readdirSync(folder)]).toEqual([false, ['backup.reasons.jsonl']]);
});
