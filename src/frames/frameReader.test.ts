// Any split of the bytes gives the same frames, and no bytes whatever do harm: each case is also put to a
// naive parser of the whole stream.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { naiveProblem } from '../../support/fullFrames.js';
import { FrameError } from '../errors.js';
import { MemoryBudget } from '../memory/memoryBudget.js';
import { encodeFrame } from './frame.js';
import { FrameReader, type FrameSink } from './frameReader.js';
import { encodeFullFrame } from './fullFrame.js';

const MAXFRAME = 1_000;

/**
 * What a reader said, one line for each frame: `bucket|hex`, `bad|hex`, `?`, and `!` when the framing was
 * lost.
 */
class Record implements FrameSink {
  readonly lines: string[] = [];
  /** As `bucket × frames`. */
  readonly runs: string[] = [];

  run(chunk: Buffer, start: number, end: number, frames: number): void {
    let at = start;
    const bucket = nameAt(chunk, at);
    for (let i = 0; i < frames; i++) {
      const next = at + 4 + chunk.readUInt32LE(at);
      expect(nameAt(chunk, at)).toBe(bucket);
      this.lines.push(`${bucket}|${chunk.toString('hex', at, next)}`);
      at = next;
    }
    expect(at).toBe(end);
    this.runs.push(`${bucket} × ${frames}`);
  }

  bad(chunk: Buffer, start: number, end: number): void {
    this.lines.push(`bad|${chunk.toString('hex', start, end)}`);
  }

  question(): void {
    this.lines.push('?');
  }

  reportQuestion(level: string): void {
    this.lines.push(`? ${level}`);
  }
}

function nameAt(bytes: Buffer, at: number): string {
  const lengthAt = bytes[at + 4] === 0 ? at + 11 : at + 4;
  return bytes.toString('latin1', lengthAt + 1, lengthAt + 1 + bytes[lengthAt]!);
}

/** Of a whole frame that names no bucket: what it is. */
function kindOf(frame: Buffer): 'full' | 'checkpoint' | 'bad' {
  const keyEnd = 6 + (frame[5] ?? 255);
  const key = keyEnd <= frame.length ? frame.toString('latin1', 6, keyEnd) : '';
  if (key === 'kahe1') return 'checkpoint';
  return key === 'kahe2' && naiveProblem(frame) === undefined ? 'full' : 'bad';
}

/** The grammar of DESIGN.md once more, with everything at hand and no thought for speed. */
function reference(bytes: Buffer, maxFrame = MAXFRAME): string[] {
  const lines: string[] = [];
  for (let at = 0; at + 4 <= bytes.length;) {
    const length = bytes.readUInt32LE(at);
    if (length === 1 || length > maxFrame) return [...lines, '!'];
    if (at + 4 + length > bytes.length) return lines;
    const frame = bytes.subarray(at, at + 4 + length);
    at += 4 + length;
    if (length === 0) {
      lines.push('?');
      continue;
    }
    const bucketLength = frame[4]!;
    const keyLength = frame[5 + bucketLength];
    const isWhole = keyLength !== undefined && 2 + bucketLength + keyLength <= length;
    const kind = bucketLength === 0 ? kindOf(frame) : isWhole ? 'plain' : 'bad';
    if (kind === 'plain' || kind === 'full') lines.push(`${nameAt(frame, 0)}|${frame.toString('hex')}`);
    else if (kind === 'bad') lines.push(`bad|${frame.toString('hex')}`);
  }
  return lines;
}

/** Reads chunk after chunk, each through one buffer that is overwritten at once, as the socket's is. */
function read(
  chunks: readonly Buffer[],
  maxFrame = MAXFRAME,
): Record & { budget: MemoryBudget; reader: FrameReader } {
  const budget = new MemoryBudget(64 * 1024 * 1024);
  const reader = new FrameReader(maxFrame, budget);
  const record = Object.assign(new Record(), { budget, reader });
  for (const chunk of chunks) {
    const borrowed = Buffer.from(chunk);
    try {
      reader.read(borrowed, record);
    } catch (error) {
      expect(error).toBeInstanceOf(FrameError);
      expect((error as FrameError).code).toBe('LENGTH');
      record.lines.push('!');
      reader.discardHalf();
      break;
    } finally {
      borrowed.fill(0xee);
    }
  }
  return record;
}

