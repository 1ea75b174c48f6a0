// The walker of frames against a parser that is written as plainly as possible, on bytes damaged by chance.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { naiveProblem } from '../../support/fullFrames.js';
import type { OpenFile } from '../disk/fileSystem.js';
import { encodeCheckpoint } from './checkpoint.js';
import { countFrames, encodeFrame, endOfFrames } from './frame.js';
import { encodeFullFrame } from './fullFrame.js';
import { type ScanEntry, scanFrames } from './scan.js';
import {
  FrameWalk,
  type Found,
  type FrameSource,
  LONGEST_BODY,
  countWhole,
  inMemory,
  isWhole,
} from './walk.js';

const LONG = Buffer.alloc(300_000, 'x');

const frame = fc
  .record({
    bucket: fc.constantFrom('a', 'orders', 'b'.repeat(255)),
    key: fc.constantFrom(null, 'k', 'k'.repeat(255)),
    message: fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.constant(new Uint8Array(LONG))),
  })
  .map(({ bucket, key, message }) => encodeFrame(bucket, key, message));

const fullFrame = fc
  .record({
    bucket: fc.constantFrom('a', 'orders', 'b'.repeat(255)),
    key: fc.option(fc.constantFrom<string | Buffer>('', 'k', LONG), { nil: null }),
    value: fc.option(fc.constantFrom<string | Buffer>('', 'v', LONG), { nil: null }),
    headers: fc.array(fc.constantFrom(['h', null] as const, ['é', LONG] as const), { maxLength: 3 }),
  })
  .map((parts) => encodeFullFrame(parts));

const part = fc.oneof(
  { weight: 6, arbitrary: frame },
  { weight: 3, arbitrary: fullFrame },
  { weight: 1, arbitrary: fc.constant(encodeFrame('', 'k', 'no bucket')) },
  { weight: 1, arbitrary: fc.constant(Buffer.from([4, 0, 0, 0, 200, 1, 2, 3])) },
  { weight: 1, arbitrary: fc.constant(Buffer.from([2, 0, 0, 0, 1, 1])) },
  { weight: 1, arbitrary: fc.constant(encodeCheckpoint(Buffer.from('xx'), 1, 5)) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 6 }).map((bytes) => Buffer.from(bytes)) },
);

/** Some parts, cut anywhere, with some bytes changed. */
const file = fc
  .record({
    parts: fc.array(part, { maxLength: 12 }),
    cut: fc.double({ min: 0.5, max: 1, noNaN: true }),
    flips: fc.array(fc.record({ at: fc.nat(), by: fc.integer({ min: 1, max: 255 }) }), { maxLength: 2 }),
  })
  .map(({ parts, cut, flips }) => {
    const all = Buffer.concat(parts);
    const bytes = Buffer.from(all.subarray(0, Math.ceil(all.length * cut)));
    for (const { at, by } of flips) if (bytes.length > 0) bytes[at % bytes.length]! ^= by;
    return bytes;
  });

interface Walked {
  readonly wholes: readonly string[];
  readonly rest: Found;
}

/** The rule once more, with everything at hand and no thought for speed. */
function reference(bytes: Buffer): Walked {
  const wholes: string[] = [];
  let at = 0;
  for (;;) {
    const left = bytes.subarray(at);
    if (left.length === 0) return { wholes, rest: 'end' };
    if (left.length < 4) return { wholes, rest: 'half a frame' };
    const length = left.readUInt32LE(0);
    if (length < 2 || length > LONGEST_BODY) return { wholes, rest: 'no length' };
    const body = left.subarray(4, 4 + length);
    if (body.length < length) return { wholes, rest: 'half a frame' };
    wholes.push(`${at}+${4 + length} ${kindOf(body)}`);
    at += 4 + length;
  }
}

function kindOf(body: Buffer): Found {
  const afterBucket = body.subarray(1 + body[0]!);
  const key = afterBucket.subarray(1, 1 + (afterBucket[0] ?? 0));
  if (afterBucket.length === 0 || key.length < afterBucket[0]!) return 'lengths pass the end of the frame';
  if (body[0]! > 0) return 'frame';
  if (key.toString() === 'kahe2') return naiveProblem(Buffer.concat([Buffer.alloc(4), body])) ?? 'full frame';
  return key.toString() === 'kahe1' ? 'checkpoint' : 'no bucket';
}

