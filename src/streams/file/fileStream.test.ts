import { execFile } from 'node:child_process';
import {
  appendFile,
  lstat,
  mkdir,
  readFile,
  readdir,
  readlink,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../clock.js';
import { framesIn, framesOf } from '../../../support/frames.js';
import { streamContract } from '../../../support/streamContract.js';
import { Workbench } from '../../../support/fileWorkbench.js';

let bench: Workbench;
beforeEach(async () => void (bench = await Workbench.make()));
afterEach(() => bench.cleanup());

const big = (letter: string): string => letter.repeat(1000);
const inOut = (...names: string[]): string => join(bench.folder, 'out', ...names);

for (const fsync of [true, false]) {
  streamContract(`FileStream, fsync ${fsync}`, {
    make: async () => {
      const own = await Workbench.make();
      const stream = own.stream({ fsync, sizeRotateBytes: 700, bucket: 'contract' });
      return {
        stream,
        bucket: 'contract',
        read: async () =>
          (
            await Promise.all(
              stream.files.map(async ({ name }) => framesIn(await readFile(join(own.folder, 'out', name)))),
            )
          ).flat(),
        breakIt: () => own.disk.fail({ call: 'write', code: 'ENOSPC' }),
        heal: () => own.disk.heal(),
        cleanup: () => own.cleanup(),
      };
    },
  });
}

describe('FileStream: writing', () => {
  it('writes a batch with one system call, from its own bytes', async () => {
    const stream = await bench.opened();
    await bench.write(stream, 'a', 'b');
    await bench.write(stream, 'c');
    expect(bench.disk.count('write', /orders$/)).toBe(2);
    expect(await bench.messages('orders')).toEqual(['a', 'b', 'c']);
  });

  it('makes folders 0750 and files 0640, the notes too', async () => {
    const stream = await bench.opened({ fileNameTemplate: '{bucket}{PS}deep{PS}x.bckstm' });
    await bench.write(stream, 'a');
    for (const folder of ['.', 'orders', 'orders/deep', '.kahe'])
      expect((await stat(inOut(folder))).mode & 0o777).toBe(0o750);
    expect((await stat(inOut('orders/deep/x.bckstm'))).mode & 0o777).toBe(0o640);
    expect(await bench.names()).toEqual(['orders/deep/x.bckstm']);
  });

  it('opens no file before the first batch, and leaves none empty', async () => {
    const stream = await bench.opened();
    expect(await bench.names()).toEqual([]);
    await stream.close({ deadlineMs: 1000 });
    expect(await bench.names()).toEqual([]);
  });

  it('one sync serves all batches that wait', async () => {
    const stream = await bench.opened();
    await bench.write(stream, 'opens the file');
    let release = (): void => undefined;
    bench.disk.fail({
      call: 'datasync',
      path: /orders$/,
      times: 1,
      wait: new Promise<void>((resolve) => (release = resolve)),
    });
    const before = bench.disk.count('datasync', /orders$/);
    const first = bench.write(stream, 'first');
    await expect.poll(() => bench.disk.count('datasync', /orders$/)).toBe(before + 1);
    const waiting = ['2', '3', '4', '5', '6', '7', '8'].map((message) => bench.write(stream, message));
    release();
    await Promise.all([first, ...waiting]);
    expect(bench.disk.count('datasync', /orders$/)).toBe(before + 2);
  });

  it('never syncs anything with fsync: false', async () => {
    const settings = { fsync: false, fileNameTemplate: '{bucket}/a', sizeRotateBytes: 1 };
    const stream = await bench.opened(settings);
    await bench.write(stream, 'a');
    await stream.probe();
    // A crash left half a frame, which is cut.
    const journal = inOut(
      '.kahe',
      (await readdir(inOut('.kahe'))).find((name) => name.endsWith('.json'))!,
    );
    await writeFile(journal, (await readFile(journal, 'utf8')).replace('"open":false', '"open":true'));
    await appendFile(inOut('orders/a'), framesOf('orders', ['half']).subarray(0, 9));
    const next = await bench.opened(settings);
    await bench.write(next, 'b');
    await next.close({ deadlineMs: 1000 });
    expect([await bench.messages('orders/a'), await bench.messages('orders/a-2')]).toEqual([['a'], ['b']]);
    expect(bench.disk.count('datasync') + bench.disk.count('sync')).toBe(0);
  });

  it('on a file system without fsync all is delivered, and one warning is given for all streams there', async () => {
    for (const call of ['datasync', 'sync'] as const) bench.disk.fail({ call, code: 'EINVAL' });
    const streams = [
      await bench.opened({ fileNameTemplate: 'x/{bucket}' }),
      await bench.opened({ bucket: 'others' }),
    ];
    for (const stream of streams) expect(await bench.write(stream, 'a', 'b')).toBeUndefined();
    for (const stream of streams) await stream.close({ deadlineMs: 1000 });
    expect([await bench.messages('x/orders'), await bench.messages('others')]).toEqual([
      ['a', 'b'],
      ['a', 'b'],
    ]);
    expect(bench.lines.filter((line) => line.includes('WARN'))).toEqual([
      expect.stringMatching(/out: its file system has no fsync \(EINVAL.*a power cut may take it/),
    ]);
  });

  it('goes on with a new file when somebody removed the open one', async () => {
    const stream = await bench.opened();
    await bench.write(stream, 'lost by hand');
    await rm(inOut('orders'));
    await bench.write(stream, 'kept');
    expect(await bench.names()).toEqual(['orders-2']);
    expect(await bench.messages('orders-2')).toEqual(['kept']);
    expect(bench.lines.join('')).toContain('was removed while Kahe wrote it');
  });
});

describe('FileStream: rotation and names', () => {
  it('rotates after the batch with which the file reaches the size, and never splits one', async () => {
    const stream = await bench.opened({ sizeRotateBytes: 2500 });
    for (const letter of 'abcdef') await bench.write(stream, big(letter));
    await bench.write(stream, ...'ghijk'.split('').map(big));
    expect(await bench.names()).toEqual(['orders', 'orders-2', 'orders-3']);
    expect(await bench.messages('orders')).toEqual(['a', 'b', 'c'].map(big));
    expect(await bench.messages('orders-2')).toEqual(['d', 'e', 'f'].map(big));
    expect(await bench.messages('orders-3')).toEqual(['g', 'h', 'i', 'j', 'k'].map(big));
    expect(stream.files.map(({ frames, open }) => ({ frames, open }))).toEqual([
      { frames: 3, open: false },
      { frames: 3, open: false },
      { frames: 5, open: false },
    ]);
  });

  it('a hundred rotations in one second have a hundred names, in order', async () => {
    const stream = await bench.opened({
      sizeRotateBytes: 1,
      fileNameTemplate: '{bucket}-{ts}.bckstm',
      clock: { ...systemClock, now: () => 5000 },
    });
    const outcomes = await Promise.all(Array.from({ length: 100 }, (_, i) => bench.write(stream, `${i}`)));
    expect(outcomes.every((outcome) => outcome === undefined)).toBe(true);
    expect(stream.files.map(({ name }) => name)).toEqual([
      'orders-5.bckstm',
      ...Array.from({ length: 99 }, (_, i) => `orders-5-${i + 2}.bckstm`),
    ]);
    expect(await Promise.all(stream.files.map(({ name }) => bench.messages(name)))).toEqual(
      Array.from({ length: 100 }, (_, i) => [`${i}`]),
    );
  });

  it('gives no name twice, also when the file went and Kahe was started again', async () => {
    const first = await bench.opened({ sizeRotateBytes: 1 });
    await bench.write(first, '1');
    await bench.write(first, '2');
    await first.close({ deadlineMs: 1000 });
    await rm(inOut('orders'));
    await rm(inOut('orders-2'));
    await bench.write(await bench.opened(), '3');
    expect(await bench.names()).toEqual(['orders-3']);
  });

  it("steps over a stranger's file and a symlink, untouched", async () => {
    await mkdir(inOut());
    await writeFile(inOut('orders'), "a stranger's");
    await writeFile(join(bench.folder, 'target'), 'target');
    await symlink(join(bench.folder, 'target'), inOut('orders-2'));
    await symlink(join(bench.folder, 'nowhere'), inOut('orders-3'));
    await bench.write(await bench.opened(), 'a');
    expect(await bench.messages('orders-4')).toEqual(['a']);
    expect(await readFile(inOut('orders'), 'utf8')).toBe("a stranger's");
    expect(await readFile(join(bench.folder, 'target'), 'utf8')).toBe('target');
    expect(await readlink(inOut('orders-3'))).toBe(join(bench.folder, 'nowhere'));
    await expect(lstat(join(bench.folder, 'nowhere'))).rejects.toThrow('ENOENT');
  });

  it.each(['../../x', 'a/b', 'a\0b', '\xff'.repeat(255), '.', '..', '.kahe', ''])(
    'keeps the file of the bucket %j below path',
    async (bucket) => {
      for (const fileNameTemplate of ['{bucket}', 'deep{PS}{bucket}{PS}{bucket}.bckstm']) {
        expect(await bench.write(await bench.opened({ bucket, fileNameTemplate }), 'a')).toBeUndefined();
      }
      const names = await bench.names();
      expect(names).toHaveLength(2);
      expect((await bench.names(bench.folder)).every((name) => name.startsWith('out/'))).toBe(true);
      for (const name of names) expect(await bench.messages(name)).toEqual(['a']);
    },
  );

  it('refuses a symlink among the folders below path, and takes path itself being one', async () => {
    await mkdir(join(bench.folder, 'elsewhere'));
    await mkdir(join(bench.folder, 'real'));
    await symlink(join(bench.folder, 'real'), inOut());
    await symlink(join(bench.folder, 'elsewhere'), inOut('linked'));
    const refused = await bench.write(await bench.opened({ fileNameTemplate: 'linked/{bucket}' }), 'a');
    expect(refused).toMatchObject({
      code: 'IO',
      undelivered: ['a'],
      message: expect.stringContaining('is a symlink') as string,
    });
    expect(await bench.names(join(bench.folder, 'elsewhere'))).toEqual([]);
    expect(await bench.write(await bench.opened(), 'b')).toBeUndefined();
    expect(await bench.messages('orders')).toEqual(['b']);
  });

  it('says at the start what a person must fix', async () => {
    await writeFile(inOut(), 'no folder');
    await expect(bench.stream().open()).rejects.toThrow(/file_01.*out can't be used/);
    await rm(inOut());
    bench.disk.fail({ call: 'makeFolder', code: 'ENOSPC' });
    await expect(bench.stream().open()).resolves.toBeUndefined();
  });
});

describe('FileStream: a file size limit of the process', () => {
  it('cuts the half batch off, hands it back, and says what to do', async () => {
    // The limit is of the whole process, so another one writes; 64 blocks of 1 KiB in bash.
    const script = `
      const { Workbench } = await import(${JSON.stringify(new URL('../../../support/fileWorkbench.ts', import.meta.url).href)});
      const bench = await Workbench.make();
      const stream = await bench.opened();
      const outcomes = [];
      for (const letter of 'abc') outcomes.push(await bench.write(stream, letter.repeat(30000)));
      const messages = await bench.messages('orders');
      await bench.cleanup();
      console.log(JSON.stringify([outcomes.map((o) => o?.message ?? null), messages.map((m) => m[0] + m.length), outcomes[2].undelivered.length]));
    `;
    const command = 'ulimit -f 64; exec "$0" --import tsx --input-type=module -e "$1"';
    const { stdout } = await promisify(execFile)('bash', ['-c', command, process.execPath, script], {
      cwd: new URL('../../..', import.meta.url),
    });
    const [outcomes, messages, undelivered] = JSON.parse(stdout) as [(string | null)[], string[], number];
    expect(outcomes.slice(0, 2)).toEqual([null, null]);
    expect(outcomes[2]).toMatch(/orders can't be written: EFBIG.*raise the limit/);
    expect(messages).toEqual(['a30000', 'b30000']);
    expect(undelivered).toBe(1);
  }, 30_000);
});
