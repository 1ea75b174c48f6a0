// What clients may send: no bytes stop the daemon, harm another client, or write outside its folders; and
// what makes sense between them is kept.
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  QUESTION,
  filesOf,
  frame,
  numberedFrames,
  numbersBySender,
  prefixed,
  range,
  startDaemon,
  type DaemonClient,
  type Frame,
  type TestDaemon,
} from '../../support/daemon.js';
import { encodeFullFrame } from '../../src/frames/fullFrame.js';
import { fileStream } from '../../support/daemonBuckets.js';

/** Each bucket has its own folder below `data`. */
const TO_FILES = {
  streamsConfigs: { files: fileStream('data', { fsync: false }) },
  buckets: [{ id: 'good', streams: ['files'], batchTimeout: 50 }],
  defaultBucket: { streams: ['files'], batchTimeout: 50 },
};

/** Only this bucket, and no other is made. */
const ONE_BUCKET = { streamsConfigs: TO_FILES.streamsConfigs, buckets: TO_FILES.buckets };

interface Rejection {
  readonly bucket: string;
  readonly reason: string;
  readonly frames: number;
  readonly offset: number;
  readonly bytes: number;
}

/** What the folder of rejected frames says, and the bytes that each line speaks of. */
async function rejections(daemon: TestDaemon): Promise<(Rejection & { readonly kept: Buffer })[]> {
  const folder = join(daemon.folder, 'rejected');
  const names = (await readdir(folder).catch(() => []))
    .filter((name) => name.endsWith('.reasons.jsonl'))
    .sort();
  const files = await Promise.all(
    names.map(async (name) => {
      const bytes = await readFile(join(folder, name.replace('.reasons.jsonl', '.bckstm')));
      const lines = (await readFile(join(folder, name), 'utf8'))
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as Rejection);
      expect(lines.reduce((sum, line) => sum + line.bytes, 0)).toBe(bytes.length);
      return lines.map((line) => ({ ...line, kept: bytes.subarray(line.offset, line.offset + line.bytes) }));
    }),
  );
  return files.flat();
}

function lengthOnly(length: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(length);
  return bytes;
}

async function goodOnes(daemon: TestDaemon): Promise<Map<string, number[]>> {
  return numbersBySender((await daemon.files('data/good')).map(({ message }) => message));
}

describe('an insane length', () => {
  test.each([
    ['1', 1],
    ['over MAXFRAME', 1024 * 1024 + 1],
    ['2^31', 2 ** 31],
    ['2^32 - 1', 2 ** 32 - 1],
  ])('%s closes that connection alone, and keeps the frames before it', async (_what, length) => {
    const daemon = await startDaemon({ buckets: ONE_BUCKET, env: { MAXFRAME: '1MB' } });
    const [bad, other] = [await daemon.connect(), await daemon.connect()];
    await other.send(numberedFrames('good', 'other', { count: 10 }));
    const before = daemon.rssBytes;
    await bad.send(
      numberedFrames('good', 'bad', { count: 10 }),
      lengthOnly(length),
      frame('good', 'never read'),
    );
    await bad.closed;
    expect(daemon.rssBytes - before).toBeLessThan(20 * 1024 ** 2);
    await other.send(numberedFrames('good', 'other', { from: 10, count: 10 }));
    expect(await other.receipt()).toBe(20);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(await goodOnes(daemon)).toEqual(
      new Map([
        ['other', range(0, 20)],
        ['bad', range(0, 10)],
      ]),
    );
    expect(daemon.linesLike(/WARN .*connection closed: .*10 whole frames before it are kept/)).toHaveLength(
      1,
    );
  });

  test('a frame of exactly MAXFRAME is taken', async () => {
    const daemon = await startDaemon({ buckets: ONE_BUCKET, env: { MAXFRAME: '1MB' } });
    const client = await daemon.connect();
    const largest = frame('good', Buffer.alloc(1024 * 1024 - 2 - 'good'.length, 'x'));
    await client.send(largest, frame('good', 'next'));
    expect(await client.receipt()).toBe(2);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect((await daemon.files('data')).map(({ message }) => message.length)).toEqual([
      largest.length - 10,
      4,
    ]);
  });
});

