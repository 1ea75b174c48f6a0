import { describe, expect, test } from 'vitest';
import { MemoryBudget } from '../memory/memoryBudget.js';
import {
  CHECKPOINT_BYTES,
  encodeCheckpoint,
  findCheckpoint,
  isCheckpoint,
  readCheckpoint,
} from './checkpoint.js';
import { encodeFrame } from './frame.js';
import { FrameReader, type FrameSink } from './frameReader.js';

const FRAMES = Buffer.concat([encodeFrame('abc', 'k', 'hey'), encodeFrame('abc', 'k', 'hey')]);
/** Made by another program, bit by bit (CRC32C: reflected 0x1EDC6F41). */
const GOLDEN = Buffer.from('1700000000056b616865317b68e5cf8b010000020000006495acb5', 'hex');
const TIME_MS = 1_700_000_000_123;

describe('checkpoint', () => {
  test('stands byte for byte as the layout says', () => {
    expect(encodeCheckpoint(FRAMES, 2, TIME_MS).toString('hex')).toBe(GOLDEN.toString('hex'));
    expect(GOLDEN).toHaveLength(CHECKPOINT_BYTES);
  });

  test('is written into the bytes that are given', () => {
    const into = Buffer.alloc(CHECKPOINT_BYTES, 0xee);
    expect(encodeCheckpoint(FRAMES, 2, TIME_MS, into)).toBe(into);
    expect(into.equals(GOLDEN)).toBe(true);
  });

  test('says when and how many, and vouches for the bytes and for itself', () => {
    const bytes = Buffer.concat([Buffer.from('before'), FRAMES, GOLDEN]);
    const at = 6 + FRAMES.length;
    expect(readCheckpoint(bytes, 6, at)).toEqual({ timeMs: TIME_MS, frames: 2, isWhole: true });
    expect(readCheckpoint(bytes, 5, at).isWhole).toBe(false);
    expect(readCheckpoint(bytes.subarray(0, -1), 6, at).isWhole).toBe(false);
  });

  test.each(range(0, FRAMES.length + CHECKPOINT_BYTES))(
    'byte %i flipped: not whole, unless it stands in the head, whose place is enough',
    (flipped) => {
      const bytes = Buffer.concat([FRAMES, GOLDEN]);
      bytes[flipped]! ^= 0x10;
      const isHead = flipped >= FRAMES.length && flipped < FRAMES.length + 11;
      expect(readCheckpoint(bytes, 0, FRAMES.length)).toMatchObject({
        isWhole: isHead,
        ...(isHead ? { timeMs: TIME_MS, frames: 2 } : {}),
      });
    },
  );

  test('is found anywhere, whole only', () => {
    const bytes = Buffer.concat([Buffer.from('xy'), GOLDEN, Buffer.from('z'), GOLDEN]);
    expect(findCheckpoint(bytes, 0)).toBe(2);
    expect(findCheckpoint(bytes, 3)).toBe(3 + CHECKPOINT_BYTES);
    expect(findCheckpoint(bytes.subarray(0, -1), 3)).toBe(-1);
    expect(isCheckpoint(bytes, 2)).toBe(true);
    expect(isCheckpoint(bytes, 1)).toBe(false);
    expect(isCheckpoint(bytes, bytes.length - 5)).toBe(false);
  });

  test('is a frame to those who read plain frames, and counts for nothing', () => {
    const bytes = Buffer.concat([FRAMES, GOLDEN, FRAMES]);
    const taken: string[] = [];
    const sink: FrameSink = {
      run: (chunk, start, end, frames) => taken.push(`${frames} ${chunk.toString('hex', start, end)}`),
      bad: (_chunk, _start, _end, reason) => taken.push(reason),
      question: () => taken.push('question'),
      reportQuestion: (level) => taken.push(level),
    };
    new FrameReader(1024, new MemoryBudget(1024 * 1024)).read(bytes, sink);
    expect(taken).toEqual([`2 ${FRAMES.toString('hex')}`, `2 ${FRAMES.toString('hex')}`]);
  });
});

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}
