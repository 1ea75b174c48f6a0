import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FakeClock, untilSo } from '../../support/fakeClock.js';
import { framesOf, messagesIn } from '../../support/frames.js';
import type { SpoolSync } from '../config/env.js';
import { ConfigError } from '../errors.js';
import { Batch } from '../frames/batch.js';
import { encodeCheckpoint } from '../frames/checkpoint.js';
import { Log } from '../log/log.js';
import { MemoryBudget } from '../memory/memoryBudget.js';
import { FailingDisk } from '../../support/failingDisk.js';
import { ReadTurns } from '../memory/readTurns.js';
import { DiskSpool } from './diskSpool.js';
import { trySpool } from './trial.js';
import type { Segment } from './spool.js';

let folder: string;
let disk: FailingDisk;
let clock: FakeClock;
let budget: MemoryBudget;
let lines: string[];
let segments: Segment[];

beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), 'kahe-spool-')), 'spool');
  disk = new FailingDisk();
  clock = new FakeClock();
  budget = new MemoryBudget(64 * 1024 * 1024);
  lines = [];
  segments = [];
});

afterEach(async () => {
  disk.heal();
  await Promise.all(segments.map((segment) => segment.remove()));
  rmSync(join(folder, '..'), { recursive: true });
});

function makeSpool(maxBytes = 1e9, sync: SpoolSync = 'never'): DiskSpool {
  return new DiskSpool(
    { path: folder, sync, maxBytes, whenFull: 'wait' },
    {
      log: new Log('DEBUG', (line) => lines.push(line)),
      clock,
      budget,
      turns: new ReadTurns(budget, clock),
      fs: disk.fs,
    },
  );
}

/** A closed batch with its segment. */
function segmentOf(
  spool: DiskSpool,
  bucket: string,
  messages: readonly string[],
): { readonly batch: Batch; readonly segment: Segment } {
  const batch = new Batch(bucket, budget);
  const bytes = framesOf(bucket, messages);
  batch.append(bytes, 0, bytes.length, messages.length, clock.now());
  const segment = spool.newSegment(batch);
  segments.push(segment);
  segment.seal();
  return { batch, segment };
}

/** All but the note of its format. */
function namesIn(spoolFolder: string): string[] {
  return readdirSync(spoolFolder)
    .filter((name) => name !== 'format.json')
    .sort();
}

async function until(what: string, isSo: () => boolean): Promise<void> {
  await untilSo(clock, what, isSo, () => lines.join(''));
}

async function written(spool: DiskSpool, bucket: string, ...messages: string[]): Promise<Segment> {
  const { segment } = segmentOf(spool, bucket, messages);
  await until('it is complete', () => segment.copy === 'complete');
  return segment;
}

/** By bucket, what was found, read. */
async function found(): Promise<Map<string, string[]>> {
  const spool = makeSpool();
  const left = await spool.open();
  const messages = new Map<string, string[]>();
  for (const [bucket, segments] of left) {
    messages.set(Buffer.from(bucket, 'latin1').toString(), []);
    for (const segment of segments) {
      const { batch } = await spool.read(segment);
      if (batch !== undefined)
        messages.get(Buffer.from(bucket, 'latin1').toString())!.push(...messagesIn(batch.view()));
      batch?.release();
    }
  }
  return messages;
}