describe('bad frames of a sane length', () => {
  test('are counted and kept with their reason; the good ones around them arrive, and receipts count those', async () => {
    const daemon = await startDaemon({ buckets: ONE_BUCKET });
    const bad = [
      prefixed(Buffer.from([0, 0])),
      prefixed(Buffer.concat([Buffer.from([0, 0]), Buffer.from('no bucket')])),
      prefixed(Buffer.concat([Buffer.from([200]), Buffer.from('bucket passes the end')])),
      // Read as bytes, 200 + 100 would wrap to 44 and fit.
      prefixed(
        Buffer.concat([
          Buffer.from([200]),
          Buffer.alloc(200, 'b'),
          Buffer.from([100]),
          Buffer.alloc(20, 'k'),
        ]),
      ),
      prefixed(Buffer.concat([Buffer.from([4]), Buffer.from('good'), Buffer.from([9]), Buffer.from('key')])),
    ];
    const client = await daemon.connect();
    for (const [index, each] of bad.entries())
      await client.send(numberedFrames('good', 'g', { from: index, count: 1 }), each);
    await client.send(numberedFrames('good', 'g', { from: bad.length, count: 1 }));
    expect(await client.receipt()).toBe(bad.length + 1);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(await goodOnes(daemon)).toEqual(new Map([['g', range(0, bad.length + 1)]]));
    expect(daemon.received).toEqual({ frames: 2 * bad.length + 1, bad: bad.length });
    const found = await rejections(daemon);
    expect(found.map(({ kept }) => kept)).toEqual(bad);
    const ends = 'lengths pass the end of the frame';
    expect(found.map(({ reason, frames }) => ({ reason, frames }))).toEqual(
      ['no bucket', 'no bucket', ends, ends, ends].map((reason) => ({ reason, frames: 1 })),
    );
    // One line of the connection, with the first bytes.
    await daemon.line(/bad frame \(no bucket\): it starts with 020000000000/);
    expect(daemon.linesLike(/bad frame \(no bucket\): it starts with 020000000000/)).toHaveLength(1);
  });

  test('full frames that lie, each kind of it; and huge ones that do not, which are taken', async () => {
    const daemon = await startDaemon({ buckets: ONE_BUCKET });
    const file = join(import.meta.dirname, '../fixtures/full-frames.json');
    const { bad } = JSON.parse(await readFile(file, 'utf8')) as {
      readonly bad: readonly { readonly hex: string; readonly reason: string }[];
    };
    const headers = Array.from({ length: 65_535 }, (_, i) => [`h${i}`, null] as const);
    const huge = [
      encodeFullFrame({ bucket: 'good', value: null, headers }),
      encodeFullFrame({ bucket: 'good', key: Buffer.alloc(16 * 1024 ** 2 - 100, 'k'), value: null }),
      encodeFullFrame({ bucket: 'good', value: '', partition: 2 ** 31 - 1, timestampMs: 2 ** 53 - 1 }),
    ];
    const client = await daemon.connect();
    for (const { hex } of bad) await client.send(Buffer.from(hex, 'hex'));
    await client.send(...huge, frame('good', 'last'));
    expect(await client.receipt()).toBe(huge.length + 1);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(daemon.received).toEqual({ frames: bad.length + huge.length + 1, bad: bad.length });
    const files = await filesOf(join(daemon.folder, 'data'));
    const written = Buffer.concat(await Promise.all(files.map((each) => readFile(each))));
    expect(written.equals(Buffer.concat([...huge, frame('good', 'last')]))).toBe(true);
    const found = await rejections(daemon);
    expect(found.map(({ reason }) => reason)).toEqual(bad.map(({ reason }) => reason));
    expect(found.map(({ kept }) => kept.toString('hex'))).toEqual(bad.map(({ hex }) => hex));
  });

  test('an unknown bucket without a defaultBucket: rejected with that reason, and kept', async () => {
    const daemon = await startDaemon({ buckets: ONE_BUCKET });
    const client = await daemon.connect();
    await client.send(
      frame('good', 'good:0:'),
      numberedFrames('unknown', 'u', { count: 100 }),
      frame('good', 'good:1:'),
    );
    await client.receipt();
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(await goodOnes(daemon)).toEqual(new Map([['good', [0, 1]]]));
    const found = await rejections(daemon);
    expect(Buffer.concat(found.map(({ kept }) => kept))).toEqual(
      numberedFrames('unknown', 'u', { count: 100 }),
    );
    expect(new Set(found.map(({ bucket, reason }) => `${bucket}: ${reason}`))).toEqual(
      new Set(['unknown: unknown bucket, and there is no defaultBucket']),
    );
  });

  test('MAXBUCKETS: one name too many is rejected with that reason, those that exist go on', async () => {
    const daemon = await startDaemon({ buckets: TO_FILES, env: { MAXBUCKETS: '4' } });
    const client = await daemon.connect();
    for (const round of [0, 1])
      await client.send(
        ...range(0, 10).map((index) => frame(`b${index}`, `m:${round * 10 + index}:`)),
        frame('good', `g:${round}:`),
      );
    await client.receipt();
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(
      (await readdir(join(daemon.folder, 'data'))).filter((name) => !name.startsWith('.')).sort(),
    ).toEqual(['b0', 'b1', 'b2', 'good']);
    for (const index of [0, 1, 2])
      expect((await daemon.files(`data/b${index}`)).map(({ message }) => message)).toEqual([
        `m:${index}:`,
        `m:${10 + index}:`,
      ]);
    expect(await goodOnes(daemon)).toEqual(new Map([['g', [0, 1]]]));
    const found = await rejections(daemon);
    expect(found.map(({ bucket }) => bucket).sort()).toEqual(
      range(3, 10).flatMap((index) => [`b${index}`, `b${index}`]),
    );
    expect(found.every(({ reason }) => reason.includes('(MAXBUCKETS)'))).toBe(true);
  });

  test('a log line can not be forged', async () => {
    const daemon = await startDaemon({ buckets: ONE_BUCKET });
    const client = await daemon.connect();
    await client.send(frame('x\nERROR | 2026-01-01 00:00:00.000 | all is lost\u2028\u001b[31m', 'm'));
    await client.receipt();
    await daemon.line(/rejected: unknown bucket/);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(daemon.linesLike(/^ERROR/)).toEqual([]);
    expect(daemon.lines.join('\n')).not.toContain('\u001b');
  });
});

