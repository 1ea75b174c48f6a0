// Record batches of plain and full frames, as an independent decoder reads them: keys, values, headers, order,
// and every time, whatever its distance.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type DecodedRecord } from '../../../support/recordBatchDecoder.js';
import { decode, encodeAll, pickedFrom, wholeOf } from '../../../support/recordBatches.js';
import { Batch } from '../../frames/batch.js';
import { encodeFrame } from '../../frames/frame.js';
import { type FullFrame, encodeFullFrame } from '../../frames/fullFrame.js';
import { MemoryBudget } from '../../memory/memoryBudget.js';
import { type FrameRange, HEADER_BYTES, roomFor } from './recordBatch.js';
import { recordEncoder } from './recordEncoder.js';

type Sent = Omit<FullFrame, 'bucket'> & { readonly isPlain?: boolean; readonly arrivalMs: number };

const T0 = 1_700_000_000_000;

function batchOf(frames: readonly Sent[], bucket = 'requests'): Batch {
  const batch = new Batch(bucket, new MemoryBudget(1e9));
  for (const frame of frames) {
    const bytes =
      frame.isPlain === true
        ? encodeFrame(bucket, frame.key ?? null, frame.value!)
        : encodeFullFrame({ bucket, ...frame });
    batch.append(bytes, 0, bytes.length, 1, frame.arrivalMs);
  }
  return batch;
}

const bytesOf = (value: string | Uint8Array | null | undefined): string | null =>
  value === null || value === undefined ? null : Buffer.from(value).toString('latin1');

function expected({ isPlain, key, value, headers = [], timestampMs = -1, arrivalMs }: Sent): object {
  const isNoKey = isPlain === true && (key === null || key === undefined || key.length === 0);
  return {
    timestamp: timestampMs < 0 ? arrivalMs : timestampMs,
    key: isNoKey ? null : bytesOf(key),
    value: bytesOf(value),
    headers: headers.map(([name, each]) => [name, bytesOf(each)]),
  };
}

function shown({ timestamp, key, value, headers }: DecodedRecord): object {
  return {
    timestamp,
    key: bytesOf(key),
    value: bytesOf(value),
    headers: headers.map((header) => [header.key, bytesOf(header.value)]),
  };
}

function expectSame(frames: readonly Sent[], maxBytes?: number, maxFrames?: number): void {
  const batch = batchOf(frames);
  const expectRecords = (range: FrameRange, sent: readonly Sent[]): void => {
    const [got, wanted] = [decode(encodeAll(range, { maxBytes, maxFrames })).map(shown), sent.map(expected)];
    // Long ones are compared as text first, which is quicker.
    if (JSON.stringify(got) !== JSON.stringify(wanted)) expect(got).toEqual(wanted);
  };
  expectRecords(wholeOf(batch), frames);
  expectRecords(pickedFrom(batch, [...frames.keys()]), frames);
  const odd = [...frames.keys()].filter((i) => i % 2 === 1);
  if (odd.length > 0)
    expectRecords(
      pickedFrom(batch, odd),
      frames.filter((_, i) => i % 2 === 1),
    );
}