function splitAt(bytes: Buffer, ...places: readonly number[]): Buffer[] {
  return [0, ...places].map((place, i) => bytes.subarray(place, places[i] ?? bytes.length));
}

function bytewise(bytes: Buffer): Buffer[] {
  return Array.from(bytes, (_, i) => bytes.subarray(i, i + 1));
}

function prefix(length: number): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32LE(length);
  return head;
}

const LONG = 'x'.repeat(255);
const CHECKPOINT = encodeFrame('', 'kahe1', Buffer.alloc(16, 7));
const BAD = Buffer.concat([prefix(6), Buffer.from([200, 1, 2, 3, 4, 5])]);
const BAD_FULLS = (
  JSON.parse(readFileSync(new URL('../../test/fixtures/full-frames.json', import.meta.url), 'utf8')) as {
    readonly bad: readonly { readonly meaning: string; readonly hex: string }[];
  }
).bad;
const BAD_FULL = BAD_FULLS.map(({ meaning, hex }): [string, number[]] => [
  `a full frame: ${meaning}`,
  [...Buffer.from(hex, 'hex')],
]);
const BAD_FULL_FRAME = Buffer.from(BAD_FULLS[0]!.hex, 'hex');
const THREES: [string, Buffer[]][] = [
  [
    'ordinary ones',
    [encodeFrame('a', 'k', 'one'), encodeFrame('a', 'k', 'two'), encodeFrame('a', 'k', 'three')],
  ],
  [
    'no key, an empty message, neither',
    [encodeFrame('a', null, 'm'), encodeFrame('a', 'k', ''), encodeFrame('a', null, '')],
  ],
  [
    'bucket and key of 255 bytes',
    [encodeFrame(LONG, LONG, 'm'), encodeFrame('y'.repeat(255), LONG, ''), encodeFrame(LONG, null, 'm')],
  ],
  [
    'bucket 200 and key 100, which must not wrap',
    [
      encodeFrame('b'.repeat(200), 'k'.repeat(100), 'm'),
      encodeFrame('b'.repeat(200), 'k'.repeat(56), ''),
      encodeFrame('c', null, 'm'),
    ],
  ],
  ['a bad one in the middle', [encodeFrame('a', null, '1'), BAD, encodeFrame('a', null, '2')]],
  ['a question in the middle', [encodeFrame('a', null, '1'), prefix(0), encodeFrame('a', null, '2')]],
  ['a checkpoint in the middle', [encodeFrame('a', null, '1'), CHECKPOINT, encodeFrame('a', null, '2')]],
  [
    'full ones',
    [
      encodeFullFrame({ bucket: 'a', value: null, key: 'k' }),
      encodeFullFrame({ bucket: 'a', partition: 1, timestampMs: 5, value: 'v', headers: [['h', null]] }),
      encodeFullFrame({ bucket: 'b', value: 'v' }),
    ],
  ],
  [
    'plain and full ones of one bucket',
    [encodeFrame('a', 'k', '1'), encodeFullFrame({ bucket: 'a', value: '2' }), encodeFrame('a', null, '3')],
  ],
  [
    'a bad full one in the middle',
    [
      encodeFullFrame({ bucket: 'a', value: '1' }),
      BAD_FULL_FRAME,
      encodeFullFrame({ bucket: 'a', value: '2' }),
    ],
  ],
  ['three questions', [prefix(0), prefix(0), prefix(0)]],
  [
    'bytes of every kind',
    [
      encodeFrame('\u0000', '\u0000', Buffer.from([0, 255, 10, 13])),
      encodeFrame('日', 'ü', '本'),
      encodeFrame('a', null, Buffer.alloc(9)),
    ],
  ],
];