describe('Spool', () => {
  test('finds what a previous run has left, by bucket, in the order of the batches, whatever their names', async () => {
    const buckets = [
      'orders',
      '..',
      '.',
      '-',
      'a/b',
      'a b',
      '%',
      'ünï',
      'x'.repeat(255),
      '!'.repeat(255),
      `${'!'.repeat(254)}?`,
      'damaged',
    ];
    const spool = makeSpool();
    await spool.open();
    for (const bucket of buckets)
      for (const message of ['1', '2', '3']) await written(spool, bucket, `${bucket} ${message}`);
    expect(await found()).toEqual(
      new Map(
        [...buckets].map((bucket): [string, string[]] => [bucket, [1, 2, 3].map((n) => `${bucket} ${n}`)]),
      ),
    );
    expect(readdirSync(join(folder, '..'))).toEqual(['spool']);
    expect(namesIn(folder)).toHaveLength(buckets.length);
  });

  test('a clock that was set back, in one run or between two, does not change the order', async () => {
    const first = makeSpool();
    await first.open();
    await written(first, 'orders', '1');
    clock = new FakeClock(1_600_000_000_000);
    const second = makeSpool();
    await second.open();
    await written(second, 'orders', '2');
    const now = clock.now.bind(clock);
    clock.now = () => now() - 86_400_000;
    await written(second, 'orders', '3');
    expect((await found()).get('orders')).toEqual(['1', '2', '3']);
  });

  test("a frame damaged in its bucket's name does not make another bucket of the folder", async () => {
    const spool = makeSpool();
    await spool.open();
    const first = await written(spool, 'orders', '1');
    await written(spool, 'orders', '2');
    const bytes = readFileSync(first.path);
    bytes[5]! ^= 2;
    writeFileSync(first.path, bytes);
    expect(await found()).toEqual(new Map([['orders', ['2']]]));
  });

  test('a folder whose every first frame is damaged is still known by what is whole', async () => {
    mkdirSync(join(folder, 'orders'), { recursive: true });
    const frames = framesOf('orders', ['1']);
    const more = framesOf('orders', ['2']);
    const bytes = Buffer.concat([frames, encodeCheckpoint(frames, 1, 1), more, encodeCheckpoint(more, 1, 2)]);
    bytes[5]! ^= 2;
    writeFileSync(join(folder, 'orders', '0000000000001-00000001.bckstm'), bytes);
    expect(await found()).toEqual(new Map([['orders', ['2']]]));
  });

  test('segments swapped between two buckets are not taken for theirs, and are found once back', async () => {
    const spool = makeSpool();
    await spool.open();
    const [a, b] = [await written(spool, 'a', 'a1'), await written(spool, 'b', 'b1')];
    await written(spool, 'a', 'a2');
    await written(spool, 'b', 'b2');
    const swap = (): void => {
      renameSync(a.path, join(folder, 'aside'));
      renameSync(b.path, a.path);
      renameSync(join(folder, 'aside'), b.path);
    };
    swap();
    expect(await found()).toEqual(
      new Map([
        ['a', ['a2']],
        ['b', ['b2']],
      ]),
    );
    expect(lines.filter((line) => line.includes('holds frames of another bucket'))).toHaveLength(2);
    swap();
    expect(await found()).toEqual(
      new Map([
        ['a', ['a1', 'a2']],
        ['b', ['b1', 'b2']],
      ]),
    );
  });

  test('two segments of a bucket with swapped names come in the order of their names, whole', async () => {
    const spool = makeSpool();
    await spool.open();
    const [first, second] = [await written(spool, 'a', '1', '2'), await written(spool, 'a', '3')];
    renameSync(first.path, join(folder, 'aside'));
    renameSync(second.path, first.path);
    renameSync(join(folder, 'aside'), second.path);
    expect(await found()).toEqual(new Map([['a', ['3', '1', '2']]]));
  });

  test('segments with nothing that was ever safe are taken away, and so is a folder with nothing in it', async () => {
    for (const name of ['torn', 'empty', 'busy']) mkdirSync(join(folder, name), { recursive: true });
    writeFileSync(join(folder, 'torn', '0000000000001-00000001.bckstm'), '');
    writeFileSync(join(folder, 'torn', '0000000000001-00000002.bckstm'), 'xyz');
    writeFileSync(join(folder, 'busy', 'notes.txt'), 'mine');
    expect(await found()).toEqual(new Map());
    expect(namesIn(folder)).toEqual(['busy', 'torn']);
    expect(readdirSync(join(folder, 'torn'))).toEqual([]);
    expect(await found()).toEqual(new Map());
    expect(namesIn(folder)).toEqual(['busy']);
  });

  test("leaves strangers' files, symlinks and folders alone", async () => {
    mkdirSync(join(folder, 'orders', '0000000000001-00000009.bckstm'), { recursive: true });
    writeFileSync(join(folder, 'orders', 'orders.bckstm'), 'mine');
    writeFileSync(join(folder, 'readme'), 'mine');
    symlinkSync('/etc/passwd', join(folder, 'orders', '0000000000001-00000001.bckstm'));
    symlinkSync('/etc', join(folder, 'link'));
    const other = framesOf('payments', ['1']);
    mkdirSync(join(folder, 'moved'));
    writeFileSync(
      join(folder, 'moved', '0000000000001-00000001.bckstm'),
      Buffer.concat([other, encodeCheckpoint(other, 1, 1)]),
    );
    expect(await found()).toEqual(new Map());
    expect(namesIn(folder)).toEqual(['link', 'moved', 'orders', 'readme']);
    expect(readdirSync(join(folder, 'orders'))).toHaveLength(3);
    expect(readdirSync(join(folder, 'moved'))).toHaveLength(1);
    expect(lines.join()).toContain('of no bucket with this folder: it stays there');
  });

  test('over SPOOL_MAX clients wait until enough has gone', async () => {
    const spool = makeSpool(20_000);
    await spool.open();
    const all: Segment[] = [];
    while (!budget.isOver) all.push(await written(spool, 'orders', 'x'.repeat(900)));
    expect(spool.bytes).toBeGreaterThan(20_000);
    await all.pop()!.remove();
    expect(budget.isOver).toBe(true);
    await all.pop()!.remove();
    expect(spool.bytes).toBeLessThan(19_000);
    expect(budget.isOver).toBe(false);
    // What a previous run has left counts too.
    const next = makeSpool(5_000);
    const left = [...(await next.open()).values()].flat();
    expect(budget.isOver).toBe(true);
    for (const segment of left) await segment.remove();
    expect([next.bytes, budget.isOver]).toEqual([0, false]);
    expect(readdirSync(join(folder, 'orders'))).toEqual([]);
  });

  test("while a segment can't be written clients wait, and go on when it can, or is not wanted any more", async () => {
    const spool = makeSpool();
    await spool.open();
    disk.fail({ call: 'write', code: 'ENOSPC' });
    const [a, b] = [segmentOf(spool, 'a', ['1']), segmentOf(spool, 'b', ['1'])];
    await until(
      'clients wait',
      () => budget.isOver && lines.filter((line) => line.includes("can't be written")).length === 2,
    );
    await a.segment.remove();
    expect(budget.isOver).toBe(true);
    disk.heal();
    await until('it is complete', () => b.segment.copy === 'complete');
    expect(budget.isOver).toBe(false);
  });

  test.each(['EACCES', 'EROFS'])(
    "a folder that can't be written (%s) is refused at the start, with what to do",
    async (code) => {
      disk.fail({ call: 'open', code, path: /probe/ });
      const opening = makeSpool().open();
      await expect(opening).rejects.toThrow(ConfigError);
      await expect(opening).rejects.toThrow(`SPOOL: ${folder} can't be used: ${code}`);
    },
  );

  test.each(['batch', 'always'] as const)(
    'a file system without fsync (SPOOL_SYNC=%s): it works, and one warning names the power cut',
    async (sync) => {
      for (const call of ['datasync', 'sync'] as const) disk.fail({ call, code: 'EINVAL' });
      const spool = makeSpool(1e9, sync);
      await spool.open();
      for (const bucket of ['a', 'b']) await written(spool, bucket, '1', '2');
      expect(await found()).toEqual(
        new Map([
          ['a', ['1', '2']],
          ['b', ['1', '2']],
        ]),
      );
      expect(budget.isOver).toBe(false);
      expect(lines).toEqual([
        expect.stringMatching(
          new RegExp(`WARN .*${folder}: its file system has no fsync \\(EINVAL.*a power cut may take it`),
        ),
      ]);
    },
  );

  test('with SPOOL_SYNC=never nothing at all is synced', async () => {
    const spool = makeSpool();
    await spool.open();
    await written(spool, 'orders', '1');
    const notes = spool.notes('orders');
    notes.note('kafka', '0000000000001-00000001.bckstm');
    await notes.flush();
    expect(await found()).toEqual(new Map([['orders', ['1']]]));
    expect(disk.count('datasync') + disk.count('sync')).toBe(0);
  });

  test.each(['/proc/spool', '/proc/spool/below', '/dev/null', '/dev/null/below'])(
    "a path that can't be a folder (%s) is refused at once",
    async (path) => {
      const spool = new DiskSpool(
        { path, sync: 'never', maxBytes: 1e9, whenFull: 'wait' },
        { log: new Log('FATAL', () => undefined), clock, budget, turns: new ReadTurns(budget, clock) },
      );
      await expect(spool.open()).rejects.toThrow(`SPOOL: ${path} can't be used: E`);
    },
  );

  test('says its format; that of a newer Kahe is refused by name, and left as it is', async () => {
    const file = join(folder, 'format.json');
    await makeSpool().open();
    expect(readFileSync(file, 'utf8')).toBe('{"format":2}\n');
    for (const [text, rewritten] of [
      ['{"format":1}', '{"format":2}\n'],
      ['{', '{"format":2}\n'],
    ] as const) {
      writeFileSync(file, text);
      await makeSpool().open();
      expect(readFileSync(file, 'utf8')).toBe(rewritten);
    }
    writeFileSync(file, '{"format":3}');
    const refusal = `${file} is in format 3, of a newer Kahe, and this one knows those up to 2: start the newer one again`;
    await expect(makeSpool().open()).rejects.toThrow(refusal);
    await expect(trySpool(disk.fs, folder, false)).rejects.toThrow(refusal);
    expect(readFileSync(file, 'utf8')).toBe('{"format":3}');
  });

  test('the trial file has no name while it exists, so that a crash leaves nothing behind', async () => {
    let goOn: () => void = () => undefined;
    disk.fail({
      call: 'write',
      times: 1,
      path: /probe/,
      wait: new Promise<void>((resolve) => (goOn = resolve)),
    });
    const opening = makeSpool().open();
    await until('it is being written', () => disk.count('write', /probe/) === 1);
    expect(readdirSync(folder)).toEqual([]);
    goOn();
    await opening;
    expect(disk.openFiles).toBe(0);
  });

  test('a disk that is full does not keep it from starting: what is on it is to be delivered', async () => {
    const spool = makeSpool();
    await spool.open();
    await written(spool, 'orders', '1');
    disk.fail({ call: 'write', code: 'ENOSPC' });
    expect(await found()).toEqual(new Map([['orders', ['1']]]));
    expect(lines.join()).toContain("can't be written now");
  });

  test("a segment that can't be removed is told and counted, and goes when it can", async () => {
    const spool = makeSpool();
    await spool.open();
    const segment = await written(spool, 'orders', '1');
    const { bytes } = spool;
    disk.fail({ call: 'unlink', code: 'EIO' });
    await segment.remove();
    expect(lines.join()).toContain("can't be removed");
    expect([spool.bytes, existsSync(segment.path)]).toEqual([bytes, true]);
    disk.heal();
    clock.advance(10_000);
    await until('it is gone', () => spool.bytes === 0);
    expect(existsSync(segment.path)).toBe(false);
    expect(clock.timers).toBe(0);
  });
});
