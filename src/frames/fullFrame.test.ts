// The full frame against its vectors, which other clients have too, and against a naive reader of the layout:
// what is judged sound reads back as it was written, and no lie of a length is followed.
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { naiveProblem } from '../../support/fullFrames.js';
import { BAD_REASONS, type BadReason, bucketOf, encodeFrame, judgeBody, sameBucket } from './frame.js';
import { type FullFrame, encodeFullFrame, judgeFull, keyLengthOf, readFullFrame } from './fullFrame.js';

interface Vectors {
  readonly frames: readonly {
    readonly meaning: string;
    readonly hex: string;
    readonly frame: {
      readonly bucket: string;
      readonly partition: number;
      readonly timestampMs: number;
      readonly keyHex: string | null;
      readonly valueHex: string | null;
      readonly headers: readonly { readonly name: string; readonly valueHex: string | null }[];
    };
  }[];
  readonly bad: readonly { readonly meaning: string; readonly reason: BadReason; readonly hex: string }[];
}

const FILE = new URL('../../test/fixtures/full-frames.json', import.meta.url);
const VECTORS = JSON.parse(readFileSync(FILE, 'utf8')) as Vectors;

function judge(frame: Buffer): BadReason | undefined {
  return judgeFull(frame, 0, frame.length - 4);
}

function bytesOf(hex: string | null): Buffer | null {
  return hex === null ? null : Buffer.from(hex, 'hex');
}

describe('full frames: vectors', () => {
  test.each(VECTORS.frames)('$meaning', ({ hex, frame }) => {
    const bytes = Buffer.from(hex, 'hex');
    const parts: FullFrame = {
      bucket: frame.bucket,
      partition: frame.partition,
      timestampMs: frame.timestampMs,
      key: bytesOf(frame.keyHex),
      value: bytesOf(frame.valueHex),
      headers: frame.headers.map(({ name, valueHex }) => [name, bytesOf(valueHex)] as const),
    };
    expect(encodeFullFrame(parts).toString('hex')).toBe(hex);
    expect([judgeBody(bytes, 0, bytes.length - 4), judge(bytes)]).toEqual(['full frame', undefined]);
    expect(readFullFrame(bytes)).toEqual({ ...parts, bucket: Buffer.from(frame.bucket) });
  });

  test.each(VECTORS.bad)('bad: $meaning', ({ hex, reason }) => {
    expect(judge(Buffer.from(hex, 'hex'))).toBe(reason);
  });

  test('every reason has a vector', () => {
    expect(new Set(VECTORS.bad.map(({ reason }) => reason))).toEqual(new Set(BAD_REASONS));
  });
});

describe('full frames: any', () => {
  const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
  const nullable = fc.option(bytes, { nil: null });
  const frames = fc.record({
    bucket: fc.string({ minLength: 1, maxLength: 60 }).map((text) => Buffer.from(text)),
    partition: fc.integer({ min: -1, max: 2 ** 31 - 1 }),
    timestampMs: fc.oneof(fc.constant(-1), fc.maxSafeNat()),
    key: nullable,
    value: nullable,
    headers: fc.array(fc.tuple(fc.string({ unit: 'grapheme', maxLength: 20 }), nullable), { maxLength: 8 }),
  });

  test('what is written is sound, and reads back', () => {
    fc.assert(
      fc.property(frames, (frame) => {
        const encoded = encodeFullFrame(frame);
        expect(judge(encoded)).toBeUndefined();
        expect(readFullFrame(encoded)).toEqual(frame);
        expect(naiveProblem(encoded)).toBeUndefined();
      }),
    );
  });

  test('cut off, made longer, or with bytes changed: sound or not as the naive reader says', () => {
    const edits = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 0, maxLength: 3 });
    fc.assert(
      fc.property(frames, edits, fc.integer({ min: -40, max: 4 }), (frame, changes, grown) => {
        const encoded = encodeFullFrame(frame);
        const length = Math.max(11, encoded.length + grown);
        const edited = Buffer.concat([encoded, Buffer.alloc(4)]).subarray(0, length);
        for (const [at, value] of changes) if (length > 11) edited[11 + (at % (length - 11))] = value;
        expect(judge(edited)).toBe(naiveProblem(edited));
        // What surrounds the frame in a chunk says nothing of it.
        const around = Buffer.concat([Buffer.alloc(9, 0xff), edited, Buffer.alloc(500)]);
        expect(judgeFull(around, 9, length - 4)).toBe(naiveProblem(edited));
      }),
      { numRuns: 2_000 },
    );
  });
});

test('65,535 headers, and a key of 16 MB', () => {
  const headers = Array.from({ length: 65_535 }, (_, i) => [`h${i}`, i % 3 ? String(i) : null] as const);
  const many = encodeFullFrame({ bucket: 'b', value: 'v', headers });
  expect(judge(many)).toBeUndefined();
  expect(readFullFrame(many).headers.map(([name, value]) => [name, value?.toString() ?? null])).toEqual(
    headers,
  );
  const long = encodeFullFrame({ bucket: 'b', key: Buffer.alloc(16 * 1024 * 1024, 1), value: null });
  expect([judge(long), keyLengthOf(long, 0)]).toEqual([undefined, 16 * 1024 * 1024]);
});

test.each<[string, Partial<FullFrame>]>([
  ['no bucket', { bucket: '' }],
  ['a bucket of 256 bytes', { bucket: 'x'.repeat(256) }],
  ['partition -2', { partition: -2 }],
  ['partition 2^31', { partition: 2 ** 31 }],
  ['half a partition', { partition: 0.5 }],
  ['a time before 1970', { timestampMs: -2 }],
  ['a time of 2^53', { timestampMs: 2 ** 53 }],
  ['65,536 headers', { headers: Array.from({ length: 65_536 }, () => ['h', null] as const) }],
  ['a header name of 65,536 bytes', { headers: [['x'.repeat(65_536), null]] }],
])("encodeFullFrame: %s can't be", (_name, part) => {
  expect(() => encodeFullFrame({ bucket: 'b', value: 'v', ...part })).toThrow(RangeError);
});

test('the bucket of a full frame is that of a plain one of the same name', () => {
  const [plain, full] = [encodeFrame('orders', 'k', 'v'), encodeFullFrame({ bucket: 'orders', value: null })];
  const other = encodeFullFrame({ bucket: 'orderz', value: null });
  expect([bucketOf(plain, 0), bucketOf(full, 0)].map(String)).toEqual(['orders', 'orders']);
  expect([
    sameBucket(plain, 0, full, 0),
    sameBucket(full, 0, full, 0),
    sameBucket(plain, 0, other, 0),
  ]).toEqual([true, true, false]);
});
