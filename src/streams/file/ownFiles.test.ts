// Only the stream's own files are ever removed, and what a crash leaves is put in order.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFile,
  copyFile,
  mkdir,
  readFile,
  readdir,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { StreamChoice } from '../../../support/fileWorkbench.js';
import { Workbench } from '../../../support/fileWorkbench.js';

let bench: Workbench;
beforeEach(async () => void (bench = await Workbench.make()));
afterEach(() => bench.cleanup());

const inOut = (...names: string[]): string => join(bench.folder, 'out', ...names);

/** One file for each list of messages, closed. */
async function wrote(choice: StreamChoice, ...batches: string[][]): Promise<void> {
  const stream = await bench.opened({ sizeRotateBytes: 1, ...choice });
  for (const messages of batches) expect(await bench.write(stream, ...messages)).toBeUndefined();
  await stream.close({ deadlineMs: 1000 });
}

async function journalPath(): Promise<string> {
  const names = await readdir(inOut('.kahe'));
  return inOut(
    '.kahe',
    names.find((name) => name.endsWith('.json'))!,
  );
}

/** What a crash would have left: the journal as it was in the middle of things. */
async function atCrash(run: () => Promise<void>): Promise<void> {
  await run();
  const crashed = await readFile(await journalPath());
  await bench.stop();
  await writeFile(await journalPath(), crashed);
}

describe('FileStream: another process', () => {
  /**
   * A process that has the lock of the stream's files, as a second daemon would.
   * @returns the way to kill it
   */
  async function other(): Promise<() => Promise<void>> {
    const { dev, ino } = await stat(inOut(), { bigint: true });
    const hash = (await journalPath()).split('.').at(-2)!;
    // Ends with this process, too: a test that fails kills nobody.
    const program = `process.stdin.resume().on('end', () => process.exit()); require('net').createServer().on('error', ({ code }) => console.log(code)).listen('\\0kahe-files-${hash}-${dev}-${ino}', () => console.log('has it'))`;
    const child = spawn(process.execPath, ['-e', program]);
    const [said] = (await once(child.stdout, 'data')) as [Buffer];
    if (said.toString() !== 'has it\n') throw new Error(said.toString());
    return async () => {
      child.kill('SIGKILL');
      await once(child, 'exit');
    };
  }

  it('a running owner keeps its files: none is cut, removed or forgotten; all goes on once it ends', async () => {
    await wrote({ maxFiles: 1 }, ['1']);
    const kill = await other();
    const stream = await bench.opened({ maxFiles: 1, fileNameTemplate: '{bucket}' });
    expect(
      bench.lines.filter((line) =>
        line.includes('another process that is running has the files of stream file_01 and bucket orders'),
      ),
    ).toHaveLength(1);
    // What it writes meanwhile.
    await appendFile(inOut('orders'), 'half a frame');
    const journal = await readFile(await journalPath(), 'utf8');
    expect(await bench.write(stream, '2')).toMatchObject({ code: 'IO', undelivered: ['2'] });
    await expect(stream.probe()).rejects.toThrow('stop that one, or give this one a path of its own');
    expect(stream.own.areInUse).toBe(true);
    expect((await readFile(inOut('orders'), 'utf8')).endsWith('half a frame')).toBe(true);
    // It ends in good order, with one file more.
    await writeFile(inOut('mine'), '');
    const { ino } = await stat(inOut('mine'), { bigint: true });
    const { files, ...rest } = JSON.parse(journal) as { files: object[] };
    await writeFile(
      await journalPath(),
      JSON.stringify({
        ...rest,
        files: [{ ...files[0], name: 'mine', inode: String(ino), frames: 0, bytes: 0 }],
      }),
    );
    await kill();
    await stream.probe();
    expect(stream.own.areInUse).toBe(false);
    expect(stream.files.map(({ name }) => name)).toEqual(['mine']);
    expect(await bench.write(stream, '2')).toBeUndefined();
    expect(await bench.names()).toEqual(['orders', 'orders-2']);
  });

  it('gets them when the stream is closed, and not before', async () => {
    const [stream, successor] = [await bench.opened(), await bench.opened()];
    expect(await bench.write(stream, '1')).toBeUndefined();
    await stream.close({ deadlineMs: 1000 });
    // One that follows on a reload has them still.
    await expect(other()).rejects.toThrow('EADDRINUSE');
    await successor.close({ deadlineMs: 1000 });
    await (
      await other()
    )();
  });
});