describe('record batch of full frames', () => {
  it('null and empty keys, null and empty values, headers with null, among plain frames', () => {
    expectSame([
      { isPlain: true, key: 'k', value: 'plain', arrivalMs: T0 },
      { key: null, value: 'null key', arrivalMs: T0 },
      { key: '', value: 'empty key', arrivalMs: T0 },
      { key: 'k', value: null, arrivalMs: T0 + 1 },
      { key: 'k', value: '', arrivalMs: T0 + 1 },
      { isPlain: true, value: 'plain, no key', arrivalMs: T0 + 2 },
      {
        key: 'x'.repeat(300),
        value: 'long key',
        headers: [
          ['h', null],
          ['h', ''],
          ['', 'x'],
        ],
        arrivalMs: T0 + 2,
      },
    ]);
  });

  it('times of its own: of 1970, of far ahead, before and behind each other, between times of arrival', () => {
    const times = [T0 + 9, 0, -1, Number.MAX_SAFE_INTEGER, 1, T0 - 2 ** 31, -1, Date.UTC(2250, 0), 0];
    const frames = times.map((timestampMs, i) => ({ value: `m${i}`, timestampMs, arrivalMs: T0 + i }));
    expectSame(frames);
    expectSame([{ isPlain: true, value: 'first', arrivalMs: T0 }, ...frames]);
    expectSame(frames.map((frame) => ({ ...frame, value: 'x'.repeat(70_000) })));
    for (let first = 0; first < frames.length; first++) expectSame(frames.slice(first), 200, 3);
  });

  it('says how many brought a time, and which is the greatest', () => {
    const batch = batchOf([
      { value: 'a', timestampMs: 7, arrivalMs: T0 },
      { value: 'b', arrivalMs: T0 },
      { value: 'x'.repeat(80_000), timestampMs: T0 + 50, arrivalMs: T0 },
      { isPlain: true, value: 'c', arrivalMs: T0 + 1 },
    ]);
    const room = roomFor(wholeOf(batch), 1e6);
    expect(recordEncoder().encode(wholeOf(batch), Buffer.alloc(room), HEADER_BYTES, room, 100)).toMatchObject(
      {
        frames: 4,
        firstTimestampMs: 7,
        lastTimestampMs: T0 + 50,
        ownTimes: 2,
      },
    );
  });

  it('65,535 headers, and keys, values and headers longer than what is encoded at a time', () => {
    const headers = Array.from({ length: 65_535 }, (_, i) => [`h${i}`, i % 3 ? `${i}` : null] as const);
    const long = 'y'.repeat(100_000);
    expectSame([
      { value: 'many', headers, arrivalMs: T0 },
      { isPlain: true, value: long, key: 'k', arrivalMs: T0 },
      { isPlain: true, value: long, arrivalMs: T0 + 2 ** 33 },
      {
        key: long,
        value: null,
        headers: [[long.slice(0, 60_000), long]],
        timestampMs: 5,
        arrivalMs: T0 + 2 ** 33,
      },
      { value: long, arrivalMs: T0 + 2 ** 33 + 3 },
    ]);
  });

  it('a frame of 20 MB whose headers have a megabyte each has room enough', () => {
    const headers = Array.from({ length: 18 }, () => ['n'.repeat(9_000), 'v'.repeat(1024 * 1024)] as const);
    expectSame([{ value: null, headers, arrivalMs: T0, timestampMs: Number.MAX_SAFE_INTEGER }]);
  });

  const bytes = fc.oneof(
    { weight: 8, arbitrary: fc.uint8Array({ maxLength: 300 }) },
    { weight: 1, arbitrary: fc.nat(90_000).map((length) => new Uint8Array(length).fill(length & 0xff)) },
  );
  const field = fc.option(bytes, { nil: null });
  const time = fc.oneof(fc.constant(-1), fc.maxSafeNat(), fc.integer({ min: T0 - 1e6, max: T0 + 1e6 }));
  const fullFrame = fc.record({
    key: field,
    value: field,
    timestampMs: time,
    headers: fc.array(fc.tuple(fc.string({ unit: 'grapheme', maxLength: 90 }), field), { maxLength: 5 }),
  });
  const plainFrame = fc.record({
    isPlain: fc.constant(true),
    key: fc.option(fc.uint8Array({ maxLength: 255 }), { nil: null }),
    value: bytes,
  });
  const frameList = fc.array(fc.tuple(fc.oneof(fullFrame, plainFrame), fc.nat(3)), {
    minLength: 1,
    maxLength: 40,
  });

  it('any frames, any cut, whole or picked: the same records come out, in order', () => {
    fc.assert(
      fc.property(
        frameList,
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 1, max: 100_000 }),
        (list, maxFrames, maxBytes) => {
          let arrivalMs = T0;
          expectSame(
            list.map(([frame, waitMs]): Sent => ({ ...frame, arrivalMs: (arrivalMs += waitMs * 1000) })),
            maxBytes,
            maxFrames,
          );
        },
      ),
      { numRuns: 150 },
    );
  });
});
