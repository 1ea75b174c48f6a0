// What a file stream does when the disk does not do what it is asked: every fault once, at every place.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DiskCall } from '../../../support/failingDisk.js';
import type { FileStream } from './fileStream.js';
import { Workbench } from '../../../support/fileWorkbench.js';

let bench: Workbench;
beforeEach(async () => void (bench = await Workbench.make()));
afterEach(() => bench.cleanup());

const ORDERS = /orders(-\d+)?$/;

/**
 * Writes all of the messages, each in a batch of its own, as an actor does: after a failure it probes, and
 * writes again what came back.
 */
async function deliver(stream: FileStream, messages: readonly string[]): Promise<number> {
  let [left, failures] = [messages, 0];
  while (left.length > 0) {
    const outcomes = await Promise.all(left.map((message) => bench.write(stream, message)));
    left = outcomes.flatMap((outcome) => outcome?.undelivered ?? []);
    if (left.length > 0 && ++failures > 20)
      throw new Error(`never delivered: ${String(outcomes[0]?.message)}`);
    if (left.length > 0) await stream.probe().catch(() => undefined);
  }
  return failures;
}

/** Every message in the files, in the order of the files. Throws on half a frame. */
async function written(stream: FileStream): Promise<string[]> {
  return (await Promise.all(stream.files.map(({ name }) => bench.messages(name)))).flat();
}

function numbers(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `message ${i}`);
}

describe('FileStream: one call fails', () => {
  const calls: readonly DiskCall[] = [
    'open',
    'write',
    'datasync',
    'sync',
    'facts',
    'makeFolder',
    'rename',
    'close',
  ];
  for (const call of calls) {
    for (const code of call === 'open' ? ['EMFILE', 'EACCES'] : ['EIO', 'ENOSPC']) {
      it(`${call}, ${code}, the nth: every frame is in a file once, in order`, async () => {
        for (let nth = 0; nth < 12; nth++) {
          const fresh = await Workbench.make();
          [bench, fresh.lines.length] = [await swap(fresh), 0];
          const stream = await bench.opened({ sizeRotateBytes: 100 });
          await bench.write(stream, 'before');
          bench.disk.fail({ call, code, after: nth, times: 1 });
          await deliver(stream, numbers(20));
          await stream.close({ deadlineMs: 5000 });
          expect(await written(stream)).toEqual(['before', ...numbers(20)]);
          expect(stream.files.reduce((sum, { frames }) => sum + frames, 0)).toBe(21);
        }
      });
    }
  }

  it('a truncate that fails too leaves at most the batches handed back in the file, and says so', async () => {
    const stream = await bench.opened();
    await bench.write(stream, 'before');
    bench.disk.fail({ call: 'write', path: ORDERS, times: 1, short: 5 });
    bench.disk.fail({ call: 'write', path: ORDERS, after: 1, times: 1, code: 'EIO' });
    bench.disk.fail({ call: 'truncate', code: 'EIO' });
    const failed = await bench.write(stream, 'torn');
    expect(failed?.undelivered).toEqual(['torn']);
    expect(bench.lines.join('')).toMatch(/ERROR .*orders may end in half a batch behind byte 18/);
    await stream.probe();
    await bench.write(stream, 'torn');
    expect(await bench.messages('orders-2')).toEqual(['torn']);
    await expect(bench.messages('orders')).rejects.toThrow('half a frame at 18 of 23');

    // The next start fixes it.
    bench.disk.heal();
    await stream.close({ deadlineMs: 1000 });
    const next = await bench.opened();
    expect(await bench.messages('orders')).toEqual(['before']);
    expect(next.files.map(({ name, frames, bytes, open }) => ({ name, frames, bytes, open }))).toEqual([
      { name: 'orders', frames: 1, bytes: 18, open: false },
      { name: 'orders-2', frames: 1, bytes: 16, open: false },
    ]);
  });

  async function swap(fresh: Workbench): Promise<Workbench> {
    await bench.cleanup();
    return fresh;
  }
});

