// The socket's file: who may have it, who gets it when several want it, and that it is never open wider than asked.
import { type ChildProcess, fork, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, lchownSync, lstatSync, mkdirSync, readFileSync, readdirSync, renameSync, statSync, symlinkSync, unlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { type Server, createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { turn } from '../../test/support/fakeClock.js';
import { ConfigError } from '../errors.js';
import { AlreadyRunningError, type BoundSocket, type SocketPlace, bindSocket, inheritSockets, tryToBind } from './bind.js';
import { groupId } from './group.js';

let folder: string;
let path: string;
const servers: Server[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kahe-bind-'));
  path = join(folder, 'kahe.sock');
});

afterEach(async () => {
  for (const server of servers.splice(0)) server.close();
  await rm(folder, { recursive: true, force: true });
});

async function bind(choice: Partial<SocketPlace> = {}): Promise<BoundSocket> {
  const bound = await bindSocket({ setting: 'SOCKET', path, mode: 0o660, groupId: undefined, ...choice });
  servers.push(bound.server);
  return bound;
}

function connects(): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

const BIND = new URL('./bind.ts', import.meta.url).href;

/** A process that runs this module; `fds` are its descriptors from 3 on. */
function start(module: string, fds: readonly number[] = []): ChildProcess {
  const file = join(folder, 'starter.mts');
  writeFileSync(file, module);
  return fork(file, { execArgv: ['--import', 'tsx'], stdio: ['ignore', 'inherit', 'inherit', ...fds, 'ipc'] });
}

function next(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => child.once('message', (message) => resolve((message as { is: string }).is)));
}

/** A socket's file with nobody behind it, as kill -9 leaves it. */
async function stale(): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(`${path}.dead`, resolve));
  renameSync(`${path}.dead`, path);
  await new Promise<void>((resolve) => server.close(() => resolve()));
}

