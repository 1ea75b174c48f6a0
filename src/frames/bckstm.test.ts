// Reading backup files: kahego's own, torn ones, and what no daemon has written.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type BckstmEnd, type BckstmFrame, readBckstm } from './bckstm.js';
import { encodeFrame } from './frame.js';

const FIXTURE = new URL('../../test/fixtures/kahego-500.bckstm', import.meta.url).pathname;
let folder: string;

beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), 'kahe-bckstm-'))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function readAll(path: string): { frames: BckstmFrame[]; end: BckstmEnd } {
  const frames: BckstmFrame[] = [];
  const reading = readBckstm(path);
  for (let next = reading.next(); ; next = reading.next()) {
    if (next.done === true) return { frames, end: next.value };
    frames.push(next.value);
  }
}

function readBytes(bytes: Uint8Array): { frames: BckstmFrame[]; end: BckstmEnd } {
  const path = join(folder, 'bytes.bckstm');
  writeFileSync(path, bytes);
  return readAll(path);
}

describe('readBckstm: a file of kahego', () => {
  test('has 500 frames, with the keys and messages that were sent', () => {
    const bytes = readFileSync(FIXTURE);
    const { frames, end } = readAll(FIXTURE);
    expect(end).toEqual({ wholeBytes: bytes.length, tornBytes: 0 });
    expect(frames).toHaveLength(500);
    expect(new Set(frames.map(({ kind, bucket }) => `${kind} ${bucket.toString()}`))).toEqual(new Set(['frame kh_files']));
    const keys = frames.map(({ key }) => key?.toString());
    expect(keys.filter((key) => key === undefined)).toHaveLength(250);
    expect([...new Set(keys.filter((key) => key !== undefined))].sort()).toEqual(['user-0', 'user-1', 'user-2', 'user-3', 'user-4', 'user-5', 'user-6']);
    expect(frames.filter(({ message }) => message.length === 0)).toHaveLength(1);
    const isText = ({ message }: BckstmFrame): boolean => Buffer.from(message.toString()).equals(message);
    expect(frames.filter((frame) => isText(frame) && frame.message.toString().startsWith('{"n":')).length).toBeGreaterThan(440);
    expect(frames.map(({ message }) => message.toString()).join()).toContain('héllo');
  });

  test('put together again is byte for byte the file', () => {
    const { frames } = readAll(FIXTURE);
    expect(Buffer.concat(frames.map(({ bucket, key, message }) => encodeFrame(bucket, key, message)))).toEqual(readFileSync(FIXTURE));
    let at = 0;
    for (const { offset, bucket, key, message } of frames) {
      expect(offset).toBe(at);
      at += 6 + bucket.length + (key?.length ?? 0) + message.length;
    }
  });
});

describe('readBckstm: a torn end', () => {
  test('at every byte: the whole frames are read, and the rest is told', () => {
    const whole = Buffer.concat([encodeFrame('a', 'k', 'first'), encodeFrame('b', null, ''), encodeFrame('a', null, 'the last one')]);
    const ends = [0];
    for (const frame of readBytes(whole).frames) ends.push(frame.offset + 6 + frame.bucket.length + (frame.key?.length ?? 0) + frame.message.length);
    for (let cut = 0; cut <= whole.length; cut++) {
      const { frames, end } = readBytes(whole.subarray(0, cut));
      const wholeBytes = ends.filter((e) => e <= cut).at(-1)!;
      expect(end).toEqual({ wholeBytes, tornBytes: cut - wholeBytes });
      expect(frames).toHaveLength(ends.indexOf(wholeBytes));
    }
  });

  test('a length that can\'t be is a torn end too, and takes no memory', () => {
    const frame = encodeFrame('a', null, 'm');
    const before = process.memoryUsage().rss;
    for (const length of [2 ** 30 + 1, 2 ** 31, 2 ** 32 - 1]) {
      const head = Buffer.alloc(4);
      head.writeUInt32LE(length);
      const { frames, end } = readBytes(Buffer.concat([frame, head, Buffer.alloc(100)]));
      expect([frames.length, end]).toEqual([1, { wholeBytes: frame.length, tornBytes: 104 }]);
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * 1024 * 1024);
  });

  test('an empty file has nothing and is not torn', () => {
    expect(readBytes(Buffer.alloc(0))).toEqual({ frames: [], end: { wholeBytes: 0, tornBytes: 0 } });
  });
});

describe('readBckstm: frames', () => {
  test('one over the size of a piece, between small ones, and one that ends just with a piece', () => {
    const piece = 1024 * 1024;
    const messages = [Buffer.from('small'), Buffer.alloc(3 * piece + 7, 0xab), Buffer.from('small too'), Buffer.alloc(piece - 500, 1), Buffer.alloc(0)];
    const { frames, end } = readBytes(Buffer.concat(messages.map((message) => encodeFrame('a', 'k', message))));
    expect(frames.map(({ message }) => message.length)).toEqual(messages.map(({ length }) => length));
    for (const [i, { message }] of frames.entries()) expect(message.equals(messages[i]!)).toBe(true);
    expect(end.tornBytes).toBe(0);
    const exact = Buffer.concat([encodeFrame('a', null, Buffer.alloc(piece - 7)), encodeFrame('a', null, 'next')]);
    expect(readBytes(exact).frames.map(({ message }) => message.length)).toEqual([piece - 7, 4]);
  });

  test('checkpoints and bad frames are told apart, and reading goes on', () => {
    const bytes = Buffer.concat([
      encodeFrame('a', null, '1'), encodeFrame('', 'kahe1', Buffer.alloc(16)), Buffer.from([3, 0, 0, 0, 200, 1, 2]),
      encodeFrame('', 'other', 'x'), Buffer.alloc(4), Buffer.from([1, 0, 0, 0, 9]), encodeFrame('a', null, '2'),
    ]);
    const { frames, end } = readBytes(bytes);
    expect(frames.map(({ kind, message }) => `${kind} ${message.toString('latin1')}`)).toEqual([
      'frame 1', `checkpoint ${'\0'.repeat(16)}`, 'bad \u00c8\u0001\u0002', 'bad \0\u0005otherx', 'bad ', 'bad \t', 'frame 2',
    ]);
    expect(end.tornBytes).toBe(0);
  });

  test('a frame is its own: it stays when reading goes on', () => {
    const reading = readBckstm(FIXTURE);
    const first = reading.next().value as BckstmFrame;
    for (let next = reading.next(); next.done !== true; next = reading.next());
    expect(first.bucket.toString()).toBe('kh_files');
  });

  test('a file that is not there, or no file, is an error', () => {
    expect(() => readAll(join(folder, 'missing'))).toThrow('ENOENT');
    expect(() => readAll(folder)).toThrow('EISDIR');
  });
});

describe('encodeFrame', () => {
  test('writes the layout', () => {
    expect(encodeFrame('ab', 'k', 'msg').toString('hex')).toBe('08000000' + '02' + '6162' + '01' + '6b' + '6d7367');
    expect(encodeFrame('ü', null, '')).toEqual(Buffer.from([4, 0, 0, 0, 2, 0xc3, 0xbc, 0]));
  });

  test('what does not fit is refused, not cut', () => {
    expect(() => encodeFrame('x'.repeat(256), null, '')).toThrow('bucket is 256 bytes; at most 255 fit in a frame');
    expect(() => encodeFrame('a', 'ü'.repeat(128), '')).toThrow('key is 256 bytes; at most 255 fit in a frame');
    expect(encodeFrame('x'.repeat(255), 'x'.repeat(255), '')).toHaveLength(6 + 510);
  });
});
