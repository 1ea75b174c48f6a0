// `kahe send`, as it is typed, against a daemon that answers what it is told to.
import { chmodSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type Server, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { asNobody } from '../../test/support/asNobody.js';
import { type FakeIoOptions, type Ran, runHere } from '../../test/support/cliIo.js';
import { encodeFrame } from '../frames/frame.js';

const QUESTION = Buffer.alloc(4);
let folder: string;
let server: Server | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kahe-send-'));
  await writeFile(join(folder, '.env.dev.local'), '');
});

afterEach(async () => {
  server?.close();
  server = undefined;
  await rm(folder, { recursive: true, force: true });
});

function send(args: readonly string[], more: Partial<FakeIoOptions> = {}): Promise<Ran> {
  return runHere(['send', ...args], { cwd: folder, env: { SOCKET: join(folder, 'it.sock') }, isTerminal: true, ...more });
}

function answer(frames: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(frames));
  return bytes;
}

/** A daemon that answers with these bytes, one by one, to the first thing it hears; returns what it got. */
async function listen(bytes: Buffer | 'close'): Promise<() => Buffer> {
  let got = Buffer.alloc(0);
  server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      const isFirst = got.length === 0;
      got = Buffer.concat([got, chunk]);
      if (bytes === 'close') socket.end();
      else if (isFirst) for (const byte of bytes) socket.write(Buffer.from([byte]));
    });
  });
  await new Promise<void>((resolve) => server!.listen(join(folder, 'it.sock'), resolve));
  return () => got;
}

describe('kahe send: one frame', () => {
  test.each([[['orders', 'hello', 'key']], [['orders', 'hello', '--key', 'key']], [['--key=key', 'orders', 'hello']]])('%j sends the frame and the question, and waits for the whole answer', async (args) => {
    const got = await listen(answer(1));
    expect(await send(args)).toEqual({ code: 0, out: '1 frame is safe\n', err: '' });
    expect(got()).toEqual(Buffer.concat([encodeFrame('orders', 'key', 'hello'), QUESTION]));
  });

  test('without a key the key is null; the message may be empty, or look like an option', async () => {
    const got = await listen(answer(1));
    await send(['orders', '']);
    expect(got()).toEqual(Buffer.concat([encodeFrame('orders', null, ''), QUESTION]));
    server!.close();
    const again = await listen(answer(1));
    await send(['orders', '--', '--key']);
    expect(again()).toEqual(Buffer.concat([encodeFrame('orders', null, '--key'), QUESTION]));
  });

  test('a daemon that closes without an answer: it says so, and ends with 1', async () => {
    await listen('close');
    const { code, err } = await send(['orders', 'hello']);
    expect(code).toBe(1);
    expect(err).toMatch(/^kahe send: .*it\.sock: the daemon closed the connection and did not confirm all frames; its log says why\n$/);
  });

  test('a socket that this user may not use: it says whose it is, and nothing of a daemon that does not run', async () => {
    await listen(answer(1));
    chmodSync(join(folder, 'it.sock'), 0);
    chmodSync(folder, 0o755);
    const { code, err } = await asNobody(() => send(['orders', 'hello']));
    expect(code).toBe(1);
    expect(err).toMatch(/^kahe send: .*it\.sock: you may not use it: it belongs to \S+, group \S+, mode 0000; use sudo\n$/);
  });

  test('no daemon: it says so, once, and ends with 1', async () => {
    const { code, err } = await send(['orders', 'hello']);
    expect(code).toBe(1);
    expect(err).toMatch(/^kahe send: .*it\.sock: connect ENOENT .*; is the daemon running\? \(start it with: kahe\)\n$/);
  });

  test.each([
    [[], 'name a bucket and a message'],
    [['orders'], 'name a bucket and a message'],
    [['', 'hello'], 'name a bucket and a message'],
    [['orders', 'hello', 'key', 'more'], 'name a bucket and a message'],
    [['orders', 'hello', 'key', '--key', 'key'], 'the key is given twice'],
    [['orders', 'hello', '--file', 'x'], 'a message and --file exclude each other'],
    [['x'.repeat(256), 'hello'], 'bucket is 256 bytes; at most 255 fit in a frame'],
    [['orders', 'hello', 'k'.repeat(256)], 'key is 256 bytes; at most 255 fit in a frame'],
  ])('%j is a wrong command line', async (args, message) => {
    const { code, err } = await send(args);
    expect(code).toBe(2);
    expect(err).toContain(`kahe send: ${message}`);
  });
});

describe('kahe send: a frame for each line', () => {
  const frames = (...messages: (string | Buffer)[]): Buffer => Buffer.concat(messages.map((message) => encodeFrame('orders', 'k', message)));

  test.each([['-'], [undefined]])('of stdin, when the message is %j', async (message) => {
    const got = await listen(answer(4));
    const stdin = Buffer.concat([Buffer.from('one\n\ntw\to\r\n'), Buffer.from([0xff, 0])]);
    const args = ['orders', ...(message === undefined ? [] : [message]), '--key', 'k'];
    expect(await send(args, { stdin, isTerminal: message !== undefined })).toEqual({ code: 0, out: '4 frames are safe\n', err: '' });
    expect(got()).toEqual(Buffer.concat([frames('one', '', 'tw\to\r', Buffer.from([0xff, 0])), QUESTION]));
  });

  test('of a file; one question for thousands', async () => {
    const got = await listen(answer(2000));
    const messages = Array.from({ length: 2000 }, (_, i) => `line ${i}`);
    await writeFile(join(folder, 'lines.txt'), messages.join('\n'));
    expect(await send(['orders', '--key', 'k', '--file', join(folder, 'lines.txt')], { isTerminal: false })).toMatchObject({ code: 0, out: '2,000 frames are safe\n' });
    expect(got()).toEqual(Buffer.concat([frames(...messages), QUESTION]));
  });

  test('the daemon goes away: it says how many are safe, and ends with 1', async () => {
    await listen('close');
    const { code, out, err } = await send(['orders', '-'], { stdin: 'a\nb\n' });
    expect([code, out]).toEqual([1, '']);
    expect(err).toMatch(/closed the connection.*\nthe first 0 lines are safe; of line 1 and those behind it nothing is known\n$/);
  });

  test('a line that fits in no frame is an error with its number', async () => {
    await listen(answer(1));
    const { code, err } = await send(['orders', '-'], { stdin: `a\n${'x'.repeat(3000)}`, env: { SOCKET: join(folder, 'it.sock'), MAXFRAME: '2KB' } });
    expect(code).toBe(1);
    expect(err).toContain('line 2 is longer than a frame may be (MAXFRAME, 2048 bytes)');
  });
});
