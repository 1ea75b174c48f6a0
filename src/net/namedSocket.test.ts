// A socket whose file goes while its server lives: it is bound again, who is connected or waits stays, and
// what is not ours is left alone.
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  rmdirSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer as createHttpServer, get } from 'node:http';
import { createConnection, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { asNobody } from '../../support/asNobody.js';
import { FakeClock } from '../../support/fakeClock.js';
import { newFolder } from '../../support/newFolder.js';
import { Log } from '../log/log.js';
import type { BoundSocket } from './boundSocket.js';
import { bindSocket } from './namedSocket.js';

let folder: string;
let path: string;
let clock: FakeClock;
let lines: string[];
const sockets: BoundSocket[] = [];

beforeEach(() => {
  folder = newFolder();
  path = join(folder, 'kahe.sock');
  clock = new FakeClock();
  lines = [];
});

afterEach(() => {
  for (const { server } of sockets.splice(0)) server.close();
  rmSync(folder, { recursive: true, force: true });
});

/** One that says `hello` to each connection, and then what it hears. */
async function bind(mode = 0o660): Promise<BoundSocket> {
  const bound = await bindSocket({ setting: 'SOCKET', path, mode, groupId: undefined });
  sockets.push(bound);
  bound.watch(
    clock,
    new Log('INFO', (line) =>
      lines.push(
        line
          .replace(/^(\w+) \| [^|]+ \| /, '$1 ')
          .replaceAll(path, 'PATH')
          .trim(),
      ),
    ),
  );
  bound.server.on('connection', (socket) =>
    socket
      .on('error', () => undefined)
      .on('data', (chunk) => socket.write(chunk))
      .resume()
      .write('hello'),
  );
  return bound;
}

/** The first that comes back; undefined: nobody is there. */
function said(socket: Socket): Promise<string | undefined> {
  return new Promise((resolve) =>
    socket.once('data', (chunk) => resolve(chunk.toString())).once('error', () => resolve(undefined)),
  );
}

async function answer(): Promise<string | undefined> {
  const socket = createConnection(path);
  return said(socket).finally(() => socket.destroy());
}

/**
 * A second goes by, and whatever that began comes to its end: the next line is said, or the file is there.
 */
async function until(isSo: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 20_000; !isSo();) {
    if (Date.now() > deadline) throw new Error(`never; it said:\n${lines.join('\n')}`);
    clock.advance(1_000);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

const LOST =
  "WARN SOCKET: PATH is gone: something has removed the socket's file, such as a cleaner of old files; Kahe binds it again, open connections go on";
const BOUND =
  'WARN SOCKET: PATH is bound again: new clients can connect; those that tried meanwhile could not';

test('its file is removed: it says so and is bound again, with its mode; who is connected stays', async () => {
  const bound = await bind(0o622);
  const old = createConnection(path);
  expect(await said(old)).toBe('hello');
  for (let times = 1; times <= 3; times++) {
    unlinkSync(path);
    clock.advance(1_000);
    expect(bound.problem).toBe(`SOCKET: ${path} is gone`);
    await until(() => bound.problem === undefined);
    expect(lines.splice(0)).toEqual([LOST, BOUND]);
    expect((statSync(path).mode & 0o777).toString(8)).toBe('622');
    expect(await answer()).toBe('hello');
  }
  old.write('still here');
  expect(await said(old)).toBe('still here');
  expect(readdirSync(folder)).toEqual(['kahe.sock']);
  // The sockets that were bound before are closed.
  expect(
    readFileSync('/proc/net/unix', 'utf8')
      .split('\n')
      .filter((line) => line.endsWith(` ${path}`) && / 00010000 /.test(line)),
  ).toHaveLength(1);
  old.destroy();
});

test('who had connected before the file went, and was not accepted yet, is accepted', async () => {
  const bound = await bind();
  const waiting = Array.from({ length: 200 }, () => createConnection(path));
  const greetings = waiting.map(said);
  // The kernel has them all; not one turn of the event loop has been, in which they could be taken.
  unlinkSync(path);
  clock.advance(1_000);
  await until(() => bound.problem === undefined);
  expect(new Set(await Promise.all(greetings))).toEqual(new Set(['hello']));
  for (const socket of waiting) socket.destroy();
});

test('while all is well nothing is said, and the file is left as it is', async () => {
  const bound = await bind();
  const { ino } = statSync(path);
  clock.advance(60_000);
  expect([bound.problem, lines, statSync(path).ino]).toEqual([undefined, [], ino]);
});

test.each([
  [
    'a file',
    () => writeFileSync(path, 'precious'),
    'exists and is no socket; move it away or choose another path',
  ],
  ['a folder', () => mkdirSync(path), 'exists and is no socket; move it away or choose another path'],
  [
    'a link to nothing',
    () => symlinkSync('nowhere', path),
    'exists and is no socket; move it away or choose another path',
  ],
])(
  '%s stands there: that is said once, it stays as it is, also at the end, and is looked for until it has gone',
  async (what, place, why) => {
    const bound = await bind();
    unlinkSync(path);
    place();
    await until(() => lines.length === 2);
    const problem = `SOCKET: ${path} ${why}`;
    expect(lines).toEqual([
      `WARN SOCKET: PATH is another file now: something has removed the socket's file, such as a cleaner of old files; Kahe binds it again, open connections go on`,
      `ERROR SOCKET: PATH ${why}; no client can connect here, open connections go on; Kahe tries again every second`,
    ]);
    const { ino } = statSync(folder);
    for (let second = 0; second < 5; second++) {
      clock.advance(1_000);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect([bound.problem, lines.length, statSync(folder).ino]).toEqual([problem, 2, ino]);
    if (what === 'a file') expect(readFileSync(path, 'utf8')).toBe('precious');
    renameSync(path, `${path}.moved`);
    await until(() => bound.problem === undefined);
    expect([await answer(), lines.slice(2)]).toEqual(['hello', [BOUND]]);
  },
);

test("the end comes while a stranger's file stands there: it stays", async () => {
  const bound = await bind();
  unlinkSync(path);
  writeFileSync(path, 'precious');
  await until(() => lines.length === 2);
  bound.unlink();
  bound.close();
  await new Promise((resolve) => setTimeout(resolve, 5));
  expect([readFileSync(path, 'utf8'), clock.timers]).toEqual(['precious', 0]);
});

test('the end comes while it is being bound again: no file is left', async () => {
  const bound = await bind();
  unlinkSync(path);
  clock.advance(1_000);
  bound.unlink();
  bound.close();
  for (let turn = 0; turn < 20; turn++) await nextTurn();
  expect([readdirSync(folder), lines]).toEqual([[], [LOST]]);
});

test('after it was bound again the end takes the new file away', async () => {
  const bound = await bind();
  unlinkSync(path);
  await until(() => lines.length === 2);
  bound.unlink();
  expect(readdirSync(folder)).toEqual([]);
});

test('another daemon has the path: it is left alone, and the path is taken back once that one ends', async () => {
  const bound = await bind();
  unlinkSync(path);
  const other = createServer((socket) => socket.on('error', () => undefined).end('I am another'));
  await new Promise<void>((resolve) => other.listen(path, resolve));
  await until(() => lines.length === 2);
  expect(lines[1]).toBe(
    'ERROR a daemon is listening on PATH already; stop it first, or give this one another SOCKET; no client can connect here, open connections go on; Kahe tries again every second',
  );
  expect(await answer()).toBe('I am another');
  // As kill -9 leaves it: the file stays.
  renameSync(path, `${path}.kept`);
  await new Promise<void>((resolve) => other.close(() => resolve()));
  renameSync(`${path}.kept`, path);
  await until(() => bound.problem === undefined);
  expect([await answer(), readdirSync(folder)]).toEqual(['hello', ['kahe.sock']]);
});

test('its folder is removed: it is bound again as soon as the folder is there', async () => {
  [folder, path] = [folder, join(folder, 'run', 'kahe.sock')];
  mkdirSync(join(folder, 'run'));
  const bound = await bind();
  unlinkSync(path);
  rmdirSync(join(folder, 'run'));
  await until(() => lines.length === 2);
  expect(lines[1]).toMatch(
    /^ERROR SOCKET: can't make PATH\.lock: ENOENT: .*; the folder must exist and be writable; no client can connect here/,
  );
  expect(bound.problem).toContain('the folder must exist and be writable');
  mkdirSync(join(folder, 'run'));
  await until(() => bound.problem === undefined);
  expect(await answer()).toBe('hello');
});

test.each([
  [
    'is closed to us',
    (run: string) => chmodSync(run, 0),
    /^ERROR SOCKET: can't make PATH\.lock: EACCES: .*; it belongs to .*mode 0000; no client can connect here/,
  ],
  [
    'is a file now',
    (run: string) => {
      renameSync(run, `${run}.kept`);
      writeFileSync(run, '');
    },
    /^ERROR SOCKET: can't make PATH\.lock: ENOTDIR: .*; the folder must exist and be writable; no client can connect here/,
  ],
] as const)(
  'its folder %s: that is said once, and the end comes all the same',
  async (_what, close, says) => {
    const run = join(folder, 'run');
    path = join(run, 'kahe.sock');
    chmodSync(folder, 0o777);
    await asNobody(async () => {
      mkdirSync(run);
      const bound = await bind();
      close(run);
      await until(() => lines.length > 0);
      clock.advance(1_000);
      for (let turn = 0; turn < 20; turn++) await nextTurn();
      expect(lines).toEqual([expect.stringMatching(says)]);
      expect(bound.problem).toContain('the folder must exist and be writable');
      bound.unlink();
      bound.close();
      expect(clock.timers).toBe(0);
    });
  },
);

test('it is moved away and back: it leads here again', async () => {
  const bound = await bind();
  renameSync(path, `${path}.moved`);
  mkdirSync(path);
  await until(() => lines.length === 2);
  rmdirSync(path);
  renameSync(`${path}.moved`, path);
  await until(() => bound.problem === undefined);
  expect([lines.slice(2), await answer()]).toEqual([['INFO SOCKET: PATH leads here again'], 'hello']);
});

test('an HTTP server is bound again as well, and who is just being answered hears the rest', async () => {
  const server = createHttpServer((request, response) => {
    response.write('begun ');
    if (request.url === '/quick') response.end('done');
    else server.once('finish', () => response.end('done'));
  });
  const bound = await bindSocket({ setting: 'ADMIN', path, mode: 0o660, groupId: undefined }, server);
  sockets.push(bound);
  bound.watch(clock, new Log('FATAL', () => undefined));
  const ask = (url: string, onBegin = (): void => undefined): Promise<string> =>
    new Promise((resolve, reject) => {
      get({ socketPath: path, path: url, agent: false }, (response) => {
        let text = '';
        response
          .on('data', (chunk: Buffer) => {
            text += chunk.toString();
            onBegin();
          })
          .on('end', () => resolve(text));
      }).on('error', reject);
    });
  let slow = Promise.resolve('');
  await new Promise<void>((resolve) => void (slow = ask('/slow', resolve)));
  unlinkSync(path);
  await until(() => existsSync(path) && bound.problem === undefined);
  expect(await ask('/quick')).toBe('begun done');
  server.emit('finish');
  expect(await slow).toBe('begun done');
  server.closeAllConnections();
});