describe('hostile bucket names', () => {
  // A name of its own, for what would be written there lies in a folder that others use too.
  const outside = `kahe-outside-${randomUUID()}`;
  const names = [
    `../../${outside}`,
    `../${outside}`,
    '..',
    '.',
    'a/b',
    '/etc/passwd',
    '/',
    '-rf',
    '.hidden',
    '.kahe',
    '~',
    'a\\b',
    'a\0b',
    '\0',
    '\n',
    'CON',
    'x'.repeat(255),
    'ü'.repeat(127),
    '{bucket}',
    '{PS}',
    '%2e%2e',
    '..%2f',
    ' ',
    'good ',
    '__proto__',
    'constructor',
  ];

  test('never make a path outside of the folder, and each has its own files', async () => {
    const daemon = await startDaemon({ buckets: TO_FILES });
    const client = await daemon.connect();
    await client.send(
      ...names.map((name, index) => frame(name, `hostile:${index}:`)),
      frame('good', 'hostile:1000:'),
    );
    expect(await client.receipt()).toBe(names.length + 1);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect((await readdir(daemon.folder)).sort()).toEqual(['.env.dev.local', 'buckets.json', 'data']);
    expect(existsSync(join(daemon.folder, '..', outside))).toBe(false);
    // One folder a name, one file in each, and nothing deeper.
    const entries = await readdir(join(daemon.folder, 'data'), { recursive: true, withFileTypes: true });
    const folders = entries.filter((entry) => entry.isDirectory() && entry.name !== '.kahe');
    expect(folders).toHaveLength(names.length + 1);
    expect(folders.every(({ parentPath }) => parentPath === join(daemon.folder, 'data'))).toBe(true);
    const frames = await daemon.files('data');
    const found = new Map(frames.map(({ bucket, message }) => [bucket, message]));
    expect(found).toEqual(
      new Map([
        ...names.map((name, index): [string, string] => [name, `hostile:${index}:`]),
        ['good', 'hostile:1000:'],
      ]),
    );
  });

  test('a name that is not UTF-8 is rejected and kept', async () => {
    const daemon = await startDaemon({ buckets: TO_FILES });
    const client = await daemon.connect();
    const wild = [
      Buffer.from([0xff]),
      Buffer.from([0xc0, 0xaf]),
      Buffer.from([0xed, 0xa0, 0x80]),
      Buffer.alloc(255, 0x80),
    ].map((name) => frame(name, 'm'));
    await client.send(...wild, frame('good', 'g:0:'));
    await client.receipt();
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    const found = await rejections(daemon);
    expect(found.map(({ kept }) => kept)).toEqual(wild);
    expect(new Set(found.map(({ reason }) => reason))).toEqual(new Set(['the bucket name is not UTF-8']));
    expect(await goodOnes(daemon)).toEqual(new Map([['g', [0]]]));
  });
});

