// `kahe send`, as it is typed, against a daemon that answers what it is told to.
import { chmodSync } from 'node:fs';
import { open, rm, writeFile } from 'node:fs/promises';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Answering, AnsweringDaemon } from '../../support/answeringDaemon.js';
import { asNobody } from '../../support/asNobody.js';
import { FakeIo, type FakeIoOptions, type Ran, runHere } from '../../support/cliIo.js';
import { newFolder } from '../../support/newFolder.js';
import { encodeFrame, endOfFrame } from '../frames/frame.js';
import { commandNamed, runCommand } from './commands.js';

let folder: string;
let daemon: AnsweringDaemon | undefined;

beforeEach(async () => {
  folder = newFolder();
  await writeFile(join(folder, '.env.dev.local'), '');
});

afterEach(() => {
  daemon?.close();
  daemon = undefined;
});

function send(args: readonly string[], more: Partial<FakeIoOptions> = {}): Promise<Ran> {
  return runHere(['send', ...args], {
    cwd: folder,
    env: { SOCKET: join(folder, 'it.sock') },
    isTerminal: true,
    ...more,
  });
}

async function listen(answering: Answering = {}): Promise<AnsweringDaemon> {
  return (daemon = await AnsweringDaemon.listen(join(folder, 'it.sock'), answering));
}

describe('kahe send: one frame', () => {
  test.each([
    [['orders', 'hello', 'key']],
    [['orders', 'hello', '--key', 'key']],
    [['--key=key', 'orders', 'hello']],
  ])('%j sends the frame, and says what became of it', async (args) => {
    const { got } = await listen();
    expect(await send(args)).toEqual({ code: 0, out: '1 frame: 1 delivered\n', err: '' });
    expect(got[0]!.subarray(0, encodeFrame('orders', 'key', 'hello').length)).toEqual(
      encodeFrame('orders', 'key', 'hello'),
    );
  });

  test('without a key the key is null; the message may be empty, or look like an option', async () => {
    const { got } = await listen();
    await send(['orders', '']);
    await send(['orders', '--', '--key']);
    for (const [i, message] of ['', '--key'].entries())
      expect(got[i]!.subarray(0, encodeFrame('orders', null, message).length)).toEqual(
        encodeFrame('orders', null, message),
      );
  });

  test('rejected: it says why, and ends with 1', async () => {
    await listen({ rejected: { frames: 1, reason: 'unknown bucket\u001b[31m' } });
    expect(await send(['orders', 'hello'])).toEqual({
      code: 1,
      out: '1 frame: 1 rejected (unknown bucket\\u{1b}[31m)\n',
      err: '',
    });
  });

  test('discarded: no receipt covers it, and that is said', async () => {
    await listen({ discarded: 1 });
    expect(await send(['orders', 'hello'])).toEqual({ code: 1, out: '1 frame: 1 discarded\n', err: '' });
    daemon!.close();
    await listen({ discarded: 1, knowsReports: false });
    expect(await send(['orders', 'hello'])).toEqual({
      code: 1,
      out: '0 frames are safe, 1 discarded\n',
      err: '',
    });
  });

  test('not delivered in time, or not waited for: it says that it is safe', async () => {
    await listen({ settles: false });
    for (const wait of ['0.05', '0'])
      expect(await send(['orders', 'hello', '--wait', wait])).toEqual({
        code: 0,
        out: '1 frame: 1 safe, not all delivered yet\n',
        err: '',
      });
  });

  test('a daemon that gives receipts alone, as an older one: what they say', async () => {
    await listen({ knowsReports: false });
    expect(await send(['orders', 'hello'])).toEqual({ code: 0, out: '1 frame is safe\n', err: '' });
  });

  test('a daemon that closes without an answer, again and again: it says so, and ends with 1', async () => {
    await listen({ closes: Infinity });
    const { code, err } = await send(['orders', 'hello', '--timeout', '0.2']);
    expect(code).toBe(1);
    expect(err).toMatch(
      /kahe send: .*it\.sock: the daemon closed the connection and did not confirm all frames; its log says why; tried for 0\.2 s \(--timeout\)\n$/,
    );
  });

  test('a socket that this user may not use: it says whose it is, and nothing of a daemon that does not run', async () => {
    await listen();
    chmodSync(join(folder, 'it.sock'), 0);
    chmodSync(folder, 0o755);
    const { code, err } = await asNobody(() => send(['orders', 'hello']));
    expect(code).toBe(1);
    expect(err).toMatch(
      /^kahe send: .*it\.sock: you may not use it: it belongs to \S+, group \S+, mode 0000; use sudo\n$/,
    );
  });

  test('no daemon: it says so, once, and ends with 1', async () => {
    const { code, err } = await send(['orders', 'hello']);
    expect(code).toBe(1);
    expect(err).toMatch(
      /^kahe send: .*it\.sock: connect ENOENT .*; is the daemon running\? \(start it with: kahe\)\n$/,
    );
  });

  test.each([
    [[], 'name a bucket and a message'],
    [['orders'], 'name a bucket and a message'],
    [['', 'hello'], 'name a bucket and a message'],
    [['orders', 'hello', 'key', 'more'], 'name a bucket and a message'],
    [['orders', 'hello', 'key', '--key', 'key'], 'the key is given twice'],
    [['orders', 'hello', '--file', 'x'], 'a message and --file exclude each other'],
    [['orders', '-', 'key', '-K', ':'], 'a key and --key-delimiter exclude each other'],
    [['orders', 'hello', '-K', ':'], '--key-delimiter is for lines'],
    [['x'.repeat(256), 'hello'], 'bucket is 256 bytes; at most 255 fit in a frame'],
    [['orders', 'hello', 'k'.repeat(256)], 'key is 256 bytes; at most 255 fit in a frame'],
  ])('%j is a wrong command line', async (args, message) => {
    const { code, err } = await send(args);
    expect(code).toBe(2);
    expect(err).toContain(`kahe send: ${message}`);
  });
});

