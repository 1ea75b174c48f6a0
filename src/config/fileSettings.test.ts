import { describe, expect, test } from 'vitest';
import { fileNamesOf, parseFileSettings, type FileSettings } from './fileSettings.js';
import { Problems } from './problems.js';

function read(changes: Record<string, unknown>): {
  settings: FileSettings | undefined;
  problems: readonly string[];
} {
  const problems = new Problems();
  return {
    settings: parseFileSettings({ path: '/backup/', ...changes }, 's', problems, '/srv'),
    problems: problems.lines,
  };
}

describe('file settings', () => {
  test('COMPAT file sizeRotate, maxFiles, fileNameTemplate: their defaults', () => {
    expect(read({}).settings).toEqual({
      path: '/backup',
      fileNameTemplate: '{bucket}',
      sizeRotateBytes: 104_857_600,
      maxFiles: 1024,
      fsync: true,
    });
  });

  test('COMPAT file path: required; a relative one starts from the working folder', () => {
    expect(read({ path: 'd/e' }).settings?.path).toBe('/srv/d/e');
    expect(read({ path: undefined }).problems).toEqual(['s.path: missing; name the folder of the files']);
    expect(read({ path: '' }).problems).toEqual(['s.path: "" is not the path of a folder']);
    expect(read({ path: 'a\0b' }).problems).toEqual(['s.path: "a\\u0000b" is not the path of a folder']);
    expect(read({ path: 7 }).problems).toEqual(['s.path: 7 is not a text in quotes']);
  });

  test('COMPAT file sizeRotate: a bare number is bytes, at least 1KB', () => {
    expect(read({ sizeRotate: '2048' }).settings?.sizeRotateBytes).toBe(2048);
    expect(read({ sizeRotate: '10MB' }).settings?.sizeRotateBytes).toBe(10_485_760);
    expect(read({ sizeRotate: 1023 }).problems).toEqual(['s.sizeRotate: 1023 is too small; at least 1KB']);
  });

  test('COMPAT file maxFiles: at least 1', () => {
    expect(read({ maxFiles: '1' }).settings?.maxFiles).toBe(1);
    expect(read({ maxFiles: '0' }).problems).toEqual([
      's.maxFiles: "0" is not a whole number from 1 to 1000000',
    ]);
  });

  test('fsync is true or false', () => {
    expect([false, 'false', true, 'true'].map((fsync) => read({ fsync }).settings?.fsync)).toEqual([
      false,
      false,
      true,
      true,
    ]);
    expect(read({ fsync: 'no' }).problems).toEqual(['s.fsync: "no" is not true or false']);
  });

  test('an unknown name is refused, with the nearest', () => {
    expect(read({ rotateSize: '1MB', maxfiles: 1, hurz: 1 }).problems).toEqual([
      's.rotateSize: unknown; known here: path, fileNameTemplate, sizeRotate, maxFiles, fsync',
      's.maxfiles: unknown; did you mean "maxFiles"?',
      's.hurz: unknown; known here: path, fileNameTemplate, sizeRotate, maxFiles, fsync',
    ]);
  });
});

describe('fileNameTemplate', () => {
  test.each([
    '{bucket}',
    '{bucket}/{ts}.bckstm',
    '{bucket}{PS}{hostname}-{ts}.bckstm',
    'a..b',
    '{rand}',
    '..{bucket}',
    'a//b',
    '{bucket}{bucket}',
  ])('COMPAT file fileNameTemplate: %s', (fileNameTemplate) => {
    expect(read({ fileNameTemplate }).settings?.fileNameTemplate).toBe(fileNameTemplate);
  });

  test('an empty one is the default', () => {
    expect(read({ fileNameTemplate: '' }).settings?.fileNameTemplate).toBe('{bucket}');
  });

  test.each([
    [
      '{buckt}.x',
      '"{buckt}.x": "{buckt}" is not one of {bucket} {PS} {hostname} {rand} {ts}; did you mean "{bucket}"?',
    ],
    ['{}', '"{}": "{}" is not one of {bucket} {PS} {hostname} {rand} {ts}'],
    [
      '{bucket',
      '"{bucket" has a brace without its partner; placeholders are {bucket} {PS} {hostname} {rand} {ts}',
    ],
    [
      '{{bucket}}',
      '"{{bucket}}" has a brace without its partner; placeholders are {bucket} {PS} {hostname} {rand} {ts}',
    ],
    ['../x', '"../x" has a "." or ".." part; files stay below "path"'],
    ['a{PS}..{PS}x', '"a{PS}..{PS}x" has a "." or ".." part; files stay below "path"'],
    ['a/..', '"a/.." has a "." or ".." part; files stay below "path"'],
    ['./x', '"./x" has a "." or ".." part; files stay below "path"'],
    ['/etc/x', '"/etc/x" is an absolute path; files stay below "path"'],
    ['{PS}etc', '"{PS}etc" is an absolute path; files stay below "path"'],
    ['{bucket}/', '"{bucket}/" ends with a folder; the last part names the file'],
    ['a\nb', '"a\\nb" has a control character in it'],
    [7, '7 is not a text in quotes'],
  ])('refuses %j', (fileNameTemplate, message) => {
    expect(read({ fileNameTemplate }).problems).toEqual([`s.fileNameTemplate: ${message}`]);
  });

  test('fileNamesOf sees through different spellings', () => {
    expect(fileNamesOf(read({ path: '/a/b', fileNameTemplate: 'c' }).settings!)).toBe('/a/b/c');
    expect(fileNamesOf(read({ path: '/a', fileNameTemplate: 'b{PS}c' }).settings!)).toBe('/a/b/c');
  });
});
