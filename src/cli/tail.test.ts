// `kahe tail`, as it is typed, against a door that says what it is told to: what is shown of it, and how it
// ends.
import { writeFile } from 'node:fs/promises';
import type { RequestListener, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { FakeIo, type Ran, runHere } from '../../support/cliIo.js';
import { openFakeDoor, showing } from '../../support/fakeDoor.js';
import { bucketSnapshot, snapshot } from '../../support/snapshots.js';
import { newFolder } from '../../support/newFolder.js';
import type { TailLine } from '../admin/tail/tail.js';
import { commandNamed, runCommand } from './commands.js';

let folder: string;

beforeEach(async () => {
  folder = newFolder();
  await writeFile(join(folder, '.env.dev.local'), 'ADMIN=./admin.sock');
});

const SHOWN = snapshot({ buckets: [bucketSnapshot('requests'), bucketSnapshot('x\u001b[2Jy')] });

/** A door with two buckets; the URLs that tails asked for. */
async function openDoor(answer: (response: ServerResponse) => void): Promise<string[]> {
  const asked: string[] = [];
  const listener: RequestListener = (request, response) => {
    if (request.url === '/status.json') return showing(SHOWN)(request, response);
    asked.push(request.url!);
    answer(response);
  };
  await openFakeDoor(join(folder, 'admin.sock'), listener);
  return asked;
}

function saying(...lines: readonly TailLine[]): (response: ServerResponse) => void {
  return (response) => response.end(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
}

function frame(message: string, more: object = {}): TailLine {
  return {
    kind: 'frame',
    time: '2030-01-01T12:30:45.678Z',
    bucket: 'requests',
    key: 'k',
    size: message.length,
    message,
    ...more,
  };
}

function tail(...args: string[]): Promise<Ran> {
  return runHere(['tail', ...args], { cwd: folder });
}

test('a line for each frame, whatever is in it; how many passed unseen; the end when enough were seen', async () => {
  const asked = await openDoor(
    saying(
      frame('hello\tthere\nx'),
      { kind: 'unseen', frames: 1_234 },
      frame('\u001b[2Jgone', { key: null }),
      frame('/wA=', { key: '/g==', size: 2, base64: ['key', 'message'] }),
      frame('more'),
    ),
  );
  expect(await tail('requests', '--count', '3')).toEqual({
    code: 0,
    out: `TIME         KEY              SIZE  MESSAGE
12:30:45.678 k                13 B  hello there x
12:30:45.678 -                 8 B  0x1b5b324a676f6e65
12:30:45.678 0xfe              2 B  0xff00
`,
    err: '… 1,234 frames more passed unseen\n3 frames shown, 1,234 passed unseen\n',
  });
  expect(asked).toEqual(['/tail/requests?rate=10']);
});

test('without --values the beginning of a message, with it all that came, and whether that is all', async () => {
  await openDoor(saying(frame('é'.repeat(100)), frame('y'.repeat(100), { isCut: true })));
  const shown = async (...args: string[]): Promise<string[]> =>
    (await tail('requests', '--count=2', ...args)).out
      .split('\n')
      .slice(1, 3)
      .map((line) => line.replace(/^.*B {2}/, ''));
  expect(await shown()).toEqual([`${'é'.repeat(59)}…`, `${'y'.repeat(59)}…`]);
  expect(await shown('--values')).toEqual(['é'.repeat(100), `${'y'.repeat(100)}…`]);
});

test('--json has the lines as they came, and nothing but frames', async () => {
  const lines = [frame('a'), frame('/w==', { base64: ['message'] })];
  await openDoor(saying(lines[0]!, { kind: 'unseen', frames: 5 }, lines[1]!));
  expect(await tail('requests', '--json', '--count=2')).toEqual({
    code: 0,
    out: lines.map((line) => `${JSON.stringify(line)}\n`).join(''),
    err: '… 5 frames more passed unseen\n2 frames shown, 5 passed unseen\n',
  });
});

test('any name and key reach the daemon as they are; one that is not known is waited for, and said', async () => {
  const asked = await openDoor(saying(frame('a')));
  for (const [bucket, key] of [
    ['a/b?c=d&é\n%', '+ &='],
    ['x\u001b[2Jz', '日'],
  ]) {
    const { err } = await tail(bucket!, '--count=1', '--rate=0.5', '--key', key!);
    const url = new URL(asked.shift()!, 'http://localhost');
    expect([
      decodeURIComponent(url.pathname),
      url.searchParams.get('key'),
      url.searchParams.get('rate'),
    ]).toEqual([`/tail/${bucket!}`, key, '0.5']);
    expect(err).toContain('its first frame is waited for');
    expect(err).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/);
  }
  expect((await tail('requets', '--count=1')).err).toMatch(
    /^kahe tail: there is no bucket requets until now: its first frame is waited for; did you mean "requests"\?\n/,
  );
  expect((await tail('requests', '--count=1')).err).toBe('1 frame shown, 0 passed unseen\n');
});

test('a daemon that goes away: exit code 3, after what had come', async () => {
  await openDoor(saying(frame('a')));
  expect(await tail('requests')).toMatchObject({
    code: 3,
    out: expect.stringContaining('  a\n') as string,
    err: '1 frame shown, 0 passed unseen\nkahe tail: the daemon went away\n',
  });
  const other = join(folder, 'other.sock');
  await openFakeDoor(other, (request, response) => {
    if (request.url === '/status.json') return showing(SHOWN)(request, response);
    response.write(`${JSON.stringify(frame('a'))}\n{"kind":"fra`, () =>
      setImmediate(() => response.destroy()),
    );
  });
  expect(await tail('requests', '--admin', other)).toMatchObject({
    code: 3,
    err: expect.stringContaining('kahe tail: the daemon went away') as string,
  });
});

test('what the daemon refuses is said in its words: exit code 1', async () => {
  await openDoor((response) => response.writeHead(403).end('not here: \u001b[1mgo there\n'));
  expect(await tail('requests')).toEqual({
    code: 1,
    out: '',
    err: 'kahe tail: not here: \\u{1b}[1mgo there\n',
  });
});

test('Ctrl-C ends it at any time: exit code 0', async () => {
  const io = new FakeIo({ cwd: folder });
  await openDoor((response) => void response.write(`${JSON.stringify(frame('a'))}\n`));
  const ended = runCommand(commandNamed('tail'), ['requests'], io);
  await expect.poll(() => io.outText, { timeout: 20_000 }).toContain('  a\n');
  io.stop();
  expect([await ended, io.errText]).toEqual([0, '1 frame shown, 0 passed unseen\n']);
});

test.each([
  [[]],
  [['']],
  [['a', 'b']],
  [['a', '--rate', '1001']],
  [['a', '--rate', '0']],
  [['a', '--count', '0.5']],
])('%j is a wrong command line', async (args) => {
  expect((await tail(...args)).code).toBe(2);
});