function walked(source: FrameSource): Walked {
  const walk = new FrameWalk(source);
  const wholes: string[] = [];
  while (isWhole(walk.look())) {
    wholes.push(`${walk.at}+${walk.end - walk.at} ${walk.found}`);
    walk.pass();
  }
  return { wholes, rest: walk.found };
}

/** Has in memory what was asked for and no byte more, each time somewhere else. */
class NarrowSource implements FrameSource {
  bytes = Buffer.alloc(0);
  readonly size: number;

  constructor(readonly all: Buffer) {
    this.size = all.length;
  }

  locate(offset: number, least: number): number {
    const index = offset % 7;
    this.bytes.fill(0xee);
    this.bytes = Buffer.concat([Buffer.alloc(index, 0xee), this.all.subarray(offset, offset + least)]);
    return index;
  }
}

function openFile(bytes: Buffer): OpenFile {
  return {
    // A read may stop half-way.
    read: (into: Uint8Array, position: number) =>
      Promise.resolve(bytes.copy(into, 0, position, position + Math.ceil(into.length / 2))),
  } as Partial<OpenFile> as OpenFile;
}

function offsets(entries: readonly ScanEntry[]): string[] {
  return entries.map(({ kind, offset, bytes }) => `${offset}+${bytes} ${kind}`);
}

describe('FrameWalk', () => {
  test('finds what a plain parser finds, however little of the file is in memory', () => {
    fc.assert(
      fc.property(file, (bytes) => {
        const expected = reference(bytes);
        expect(walked(inMemory(bytes))).toEqual(expected);
        expect(walked(new NarrowSource(bytes))).toEqual(expected);
      }),
      { numRuns: 500 },
    );
  });

  test('countWhole counts what a plain parser counts, in files longer than what is read at a time too', async () => {
    await fc.assert(
      fc.asyncProperty(file, async (bytes) => {
        const { wholes, rest } = reference(bytes);
        const end = wholes.length === 0 ? 0 : ends(wholes.at(-1)!);
        expect(await countWhole(openFile(bytes), bytes.length)).toEqual({
          frames: wholes.length,
          bytes: end,
          tail: rest,
        });
      }),
      { numRuns: 200 },
    );
  });

  test('countWhole: a file that became shorter ends in half a frame, and one that grew is counted as it was', async () => {
    const frames = ['one', 'two', 'three'].map((message) => encodeFrame('orders', null, message));
    const [bytes, two] = [Buffer.concat(frames), frames[0]!.length + frames[1]!.length];
    const half = { frames: 2, bytes: two, tail: 'half a frame' };
    expect(await countWhole(openFile(bytes.subarray(0, -3)), bytes.length)).toEqual(half);
    expect(await countWhole(openFile(bytes.subarray(0, two)), bytes.length)).toEqual(half);
    expect(await countWhole(openFile(bytes), two)).toEqual({ frames: 2, bytes: two, tail: 'end' });
  });

  test('scanFrames tells of frames alone what a plain parser finds', () => {
    const plain = fc
      .array(fc.oneof(frame, fullFrame), { maxLength: 12 })
      .map((frames) => Buffer.concat(frames));
    fc.assert(
      fc.property(plain, fc.nat(20), (bytes, cut) => {
        const torn = bytes.subarray(0, Math.max(0, bytes.length - cut));
        const wholes = reference(torn).wholes.map((whole) => whole.replace('full frame', 'frame'));
        expect(offsets([...scanFrames(inMemory(torn))])).toEqual(wholes);
      }),
      { numRuns: 200 },
    );
  });
});

test('frames that are known to be whole are counted, and passed over, one by one', () => {
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 12 }), fc.nat(12), (frames, some) => {
      const first = Math.min(some, frames.length);
      const bytes = Buffer.concat([Buffer.from('xx'), ...frames]);
      const end = endOfFrames(bytes, 2, first);
      expect(end).toBe(2 + Buffer.concat(frames.slice(0, first)).length);
      expect(countFrames(bytes, end, bytes.length)).toBe(frames.length - first);
    }),
    { numRuns: 100 },
  );
});

function ends(whole: string): number {
  const [, at, bytes] = /^(\d+)\+(\d+) /.exec(whole)!;
  return Number(at) + Number(bytes);
}
