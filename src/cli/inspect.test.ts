// `kahe inspect`, as it is typed: what it prints, and with which code it ends.
import { mkdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { type Ran, runHere } from '../../support/cliIo.js';
import { newFolder } from '../../support/newFolder.js';
import { encodeCheckpoint } from '../frames/checkpoint.js';
import { encodeFrame } from '../frames/frame.js';

const FIXTURE = new URL('../../test/fixtures/kahego-500.bckstm', import.meta.url).pathname;
let folder: string;

beforeEach(() => void (folder = newFolder()));

async function file(name: string, ...parts: Uint8Array[]): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, Buffer.concat(parts));
  return path;
}

async function emptyFolder(name: string): Promise<string> {
  const path = join(folder, name);
  await mkdir(path);
  return path;
}

function inspect(...args: string[]): Promise<Ran> {
  return runHere(['inspect', ...args], { cwd: folder });
}

function rows({ out }: Ran): string[][] {
  return out
    .trimEnd()
    .split('\n')
    .map((line) => line.split(/ {2,}/).map((cell) => cell.trim()));
}

function objects({ out }: Ran): unknown[] {
  return out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown);
}

describe('kahe inspect: the table', () => {
  test('a row for each frame, and the sum', async () => {
    const path = await file('a.bckstm', encodeFrame('orders', 'k', 'hello'), encodeFrame('orders', null, ''));
    const ran = await inspect(path);
    expect(rows(ran)).toEqual([
      ['OFFSET', 'KIND', 'BUCKET', 'KEY', 'SIZE', 'MESSAGE'],
      ['0', 'frame', 'orders', 'k', '5 B', 'hello'],
      ['18', 'frame', 'orders', '-', '0 B'],
      [`${path}: 2 frames, 30 B`],
    ]);
    expect(ran).toMatchObject({ code: 0, err: '' });
  });

  test('has the beginning of messages; with --values they are whole', async () => {
    const path = await file('a.bckstm', encodeFrame('orders', null, 'é'.repeat(3000)));
    const [, row] = rows(await inspect(path));
    expect(row).toEqual(['0', 'frame', 'orders', '-', '5.9 KB', `${'é'.repeat(59)}…`]);
    expect((await inspect('--values', path)).out).toContain('é'.repeat(3000));
  });

  test('what is no text is hex, and nothing can move the cursor, add a line or turn the text', async () => {
    const texts = ['tab\tand\nline', '\u001b[2J', '\u009b2J', 'a\rb', '\u202eabc', 'é'];
    const path = await file(
      'a.bckstm',
      ...texts.map((text) => encodeFrame('a', null, text)),
      encodeFrame('a', null, Buffer.from([0xff])),
    );
    expect(
      rows(await inspect(path))
        .slice(1, 8)
        .map((cells) => cells[5]),
    ).toEqual(['tab and line', '0x1b5b324a', '0xc29b324a', '0x610d62', '0xe280ae616263', 'é', '0xff']);
  });

  test('--bucket: only its frames; --summary: only the sums', async () => {
    const path = await file(
      'a.bckstm',
      encodeFrame('a', null, '1'),
      encodeFrame('b', null, '2'),
      encodeFrame('a', null, '3'),
      encodeFrame('c', null, '4'),
    );
    expect(
      rows(await inspect('--bucket', 'a', '--bucket', 'c', path))
        .slice(1, -1)
        .map((cells) => cells[5]),
    ).toEqual(['1', '3', '4']);
    expect(rows(await inspect('--summary', path))).toEqual([
      ['BUCKET', 'FRAMES', 'BYTES'],
      ['a', '2', '16 B'],
      ['b', '1', '8 B'],
      ['c', '1', '8 B'],
      [`${path}: 4 frames, 32 B`],
    ]);
  });

  test('tells where a file is torn, and ends with 1; the others are shown all the same', async () => {
    const frame = encodeFrame('a', null, 'm');
    const torn = await file('torn.bckstm', frame, frame.subarray(0, 5));
    const sound = await file('sound.bckstm', frame);
    const ran = await inspect(torn, join(folder, 'missing'), await emptyFolder('empty'), sound);
    expect(ran.code).toBe(1);
    expect(ran.out).toContain(
      `${torn}: torn at offset 8: expected a frame of 8 bytes, the file has 5 more; its end (5 bytes) is no whole frame\n`,
    );
    expect(ran.out).toContain(`${sound}: 1 frame, 8 B\n`);
    expect(ran.err).toMatch(
      /^kahe inspect: .*missing: ENOENT.*\nkahe inspect: .*empty: no .bckstm file is in this folder\n$/,
    );
  });

  test('of a folder: all .bckstm files in and below it, oldest first, without notes and put-aside ones', async () => {
    const below = await emptyFolder('below');
    const later = await file('below/b.bckstm', encodeFrame('a', null, 'second'));
    const earlier = await file('c.bckstm', encodeFrame('a', null, 'first'));
    await file('notes.jsonl', encodeFrame('a', null, 'no'));
    await mkdir(join(folder, 'damaged'));
    await file('damaged/d.bckstm', encodeFrame('a', null, 'no'));
    await utimes(later, 2_000, 2_000);
    await utimes(earlier, 1_000, 1_000);
    const ran = await inspect(folder);
    expect(ran).toMatchObject({ code: 0, err: '' });
    expect(
      rows(ran)
        .filter((cells) => cells[1] === 'frame')
        .map((cells) => cells[5]),
    ).toEqual(['first', 'second']);
    expect(objects(await inspect('--json', below))).toEqual([
      { file: later, offset: 0, kind: 'frame', bucket: 'a', key: null, size: 6, message: 'second' },
    ]);
  });

  test('a segment of the spool: checkpoints, their time, whether they fit, and what is damaged', async () => {
    const frames = encodeFrame('orders', null, 'hello');
    const piece = Buffer.concat([frames, encodeCheckpoint(frames, 1, Date.UTC(2026, 0, 31))]);
    const changed = Buffer.from(piece);
    changed[14]! ^= 1;
    const ran = await inspect(await file('s.bckstm', piece, changed, piece));
    expect(ran.code).toBe(1);
    expect(
      rows(ran)
        .filter(([, kind]) => kind === 'checkpoint')
        .map((cells) => cells.slice(3)),
    ).toEqual([
      ['-', '27 B', '2026-01-31T00:00:00.000Z, 1 frame, checksum fits'],
      ['-', '27 B', '2026-01-31T00:00:00.000Z, 1 frame, checksum DOES NOT FIT'],
      ['-', '27 B', '2026-01-31T00:00:00.000Z, 1 frame, checksum fits'],
    ]);
    expect(ran.out).toContain(
      `damaged: ${piece.length} bytes from offset ${piece.length} on: the checksum does not fit; it goes on at offset ${2 * piece.length}`,
    );
  });

  test('colour only where it is seen', async () => {
    const torn = await file('torn.bckstm', Buffer.from([1]));
    expect((await inspect(torn)).out).not.toContain('\u001b');
    expect((await runHere(['inspect', torn], { cwd: folder, isTerminal: true })).out).not.toContain('\u001b');
    expect(
      (await runHere(['inspect', torn], { cwd: folder, isTerminal: true, hasColour: true })).out,
    ).toContain('\u001b[31m');
  });
});

