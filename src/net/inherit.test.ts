// Sockets that systemd hands over: who connects reaches the daemon, whatever kind of thing is handed over it
// says what it is, and a file that goes is told.
import { type ChildProcess, execFileSync, fork } from 'node:child_process';
import { chmodSync, renameSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { createConnection, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { newFolder } from '../../support/newFolder.js';
import { inheritSockets } from './inherit.js';

let folder: string;
let path: string;
const children: ChildProcess[] = [];

beforeEach(() => {
  folder = newFolder();
  path = join(folder, 'kahe.sock');
});

afterEach(() => {
  children.splice(0).forEach((child) => child.kill('SIGKILL'));
});

const MODULE = `
  import { inheritSockets } from ${JSON.stringify(new URL('./inherit.ts', import.meta.url).href)};
  const looks = [];
  const lines = [];
  const log = Object.fromEntries(['info', 'warn', 'error'].map((level) => [level, (text) => lines.push(level + ' ' + text)]));
  let bound;
  const does = {
    take: async () => {
      bound = await inheritSockets(FDS);
      bound.watch({ every: (ms, look) => (looks.push(look), { cancel: () => undefined }) }, log);
      bound.server.on('connection', (socket) => socket.on('error', () => undefined).end('hello from NAME').resume());
    },
    leave: () => bound.unlink(),
    look: () => looks.forEach((look) => look()),
  };
  process.on('message', async (what) => {
    try {
      await does[what]();
      process.send({ is: what, problem: bound.problem, lines: lines.splice(0) });
    } catch (error) {
      process.send({ is: error.code + ' ' + error.message });
    }
  });
  process.send({ is: 'ready' });
`;

interface Answer {
  readonly is: string;
  readonly problem?: string;
  readonly lines?: readonly string[];
}

function next(child: ChildProcess): Promise<Answer> {
  return new Promise((resolve) => child.once('message', (message) => resolve(message as Answer)));
}

/** A listening socket, its mode 0622, and its descriptor, as systemd has them. */
async function given(at: string): Promise<{ readonly fd: number; readonly server: Server }> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(at, resolve));
  chmodSync(at, 0o622);
  return { fd: (server as unknown as { _handle: { fd: number } })._handle.fd, server };
}

/** From here on a child alone listens there; the file stays. */
async function giveUp({ server }: { readonly server: Server }): Promise<void> {
  renameSync(path, `${path}.kept`);
  await new Promise<void>((resolve) => server.close(() => resolve()));
  renameSync(`${path}.kept`, path);
}

/** A process with these descriptors from 3 on. */
async function startHolder(name: string, fds: readonly number[]): Promise<ChildProcess> {
  const file = join(folder, 'holder.mts');
  writeFileSync(
    file,
    MODULE.replace('FDS', JSON.stringify(fds.map((_, index) => 3 + index))).replace('NAME', name),
  );
  const child = fork(file, {
    execArgv: ['--import', 'tsx'],
    stdio: ['ignore', 'inherit', 'inherit', ...fds, 'ipc'],
  });
  children.push(child);
  expect(await next(child)).toEqual({ is: 'ready' });
  return child;
}

async function tell(child: ChildProcess, what: 'take' | 'leave' | 'look'): Promise<Answer> {
  const done = next(child);
  child.send(what);
  return done;
}

function answerAt(at: string): Promise<string> {
  return new Promise((resolve, reject) =>
    createConnection(at)
      .on('data', (chunk: Buffer) => resolve(chunk.toString()))
      .on('error', reject),
  );
}

function connects(): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path, () => resolve(socket.destroy().destroyed)).on('error', () =>
      resolve(false),
    );
  });
}

test('listens on the descriptors that were handed over', async () => {
  const both = [await given(path), await given(`${path}.other`)] as const;
  const child = await startHolder(
    'it',
    both.map(({ fd }) => fd),
  );
  expect(await tell(child, 'take')).toEqual({ is: 'take', lines: [] });
  renameSync(`${path}.other`, `${path}.kept`);
  both[1].server.close();
  renameSync(`${path}.kept`, `${path}.other`);
  await giveUp(both[0]);
  expect(await Promise.all([answerAt(path), answerAt(`${path}.other`)])).toEqual([
    'hello from it',
    'hello from it',
  ]);
});