describe('FileStream: maxFiles', () => {
  it('removes the oldest own file before it opens one more, and reports its frames', async () => {
    await wrote({ maxFiles: 3 }, ['1'], ['2', '2b'], ['3'], ['4'], ['5']);
    expect(await bench.names()).toEqual(['orders-3', 'orders-4', 'orders-5']);
    expect(bench.discarded).toEqual([
      { file: inOut('orders'), frames: 1, bytes: 13, openedMs: expect.any(Number) as number, isOld: false },
      { file: inOut('orders-2'), frames: 2, bytes: 27, openedMs: expect.any(Number) as number, isOld: false },
    ]);
  });

  it('keeps to it across a restart, and with maxFiles 1', async () => {
    await wrote({ maxFiles: 3 }, ['1'], ['2'], ['3']);
    await wrote({ maxFiles: 1 }, ['4', '4b'], ['5']);
    expect(await bench.names()).toEqual(['orders-5']);
    expect(bench.discarded.map(({ frames }) => frames)).toEqual([1, 1, 1, 2]);
  });

  it('never more exist, the open one included', async () => {
    const stream = await bench.opened({ maxFiles: 2, sizeRotateBytes: 1 });
    for (const message of ['1', '2', '3', '4']) {
      await bench.write(stream, message);
      expect((await bench.names()).length).toBeLessThanOrEqual(2);
    }
  });

  it("never counts nor removes a stranger's file, nor another stream's", async () => {
    await mkdir(inOut());
    for (const name of ['orders', 'orders-2', 'a', 'zzz']) await writeFile(inOut(name), name);
    await wrote({ maxFiles: 1, streamId: 'other', fileNameTemplate: 'other' }, ['other']);
    await wrote({ maxFiles: 1, bucket: 'orders-3' }, ['of orders-3']);
    await wrote({ maxFiles: 2 }, ['1'], ['2'], ['3'], ['4']);
    expect(await bench.names()).toEqual([
      'a',
      'orders',
      'orders-2',
      'orders-3',
      'orders-6',
      'orders-7',
      'other',
      'zzz',
    ]);
    for (const name of ['orders', 'orders-2', 'a', 'zzz'])
      expect(await readFile(inOut(name), 'utf8')).toBe(name);
    expect(await bench.messages('orders-3')).toEqual(['of orders-3']);
  });

  it('does not remove another file that got the name of an own one', async () => {
    await wrote({ maxFiles: 2 }, ['1'], ['2']);
    // Another inode; and the same inode with other bytes, as when an inode is used again.
    await copyFile(inOut('orders'), inOut('copy'));
    await rename(inOut('copy'), inOut('orders'));
    await appendFile(inOut('orders-2'), "a stranger's");
    await wrote({ maxFiles: 2 }, ['3'], ['4'], ['5']);
    expect(await bench.names()).toEqual(['orders', 'orders-2', 'orders-4', 'orders-5']);
    expect(bench.lines.filter((line) => line.includes('no longer the file that Kahe wrote'))).toHaveLength(2);
    expect(bench.discarded.map(({ file }) => file)).toEqual([inOut('orders-3')]);
  });

  it('removes nothing as long as somebody takes the files away', async () => {
    await wrote({ maxFiles: 2 }, ['1'], ['2']);
    await rm(inOut('orders-2'));
    await wrote({ maxFiles: 2 }, ['3']);
    expect(await bench.names()).toEqual(['orders', 'orders-3']);
    expect(bench.discarded).toEqual([]);
  });

  it('counts as discarded what was told delivered, not what a suspect file holds besides', async () => {
    const stream = await bench.opened({ maxFiles: 1 });
    await bench.write(stream, '1', '2');
    bench.disk.fail({ call: 'datasync', path: /orders$/, times: 1, code: 'EIO' });
    bench.disk.fail({ call: 'truncate', times: 1, code: 'EIO' });
    expect(await bench.write(stream, '3')).toMatchObject({ undelivered: ['3'] });
    expect(await bench.messages('orders')).toEqual(['1', '2', '3']);
    expect(bench.lines.join('')).toMatch(/ERROR .*orders may hold frames twice behind byte 26/);
    await stream.probe();
    await bench.write(stream, '3');
    expect(bench.discarded).toEqual([
      { file: inOut('orders'), frames: 2, bytes: 39, openedMs: expect.any(Number) as number, isOld: false },
    ]);
  });

  it("hands the batch back, and loses nothing, when the oldest can't be removed", async () => {
    const stream = await bench.opened({ maxFiles: 1, sizeRotateBytes: 1 });
    await bench.write(stream, '1');
    bench.disk.fail({ call: 'unlink', path: /orders$/, code: 'EPERM' });
    expect(await bench.write(stream, '2')).toMatchObject({ code: 'IO', undelivered: ['2'] });
    expect(await bench.messages('orders')).toEqual(['1']);
    expect(bench.discarded).toEqual([]);
  });
});