describe('FrameReader: three frames', () => {
  test.each(THREES)('%s: the same at every split point, at every two, and byte by byte', (_name, frames) => {
    const bytes = Buffer.concat(frames);
    const expected = reference(bytes);
    expect(expected.length).toBeGreaterThanOrEqual(2);
    expect(read([bytes]).lines).toEqual(expected);
    expect(read(bytewise(bytes)).lines).toEqual(expected);
    for (let i = 0; i <= bytes.length; i++) {
      const got = read(splitAt(bytes, i));
      if (got.lines.join() !== expected.join()) expect.fail(`split at ${i}: ${got.lines.join()}`);
      if (bytes.length > 120) continue;
      for (let j = i; j <= bytes.length; j++)
        if (read(splitAt(bytes, i, j)).lines.join() !== expected.join())
          expect.fail(`split at ${i} and ${j}`);
    }
  });

  test.each(THREES)(
    '%s: cut off anywhere, the whole ones are there, and a half one holds just its memory',
    (_name, frames) => {
      const bytes = Buffer.concat(frames);
      for (let cut = 0; cut < bytes.length; cut++) {
        const { lines, reader, budget } = read([bytes.subarray(0, cut)]);
        expect(lines).toEqual(reference(bytes.subarray(0, cut)));
        const whole = frames.reduce(
          (end, frame) => (end + frame.length <= cut ? end + frame.length : end),
          0,
        );
        const ends = [0, ...frames.map((_, i) => Buffer.concat(frames.slice(0, i + 1)).length)];
        const halfBytes = cut - ends.filter((end) => end <= cut).at(-1)!;
        expect(whole).toBeLessThanOrEqual(cut);
        expect(reader.isMidFrame).toBe(halfBytes > 0);
        expect(budget.heldBytes > 0).toBe(halfBytes > 0);
        expect(reader.discardHalf()).toBe(halfBytes);
        expect(budget.heldBytes).toBe(0);
      }
    },
  );
});

describe('FrameReader: runs', () => {
  test('a thousand frames of one bucket in one read are one run', () => {
    const frames = Array.from({ length: 1_000 }, (_, i) =>
      encodeFrame('a', i % 2 ? 'k' : null, `message ${i}`),
    );
    const got = read([Buffer.concat(frames)]);
    expect(got.runs).toEqual(['a × 1000']);
    expect(got.lines).toEqual(frames.map((frame) => `a|${frame.toString('hex')}`));
  });

  test('buckets that take turns, and names that begin alike, end a run each', () => {
    const names = ['a', 'a', 'ab', 'ab', 'b', 'a', 'ba', 'bb', 'bb', 'b'];
    expect(read([Buffer.concat(names.map((name) => encodeFrame(name, null, 'm')))]).runs).toEqual([
      'a × 2',
      'ab × 2',
      'b × 1',
      'a × 1',
      'ba × 1',
      'bb × 2',
      'b × 1',
    ]);
  });

  test('full frames of one bucket are one run; plain ones between them make runs of their own', () => {
    const full = (bucket: string, value: string): Buffer => encodeFullFrame({ bucket, value });
    const plain = encodeFrame('a', null, 'm');
    const frames = [
      full('a', '1'),
      full('a', '2'),
      plain,
      plain,
      full('a', '3'),
      full('b', '4'),
      full('ab', '5'),
    ];
    const got = read([Buffer.concat(frames)]);
    expect(got.runs).toEqual(['a × 2', 'a × 2', 'a × 1', 'b × 1', 'ab × 1']);
    expect(got.lines.map((line) => line.split('|')[1])).toEqual(frames.map((frame) => frame.toString('hex')));
  });

  test('what is no frame ends a run, and the order is kept', () => {
    const a = encodeFrame('a', null, 'm');
    const got = read([Buffer.concat([a, a, BAD, a, prefix(0), a, CHECKPOINT, a])]);
    expect(got.lines.map((line) => line.slice(0, 3))).toEqual([
      'a|0',
      'a|0',
      'bad',
      'a|0',
      '?',
      'a|0',
      'a|0',
    ]);
  });

  test('the frame that a chunk begins with the end of comes before the rest of that chunk', () => {
    const bytes = Buffer.concat([
      encodeFrame('a', null, '1'),
      encodeFrame('a', null, '2'),
      encodeFrame('a', null, '3'),
    ]);
    expect(read(splitAt(bytes, 3)).runs).toEqual(['a × 1', 'a × 2']);
  });

  test('counts how many frames came in pieces', () => {
    const frame = encodeFrame('a', null, 'message');
    const { reader } = read([...bytewise(frame), frame, ...splitAt(Buffer.concat([frame, frame]), 5, 20)]);
    expect(reader.halves).toBe(3);
  });
});