describe('pieces', () => {
  test('frames written one byte at a time, and cut at every place', async () => {
    const daemon = await startDaemon({ buckets: ONE_BUCKET });
    const bytes = Buffer.concat([
      frame('good', 'p:0:', 'key'),
      frame('good', 'p:1:'),
      prefixed(Buffer.from([0, 0])),
      frame('good', 'p:2:'),
    ]);
    const client = await daemon.connect();
    for (const byte of bytes) await client.send(Buffer.from([byte]));
    expect(await client.receipt()).toBe(3);
    for (let cut = 1; cut < bytes.length; cut++) {
      await client.send(bytes.subarray(0, cut));
      await client.send(bytes.subarray(cut));
    }
    expect(await client.receipt()).toBe(3 * bytes.length);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    const expected: Frame[] = range(0, bytes.length).flatMap(() => [
      { bucket: 'good', key: 'key', message: 'p:0:' },
      { bucket: 'good', key: undefined, message: 'p:1:' },
      { bucket: 'good', key: undefined, message: 'p:2:' },
    ]);
    expect(await daemon.files('data')).toEqual(expected);
    expect(daemon.received.bad).toBe(bytes.length);
  });

  test('connections that end or are reset at every byte of three frames: whole frames are kept, no leak', async () => {
    const daemon = await startDaemon({ buckets: ONE_BUCKET });
    const bytes = Buffer.concat(range(0, 3).map((number) => frame('good', `cut:${number}:`, 'key')));
    const each = bytes.length / 3;
    let whole = 0;
    for (let cut = 1; cut <= bytes.length; cut++) {
      const client = await daemon.connect();
      await client.send(bytes.subarray(0, cut));
      await client.close();
      const reset = await daemon.connect({ isDeaf: true });
      // Its answer stays unread in the kernel, so that closing resets the connection.
      await reset.send(QUESTION);
      await answersHaveCome(daemon);
      await reset.send(bytes.subarray(0, cut));
      reset.destroy();
      whole += 2 * Math.floor(cut / each);
    }
    const last = await daemon.connect();
    await last.send(numberedFrames('good', 'last', { count: 1 }));
    expect(await last.receipt()).toBe(1);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(daemon.received).toEqual({ frames: whole + 1, bad: 0 });
    expect(await daemon.files('data')).toHaveLength(whole + 1);
  });
});

/** A question on another connection, asked later and answered: what was asked before is answered too. */
async function answersHaveCome(daemon: TestDaemon): Promise<void> {
  const other = await daemon.connect();
  await other.receipt();
  other.destroy();
}

describe('a flood of anything', () => {
  test('200,000 fuzzed frames: good ones are kept, bad ones rejected, another connection loses nothing', async () => {
    const daemon = await startDaemon({ buckets: TO_FILES, env: { MAXFRAME: '64KB' } });
    const good = await daemon.connect();
    const steady = (async () => {
      for (let from = 0; from < 20_000; from += 100)
        await good.send(numberedFrames('good', 'steady', { from, count: 100, bytes: 60 }));
    })();
    const floods = range(0, 5).map((index) => new Flood(20260101 + index, 40_000));
    await Promise.all(floods.map((flood) => flood.run(() => daemon.connect())));
    await steady;
    expect(await good.receipt()).toBe(20_000);
    expect(await daemon.stop()).toMatchObject({ code: 0 });

    const sound = countOf(floods.flatMap((flood) => flood.sound));
    const bad = countOf(floods.flatMap((flood) => flood.bad));
    expect(sound.size).toBeGreaterThan(50_000);
    expect(bad.size).toBeGreaterThan(1000);
    expect(await goodOnes(daemon)).toEqual(new Map([['steady', range(0, 20_000)]]));
    const names = (await readdir(join(daemon.folder, 'data'))).filter(
      (name) => name !== 'good' && name !== '.kahe',
    );
    const kept = await Promise.all(names.map((name) => daemon.files(`data/${name}`)));
    expectSame(
      countOf(kept.flat().map(({ bucket, key, message }) => frame(bucket, message, key).toString('latin1'))),
      sound,
    );
    expectSame(
      countOf((await rejections(daemon)).map((rejection) => rejection.kept.toString('latin1'))),
      bad,
    );
    expect(daemon.received.frames).toBe(20_000 + total(sound) + total(bad));
  });
});

/** Frames by a seed, some good, some bad, some that end their connection; and what should become of each. */
class Flood {
  readonly sound: string[] = [];
  readonly bad: string[] = [];
  #state: number;
  #left: number;

  constructor(seed: number, frames: number) {
    this.#state = seed;
    this.#left = frames;
  }

