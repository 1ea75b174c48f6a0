// Walking through files of frames: what is told of each place, and where it goes on behind damage.
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CHECKPOINT_BYTES, encodeCheckpoint } from './checkpoint.js';
import { FileWindow } from './fileWindow.js';
import { encodeFrame } from './frame.js';
import { type ScanEnd, type ScanEntry, scanFrames } from './scan.js';

const FIXTURE = new URL('../../test/fixtures/kahego-500.bckstm', import.meta.url).pathname;
let folder: string;

beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), 'kahe-scan-'))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function scanFile(path: string): { entries: ScanEntry[]; end: ScanEnd } {
  const fd = openSync(path, 'r');
  try {
    const entries: ScanEntry[] = [];
    const scan = scanFrames(new FileWindow(fd, statSync(path).size));
    for (let next = scan.next(); ; next = scan.next()) {
      if (next.done === true) return { entries, end: next.value };
      entries.push(next.value);
    }
  } finally {
    closeSync(fd);
  }
}

function scan(...parts: readonly Uint8Array[]): { entries: ScanEntry[]; end: ScanEnd } {
  const path = join(folder, 'it.bckstm');
  writeFileSync(path, Buffer.concat(parts));
  return scanFile(path);
}

/** A piece of a segment: frames and their checkpoint. */
function piece(timeMs: number, ...messages: readonly string[]): Buffer {
  const frames = Buffer.concat(messages.map((message) => encodeFrame('orders', null, message)));
  return Buffer.concat([frames, encodeCheckpoint(frames, messages.length, timeMs)]);
}

function told(entries: readonly ScanEntry[]): string[] {
  return entries.map((entry) => {
    const place = `${entry.kind} ${entry.offset}+${entry.bytes}`;
    return entry.kind === 'checkpoint'
      ? `${place} ${entry.timeMs} ${entry.frames} ${entry.isWhole ? 'fits' : 'does not fit'}`
      : place;
  });
}

const FRAME = encodeFrame('orders', 'k', 'hello');
const torn = (end: ScanEnd): object => ({ wholeBytes: end.wholeBytes, tornBytes: end.tornBytes });

describe('scanFrames: plain frames', () => {
  test("kahego's file: 500 frames, one behind the other, to the end", () => {
    const { entries, end } = scanFile(FIXTURE);
    const size = readFileSync(FIXTURE).length;
    expect(end).toEqual({ wholeBytes: size, tornBytes: 0, reason: '' });
    expect(entries).toHaveLength(500);
    expect(
      entries.every(
        ({ kind, offset }, i) =>
          kind === 'frame' && offset === (i === 0 ? 0 : entries[i - 1]!.offset + entries[i - 1]!.bytes),
      ),
    ).toBe(true);
  });

  test('a bad frame of a sane length is told, and the next one is read', () => {
    const bad = Buffer.concat([Buffer.from([3, 0, 0, 0, 200]), Buffer.from('ab')]);
    const { entries, end } = scan(FRAME, bad, FRAME);
    expect(told(entries)).toEqual(['frame 0+18', 'bad 18+7', 'frame 25+18']);
    expect(torn(end)).toEqual({ wholeBytes: 43, tornBytes: 0 });
  });

  test.each([
    ['half a length', Buffer.from([9, 0]), "expected a frame's length (4 bytes), the file has 2 more"],
    ['half a frame', FRAME.subarray(0, 10), 'expected a frame of 18 bytes, the file has 10 more'],
    [
      'zeros, as a power cut leaves them',
      Buffer.alloc(4096),
      "expected a frame's length from 2 to 268435456, found 0",
    ],
    [
      'no frame at all',
      Buffer.from('GET / HTTP/1.1\r\n'),
      "expected a frame's length from 2 to 268435456, found 542393671",
    ],
  ])('torn: %s', (_, rest, reason) => {
    const { entries, end } = scan(FRAME, rest);
    expect(told(entries)).toEqual(['frame 0+18']);
    expect(end).toEqual({ wholeBytes: 18, tornBytes: rest.length, reason });
  });

  test('frames larger than what is read at a time, and an empty file', () => {
    const large = encodeFrame('orders', null, Buffer.alloc(3_000_000, 'x'));
    expect(told(scan(FRAME, large, FRAME).entries)).toEqual([
      'frame 0+18',
      `frame 18+${large.length}`,
      `frame ${18 + large.length}+18`,
    ]);
    expect(scan()).toEqual({ entries: [], end: { wholeBytes: 0, tornBytes: 0, reason: '' } });
  });
});

