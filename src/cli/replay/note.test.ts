// The note of a replay: what is remembered of a file, and when that is no good.
import { closeSync, openSync, statSync } from 'node:fs';
import { mkdir, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { newFolder } from '../../../support/newFolder.js';
import { nodeFileSystem } from '../../disk/fileSystem.js';
import { FileWindow } from '../../frames/fileWindow.js';
import { NoteKeeper, type ReplayNote, headOf, loadNote, notePath, refusalOf } from './note.js';

let folder: string;
let file: string;
let fd: number;

beforeEach(async () => {
  folder = newFolder();
  file = join(folder, 'a.bckstm');
  await writeFile(file, Buffer.alloc(10_000, 'abc'));
  fd = openSync(file, 'r');
});

afterEach(() => {
  closeSync(fd);
});

function windowOf(): FileWindow {
  return new FileWindow(fd, statSync(file).size);
}

function note(position = 5000): ReplayNote {
  return {
    device: '1',
    inode: '2',
    target: 'socket /s',
    buckets: null,
    size: 10_000,
    position,
    frames: 7,
    head: headOf(windowOf(), position),
  };
}

describe('refusalOf', () => {
  const owner = { device: '1', inode: '2', target: 'socket /s', buckets: null };

  test('the same file, whole or grown, may be continued', async () => {
    expect(refusalOf(note(), owner, windowOf())).toBeUndefined();
    expect(refusalOf(note(0), owner, windowOf())).toBeUndefined();
    const before = note();
    await writeFile(file, Buffer.alloc(10_000, 'abc'), { flag: 'a' });
    expect(refusalOf(before, owner, windowOf())).toBeUndefined();
  });

  test.each([
    ['another inode', { inode: '3' }, {}, 'another file'],
    ['another device', { device: '3' }, {}, 'another file'],
    ['shorter than what was sent', {}, { position: 10_001 }, 'another file'],
    ['other bytes, in an inode used again', {}, { head: { bytes: 4096, sha256: 'x' } }, 'another file'],
    ['another target', { target: 'stream kafka' }, {}, 'another place (socket /s)'],
    ['another choice of buckets', { buckets: ['a'] }, {}, 'another choice of buckets'],
  ])('%s: it starts anew', (_, otherOwner, otherNote, reason) => {
    expect(refusalOf({ ...note(), ...otherNote }, { ...owner, ...otherOwner }, windowOf())).toContain(reason);
  });
});

describe('NoteKeeper', () => {
  test('replaces the note as a whole; of many at once the last one stays', async () => {
    const path = notePath(file, undefined);
    expect(path).toBe(`${file}.replay.json`);
    const keeper = new NoteKeeper(nodeFileSystem, path);
    await Promise.all(Array.from({ length: 20 }, (_, i) => keeper.save(note(i * 100))));
    expect(await loadNote(nodeFileSystem, path)).toMatchObject(note(1900));
    expect((await readdir(folder)).sort()).toEqual(['a.bckstm', 'a.bckstm.replay.json']);
    await keeper.remove();
    expect(await loadNote(nodeFileSystem, path)).toBeUndefined();
  });

  test('a save resolves only once its note, or a later one, is on the disk', async () => {
    const path = notePath(file, undefined);
    const keeper = new NoteKeeper(nodeFileSystem, path);
    for (let i = 1; i <= 5; i++) {
      const saves = [
        keeper.save(note(i * 1000)),
        keeper.save(note(i * 1000 + 1)),
        keeper.save(note(i * 1000 + 2)),
      ];
      await saves[0];
      expect((await loadNote(nodeFileSystem, path))!.position).toBeGreaterThanOrEqual(i * 1000);
      await saves[2];
      expect((await loadNote(nodeFileSystem, path))!.position).toBe(i * 1000 + 2);
    }
  });

  test('a folder of notes: files of the same name in different folders have notes of their own', async () => {
    await mkdir(join(folder, 'b'));
    const other = join(folder, 'b/a.bckstm');
    await writeFile(other, '');
    const [one, two] = [notePath(file, folder), notePath(other, folder)];
    expect(one).not.toBe(two);
    for (const path of [one, two]) expect(path.startsWith(`${folder}/a.bckstm.`)).toBe(true);
  });

  test('what is no note counts as none; a symlink is not followed', async () => {
    const path = notePath(file, undefined);
    for (const text of [
      '',
      '{',
      '[]',
      '{"version":1}',
      '{"version":2}',
      JSON.stringify({ version: 1, ...note(), position: -1 }),
    ]) {
      await writeFile(path, text);
      expect(await loadNote(nodeFileSystem, path)).toBeUndefined();
    }
    await rm(path);
    await writeFile(join(folder, 'target'), 'mine');
    await symlink(join(folder, 'target'), path);
    await expect(loadNote(nodeFileSystem, path)).rejects.toThrow(/ELOOP/);
    await new NoteKeeper(nodeFileSystem, path).save(note());
    expect(await readFile(join(folder, 'target'), 'utf8')).toBe('mine');
  });
});