  async run(connect: () => Promise<DaemonClient>): Promise<void> {
    while (this.#left > 0) {
      const client = await connect();
      let isOver = false;
      while (this.#left > 0 && !isOver) {
        const pieces: Buffer[] = [];
        for (let i = this.#below(200) + 1; i > 0 && this.#left > 0 && !isOver; i--, this.#left--) {
          const { bytes, ends } = this.#next();
          pieces.push(bytes);
          isOver = ends;
        }
        await this.#sendInPieces(client, Buffer.concat(pieces)).catch(() => undefined);
      }
      client.endWriting();
      await client.closed;
    }
  }

  /** Cut anywhere. */
  async #sendInPieces(client: DaemonClient, bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      const length = 1 + this.#below(this.#below(4) === 0 ? 40 : 4000);
      await client.send(bytes.subarray(at, at + length));
      at += length;
    }
  }

  #next(): { bytes: Buffer; ends: boolean } {
    const kind = this.#below(4000);
    if (kind === 0)
      return {
        bytes: Buffer.concat([
          lengthOnly(this.#below(2) === 0 ? 1 : 64 * 1024 + 1 + this.#below(2 ** 31)),
          this.#noise(20),
        ]),
        ends: true,
      };
    // The end of the connection in the middle of a frame.
    if (kind === 1) return { bytes: frame('cut', this.#noise(80, 30)).subarray(0, 20), ends: true };
    if (kind < 40) return { bytes: CHECKPOINT, ends: false };
    if (kind < 60) return { bytes: QUESTION, ends: false };
    if (kind < 80)
      return {
        bytes: this.#remember(frame(Buffer.from([0xc0 + this.#below(64), 0x20]), this.#noise(50))),
        ends: false,
      };
    if (kind < 400) return { bytes: this.#random(), ends: false };
    const name = ['fuzz', 'fuzz-b', 'ünï', 'a/b', '../fuzz', `n${this.#below(20)}`][this.#below(6)]!;
    return {
      bytes: this.#remember(
        frame(name, this.#noise(this.#below(20) === 0 ? 5000 : 60), this.#noise(this.#below(8))),
      ),
      ends: false,
    };
  }

  /**
   * A body of letters behind its right length, with a name's length that is short, just fits, just does not,
   * or is far too long.
   */
  #random(): Buffer {
    const body = this.#noise(300, 2);
    const nearly = Math.min(255, body.length - 2 + this.#below(5));
    body[0] = [0, 1, nearly, 230 + this.#below(26)][this.#below(4)]!;
    return this.#remember(prefixed(body));
  }

  /** By the layout of a frame, written down once more: lengths are whole numbers, and a name is UTF-8. */
  #remember(bytes: Buffer): Buffer {
    const nameEnd = 5 + bytes[4]!;
    const isWhole = nameEnd < bytes.length && nameEnd + 1 + bytes[nameEnd]! <= bytes.length;
    const name = bytes.subarray(5, nameEnd);
    const isText = Buffer.from(name.toString()).equals(name);
    (isWhole && bytes[4]! > 0 && isText ? this.sound : this.bad).push(bytes.toString('latin1'));
    return bytes;
  }

  /** Letters: as the length of a key they are 97 to 122. */
  #noise(most: number, least = 0): Buffer {
    const bytes = Buffer.alloc(least + this.#below(Math.max(1, most - least)));
    for (let i = 0; i < bytes.length; i++) bytes[i] = 97 + this.#below(26);
    return bytes;
  }

  /** xorshift32: the same numbers for the same seed, everywhere. */
  #below(limit: number): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return (x >>> 0) % limit;
  }
}

const CHECKPOINT = prefixed(Buffer.concat([Buffer.from([0, 5]), Buffer.from('kahe1'), Buffer.alloc(16)]));

function countOf(items: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1);
  return counts;
}

function total(counts: ReadonlyMap<string, number>): number {
  return [...counts.values()].reduce((sum, count) => sum + count, 0);
}

/** As toEqual, which takes minutes to show how two large maps differ. */
function expectSame(found: ReadonlyMap<string, number>, expected: ReadonlyMap<string, number>): void {
  const missing = [...expected].filter(([item, count]) => (found.get(item) ?? 0) < count);
  const invented = [...found].filter(([item, count]) => (expected.get(item) ?? 0) < count);
  const shown = (items: [string, number][]) => ({
    kinds: items.length,
    first: items.slice(0, 3).map(([item]) => Buffer.from(item, 'latin1').toString('hex')),
  });
  expect({ missing: shown(missing), invented: shown(invented) }).toEqual({
    missing: { kinds: 0, first: [] },
    invented: { kinds: 0, first: [] },
  });
}