describe('scanFrames: segments of the spool', () => {
  const [one, two, three] = [piece(1000, 'a', 'b'), piece(2000, 'c'), piece(3000, 'd', 'e', 'f')];
  const [two0, three0, end0] = [one.length, one.length + two.length, one.length + two.length + three.length];

  test('checkpoints are told with their time, and whether they fit', () => {
    const { entries, end } = scan(one, two, three);
    expect(told(entries).filter((line) => !line.startsWith('frame'))).toEqual([
      `checkpoint ${two0 - CHECKPOINT_BYTES}+27 1000 2 fits`,
      `checkpoint ${three0 - CHECKPOINT_BYTES}+27 2000 1 fits`,
      `checkpoint ${end0 - CHECKPOINT_BYTES}+27 3000 3 fits`,
    ]);
    expect(torn(end)).toEqual({ wholeBytes: end0, tornBytes: 0 });
  });

  test('a byte of a message that was changed: the piece is damaged, what follows is not', () => {
    const changed = Buffer.from(two);
    changed[12]! ^= 1;
    const { entries, end } = scan(one, changed, three);
    expect(entries.filter(({ kind }) => kind === 'damage')).toEqual([
      { kind: 'damage', offset: two0, bytes: two.length, reason: 'the checksum does not fit' },
    ]);
    expect(told(entries).at(-1)).toBe(`checkpoint ${end0 - CHECKPOINT_BYTES}+27 3000 3 fits`);
    expect(torn(end)).toEqual({ wholeBytes: end0, tornBytes: 0 });
  });

  test.each([
    [255, 'far too long'],
    [0, 'nothing'],
    [40, 'into the next piece'],
  ])('a length that was changed to %i (%s): it goes on where a whole piece starts', (length) => {
    const changed = Buffer.from(one);
    changed[0] = length;
    if (length === 255) changed[3] = 255;
    const { entries, end } = scan(changed, two, three);
    expect(
      entries.filter(({ kind }) => kind === 'damage').map(({ offset, bytes }) => [offset, bytes]),
    ).toEqual([[0, two0]]);
    const behind = entries.slice(entries.findIndex(({ kind }) => kind === 'damage') + 1);
    expect(told(behind).filter((line) => line.startsWith('checkpoint'))).toEqual([
      `checkpoint ${three0 - 27}+27 2000 1 fits`,
      `checkpoint ${end0 - 27}+27 3000 3 fits`,
    ]);
    expect(behind.filter(({ kind }) => kind === 'frame')).toHaveLength(4);
    expect(torn(end)).toEqual({ wholeBytes: end0, tornBytes: 0 });
  });

  test('a length that swallows a checkpoint and the piece behind it: that piece is found all the same', () => {
    const changed = Buffer.concat([one, two]);
    changed.writeUInt32LE(changed.length - 27 - 4, 0);
    const { entries } = scan(changed, three);
    expect(
      entries.filter(({ kind }) => kind === 'damage').map(({ offset, bytes }) => [offset, bytes]),
    ).toEqual([[0, two0]]);
    expect(told(entries)).toContain(`checkpoint ${three0 - 27}+27 2000 1 fits`);
  });

  test('a checkpoint whose head was changed still counts', () => {
    const changed = Buffer.from(one);
    changed[one.length - 27 + 7]! ^= 1;
    const { entries } = scan(changed, two);
    expect(told(entries).filter((line) => line.startsWith('checkpoint'))).toEqual([
      `checkpoint ${two0 - 27}+27 1000 2 fits`,
      `checkpoint ${three0 - 27}+27 2000 1 fits`,
    ]);
  });

  test('torn behind the last checkpoint; a message that holds a piece is a message', () => {
    const within = piece(9, piece(8, 'x').toString('latin1'));
    const { entries, end } = scan(within, FRAME, two.subarray(0, 5));
    expect(told(entries).map((line) => line.split(' ')[0])).toEqual(['frame', 'checkpoint', 'frame']);
    expect(end).toMatchObject({ wholeBytes: within.length + 18, tornBytes: 5 });
  });
});
