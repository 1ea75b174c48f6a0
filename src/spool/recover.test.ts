import { mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { framesOf, messagesIn } from '../../support/frames.js';
import { encodeCheckpoint } from '../frames/checkpoint.js';
import { encodeFrame } from '../frames/frame.js';
import { scanFrames } from '../frames/scan.js';
import { inMemory } from '../frames/walk.js';
import { Log } from '../log/log.js';
import { MemoryBudget } from '../memory/memoryBudget.js';
import { FailingDisk } from '../../support/failingDisk.js';
import { newFolder } from '../../support/newFolder.js';
import { recoverSegment, type RecoveredSegment } from './recover.js';

const BUCKET = 'orders';

interface Piece {
  readonly messages: readonly string[];
  readonly timeMs: number;
}

/** A message that looks like the end of one piece and a whole other one. */
const FORGERY = (() => {
  const inner = framesOf(BUCKET, ['forged']);
  return Buffer.concat([
    encodeCheckpoint(Buffer.from('x'), 1, 5),
    inner,
    encodeCheckpoint(inner, 1, 666),
  ]).toString('latin1');
})();

const PIECES: readonly Piece[] = [
  { messages: ['one', 'two'], timeMs: 1000 },
  { messages: ['three', '', 'four'], timeMs: 1234 },
  { messages: ['five'], timeMs: 5000 },
];
const WITH_FORGERY: readonly Piece[] = [
  PIECES[0]!,
  { messages: ['three', FORGERY, 'four'], timeMs: 1234 },
  PIECES[2]!,
];

let folder: string;
let path: string;
let budget: MemoryBudget;
let disk: FailingDisk;
let lines: string[];

beforeEach(() => {
  folder = newFolder();
  path = join(folder, '0000000000001-00000001.bckstm');
  budget = new MemoryBudget(64 * 1024 * 1024);
  disk = new FailingDisk();
  lines = [];
});

function pieceBytes({ messages, timeMs }: Piece): Buffer {
  const frames = Buffer.concat(
    messages.map((message) => encodeFrame(BUCKET, null, Buffer.from(message, 'latin1'))),
  );
  return Buffer.concat([frames, encodeCheckpoint(frames, messages.length, timeMs)]);
}

/** Where each piece starts, and where the last one ends. */
function boundsOf(pieces: readonly Piece[]): number[] {
  return pieces.reduce((bounds, piece) => [...bounds, bounds.at(-1)! + pieceBytes(piece).length], [0]);
}

interface Found extends Omit<RecoveredSegment, 'batch'> {
  readonly messages: string[];
  readonly times: [number, number][];
  readonly aside: Map<string, Buffer>;
}

async function recover(
  bytes: Buffer,
  { wasClosed = false, space }: { wasClosed?: boolean; space?: Buffer } = {},
): Promise<Found> {
  writeFileSync(path, bytes);
  rmSync(join(folder, 'damaged'), { recursive: true, force: true });
  const { batch, ...rest } = await recoverSegment(path, wasClosed, {
    fs: disk.fs,
    budget,
    log: new Log('DEBUG', (line) => lines.push(line)),
    space,
  });
  const { until, times } = batch?.arrivals ?? { until: [], times: [] };
  const messages = batch === undefined ? [] : messagesIn(batch.view());
  expect(batch?.frames ?? 0).toBe(messages.length);
  expect(batch?.bucket ?? BUCKET).toBe(BUCKET);
  batch?.release();
  expect(budget.heldBytes).toBe(0);
  const aside = new Map(names('damaged').map((name) => [name, readFileSync(join(folder, 'damaged', name))]));
  return { ...rest, messages, times: until.map((frames, i) => [frames, times[i]!]), aside };
}

/** As `kahe inspect` and `kahe replay` find them. */
function messagesInWholePieces(bytes: Buffer): string[] {
  const sound: Buffer[] = [];
  let piece: Buffer[] = [];
  for (const entry of scanFrames(inMemory(bytes))) {
    if (entry.kind === 'frame') piece.push(bytes.subarray(entry.offset, entry.offset + entry.bytes));
    if (entry.kind === 'checkpoint' && entry.isWhole) sound.push(...piece);
    if (entry.kind === 'checkpoint' || entry.kind === 'damage') piece = [];
  }
  return messagesIn(Buffer.concat(sound));
}

function names(of: string): string[] {
  try {
    return readdirSync(join(folder, of)).sort();
  } catch {
    return [];
  }
}

function messagesOf(pieces: readonly Piece[]): string[] {
  return pieces.flatMap(({ messages }) =>
    messages.map((message) => Buffer.from(message, 'latin1').toString()),
  );
}

describe('recoverSegment', () => {
  test('a whole segment is one batch, with the times of arrival', async () => {
    const found = await recover(Buffer.concat(PIECES.map(pieceBytes)));
    expect(found).toEqual({
      messages: messagesOf(PIECES),
      times: [
        [2, 1000],
        [5, 1234],
        [6, 5000],
      ],
      damagedBytes: 0,
      tornBytes: 0,
      mayGo: true,
      aside: new Map(),
    });
    expect(lines).toEqual([]);
  });

  test.each([
    ['none', undefined],
    ['too small a one', Buffer.alloc(10)],
    ['a large one', Buffer.alloc(10_000, 7)],
  ])('reads into the space that it is given: %s', async (_what, space) => {
    const found = await recover(Buffer.concat(PIECES.map(pieceBytes)), space === undefined ? {} : { space });
    expect(found.messages).toEqual(messagesOf(PIECES));
  });

  test('cut at every byte: all pieces before the cut, and nothing else', async () => {
    const bytes = Buffer.concat(PIECES.map(pieceBytes));
    const bounds = boundsOf(PIECES);
    for (let cut = 0; cut <= bytes.length; cut++) {
      const whole = bounds.filter((bound) => bound > 0 && bound <= cut).length;
      const found = await recover(bytes.subarray(0, cut));
      expect(found, `cut at ${cut}`).toMatchObject({
        messages: messagesOf(PIECES.slice(0, whole)),
        damagedBytes: 0,
        tornBytes: cut - bounds[whole]!,
        mayGo: true,
      });
      expect(found.aside.size).toBe(0);
    }
  });

  test('cut at every byte, a message looking like a piece: all pieces before the cut, and nothing forged', async () => {
    const bytes = Buffer.concat(WITH_FORGERY.map(pieceBytes));
    const bounds = boundsOf(WITH_FORGERY);
    for (let cut = 0; cut <= bytes.length; cut++) {
      const whole = bounds.filter((bound) => bound > 0 && bound <= cut).length;
      const found = await recover(bytes.subarray(0, cut));
      expect(
        found.messages.slice(0, messagesOf(WITH_FORGERY.slice(0, whole)).length),
        `cut at ${cut}`,
      ).toEqual(messagesOf(WITH_FORGERY.slice(0, whole)));
      expect(found.damagedBytes + found.tornBytes + bounds[whole]!).toBeLessThanOrEqual(cut);
    }
  });

  test.each([0x01, 0x80, 0xff])(
    'every byte flipped by %i: pieces around it are delivered unchanged, the damaged one is put aside',
    async (mask) => {
      const whole = Buffer.concat(PIECES.map(pieceBytes));
      const bounds = boundsOf(PIECES);
      for (let flipped = 0; flipped < whole.length; flipped++) {
        const bytes = Buffer.from(whole);
        bytes[flipped]! ^= mask;
        const damaged = bounds.findIndex((bound) => bound > flipped) - 1;
        const inHead = flipped >= bounds[damaged + 1]! - 27 && flipped < bounds[damaged + 1]! - 16;
        const found = await recover(bytes);
        const kept = PIECES.filter((_piece, i) => i !== damaged || inHead);
        const what = `byte ${flipped} of piece ${damaged}`;
        expect(found.messages, what).toEqual(messagesOf(kept));
        expect(
          found.times.map(([, timeMs]) => timeMs),
          what,
        ).toEqual(kept.map(({ timeMs }) => timeMs));
        if (inHead) continue;
        const damage = bytes.subarray(bounds[damaged], bounds[damaged + 1]);
        expect(found, what).toMatchObject({ damagedBytes: damage.length, tornBytes: 0, mayGo: true });
        expect([...found.aside], what).toEqual([
          [`0000000000001-00000001.bckstm.${bounds[damaged]}`, damage],
        ]);
      }
    },
  );

  test('every byte flipped, a message that looks like a piece: undamaged ones are delivered, none throws', async () => {
    const whole = Buffer.concat(WITH_FORGERY.map(pieceBytes));
    const bounds = boundsOf(WITH_FORGERY);
    for (let flipped = 0; flipped < whole.length; flipped++) {
      const bytes = Buffer.from(whole);
      bytes[flipped]! ^= 0x41;
      const damaged = bounds.findIndex((bound) => bound > flipped) - 1;
      const { messages } = await recover(bytes);
      for (const [i, piece] of WITH_FORGERY.entries())
        if (i !== damaged)
          for (const message of messagesOf([piece])) expect(messages, `byte ${flipped}`).toContain(message);
    }
  });

  test('a damaged length that leads past whole pieces costs its own piece only', async () => {
    // Frames as long as checkpoints, so that a walk which skips some of either ends at a true checkpoint.
    const pieces = ['a', 'b', 'c', 'd'].map((name, i): Piece => ({
      messages: [0, 1, 2].map((n) => `${name}${n}`.padEnd(27 - 6 - BUCKET.length, '.')),
      timeMs: i + 1,
    }));
    const bytes = Buffer.concat(pieces.map(pieceBytes));
    bytes.writeUInt32LE(bytes.readUInt32LE(0) + 6 * 27, 0);
    const found = await recover(bytes);
    expect(found.messages).toEqual(messagesOf(pieces.slice(1)));
    expect(found.damagedBytes).toBe(4 * 27);
  });

  test('a count that does not fit, though the checksum does, is damage', async () => {
    const frames = framesOf(BUCKET, ['one', 'two']);
    const found = await recover(
      Buffer.concat([frames, encodeCheckpoint(frames, 3, 1), pieceBytes(PIECES[2]!)]),
    );
    expect(found).toMatchObject({ messages: ['five'], damagedBytes: frames.length + 27 });
  });

  test('a piece of another bucket is not taken for one of this', async () => {
    const frames = framesOf('other', ['one']);
    const found = await recover(
      Buffer.concat([pieceBytes(PIECES[0]!), frames, encodeCheckpoint(frames, 1, 1)]),
    );
    expect(found).toMatchObject({ messages: ['one', 'two'], damagedBytes: frames.length + 27 });
  });

  test.each([1, 100, 4096, 100_000])(
    '%i zero bytes behind the last checkpoint are a torn end',
    async (zeros) => {
      const found = await recover(Buffer.concat([...PIECES.map(pieceBytes), Buffer.alloc(zeros)]));
      expect(found).toMatchObject({ messages: messagesOf(PIECES), damagedBytes: 0, tornBytes: zeros });
      expect(lines.join()).toContain('the daemon died while it wrote the last ');
    },
  );

  test('the end zeroed from every byte on, as a power cut leaves it: all pieces before it, and nothing else', async () => {
    const whole = Buffer.concat(PIECES.map(pieceBytes));
    const bounds = boundsOf(PIECES);
    // A zero that was there is no damage: the last byte that differs counts.
    for (let from = 0; from < whole.length; from++) {
      const bytes = Buffer.from(whole).fill(0, from);
      const sound = bounds.filter(
        (bound) => bound > 0 && bytes.subarray(0, bound).equals(whole.subarray(0, bound)),
      ).length;
      const found = await recover(Buffer.concat([bytes, Buffer.alloc(4096)]));
      expect(found, `from ${from}`).toMatchObject({
        messages: messagesOf(PIECES.slice(0, sound)),
        mayGo: true,
      });
      expect(found.damagedBytes + found.tornBytes, `from ${from}`).toBe(whole.length + 4096 - bounds[sound]!);
    }
  });

  test('zero bytes in the middle, as a disk leaves them, cost the piece they are in', async () => {
    const bytes = Buffer.concat(PIECES.map(pieceBytes));
    const bounds = boundsOf(PIECES);
    bytes.fill(0, bounds[1]! + 3, bounds[2]! - 27);
    expect(await recover(bytes)).toMatchObject({
      messages: [...PIECES[0]!.messages, ...PIECES[2]!.messages],
      damagedBytes: bounds[2]! - bounds[1]!,
    });
    // With its checkpoint gone, where the next piece starts is not known.
    bytes.fill(0, bounds[2]! - 27, bounds[2]);
    expect(await recover(bytes)).toMatchObject({
      messages: PIECES[0]!.messages,
      damagedBytes: bounds[3]! - bounds[1]!,
    });
  });

  test('kahe inspect and the daemon agree on what is whole, whatever was damaged', async () => {
    const whole = Buffer.concat([...PIECES, ...WITH_FORGERY].map(pieceBytes));
    for (let seed = 1; seed <= 150; seed++) {
      const bytes = Buffer.from(whole);
      for (const at of [seed * 7919, seed * seed * 104_729].slice(0, 1 + (seed % 2)))
        bytes[at % bytes.length]! ^= 1 + (seed % 255);
      expect((await recover(bytes)).messages).toEqual(messagesInWholePieces(bytes));
    }
  });

  test('an empty file, and one of nothing but noise, hold nothing', async () => {
    expect(await recover(Buffer.alloc(0))).toMatchObject({ messages: [], damagedBytes: 0, tornBytes: 0 });
    for (let seed = 1; seed <= 50; seed++) {
      const noise = Buffer.from(Array.from({ length: 997 }, (_, i) => ((i + 1) * seed * 7919) >> 3));
      expect(await recover(noise)).toMatchObject({ messages: [], damagedBytes: 0, tornBytes: 997 });
    }
  });

  test('what was closed can only be damaged at its end, not torn: that is put aside too', async () => {
    const bytes = Buffer.concat([...PIECES.map(pieceBytes), Buffer.from('tail')]);
    const found = await recover(bytes, { wasClosed: true });
    expect(found).toMatchObject({ messages: messagesOf(PIECES), damagedBytes: 4, tornBytes: 0 });
    expect([...found.aside.values()].map(String)).toEqual(['tail']);
  });

  test("what can't be put aside keeps the segment from going", async () => {
    const bytes = Buffer.concat(PIECES.map(pieceBytes));
    bytes[5]! ^= 1;
    disk.fail({ call: 'write', path: /damaged/, code: 'ENOSPC' });
    expect(await recover(bytes)).toMatchObject({ messages: messagesOf(PIECES.slice(1)), mayGo: false });
    disk.heal();
    expect(await recover(bytes)).toMatchObject({ messages: messagesOf(PIECES.slice(1)), mayGo: true });
  });

  test('damaged bytes do not follow a symlink, and the segment stays', async () => {
    const bytes = Buffer.concat(PIECES.map(pieceBytes));
    bytes[5]! ^= 1;
    writeFileSync(path, bytes);
    mkdirSync(join(folder, 'elsewhere'));
    symlinkSync(join(folder, 'elsewhere'), join(folder, 'damaged'));
    const { batch, mayGo } = await recoverSegment(path, false, {
      fs: disk.fs,
      budget,
      log: new Log('DEBUG', (line) => lines.push(line)),
    });
    batch?.release();
    expect(mayGo).toBe(false);
    expect(readdirSync(join(folder, 'elsewhere'))).toEqual([]);
    expect(lines.join()).toContain('is a symlink');
  });

  test('what an earlier reading put aside in part is put aside whole', async () => {
    const bytes = Buffer.concat(PIECES.map(pieceBytes));
    bytes[5]! ^= 1;
    writeFileSync(path, bytes);
    mkdirSync(join(folder, 'damaged'));
    writeFileSync(join(folder, 'damaged', '0000000000001-00000001.bckstm.0'), 'half');
    const { batch } = await recoverSegment(path, false, {
      fs: disk.fs,
      budget,
      log: new Log('ERROR', () => undefined),
    });
    batch!.release();
    expect(
      readFileSync(join(folder, 'damaged', '0000000000001-00000001.bckstm.0')).equals(
        bytes.subarray(0, boundsOf(PIECES)[1]),
      ),
    ).toBe(true);
  });

  test('a message full of checkpoints, damaged, is put aside as one and soon', async () => {
    const many = encodeCheckpoint(Buffer.from('x'), 1, 1).toString('latin1').repeat(30_000);
    const pieces = [PIECES[0]!, { messages: [many], timeMs: 7 }, PIECES[2]!];
    const bytes = Buffer.concat(pieces.map(pieceBytes));
    bytes[boundsOf(pieces)[1]! + 4]! ^= 1;
    const started = Date.now();
    const found = await recover(bytes);
    expect(found.messages).toEqual(['one', 'two', 'five']);
    expect(found.aside.size).toBe(1);
    expect(Date.now() - started).toBeLessThan(2000);
  });

  test('a read that fails is thrown, and nothing stays taken or open', async () => {
    writeFileSync(path, Buffer.concat(PIECES.map(pieceBytes)));
    disk.fail({ call: 'read', code: 'EIO' });
    await expect(
      recoverSegment(path, false, { fs: disk.fs, budget, log: new Log('ERROR', () => undefined) }),
    ).rejects.toThrow('EIO');
    expect(budget.heldBytes).toBe(0);
    expect(disk.count('close')).toBe(disk.count('open'));
  });
});