describe('FileStream: after a crash', () => {
  it('knows the file that was open, counts its frames anew, and cuts off half a frame', async () => {
    await atCrash(async () => {
      await bench.write(await bench.opened(), '1', '2', '3');
    });
    await truncate(inOut('orders'), 13 * 3 - 4);
    const stream = await bench.opened({ maxFiles: 1 });
    expect(stream.files).toMatchObject([{ name: 'orders', frames: 2, bytes: 26, open: false }]);
    expect(await bench.messages('orders')).toEqual(['1', '2']);
    expect(bench.lines.join('')).toContain(
      'ended in half a frame, as after a crash: Kahe cut it from 35 to 26 bytes, 2 frames',
    );
    await bench.write(stream, '4');
    expect(bench.discarded).toEqual([
      { file: inOut('orders'), frames: 2, bytes: 26, openedMs: expect.any(Number) as number, isOld: true },
    ]);
    expect(await bench.names()).toEqual(['orders-2']);
  });

  it('cuts half a frame at every byte', async () => {
    await atCrash(async () => {
      await bench.write(await bench.opened(), '1', '2');
    });
    const [whole, journal] = [await readFile(inOut('orders')), await readFile(await journalPath())];
    for (let length = whole.length; length > 0; length--) {
      // In place, so that it stays the same inode.
      await writeFile(inOut('orders'), whole.subarray(0, length));
      await writeFile(await journalPath(), journal);
      const stream = await bench.opened();
      const frames = Math.floor(length / 13);
      expect(stream.files.map((file) => [file.frames, file.bytes])).toEqual(
        frames === 0 ? [] : [[frames, frames * 13]],
      );
      if (frames > 0) expect(await bench.messages('orders')).toEqual(['1', '2'].slice(0, frames));
      if (frames === 0) break;
    }
    expect(await bench.names()).toEqual([]);
  });

  it('keeps what it cuts off: behind a damaged length whole frames may stand', async () => {
    await atCrash(async () => {
      const stream = await bench.opened({});
      expect(
        await bench.write(stream, ...Array.from({ length: 20 }, (_, i) => `message ${i}`)),
      ).toBeUndefined();
    });
    const whole = await readFile(inOut('orders'));
    const damaged = Buffer.from(whole);
    damaged[22 + 2]! |= 1;
    await writeFile(inOut('orders'), damaged);
    await bench.opened({});
    const [aside] = (await readdir(inOut('.kahe'))).filter((name) => name.endsWith('.cut'));
    const kept = await readFile(inOut('.kahe', aside!));
    expect(Buffer.concat([await readFile(inOut('orders')), kept])).toEqual(damaged);
    expect(bench.lines.filter((line) => line.includes(aside!))).toHaveLength(1);
  });

  it('counts frames of every size, longer than what is read at once too', async () => {
    const messages = Array.from({ length: 3000 }, (_, i) => 'x'.repeat(i % 1000 === 7 ? 700_000 : i));
    await atCrash(async () => {
      await bench.write(await bench.opened(), ...messages);
    });
    const stream = await bench.opened();
    expect(stream.files).toMatchObject([
      { frames: 3000, bytes: messages.reduce((sum, message) => sum + 12 + message.length, 0) },
    ]);
    expect(bench.lines.join('')).not.toContain('WARN');
  });

  it('leaves a damaged file as it is', async () => {
    await atCrash(async () => {
      await bench.write(await bench.opened(), '1', '2');
    });
    await appendFile(inOut('orders'), Buffer.alloc(100));
    const stream = await bench.opened();
    expect(stream.files).toMatchObject([{ frames: 2, bytes: 126 }]);
    expect(await readFile(inOut('orders'))).toHaveLength(126);
    expect(bench.lines.join('')).toContain('is damaged behind byte 26');
  });

  it.each([
    '',
    '{',
    '[]',
    '{"version":2}',
    '{"version":0,"numbers":[],"files":[]}',
    '{"version":1,"numbers":[],"files":[{"name":"../../x","openedMs":1,"device":"1","inode":"1","frames":1,"bytes":1,"open":false}]}',
  ])("puts the journal %j aside; the files are strangers' then", async (text) => {
    await wrote({}, ['1'], ['2']);
    const path = await journalPath();
    await writeFile(path, text);
    await wrote(
      { maxFiles: 1, clock: { ...(await import('../../clock.js')).systemClock, now: () => 77 } },
      ['3'],
      ['4'],
    );
    expect(await readFile(`${path}.corrupt-77`, 'utf8')).toBe(text);
    expect(await bench.names()).toEqual(['orders', 'orders-2', 'orders-4']);
    expect(bench.lines.join('')).toMatch(/WARN .*is no journal of Kahe's/);
  });

  it('refuses the journal of a newer Kahe by name, and leaves it as it is', async () => {
    await wrote({}, ['1']);
    const path = await journalPath();
    const newer = (await readFile(path, 'utf8')).replace('"version":2', '"version":3');
    await writeFile(path, newer);
    await expect(bench.opened()).rejects.toThrow(
      /file stream .*: .* can't be used: .*\.json is in format 3, of a newer Kahe, and this one knows those up to 2/,
    );
    expect(await readFile(path, 'utf8')).toBe(newer);
    await writeFile(path, newer.replace('"version":3', '"version":1'));
    expect((await bench.opened()).files).toHaveLength(1);
  });

  it("does not follow a symlink in the journal's place, nor in that of its folder", async () => {
    await wrote({}, ['1']);
    const path = await journalPath();
    await rename(path, join(bench.folder, 'moved'));
    const moved = await readFile(join(bench.folder, 'moved'));
    await symlink(join(bench.folder, 'moved'), path);
    await wrote({ maxFiles: 1 }, ['2']);
    expect(await bench.names()).toEqual(['orders', 'orders-2']);
    expect(await readFile(join(bench.folder, 'moved'))).toEqual(moved);

    await rm(inOut('.kahe'), { recursive: true });
    await mkdir(join(bench.folder, 'elsewhere'));
    await symlink(join(bench.folder, 'elsewhere'), inOut('.kahe'));
    expect(await bench.write(await bench.opened(), '3')).toMatchObject({ code: 'IO', undelivered: ['3'] });
    expect(await readdir(join(bench.folder, 'elsewhere'))).toEqual([]);
  });
});
