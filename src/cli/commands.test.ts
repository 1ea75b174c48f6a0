// `kahe inspect` and `kahe send`, as they are typed: what they print, and with which code they end.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type Server, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { encodeFrame } from '../frames/frame.js';
import { inspect } from './inspect.js';
import { send } from './send.js';

let folder: string;
let out: string;
let err: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kahe-cli-'));
  [out, err] = ['', ''];
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => ((out += String(text)), true));
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => ((err += String(text)), true));
});

afterEach(async () => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

describe('kahe inspect', () => {
  async function file(name: string, ...parts: Uint8Array[]): Promise<string> {
    const path = join(folder, name);
    await writeFile(path, Buffer.concat(parts));
    return path;
  }

  test('shows each frame on a line of its own, and the sum', async () => {
    const path = await file('a.bckstm', encodeFrame('orders', 'k', 'hello'), encodeFrame('orders', null, ''), encodeFrame('', 'kahe1', Buffer.alloc(16)));
    expect(await inspect([path])).toBe(0);
    expect(out).toBe(`0\torders\tk\thello\n18\torders\t-\t\n30\t(checkpoint)\t16 bytes\n${path}: 3 frames, 57 bytes\n`);
  });

  test('what is no text is hex, and nothing can move the cursor or add a line', async () => {
    const path = await file('a.bckstm', ...['tab\tand\nline', '\u001b[2J', '\u009b2J', 'a\rb', 'é'].map((text) => encodeFrame('a', null, text)), encodeFrame('a', null, Buffer.from([0xff])));
    expect(await inspect([path])).toBe(0);
    expect(out.split('\n').slice(0, 6).map((line) => line.split('\t')[3])).toEqual(['tab and line', '0x1b5b324a', '0xc29b324a', '0x610d62', 'é', '0xff']);
  });

  test('tells where a file is torn, and ends with 1; the others are shown all the same', async () => {
    const frame = encodeFrame('a', null, 'm');
    const torn = await file('torn.bckstm', frame, frame.subarray(0, 5));
    const sound = await file('sound.bckstm', frame);
    expect(await inspect([torn, join(folder, 'missing'), sound])).toBe(1);
    expect(out).toContain(`${torn}: 1 frames, 8 bytes; torn: the last 5 bytes, from offset 8 on, are no whole frame\n`);
    expect(out).toContain(`${sound}: 1 frames, 8 bytes\n`);
    expect(err).toMatch(/^kahe inspect: .*missing: ENOENT/);
  });

  test('with no file it says how it is used', async () => {
    expect(await inspect([])).toBe(2);
    expect(err).toContain('name one file or more');
  });
});

describe('kahe send', () => {
  let server: Server | undefined;

  beforeEach(async () => {
    await writeFile(join(folder, '.env.dev.local'), '');
    vi.spyOn(process, 'cwd').mockReturnValue(folder);
    vi.stubEnv('environment', 'dev');
    vi.stubEnv('SOCKET', join(folder, 'it.sock'));
  });

  afterEach(() => void server?.close());

  /** A daemon that answers what it is told to; resolves with what it got. */
  async function listen(answer: Buffer | 'close'): Promise<() => Buffer> {
    let got = Buffer.alloc(0);
    server = createServer((socket) => {
      socket.on('data', (chunk) => {
        got = Buffer.concat([got, chunk]);
        if (answer === 'close') socket.end();
        else for (const byte of answer) socket.write(Buffer.from([byte]));
      });
    });
    await new Promise<void>((resolve) => server!.listen(join(folder, 'it.sock'), resolve));
    return () => got;
  }

  test('sends the frame and the question, and waits for the whole answer', async () => {
    const got = await listen(Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]));
    expect(await send(['orders', 'hello', 'key'])).toBe(0);
    expect(got()).toEqual(Buffer.concat([encodeFrame('orders', 'key', 'hello'), Buffer.alloc(4)]));
    expect([out, err]).toEqual(['1 frame is safe\n', '']);
  });

  test('without a key the key is null', async () => {
    const got = await listen(Buffer.alloc(8));
    await send(['orders', '']);
    expect(got()).toEqual(Buffer.concat([encodeFrame('orders', null, ''), Buffer.alloc(4)]));
  });

  test('a daemon that closes without an answer: it says so, and ends with 1', async () => {
    await listen('close');
    expect(await send(['orders', 'hello'])).toBe(1);
    expect(err).toMatch(/^kahe send: .*it\.sock: the daemon closed the connection and did not confirm the frame; its log says why\n$/);
  });

  test('no daemon: it says so, once, and ends with 1', async () => {
    expect(await send(['orders', 'hello'])).toBe(1);
    expect(err).toMatch(/^kahe send: .*it\.sock: connect ENOENT .*; is the daemon running\? \(start it with: kahe\)\n$/);
  });

  test.each([[[]], [['orders']], [['', 'hello']], [['orders', 'hello', 'key', 'more']]])('%j is a wrong command line', async (args) => {
    expect(await send(args)).toBe(2);
    expect(err).toContain('name a bucket and a message');
  });

  test('what fits in no frame is a wrong command line too', async () => {
    expect(await send(['x'.repeat(256), 'hello'])).toBe(2);
    expect(err).toBe('kahe send: bucket is 256 bytes; at most 255 fit in a frame\n');
    expect(await send(['orders', 'hello', 'k'.repeat(256)])).toBe(2);
  });
});