test('at the end the file stays as it is, and who connects then waits for the next one on the same socket', async () => {
  const socket = await given(path);
  const [first, second] = [await startHolder('first', [socket.fd]), await startHolder('second', [socket.fd])];
  await tell(first, 'take');
  await giveUp(socket);
  await tell(first, 'leave');
  expect((statSync(path).mode & 0o777).toString(8)).toBe('622');
  const answer = answerAt(path);
  // More than Node's own backlog of 511.
  expect(new Set(await Promise.all(Array.from({ length: 600 }, connects)))).toEqual(new Set([true]));
  await tell(second, 'take');
  expect(await answer).toBe('hello from second');
});

test('a file that goes is told, and that it is systemd who makes it again; so is one that comes back', async () => {
  const socket = await given(path);
  const child = await startHolder('it', [socket.fd]);
  await tell(child, 'take');
  await giveUp(socket);
  expect(await tell(child, 'look')).toEqual({ is: 'look', lines: [] });
  renameSync(path, `${path}.away`);
  const problem = `the file of systemd's socket ${path} is gone: no client can connect until systemd makes it again (systemctl restart kahe.socket)`;
  expect(await tell(child, 'look')).toEqual({
    is: 'look',
    problem,
    lines: [`error ${problem}; open connections go on`],
  });
  // A stranger's in its place is no better.
  writeFileSync(path, 'precious');
  expect(await tell(child, 'look')).toEqual({ is: 'look', problem, lines: [] });
  renameSync(`${path}.away`, path);
  expect(await tell(child, 'look')).toEqual({ is: 'look', lines: ["info systemd's socket is there again"] });
});

test('a file that is not seen from the start may be hidden from the service alone: a warning, and no more', async () => {
  const socket = await given(path);
  const child = await startHolder('it', [socket.fd]);
  unlinkSync(path);
  expect(await tell(child, 'take')).toEqual({
    is: 'take',
    lines: [
      expect.stringMatching(
        /^warn systemd's socket .*kahe\.sock is not visible here: .*systemctl restart kahe\.socket$/,
      ),
    ],
  });
  expect(await tell(child, 'look')).toEqual({ is: 'look', lines: [] });
});

test('a descriptor that is no socket is told', async () => {
  await expect(inheritSockets([9_999])).rejects.toThrow(
    /^LISTEN_FDS: can't listen on descriptor 9999: .*; the \.socket unit must have ListenStream= and Accept=no$/,
  );
});

test.each([
  [
    'a datagram socket',
    's = socket.socket(UNIX, socket.SOCK_DGRAM); s.bind(path)',
    /is a datagram socket, and Kahe reads streams: write ListenStream= into the \.socket unit, instead of ListenDatagram=$/,
  ],
  [
    'a sequential packet socket',
    's = socket.socket(UNIX, socket.SOCK_SEQPACKET); s.bind(path); s.listen()',
    /is a sequential packet socket, .*ListenStream=.* instead of ListenSequentialPacket=$/,
  ],
  [
    'a connection, as with Accept=yes',
    'l = socket.socket(UNIX); l.bind(path); l.listen(); c = socket.socket(UNIX); c.connect(path); s, _ = l.accept()',
    /is a single connection, not a socket to listen on: the \.socket unit has Accept=yes; write Accept=no, with kahe\.service in the place of kahe@\.service$/,
  ],
])('%s is told with what to write', (_what, made, says) => {
  const file = join(folder, 'takes.mts');
  writeFileSync(
    file,
    `import { inheritSockets } from ${JSON.stringify(new URL('./inherit.ts', import.meta.url).href)};\ninheritSockets([3]).catch((error) => console.log(error.code + ' ' + error.message));`,
  );
  const script = `import os, socket, sys\nUNIX = socket.AF_UNIX\npath = sys.argv[1]\n${made}\nos.dup2(s.fileno(), 3)\nos.set_inheritable(3, True)\nos.execv(sys.argv[2], sys.argv[2:])`;
  const said = execFileSync('python3', ['-c', script, path, process.execPath, '--import', 'tsx', file], {
    encoding: 'utf8',
  }).trim();
  expect(said).toMatch(/^CONFIG LISTEN_FDS: descriptor 3 \(\S+kahe\.sock\) is /);
  expect(said).toMatch(says);
});