describe('bindSocket', () => {
  test.each([0o600, 0o660, 0o666, 0o622])('the socket has the mode %o, whatever the umask, and nothing else is left behind', async (mode) => {
    const umask = process.umask(0o027);
    try {
      await bind({ mode });
    } finally {
      expect(process.umask(umask)).toBe(0o027);
    }
    expect((statSync(path).mode & 0o777).toString(8)).toBe(mode.toString(8));
    expect(readdirSync(folder)).toEqual(['kahe.sock']);
    expect(await connects()).toBe(true);
  });

  test('it has its mode before it has its name, and is narrower before that', async () => {
    const modes: string[] = [];
    const binding = bind({ mode: 0o666 });
    let isBound = false;
    void binding.then(() => (isBound = true));
    while (!isBound) {
      for (const name of readdirSync(folder)) if (lstatSync(join(folder, name)).isSocket()) modes.push(`${name.replace(/\d+$/, 'N')} ${(lstatSync(join(folder, name)).mode & 0o777).toString(8)}`);
      await new Promise<void>((resolve) => process.nextTick(resolve));
    }
    expect(new Set(modes.filter((line) => line.startsWith('kahe.sock.N')))).toEqual(new Set(['kahe.sock.N 600']));
    expect(new Set(modes.filter((line) => line.startsWith('kahe.sock ')))).not.toContain('kahe.sock 600');
    expect((statSync(path).mode & 0o777).toString(8)).toBe('666');
  });

  test('a stale socket is taken over', async () => {
    await stale();
    expect(await connects()).toBe(false);
    await bind();
    expect(await connects()).toBe(true);
  });

  test('a live daemon is left alone', async () => {
    await bind();
    const { ino } = statSync(path);
    await expect(bindSocket({ setting: 'SOCKET', path, mode: 0o660, groupId: undefined })).rejects.toThrow(AlreadyRunningError);
    expect(statSync(path).ino).toBe(ino);
    expect(await connects()).toBe(true);
    expect(readdirSync(folder)).toEqual(['kahe.sock']);
  });

  test('a regular file is refused, and stays as it is', async () => {
    writeFileSync(path, 'precious');
    await expect(bind()).rejects.toThrow(ConfigError);
    expect(readFileSync(path, 'utf8')).toBe('precious');
    expect(readdirSync(folder)).toEqual(['kahe.sock']);
  });

  test('a directory is refused', async () => {
    mkdirSync(path);
    await expect(bind()).rejects.toThrow(/exists and is no socket; move it away/);
    expect(statSync(path).isDirectory()).toBe(true);
  });

  test.each(['a file', 'a stale socket', 'nothing'])('a symlink to %s is refused, and what it points to stays', async (what) => {
    const real = join(folder, 'target');
    if (what === 'a file') writeFileSync(real, 'precious');
    if (what === 'a stale socket') {
      await stale();
      renameSync(path, real);
    }
    symlinkSync(real, path);
    await expect(bind()).rejects.toThrow(ConfigError);
    expect(lstatSync(path).isSymbolicLink()).toBe(true);
    expect(existsSync(real)).toBe(what !== 'nothing');
    if (what === 'a file') expect(readFileSync(real, 'utf8')).toBe('precious');
  });

  test.runIf(process.getuid!() === 0)('a stale socket of another user in a folder as /tmp is told, for it can\'t be replaced', async () => {
    await stale();
    chmodSync(path, 0o777);
    lchownSync(path, 1, 1);
    chmodSync(folder, 0o1777);
    process.seteuid!(65_534);
    try {
      for (const attempt of [bind, () => tryToBind({ setting: 'SOCKET', path, mode: 0o660, groupId: undefined })]) {
        await expect(attempt()).rejects.toThrow(`SOCKET: ${path} was left by user 1, and only that user, the owner of ${folder} or root can remove it; remove it, or choose another path`);
      }
    } finally {
      process.seteuid!(0);
    }
    expect(readdirSync(folder)).toEqual(['kahe.sock']);
    await bind();
  });

  test('trying to bind says the same, takes nothing over and leaves nothing', async () => {
    const place = { setting: 'SOCKET', path, mode: 0o660, groupId: undefined } as const;
    await tryToBind(place);
    expect(readdirSync(folder)).toEqual([]);
    await stale();
    const { ino } = statSync(path);
    await tryToBind(place);
    expect([readdirSync(folder), statSync(path).ino]).toEqual([['kahe.sock'], ino]);
    await bind();
    await expect(tryToBind(place)).rejects.toThrow(AlreadyRunningError);
    expect(await connects()).toBe(true);
  });

  test('a folder that is not there is told with what to do', async () => {
    path = join(folder, 'missing', 'kahe.sock');
    await expect(bind()).rejects.toThrow(/SOCKET: .*missing.*; the folder must exist and be writable/);
  });

  test('a path too long for a socket is told before anything is made', async () => {
    path = join(folder, 'x'.repeat(108));
    await expect(bind()).rejects.toThrow(/is too long for a Unix socket/);
    expect(readdirSync(folder)).toEqual([]);
  });

  test('a group that the process can not give it to is refused, and nothing is left', async () => {
    // No group has this number, so not even root can give it away.
    await expect(bind({ groupId: 2 ** 32 + 5 })).rejects.toThrow(/^SOCKET_GROUP: can't give .* to group 4294967301: .*; the user Kahe runs as must be in that group$/);
    await turn();
    expect(readdirSync(folder)).toEqual([]);
  });

  test('the socket is given to the group', async () => {
    const { gid } = statSync(folder);
    await bind({ groupId: gid });
    expect(statSync(path).gid).toBe(gid);
  });

  test('what a starter of the same pid left behind is no hindrance', async () => {
    writeFileSync(`${path}.${process.pid}`, '');
    await bind();
    expect(readdirSync(folder)).toEqual(['kahe.sock']);
  });

  test('another starter at work is not disturbed; the lock of one that died is taken over', async () => {
    mkdirSync(join(`${path}.lock`, String(process.ppid)), { recursive: true });
    await expect(bind()).rejects.toThrow(AlreadyRunningError);
    expect(readdirSync(folder)).toEqual(['kahe.sock.lock']);
    const longAgo = Date.now() / 1000 - 60;
    utimesSync(`${path}.lock`, longAgo, longAgo);
    await bind();
    expect(readdirSync(folder)).toEqual(['kahe.sock']);
  });

  test('a lock that names nobody, as one that was killed may leave, is taken over at once', async () => {
    mkdirSync(`${path}.lock`);
    const bound = await bind();
    expect(readdirSync(folder)).toEqual(['kahe.sock']);
    bound.server.close();
  });

  test('the lock of a starter that was killed is taken over at once', async () => {
    const dead = spawnSync(process.execPath, ['--version']).pid;
    mkdirSync(join(`${path}.lock`, String(dead)), { recursive: true });
    await bind();
    expect(readdirSync(folder)).toEqual(['kahe.sock']);
  });

  test.each(['a file', 'a symlink to nothing'])('%s in the place of the lock is refused and stays', async (what) => {
    if (what === 'a file') writeFileSync(`${path}.lock`, 'precious');
    else symlinkSync(join(folder, 'nothing'), `${path}.lock`);
    await expect(bind()).rejects.toThrow(ConfigError);
    expect(readdirSync(folder)).toEqual(['kahe.sock.lock']);
  });

  test('of ten starters at once exactly one wins, and it is the one that answers', async () => {
    for (const before of ['nothing', 'a stale socket']) {
      if (before === 'a stale socket') await stale();
      const outcomes = await Promise.allSettled(Array.from({ length: 10 }, () => bind()));
      const errors = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason as Error] : []));
      expect(errors).toHaveLength(9);
      for (const error of errors) expect(error).toBeInstanceOf(AlreadyRunningError);
      expect(await connects()).toBe(true);
      expect(readdirSync(folder)).toEqual(['kahe.sock']);
      for (const server of servers.splice(0)) server.close();
      unlinkSync(path);
    }
  });

  test('of ten processes at once exactly one wins', async () => {
    await stale();
    const children = Array.from({ length: 10 }, () => start(`
      import { bindSocket } from ${JSON.stringify(BIND)};
      process.send({ is: 'ready' });
      process.once('message', () => {
        bindSocket({ setting: 'SOCKET', path: ${JSON.stringify(path)}, mode: 0o660, groupId: undefined }).then(
          () => process.send({ is: 'bound' }),
          (error) => process.send({ is: error.code ?? String(error) }),
        );
      });
    `));
    try {
      await Promise.all(children.map(next));
      const outcomes = Promise.all(children.map(next));
      for (const child of children) child.send('go');
      expect((await outcomes).sort()).toEqual([...Array.from({ length: 9 }, () => 'ALREADY_RUNNING'), 'bound']);
      expect(await connects()).toBe(true);
    } finally {
      for (const child of children) child.kill('SIGKILL');
    }
  }, 60_000);
});