describe('FrameReader: lengths', () => {
  test.each([
    ['bucket past the end', [2, 0, 0, 0, 1, 65]],
    ['bucket 255 of nothing', [2, 0, 0, 0, 255, 0]],
    ['key past the end', [3, 0, 0, 0, 1, 65, 1]],
    ['key past the end by one', [5, 0, 0, 0, 1, 65, 3, 1, 2]],
    ['no bucket', [2, 0, 0, 0, 0, 0]],
    ['no bucket, but a key', [4, 0, 0, 0, 0, 2, 1, 2]],
    ['no bucket, and a key past the end', [3, 0, 0, 0, 0, 5, 1]],
    ['almost a checkpoint', [7, 0, 0, 0, 0, 5, ...Buffer.from('kahe0')]],
    ['a full frame with nothing in it', [7, 0, 0, 0, 0, 5, ...Buffer.from('kahe2')]],
    ...BAD_FULL,
  ])('%s: that frame alone is bad, at any split, and the next frame is not looked into', (_name, bad) => {
    const before = encodeFrame('a', null, '1');
    const after = encodeFrame('a', null, '2');
    const bytes = Buffer.concat([before, Buffer.from(bad), after]);
    const expected = [
      `a|${before.toString('hex')}`,
      `bad|${Buffer.from(bad).toString('hex')}`,
      `a|${after.toString('hex')}`,
    ];
    expect(read([bytes]).lines).toEqual(expected);
    for (let i = 0; i <= bytes.length; i++) expect(read(splitAt(bytes, i)).lines).toEqual(expected);
  });

  test('bucket 200 and key 100 in a body of 46 is bad: as bytes the lengths would wrap to fit', () => {
    const body = Buffer.alloc(46, 1);
    body[0] = 200;
    expect(read([Buffer.concat([prefix(46), body])]).lines[0]).toMatch(/^bad/);
    const tight = Buffer.concat([
      prefix(2 + 200 + 99),
      Buffer.from([200]),
      Buffer.alloc(200, 65),
      Buffer.from([100]),
      Buffer.alloc(99),
    ]);
    expect(read([tight]).lines).toEqual([`bad|${tight.toString('hex')}`]);
  });

  test.each([[1], [MAXFRAME + 1], [2 ** 31 - 1], [2 ** 31], [2 ** 32 - 1]])(
    'N = %d: the framing is lost at once, what was whole is kept, and no memory is taken for it',
    (length) => {
      const bytes = Buffer.concat([
        encodeFrame('a', null, '1'),
        encodeFrame('b', null, '2'),
        prefix(length),
        Buffer.alloc(64),
      ]);
      for (let i = 0; i <= bytes.length; i++) {
        const got = read(splitAt(bytes, i));
        expect(got.lines.map((line) => line.slice(0, 2))).toEqual(['a|', 'b|', '!']);
        expect(got.budget.heldBytes).toBe(0);
      }
      // The four bytes are enough.
      expect(read(bytewise(prefix(length))).lines).toEqual(['!']);
    },
  );

  test('N = MAXFRAME is a frame; it takes memory as it comes, not as it claims', () => {
    const frame = encodeFrame('a', null, Buffer.alloc(1024 * 1024 - 3, 1));
    expect(read([frame], 1024 * 1024).lines).toHaveLength(1);
    expect(read([frame], 1024 * 1024 - 1).lines).toEqual(['!']);
    const budget = new MemoryBudget(64 * 1024 * 1024);
    const reader = new FrameReader(1024 * 1024, budget);
    const record = new Record();
    reader.read(frame.subarray(0, 100), record);
    expect(budget.heldBytes).toBeLessThanOrEqual(512);
    for (let at = 100; at < frame.length; at += 1_000) {
      reader.read(frame.subarray(at, Math.min(at + 1_000, frame.length)), record);
      expect(budget.heldBytes).toBeLessThanOrEqual(Math.max(512, 2 * (at + 1_000)));
    }
    expect(record.runs).toEqual(['a × 1']);
    expect([budget.heldBytes, reader.isMidFrame]).toEqual([0, false]);
  });

  test('an empty chunk says nothing', () => {
    const frame = encodeFrame('a', null, 'm');
    expect(
      read([Buffer.alloc(0), frame.subarray(0, 3), Buffer.alloc(0), frame.subarray(3)]).lines,
    ).toHaveLength(1);
  });
});