describe('kahe send: a frame for each line', () => {
  const frames = (...messages: (string | Buffer)[]): Buffer =>
    Buffer.concat(messages.map((message) => encodeFrame('orders', 'k', message)));

  test.each([['-'], [undefined]])('of stdin, when the message is %j', async (message) => {
    const { got } = await listen();
    const stdin = Buffer.concat([Buffer.from('one\n\ntw\to\r\n'), Buffer.from([0xff, 0])]);
    const args = ['orders', ...(message === undefined ? [] : [message]), '--key', 'k'];
    expect(await send(args, { stdin, isTerminal: message !== undefined })).toEqual({
      code: 0,
      out: '4 frames: 4 delivered\n',
      err: '',
    });
    const sent = frames('one', '', 'tw\to\r', Buffer.from([0xff, 0]));
    expect(got[0]!.subarray(0, sent.length)).toEqual(sent);
  });

  test('of a file; a few questions for thousands', async () => {
    const { got } = await listen();
    const messages = Array.from({ length: 2000 }, (_, i) => `line ${i}`);
    await writeFile(join(folder, 'lines.txt'), messages.join('\n'));
    expect(
      await send(['orders', '--key', 'k', '--file', join(folder, 'lines.txt')], { isTerminal: false }),
    ).toMatchObject({ code: 0, out: '2,000 frames: 2,000 delivered\n' });
    const received = got[0]!;
    const pieces: Buffer[] = [];
    let questions = 0;
    for (let at = 0; at < received.length; at = endOfFrame(received, at)) {
      const frame = received.subarray(at, endOfFrame(received, at));
      // Receipt questions are empty, reports are for no bucket.
      if (frame.length === 4 || frame[4] === 0) questions++;
      else pieces.push(frame);
    }
    expect(Buffer.concat(pieces)).toEqual(frames(...messages));
    // One and a report; more when the machine is so slow that a silence falls in between.
    expect(questions).toBeLessThan(50);
  });

  test('with the key before a delimiter, as kcat has it; a line without one has no key', async () => {
    const { got } = await listen();
    const sent = Buffer.concat([
      encodeFrame('orders', 'a', 'one::two'),
      encodeFrame('orders', '', 'three'),
      encodeFrame('orders', null, 'four'),
    ]);
    for (const option of ['-K', '--key-delimiter'])
      expect(
        (await send(['orders', '-', option, '::'], { stdin: 'a::one::two\n::three\nfour\n' })).code,
      ).toBe(0);
    expect(got.map((bytes) => bytes.subarray(0, sent.length))).toEqual([sent, sent]);
  });

  test('what has come goes out when nothing follows for a moment', async () => {
    const answering = await listen();
    const stdin = new PassThrough();
    const io = new FakeIo({ cwd: folder, env: { SOCKET: join(folder, 'it.sock') } });
    const running = runCommand(commandNamed('send'), ['orders', '-'], Object.assign(io, { stdin }));
    stdin.write('one\ntwo\nhal');
    await vi.waitUntil(() => answering.messages.length === 2);
    stdin.end('f\n');
    expect(await running).toBe(0);
    expect([answering.messages, io.outText]).toEqual([['one', 'two', 'half'], '3 frames: 3 delivered\n']);
  });

  test('SIGINT: the whole lines that were read are sent, and it says what became of them', async () => {
    const answering = await listen();
    const stdin = new PassThrough();
    const io = new FakeIo({ cwd: folder, env: { SOCKET: join(folder, 'it.sock') } });
    const running = runCommand(commandNamed('send'), ['orders', '-'], Object.assign(io, { stdin }));
    stdin.write('one\ntwo\nhal');
    await vi.waitUntil(() => answering.messages.length === 2);
    io.stop();
    expect(await running).toBe(0);
    expect([answering.messages, io.outText]).toEqual([['one', 'two'], '2 frames: 2 delivered\n']);
    expect(io.errText).toContain('SIGINT: what was read is sent');
  });

  test('SIGINT in the middle of a file: what was read is sent, and it ends with 1', async () => {
    const answering = await listen();
    const fifo = join(folder, 'lines');
    execFileSync('mkfifo', [fifo]);
    const io = new FakeIo({ cwd: folder, env: { SOCKET: join(folder, 'it.sock') } });
    const running = runCommand(commandNamed('send'), ['orders', '--file', fifo], io);
    const writer = await open(fifo, 'w');
    await writer.write('one\ntwo\nhal');
    await vi.waitUntil(() => answering.messages.length === 2);
    io.stop();
    await writer.close();
    expect(await running).toBe(1);
    expect([answering.messages, io.outText]).toEqual([['one', 'two'], '2 frames: 2 delivered\n']);
    expect(io.errText).toContain('the file was not read to its end; what follows was not sent');
  });

  test('the daemon goes away and comes back: what it has not confirmed is sent again', async () => {
    const answering = await listen({ closes: 1 });
    const { code, out, err } = await send(['orders', '-'], { stdin: 'a\nb\n', isTerminal: false });
    expect([code, out, answering.messages]).toEqual([0, '2 frames: 2 delivered\n', ['a', 'b']]);
    expect(err).toMatch(
      /closed the connection.*; it is waited for, up to 60 s \(--timeout\); then what it has not confirmed \(2\) is sent again and may arrive twice\n.*: the daemon is back, and it goes on\n$/,
    );
  });

  test('a line that fits in no frame is told and passed over; the others are sent, and it ends with 1', async () => {
    const answering = await listen();
    const { code, out, err } = await send(['orders', '-'], {
      stdin: `a\n${'x'.repeat(300_000)}\nb\n${'y'.repeat(3000)}`,
      env: { SOCKET: join(folder, 'it.sock'), MAXFRAME: '2KB' },
    });
    expect([code, out, answering.messages]).toEqual([1, '2 frames: 2 delivered\n', ['a', 'b']]);
    expect(
      err.match(/line \d+ is longer than a frame may be \(MAXFRAME, 2048 bytes\); it is passed over/g),
    ).toHaveLength(2);
  });

  test('so is a key that is too long', async () => {
    const answering = await listen();
    expect(await send(['orders', '-', '-K', ':'], { stdin: `a:b\n${'k'.repeat(256)}:c\n` })).toMatchObject({
      code: 1,
      err: expect.stringContaining('a line has a key of more than 255 bytes') as string,
    });
    expect(answering.messages).toEqual(['b']);
  });
});

describe('kahe send: where the daemon is', () => {
  test('--socket works in any folder, and needs no .env file', async () => {
    await rm(join(folder, '.env.dev.local'));
    await listen();
    expect(await send(['orders', 'hello', '--socket', 'it.sock'], { env: {} })).toMatchObject({
      code: 0,
      err: '',
    });
    expect(await send(['orders', 'hello'])).toMatchObject({ code: 0, err: '' });
  });
});