describe('FileStream: writes', () => {
  it('goes on after short writes, whole', async () => {
    const stream = await bench.opened();
    bench.disk.fail({ call: 'write', path: ORDERS, short: 7 });
    expect(await deliver(stream, numbers(10))).toBe(0);
    expect(await bench.messages('orders')).toEqual(numbers(10));
  });

  it('a write that ends short of a full disk is cut back; the file goes on after the probe', async () => {
    const stream = await bench.opened();
    await bench.write(stream, 'before');
    bench.disk.fail({ call: 'write', path: ORDERS, times: 1, short: 3 });
    bench.disk.fail({ call: 'write', after: 1, code: 'ENOSPC' });
    const outcomes = await Promise.all(numbers(3).map((message) => bench.write(stream, message)));
    expect(outcomes.map((outcome) => outcome?.undelivered)).toEqual(numbers(3).map((message) => [message]));
    expect(outcomes[0]?.message).toMatch(/out\/orders can't be written: ENOSPC.*; free space/);
    expect(await bench.messages('orders')).toEqual(['before']);
    await expect(stream.probe()).rejects.toThrow(/out can't be written: ENOSPC.*; free space/);
    expect((await bench.write(stream, 'early'))?.undelivered).toEqual(['early']);

    bench.disk.heal();
    await stream.probe();
    await deliver(stream, numbers(3));
    expect(await bench.names()).toEqual(['orders']);
    expect(await bench.messages('orders')).toEqual(['before', ...numbers(3)]);
  });

  it('a file that may not grow any more is ended whole, and the next one is begun after the probe', async () => {
    const stream = await bench.opened();
    await bench.write(stream, 'before');
    bench.disk.fail({ call: 'write', path: /out\/orders$/, times: 1, short: 3 });
    bench.disk.fail({ call: 'write', path: /out\/orders$/, after: 1, code: 'EFBIG' });
    const outcomes = await Promise.all(numbers(3).map((message) => bench.write(stream, message)));
    expect(outcomes.map((outcome) => outcome?.undelivered)).toEqual(numbers(3).map((message) => [message]));
    await stream.probe();
    await deliver(stream, numbers(3));
    expect(await bench.names()).toEqual(['orders', 'orders-2']);
    expect(await bench.messages('orders')).toEqual(['before']);
    expect(await bench.messages('orders-2')).toEqual(numbers(3));
    expect(stream.files.map(({ frames, open }) => [frames, open])).toEqual([
      [1, false],
      [3, true],
    ]);
  });

  it('the batches before the failed one, of the same sync, are delivered', async () => {
    const stream = await bench.opened();
    await bench.write(stream, 'before');
    bench.disk.fail({ call: 'write', path: ORDERS, after: 2, times: 1, code: 'EIO' });
    const outcomes = await Promise.all(numbers(5).map((message) => bench.write(stream, message)));
    expect(outcomes.map((outcome) => outcome?.undelivered[0])).toEqual([
      undefined,
      undefined,
      'message 2',
      'message 3',
      'message 4',
    ]);
    expect(await bench.messages('orders')).toEqual(['before', 'message 0', 'message 1']);
  });

  it('a probe needs room for the batch that failed', async () => {
    const stream = await bench.opened();
    const large = 'x'.repeat(300_000);
    bench.disk.fail({ call: 'write', path: ORDERS, times: 1, code: 'ENOSPC' });
    expect(await bench.write(stream, large)).toMatchObject({ code: 'IO' });
    bench.disk.fail({ call: 'write', path: /probe/, after: 4, code: 'ENOSPC' });
    await expect(stream.probe()).rejects.toThrow('ENOSPC');
    bench.disk.heal();
    await stream.probe();
    expect(await bench.write(stream, large)).toBeUndefined();
    expect(await bench.names()).toEqual(['orders']);
  });

  it('leaves no file when nothing could be written at all', async () => {
    const stream = await bench.opened();
    bench.disk.fail({ call: 'write', path: ORDERS, code: 'ENOSPC' });
    expect(await bench.write(stream, 'a')).toMatchObject({ code: 'IO', undelivered: ['a'] });
    await stream.close({ deadlineMs: 1000 });
    expect(await bench.names()).toEqual([]);
    expect(stream.files).toEqual([]);
  });
});

describe('FileStream: syncs', () => {
  it('a file whose sync failed is never synced nor written again, and its unsynced batches come back', async () => {
    const stream = await bench.opened();
    await bench.write(stream, 'before');
    const syncs = bench.disk.count('datasync', /orders$/);
    bench.disk.fail({ call: 'datasync', path: ORDERS, times: 1, code: 'EIO' });
    const outcomes = await Promise.all(numbers(4).map((message) => bench.write(stream, message)));
    expect(outcomes.map((outcome) => outcome?.undelivered)).toEqual(numbers(4).map((message) => [message]));
    expect(outcomes[0]).toMatchObject({
      code: 'IO',
      message: expect.stringMatching(/orders can't be written: EIO/) as string,
    });
    await stream.probe();
    await deliver(stream, numbers(4));
    expect(bench.disk.count('datasync', /orders$/)).toBe(syncs + 1);
    expect(await bench.messages('orders')).toEqual(['before']);
    expect(await bench.messages('orders-2')).toEqual(numbers(4));
  });

  it('the same when it fails at the rotation', async () => {
    const stream = await bench.opened({ sizeRotateBytes: 60 });
    await bench.write(stream, 'before');
    bench.disk.fail({ call: 'datasync', path: ORDERS, times: 1, code: 'EIO' });
    const failures = await deliver(stream, numbers(6));
    expect(failures).toBe(1);
    expect(await written(stream)).toEqual(['before', ...numbers(6)]);
    expect(bench.lines.join('')).not.toContain('ERROR');
  });
});

describe('FileStream: opening and closing', () => {
  it.each(['EMFILE', 'EACCES', 'EROFS', 'ENOSPC'])(
    "a new file that can't be opened (%s) hands the batches back with the path",
    async (code) => {
      const stream = await bench.opened();
      bench.disk.fail({ call: 'open', path: ORDERS, code });
      const outcomes = await Promise.all(numbers(3).map((message) => bench.write(stream, message)));
      expect(outcomes.map((outcome) => outcome?.undelivered)).toEqual(numbers(3).map((message) => [message]));
      expect(outcomes[0]?.message).toMatch(
        new RegExp(`a new file below ${bench.folder}/out can't be written: ${code}.*; `),
      );
      bench.disk.heal();
      await stream.probe();
      await deliver(stream, numbers(3));
      expect(await written(stream)).toEqual(numbers(3));
    },
  );

  it('closes at the deadline when the disk hangs, and hands everything back', async () => {
    const stream = await bench.opened();
    await bench.write(stream, 'before');
    let release = (): void => undefined;
    bench.disk.fail({
      call: 'datasync',
      path: ORDERS,
      wait: new Promise<void>((resolve) => (release = resolve)),
    });
    const writing = Promise.all(numbers(3).map((message) => bench.write(stream, message)));
    await stream.close({ deadlineMs: 20 });
    const outcomes = await writing;
    expect(outcomes.map((outcome) => outcome?.code)).toEqual(['CLOSED', 'CLOSED', 'CLOSED']);
    expect(outcomes.flatMap((outcome) => outcome?.undelivered)).toEqual(numbers(3));
    expect(bench.lines.join('')).toContain('not closed within 20 ms: 3 batches');
    // Let it end before the folder goes: the last thing is the journal's folder being synced.
    const saves = bench.disk.count('sync', /\.kahe$/);
    release();
    await expect
      .poll(() => [bench.disk.count('sync', /\.kahe$/), bench.disk.underWay])
      .toEqual([saves + 1, 0]);
  });

  it("a journal that can't be written takes no frame into a file it does not know", async () => {
    const stream = await bench.opened();
    bench.disk.fail({ call: 'rename', code: 'ENOSPC' });
    expect(await bench.write(stream, 'a')).toMatchObject({ code: 'IO', undelivered: ['a'] });
    expect(await bench.names()).toEqual([]);
  });
});