describe('unlink', () => {
  test('takes our file away, and is harmless when called twice', async () => {
    const { unlink } = await bind();
    unlink();
    expect(readdirSync(folder)).toEqual([]);
    unlink();
  });

  test('leaves the socket of a successor alone, and so does closing the server', async () => {
    const old = await bind();
    unlinkSync(path);
    await bind();
    const { ino } = statSync(path);
    old.unlink();
    await new Promise<void>((resolve) => old.server.close(() => resolve()));
    expect(statSync(path).ino).toBe(ino);
    expect(await connects()).toBe(true);
  });

  test('leaves alone what is no socket of ours', async () => {
    const { unlink } = await bind();
    unlinkSync(path);
    writeFileSync(path, 'precious');
    unlink();
    expect(readFileSync(path, 'utf8')).toBe('precious');
  });
});

describe('inheritSockets', () => {
  const MODULE = `
    import { inheritSockets } from ${JSON.stringify(BIND)};
    let bound;
    const does = {
      take: async () => {
        bound = await inheritSockets(FDS);
        bound.server.on('connection', (socket) => socket.on('error', () => undefined).end('hello from NAME').resume());
      },
      leave: () => bound.unlink(),
    };
    process.on('message', async (what) => {
      await does[what]();
      process.send({ is: what });
    });
    process.send({ is: 'ready' });
  `;
  const children: ChildProcess[] = [];

  afterEach(() => children.splice(0).forEach((child) => child.kill('SIGKILL')));

  /** A listening socket, its mode 0622, and its descriptor, as systemd has them. */
  async function given(at: string): Promise<{ readonly fd: number; readonly server: Server }> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(`${at}.given`, resolve));
    renameSync(`${at}.given`, at);
    chmodSync(at, 0o622);
    return { fd: (server as unknown as { _handle: { fd: number } })._handle.fd, server };
  }

  async function startHolder(name: string, fds: readonly number[]): Promise<ChildProcess> {
    const numbers = fds.map((_, index) => 3 + index);
    const child = start(MODULE.replace('FDS', JSON.stringify(numbers)).replace('NAME', name), fds);
    children.push(child);
    expect(await next(child)).toBe('ready');
    return child;
  }

  async function tell(child: ChildProcess, what: 'take' | 'leave'): Promise<void> {
    const done = next(child);
    child.send(what);
    expect(await done).toBe(what);
  }

  function answerAt(at: string): Promise<string> {
    return new Promise((resolve, reject) => createConnection(at).on('data', (chunk: Buffer) => resolve(chunk.toString())).on('error', reject));
  }

  test('listens on the descriptors that were handed over', async () => {
    const both = [await given(path), await given(`${path}.other`)];
    const child = await startHolder('it', both.map(({ fd }) => fd));
    await tell(child, 'take');
    // From here on the child alone listens.
    await Promise.all(both.map(({ server }) => new Promise<void>((resolve) => server.close(() => resolve()))));
    expect(await Promise.all([answerAt(path), answerAt(`${path}.other`)])).toEqual(['hello from it', 'hello from it']);
  });

  test('at the end the file stays as it is, and who connects then waits for the next one on the same socket', async () => {
    const { fd, server } = await given(path);
    const [first, second] = [await startHolder('first', [fd]), await startHolder('second', [fd])];
    await tell(first, 'take');
    await new Promise<void>((resolve) => server.close(() => resolve()));
    await tell(first, 'leave');
    expect((statSync(path).mode & 0o777).toString(8)).toBe('622');
    const answer = answerAt(path);
    // More than Node's own backlog of 511.
    expect(new Set(await Promise.all(Array.from({ length: 600 }, connects)))).toEqual(new Set([true]));
    await tell(second, 'take');
    expect(await answer).toBe('hello from second');
  });

  test('a descriptor that is no socket is an error', async () => {
    await expect(inheritSockets([9_999])).rejects.toThrow();
  });
});

describe('groupId', () => {
  test('knows names and takes numbers', () => {
    expect([groupId(undefined), groupId(1234), groupId('root')]).toEqual([undefined, 1234, 0]);
  });

  test('a group that is not there is told with what to do', () => {
    expect(() => groupId('no-such-group')).toThrow(new ConfigError('SOCKET_GROUP: there is no group "no-such-group"; make it with groupadd, or name another'));
  });
});