describe('kahe inspect --json', () => {
  test('an object for each frame, with exact numbers', async () => {
    const ran = await inspect('--json', FIXTURE);
    const frames = objects(ran) as {
      offset: number;
      bucket: string;
      key: string | null;
      size: number;
      message: string;
      base64?: string[];
    }[];
    expect(frames).toHaveLength(500);
    expect(frames[1]).toEqual({
      file: FIXTURE,
      offset: 14,
      kind: 'frame',
      bucket: 'kh_files',
      key: 'user-1',
      size: 28,
      message: '{"n":1,"text":"line\\nbreak"}',
    });
    for (const { size, message, base64 } of frames)
      expect(Buffer.from(message, base64 === undefined ? 'utf8' : 'base64')).toHaveLength(size);
    // Half of them have one of seven keys.
    expect(frames.filter(({ key }) => key === null)).toHaveLength(250);
    expect([...new Set(frames.flatMap(({ key }) => key ?? []))].sort()).toEqual([
      'user-0',
      'user-1',
      'user-2',
      'user-3',
      'user-4',
      'user-5',
      'user-6',
    ]);
    expect(frames.filter(({ base64 }) => base64 !== undefined).length).toBeGreaterThan(0);
  });

  test('what is no text is base64, and says so', async () => {
    const path = await file('a.bckstm', encodeFrame('a', Buffer.from([0xff]), Buffer.from([0xfe, 0])));
    expect(objects(await inspect('--json', path))).toEqual([
      {
        file: path,
        offset: 0,
        kind: 'frame',
        bucket: 'a',
        key: '/w==',
        size: 2,
        message: '/gA=',
        base64: ['key', 'message'],
      },
    ]);
  });

  test('bad frames, sums and the torn end', async () => {
    const path = await file(
      'a.bckstm',
      encodeFrame('a', null, 'm'),
      Buffer.from([2, 0, 0, 0, 9, 9]),
      Buffer.from([7]),
    );
    const ran = await inspect('--json', path);
    expect(objects(ran).slice(1)).toEqual([
      { file: path, offset: 8, kind: 'bad', bytes: 6, reason: 'lengths pass the end of the frame' },
      {
        file: path,
        offset: 14,
        kind: 'torn',
        bytes: 1,
        reason: "expected a frame's length (4 bytes), the file has 1 more",
      },
    ]);
    expect(ran.code).toBe(1);
    expect(objects(await inspect('--json', '--summary', path))).toMatchObject([
      { kind: 'sum', bucket: 'a', frames: 1, bytes: 8 },
      { kind: 'bad', frames: 1 },
      { kind: 'torn' },
    ]);
  });
});

test.each([
  [[], 'name a file or a folder'],
  [['--jsn', 'a'], 'no option "--jsn"; did you mean "--json"?'],
  [['--bucket'], '--bucket needs a value: --bucket NAME'],
  [['--json=1', 'a'], '--json is a switch, and takes no value'],
])('kahe inspect %j is a wrong command line', async (args, message) => {
  const ran = await inspect(...args);
  expect(ran.code).toBe(2);
  expect(ran.err).toContain(`kahe inspect: ${message}`);
});

test('kahe inspect --help shows usage, options, examples and exit codes', async () => {
  const { code, out } = await inspect('--help');
  expect(code).toBe(0);
  for (const part of ['usage\n', 'options\n', 'examples\n', 'exit codes\n', '--bucket NAME', '-h, --help'])
    expect(out).toContain(part);
});
