// Record batches as an independent decoder reads them: content, order, times and checksum.
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { decodeRecordBatch, type DecodedRecord } from '../../../support/recordBatchDecoder.js';
import { decode, encodeAll, pickedFrom, wholeOf } from '../../../support/recordBatches.js';
import { Batch } from '../../frames/batch.js';
import { encodeFrame } from '../../frames/frame.js';
import { MemoryBudget } from '../../memory/memoryBudget.js';
import { compileRecordEncoder } from './assembly/compile.js';
import { skipFrames, startOf } from './recordBatch.js';
import { RECORD_ENCODER_CODE } from './recordEncoderCode.js';

interface Sent {
  readonly key: Buffer | null;
  readonly value: Buffer;
  readonly timeMs: number;
}

const T0 = 1_700_000_000_000;
const budget = new MemoryBudget(1e9);
afterEach(() => expect(budget.heldBytes).toBe(0));

const sent = (value: Buffer | string, key: Buffer | string | null = null, timeMs = T0): Sent => ({
  key: key === null ? null : Buffer.from(key),
  value: Buffer.from(value),
  timeMs,
});

/** A batch of these frames; `exact` leaves no slack behind the last byte. */
function batchOf(frames: readonly Sent[], bucket = 'requests', exact = false): Batch {
  const batch = new Batch(bucket, budget);
  for (const { key, value, timeMs } of frames) {
    const bytes = encodeFrame(bucket, key, value);
    batch.append(bytes, 0, bytes.length, 1, timeMs);
  }
  if (exact) {
    budget.give(batch.bytes.length - batch.length);
    batch.bytes = Buffer.from(Uint8Array.from(batch.view()).buffer);
  }
  return batch;
}

function expectSame(records: readonly DecodedRecord[], frames: readonly Sent[]): void {
  expect(records.length).toBe(frames.length);
  for (const [i, { key, value, timestamp, headers }] of records.entries()) {
    const wanted = frames[i]!;
    expect(timestamp).toBe(wanted.timeMs);
    expect(headers).toEqual([]);
    // An empty key in a frame is no key.
    expect(key?.toString('latin1') ?? null).toBe(
      wanted.key === null || wanted.key.length === 0 ? null : wanted.key.toString('latin1'),
    );
    if (!value!.equals(wanted.value)) expect(value).toEqual(wanted.value);
  }
}

function filled(size: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(size);
  for (let i = 0; i < size; i++) bytes[i] = (i * 31 + seed * 17 + (i >> 8)) & 0xff;
  return bytes;
}

