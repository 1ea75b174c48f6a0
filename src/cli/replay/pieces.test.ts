// The survey of a file and the pieces it is cut into: what the one counts is what the other sends.
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { messagesIn } from '../../../support/frames.js';
import { newFolder } from '../../../support/newFolder.js';
import { encodeCheckpoint } from '../../frames/checkpoint.js';
import { FileWindow } from '../../frames/fileWindow.js';
import { encodeFrame } from '../../frames/frame.js';
import { type Piece, PieceReader, type PieceOptions } from './pieces.js';
import { type Choice, surveyFile } from './survey.js';

const ALL: Choice = { buckets: undefined, maxFrameBytes: 1e9 };
const frame = (bucket: string, message: string): Buffer => encodeFrame(bucket, null, message);
let folder: string;
let fds: number[] = [];

beforeEach(() => void (folder = newFolder()));
afterEach(() => {
  for (const fd of fds) closeSync(fd);
  fds = [];
});

function windowOn(...parts: readonly Buffer[]): FileWindow {
  const path = join(folder, 'it');
  const bytes = Buffer.concat(parts);
  writeFileSync(path, bytes);
  const fd = openSync(path, 'r');
  fds.push(fd);
  return new FileWindow(fd, bytes.length);
}

/** All pieces, once it was seen that they hold what the survey counted. */
async function piecesOf(
  window: FileWindow,
  choice = ALL,
  more: Partial<PieceOptions> = {},
): Promise<Piece[]> {
  const from = more.from ?? 0;
  const survey = await surveyFile(window, from, choice, () => false);
  const reader = new PieceReader(window, {
    from,
    to: survey.end.wholeBytes,
    skips: survey.skips,
    choice,
    maxBytes: 1e6,
    maxFrames: 1000,
    ...more,
  });
  const pieces: Piece[] = [];
  for (let piece = reader.next(); piece !== undefined; piece = reader.next()) pieces.push(piece);
  expect(pieces.reduce((sum, { frames }) => sum + frames, 0)).toBe(survey.frames);
  expect(pieces.at(-1)?.end ?? survey.end.wholeBytes).toBe(survey.end.wholeBytes);
  for (const { bytes, frames } of pieces) expect(messagesIn(bytes)).toHaveLength(frames);
  return pieces;
}

const messages = (pieces: readonly Piece[]): string[][] => pieces.map(({ bytes }) => messagesIn(bytes));

describe('pieces', () => {
  const five = ['1', '2', '3', '4', '5'].map((message) => frame('a', message));

  test('end at so many frames, or bytes; a frame that is larger goes alone', async () => {
    expect(messages(await piecesOf(windowOn(...five), ALL, { maxFrames: 2 }))).toEqual([
      ['1', '2'],
      ['3', '4'],
      ['5'],
    ]);
    expect(messages(await piecesOf(windowOn(...five), ALL, { maxBytes: 24 }))).toEqual([
      ['1', '2', '3'],
      ['4', '5'],
    ]);
    const large = frame('a', 'x'.repeat(3_000_000));
    expect(
      (await piecesOf(windowOn(five[0]!, large, five[1]!))).map(({ frames, bytes }) => [
        frames,
        bytes.length,
      ]),
    ).toEqual([
      [1, 8],
      [1, large.length],
      [1, 8],
    ]);
  });

  test('start where an earlier run has stopped', async () => {
    expect(messages(await piecesOf(windowOn(...five), ALL, { from: 24 }))).toEqual([['4', '5']]);
    expect(await piecesOf(windowOn(...five), ALL, { from: 40 })).toEqual([]);
  });

  test('leave out other buckets, bad frames, frames too large and checkpoints, and count them', async () => {
    const bad = Buffer.from([2, 0, 0, 0, 9, 9]);
    const window = windowOn(
      frame('a', '1'),
      frame('b', '2'),
      bad,
      frame('a', 'x'.repeat(100)),
      encodeFrame('', 'kahe1', 'not one of ours'),
      frame('a', '3'),
    );
    const choice = { buckets: new Set(['a']), maxFrameBytes: 50 };
    expect(await surveyFile(window, 0, choice, () => false)).toMatchObject({
      frames: 1,
      bad: 1,
      tooLarge: 1,
      ofOtherBuckets: 1,
    });
  });

  test('of a plain file with bad frames everything else is sent', async () => {
    const bad = Buffer.from([2, 0, 0, 0, 9, 9]);
    const window = windowOn(frame('a', '1'), bad, frame('b', '2'), bad, bad, frame('a', '3'));
    expect(messages(await piecesOf(window))).toEqual([['1', '2', '3']]);
    expect(messages(await piecesOf(window, { buckets: new Set(['a']), maxFrameBytes: 50 }))).toEqual([
      ['1', '3'],
    ]);
  });

  test('leave out the damaged piece of a segment, and nothing around it', async () => {
    const piece = (...texts: string[]): Buffer => {
      const frames = Buffer.concat(texts.map((text) => frame('a', text)));
      return Buffer.concat([frames, encodeCheckpoint(frames, texts.length, 1)]);
    };
    const middle = piece('3', '4');
    for (let at = 0; at < middle.length; at++) {
      const changed = Buffer.from(middle);
      changed[at]! ^= 0x10;
      const window = windowOn(piece('1', '2'), changed, piece('5'), piece('6', '7'));
      const sent = messages(await piecesOf(window)).flat();
      // The head of a checkpoint is not needed: only its place.
      expect([
        ['1', '2', '5', '6', '7'],
        ['1', '2', '3', '4', '5', '6', '7'],
      ]).toContainEqual(sent);
    }
  });

  test('a file that changes under them is an error, not a wrong frame', async () => {
    const window = windowOn(...five);
    const reader = new PieceReader(window, {
      from: 0,
      to: 40,
      skips: [],
      choice: ALL,
      maxBytes: 16,
      maxFrames: 10,
    });
    expect(reader.next()?.frames).toBe(2);
    const shorter = new PieceReader(new FileWindow(window.fd, 80), {
      from: 0,
      to: 80,
      skips: [],
      choice: ALL,
      maxBytes: 1e6,
      maxFrames: 10,
    });
    expect(() => shorter.next()).toThrow(/no frame at offset 40 any more/);
  });
});
