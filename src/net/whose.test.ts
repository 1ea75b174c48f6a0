// Who is refused hears whose the file is, and how to get in.
import { chmodSync, chownSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { newFolder } from '../../support/newFolder.js';
import { groupName, userName } from './names.js';
import { refusedAt, whose } from './whose.js';

let folder: string;
let path: string;

beforeEach(() => {
  folder = newFolder();
  path = join(folder, 'kahe.sock');
  writeFileSync(path, '');
});

test('a file has an owner, a group and a mode', () => {
  chmodSync(path, 0o640);
  const { uid, gid } = statSync(path);
  expect(whose(path)).toBe(`belongs to ${userName(uid)}, group ${groupName(gid)}, mode 0640`);
});

test('one that is not there has its folder', () => {
  chmodSync(folder, 0o750);
  expect(whose(join(folder, 'none', 'kahe.sock'))).toMatch(
    /^is in .*, which belongs to \S+, group \S+, mode 0750$/,
  );
});

test.runIf(process.getuid!() === 0)(
  "its group may write: become a member; its group may not, or is root's own: sudo",
  () => {
    chownSync(path, 0, 4_123_456_789);
    chmodSync(path, 0o660);
    expect(refusedAt(path)).toBe(
      'you may not use it: it belongs to root, group 4123456789, mode 0660; become a member of its group (sudo usermod -aG 4123456789 $USER, then log in again), or use sudo',
    );
    chmodSync(path, 0o640);
    expect(refusedAt(path)).toBe(
      'you may not use it: it belongs to root, group 4123456789, mode 0640; use sudo',
    );
    chownSync(path, 0, 0);
    chmodSync(path, 0o660);
    expect(refusedAt(path)).toBe('you may not use it: it belongs to root, group root, mode 0660; use sudo');
  },
);

test('a folder lets its group in when they may search it', () => {
  const hiding = join(folder, 'hiding');
  mkdirSync(hiding);
  chmodSync(hiding, 0o700);
  expect(refusedAt(join(hiding, 'kahe.sock'))).toMatch(
    /^you may not use it: it is in .*hiding, which belongs to \S+, group \S+, mode 0700; use sudo$/,
  );
});