test('FrameReader: a million frames in random pieces are what the naive parser reads', () => {
  const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 2 ** 31);
  const random = mulberry(seed);
  const below = (n: number): number => Math.floor(random() * n);
  let frames = 0;
  let streams = 0;
  for (; frames < 1_000_000; streams++) {
    const stream = Buffer.alloc(64 * 1024);
    let length = 0;
    let count = 0;
    while (length < stream.length - 600) {
      length += writeFrame(stream, length, below, streams % 50 === 0);
      count++;
    }
    frames += count;
    const bytes = stream.subarray(0, length - (below(4) === 0 ? below(40) : 0));
    const [expected, got] = [tally(bytes), scan(bytes, below)];
    if (expected !== got) {
      const lines = read(chop(bytes, below)).lines;
      expect.fail(
        `FUZZ_SEED=${seed}, stream ${streams}: ${expected} is right, not ${got}; ${lines.slice(-3).join()}`,
      );
    }
  }
  expect(frames).toBeGreaterThanOrEqual(1_000_000);
}, 60_000);

/**
 * One frame of some kind at `at`; returns its length. Now and then, when `mayLose`, one whose length can't
 * be.
 */
function writeFrame(bytes: Buffer, at: number, below: (n: number) => number, mayLose: boolean): number {
  const kind = below(100);
  if (kind < 4) return bytes.writeUInt32LE(0, at) - at;
  if (kind < 6) return CHECKPOINT.copy(bytes, at);
  if (kind >= 7 && kind < 20) return writeFull(bytes, at, below);
  if (kind === 6 && mayLose && below(20) === 0)
    return bytes.writeUInt32LE([1, MAXFRAME + 1, 2 ** 31, 2 ** 32 - 1][below(4)]!, at) - at;
  const bucketLength = kind < 90 ? 1 + below(3) : below(256);
  const keyLength = kind < 60 ? 0 : kind < 90 ? below(8) : below(256);
  const honest = 2 + bucketLength + keyLength + below(40);
  const length = kind < 94 ? honest : Math.max(2, honest - below(honest));
  bytes.writeUInt32LE(length, at);
  for (let i = at + 4; i < at + 4 + length; i++) bytes[i] = 97 + (i & 1);
  bytes[at + 4] = bucketLength;
  if (1 + bucketLength < length) bytes[at + 5 + bucketLength] = keyLength;
  return 4 + length;
}

const FULL = ['a', 'b', 'ab'].flatMap((bucket) => [
  encodeFullFrame({ bucket, value: 'v' }),
  encodeFullFrame({
    bucket,
    partition: 3,
    timestampMs: 1e12,
    key: 'key',
    value: null,
    headers: [['h', 'v']],
  }),
  encodeFullFrame({
    bucket,
    key: '',
    value: 'x'.repeat(40),
    headers: [
      ['ü', null],
      ['', ''],
    ],
  }),
]);