describe('record batch', () => {
  it('keys, no keys, empty messages, binary', () => {
    const frames = [
      sent('plain'),
      sent('', 'k'),
      sent(''),
      sent(Buffer.from([0, 255, 128, 10]), Buffer.from([255, 0])),
      sent('é€', 'ключ'),
      sent('x', 'k'.repeat(255)),
      sent('last', ''),
    ];
    const batch = batchOf(frames);
    const [bytes] = encodeAll(wholeOf(batch));
    expectSame(decode([bytes!]), frames);
    expect(decodeRecordBatch(bytes!)).toMatchObject({
      baseOffset: 0,
      codec: 'none',
      partitionLeaderEpoch: -1,
      producerId: -1,
      producerEpoch: -1,
      baseSequence: -1,
      isTransactional: false,
      isControl: false,
      isLogAppendTime: false,
      baseTimestamp: T0,
      maxTimestamp: T0,
    });
    batch.release();
  });

  it.each([
    0, 1, 2, 3, 4, 5, 31, 32, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63, 64, 65, 126, 127, 128, 129, 155,
    156, 157, 158, 159, 160, 161, 162, 163, 164, 165, 8180, 8181, 8182, 8183, 8184, 8185, 8186, 8187, 8188,
    8189, 8190, 8191, 8192, 8193, 16_383, 16_384, 65_520, 65_526, 65_527, 65_528, 65_529, 65_530, 65_531,
    65_536, 131_072, 1_048_560, 1_048_569, 1_048_570, 1_048_575, 1_048_576, 1_048_577,
  ])(
    'a message of %d bytes, alone, between others, with a key, and at the very end of its memory',
    (size) => {
      const value = filled(size, size);
      const frames = [sent(value), sent('between'), sent(value, 'key'), sent(value)];
      for (const exact of [false, true]) {
        const batch = batchOf(frames, 'b', exact);
        expectSame(decode(encodeAll(wholeOf(batch), { maxBytes: 8_000_000 })), frames);
        expectSame(decode(encodeAll(pickedFrom(batch, [0, 2, 3]), { maxBytes: 8_000_000 })), [
          frames[0]!,
          frames[2]!,
          frames[3]!,
        ]);
        batch.release();
      }
    },
  );

  it.each([1, 62, 63, 64, 65, 127, 128, 254, 255])('a key of %d bytes', (size) => {
    const frames = [
      sent('a', filled(size, 3)),
      sent(filled(200), filled(size, 4)),
      sent('', filled(size, 5)),
    ];
    const batch = batchOf(frames, 'b', true);
    expectSame(decode(encodeAll(wholeOf(batch))), frames);
    batch.release();
  });

  it.each([0, 1, 2, 3, 255])('every length of the bucket name moves the bytes: %d + 1', (extra) => {
    const frames = [sent(filled(7)), sent(filled(161), 'k')];
    const batch = batchOf(frames, 'b'.repeat(Math.min(255, extra + 1)), true);
    expectSame(decode(encodeAll(wholeOf(batch))), frames);
    batch.release();
  });

  it.each([1, 63, 64, 8191, 8192, 1_048_575, 1_048_576, 134_217_727, 134_217_728, 2 ** 30, 2 ** 31 - 1])(
    'arrivals %d ms apart',
    (apart) => {
      const frames = [
        sent('a'),
        sent('b', null, T0 + 1),
        sent('c', 'k', T0 + apart),
        sent('d', null, T0 + apart),
      ].sort((a, b) => a.timeMs - b.timeMs);
      const batch = batchOf(frames);
      const [bytes] = encodeAll(wholeOf(batch));
      expectSame(decode([bytes!]), frames);
      expect(decodeRecordBatch(bytes!)).toMatchObject({ baseTimestamp: T0, maxTimestamp: T0 + apart });
      batch.release();
    },
  );

  it('each record batch of a cut batch begins at the time of its own first frame', () => {
    const frames = Array.from({ length: 50 }, (_, i) => sent(`m${i}`, null, T0 + Math.floor(i / 3) * 7));
    const batch = batchOf(frames);
    const batches = encodeAll(wholeOf(batch), { maxFrames: 8 });
    expectSame(decode(batches), frames);
    expect(batches.map((bytes) => decodeRecordBatch(bytes).baseTimestamp)).toEqual(
      [0, 8, 16, 24, 32, 40, 48].map((i) => frames[i]!.timeMs),
    );
    batch.release();
  });

  it('a clock that stepped back does not show', () => {
    const frames = [sent('a', null, T0 + 5), sent('b', null, T0), sent('c', null, T0 + 9)];
    const batch = batchOf(frames);
    expect(decode(encodeAll(wholeOf(batch))).map(({ timestamp }) => timestamp)).toEqual([
      T0 + 5,
      T0 + 5,
      T0 + 9,
    ]);
    batch.release();
  });

  it('cuts at maxFrames, and at the limit, but never before the first frame', () => {
    const frames = [
      ...Array.from({ length: 10 }, (_, i) => sent(filled(100, i))),
      sent(filled(5000)),
      sent('after'),
      sent(filled(5000), 'k'),
    ];
    const batch = batchOf(frames);
    const byFrames = encodeAll(wholeOf(batch), { maxFrames: 4 });
    expect(byFrames.map((bytes) => decodeRecordBatch(bytes).records.length)).toEqual([4, 4, 4, 1]);
    expectSame(decode(byFrames), frames);
    const byBytes = encodeAll(wholeOf(batch), { maxBytes: 600 });
    expectSame(decode(byBytes), frames);
    for (const bytes of byBytes) {
      const { records, recordsByteLength } = decodeRecordBatch(bytes);
      if (records.length > 1) expect(recordsByteLength).toBeLessThanOrEqual(600);
    }
    expectSame(decode(encodeAll(wholeOf(batch), { maxBytes: 1 })), frames);
    batch.release();
  });

  it('the smallest frames, very many of them, each with a time of its own', () => {
    const frames = Array.from({ length: 30_000 }, (_, i) => sent('', null, T0 + i * 3));
    const batch = batchOf(frames, 'b');
    expectSame(decode(encodeAll(wholeOf(batch), { maxFrames: 30_000 })), frames);
    expectSame(
      decode(
        encodeAll(
          pickedFrom(
            batch,
            frames.map((_, i) => i),
          ),
          { maxFrames: 30_000 },
        ),
      ),
      frames,
    );
    batch.release();
  });

  it('the last time is that of the last frame that is in, not of the one that did not fit', () => {
    const frames = [
      sent(filled(100)),
      sent(filled(100), null, T0 + 5),
      sent(filled(2000), null, T0 + 77),
      sent(filled(80_000), null, T0 + 99),
    ];
    const batch = batchOf(frames);
    for (const range of [wholeOf(batch), pickedFrom(batch, [0, 1, 2, 3])]) {
      expect(
        encodeAll(range, { maxBytes: 1000 }).map((bytes) => decodeRecordBatch(bytes).maxTimestamp - T0),
      ).toEqual([5, 77, 99]);
    }
    batch.release();
  });

  it('a frame longer than what is encoded at a time has its own time', () => {
    const frames = [
      sent('a'),
      sent(filled(80_000), null, T0 + 7),
      sent('b', null, T0 + 9),
      sent(filled(70_000), 'key', T0 + 11),
      sent('c', null, T0 + 11),
    ];
    const batch = batchOf(frames);
    expectSame(decode(encodeAll(wholeOf(batch))), frames);
    expectSame(decode(encodeAll(pickedFrom(batch, [0, 1, 2, 3, 4]))), frames);
    expectSame(decode(encodeAll(wholeOf(batch), { maxFrames: 2 })), frames);
    batch.release();
  });

  it.each([40, 70_000])(
    'times further apart than a record batch can say: the next one begins there (%d bytes)',
    (size) => {
      const far = 2 ** 31;
      const small = Array.from({ length: 2000 }, (_, i) => sent(filled(50, i)));
      const frames = [
        ...small,
        sent(filled(size), 'k', T0 + far),
        sent('b', null, T0 + far + 3),
        sent(filled(size), null, T0 + 2 * far + 9),
      ];
      const batch = batchOf(frames);
      for (const range of [
        wholeOf(batch),
        pickedFrom(
          batch,
          frames.map((_, i) => i),
        ),
      ]) {
        const batches = encodeAll(range);
        expectSame(decode(batches), frames);
        expect(
          batches
            .map((bytes) => decodeRecordBatch(bytes))
            .map(({ baseTimestamp, maxTimestamp }) => [baseTimestamp - T0, maxTimestamp - T0]),
        ).toEqual([
          [0, 0],
          [far, far + 3],
          [2 * far + 9, 2 * far + 9],
        ]);
      }
      batch.release();
    },
  );

  it('is encoded by the code that its source compiles to', () => {
    expect(RECORD_ENCODER_CODE, 'make encoder brings it up to date').toBe(compileRecordEncoder());
  });

  it('what follows the header is checked: a flipped bit shows', () => {
    const batch = batchOf([sent('some bytes', 'k')]);
    const [bytes] = encodeAll(wholeOf(batch));
    for (let at = 21; at < bytes!.length; at++) {
      const broken = Buffer.from(bytes!);
      broken[at]! ^= 1;
      expect(() => decodeRecordBatch(broken)).toThrow('bad record batch');
    }
    batch.release();
  });

  const frameList = fc.array(
    fc.record({
      key: fc.option(fc.uint8Array({ maxLength: 255 }), { nil: null }),
      size: fc.oneof(fc.nat(300), fc.constantFrom(63, 64, 159, 160, 161, 8191, 8192), fc.nat(20_000)),
      seed: fc.nat(255),
      waitMs: fc.oneof(fc.constant(0), fc.nat(100), fc.nat(1e7)),
    }),
    { minLength: 1, maxLength: 60 },
  );

  it('any frames, any cut, whole or picked: the same frames come out, in order', () => {
    fc.assert(
      fc.property(
        frameList,
        fc.integer({ min: 1, max: 70 }),
        fc.integer({ min: 1, max: 100_000 }),
        fc.boolean(),
        fc.nat(),
        (list, maxFrames, maxBytes, exact, choice) => {
          let timeMs = T0;
          const frames = list.map(({ key, size, seed, waitMs }) =>
            sent(filled(size, seed), key === null ? null : Buffer.from(key), (timeMs += waitMs)),
          );
          const batch = batchOf(frames, 'any-bucket', exact);
          expectSame(decode(encodeAll(wholeOf(batch), { maxBytes, maxFrames })), frames);
          const indexes = frames.flatMap((_, i) => (((choice >> (i % 30)) & 1) === 1 ? [i] : []));
          if (indexes.length > 0)
            expectSame(
              decode(encodeAll(pickedFrom(batch, indexes), { maxBytes, maxFrames })),
              indexes.map((i) => frames[i]!),
            );
          batch.release();
        },
      ),
      { numRuns: 150 },
    );
  });

  it('skipping frames one at a time finds each start and what is left', () => {
    const frames = [sent('a'), sent(filled(300), 'k'), sent(''), sent('d')];
    const batch = batchOf(frames);
    for (const range of [wholeOf(batch), pickedFrom(batch, [0, 1, 2, 3])]) {
      const starts: number[] = [];
      let rest = range;
      for (let i = 0; i < 4; i++, rest = skipFrames(rest, 1)) starts.push(startOf(rest));
      expect(starts).toEqual([...pickedFrom(batch, [0, 1, 2, 3]).picked!.offsets]);
      expect({ count: rest.count, bytes: rest.bytes }).toEqual({ count: 0, bytes: 0 });
    }
    batch.release();
  });
});