/** One in three has a byte changed. */
function writeFull(bytes: Buffer, at: number, below: (n: number) => number): number {
  const frame = FULL[below(FULL.length)]!;
  frame.copy(bytes, at);
  if (below(3) === 0) bytes[at + 4 + below(frame.length - 4)] = [0, 1, 2, 127, 255][below(5)]!;
  return frame.length;
}

/** What the naive parser says, as numbers: frames by kind, and a hash of their order and bytes. */
function tally(bytes: Buffer): string {
  const sum = new Tally();
  for (let at = 0; at + 4 <= bytes.length;) {
    const length = bytes.readUInt32LE(at);
    if (length === 1 || length > MAXFRAME) return sum.lost();
    const end = at + 4 + length;
    if (end > bytes.length) break;
    if (length === 0) sum.question();
    else {
      const bucketLength = bytes[at + 4]!;
      const keyLength = 1 + bucketLength < length ? bytes[at + 5 + bucketLength]! : Infinity;
      const isWhole = 2 + bucketLength + keyLength <= length;
      if (isWhole && bucketLength > 0) sum.run(bytes, at, end, 1);
      else if (bucketLength > 0) sum.bad(bytes, at, end);
      else {
        const kind = kindOf(bytes.subarray(at, end));
        if (kind === 'full') sum.run(bytes, at, end, 1);
        if (kind === 'bad') sum.bad(bytes, at, end);
      }
    }
    at = end;
  }
  return sum.text();
}

class Tally implements FrameSink {
  #frames = 0;
  #bad = 0;
  #questions = 0;
  #hash = 17;
  #names = 17;

  run(chunk: Buffer, start: number, end: number, frames: number): void {
    this.#frames += frames;
    for (let at = start; at < end; at += 4 + chunk.readUInt32LE(at)) {
      // The name under which it was handed on: that of the run's first.
      const nameAt = chunk[start + 4] === 0 ? start + 11 : start + 4;
      for (let i = nameAt; i <= nameAt + chunk[nameAt]!; i++)
        this.#names = (Math.imul(this.#names, 43) + chunk[i]!) | 0;
    }
    for (let i = start; i < end; i++) this.#hash = (Math.imul(this.#hash, 31) + chunk[i]!) | 0;
  }

  bad(chunk: Buffer, start: number, end: number): void {
    this.#bad++;
    this.#hash = Math.imul(this.#hash, 37) | 0;
    for (let i = start; i < end; i++) this.#hash = (Math.imul(this.#hash, 31) + chunk[i]!) | 0;
  }

  reportQuestion(): void {
    throw new Error('none is asked here');
  }

  question(): void {
    this.#questions++;
    this.#hash = Math.imul(this.#hash, 41) | 0;
  }

  lost(): string {
    return `${this.text()}, lost`;
  }

  text(): string {
    return `${this.#frames} frames, ${this.#bad} bad, ${this.#questions} questions, hashes ${this.#hash} ${this.#names}`;
  }
}

/** … and what the reader says of the same bytes in random pieces. */
function scan(bytes: Buffer, below: (n: number) => number): string {
  const sum = new Tally();
  const budget = new MemoryBudget(64 * 1024 * 1024);
  const reader = new FrameReader(MAXFRAME, budget);
  let [isLost, text] = [false, ''];
  for (const chunk of chop(bytes, below)) {
    try {
      reader.read(chunk, sum);
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      isLost = true;
      break;
    }
  }
  text = isLost ? sum.lost() : sum.text();
  reader.discardHalf();
  if (budget.heldBytes !== 0) text += ', and memory is missing';
  return text;
}

function chop(bytes: Buffer, below: (n: number) => number): Buffer[] {
  const most = [3, 30, 300, 3_000, 70_000][below(5)]!;
  const chunks: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const next = at + 1 + below(most);
    chunks.push(bytes.subarray(at, next));
    at = next;
  }
  return chunks;
}

/** Mulberry32: small, seeded, and good enough. */
function mulberry(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
