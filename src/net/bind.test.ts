// The socket's file: who may have it, who gets it when several want it, and that it is never open wider than
// asked.
import { type ChildProcess, fork, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { type Server, createConnection, createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { asNobody } from '../../support/asNobody.js';
import { turn } from '../../support/fakeClock.js';
import { newFolder } from '../../support/newFolder.js';
import { AlreadyRunningError, ConfigError } from '../errors.js';
import { type SocketPlace, tryToBind } from './bind.js';
import type { BoundSocket } from './boundSocket.js';
import { bindSocket } from './namedSocket.js';
import { groupName, userName } from './names.js';

let folder: string;
let path: string;
const servers: Server[] = [];

beforeEach(() => {
  folder = newFolder();
  path = join(folder, 'kahe.sock');
});

afterEach(() => {
  for (const server of servers.splice(0)) server.close();
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

const BIND = new URL('./namedSocket.ts', import.meta.url).href;

/** A process that runs this module; `fds` are its descriptors from 3 on. */
function start(module: string, fds: readonly number[] = []): ChildProcess {
  const file = join(folder, 'starter.mts');
  writeFileSync(file, module);
  return fork(file, {
    execArgv: ['--import', 'tsx'],
    stdio: ['ignore', 'inherit', 'inherit', ...fds, 'ipc'],
  });
}

function next(child: ChildProcess): Promise<string> {
  return new Promise((resolve) =>
    child.once('message', (message) => resolve((message as { is: string }).is)),
  );
}

/** A socket's file with nobody behind it, as kill -9 leaves it. */
async function stale(): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(`${path}.dead`, resolve));
  renameSync(`${path}.dead`, path);
  await new Promise<void>((resolve) => server.close(() => resolve()));
}

describe('bindSocket', () => {
  test.each([0o600, 0o660, 0o666, 0o622])(
    'the socket has the mode %o, whatever the umask, and nothing else is left behind',
    async (mode) => {
      const umask = process.umask(0o027);
      try {
        await bind({ mode });
      } finally {
        expect(process.umask(umask)).toBe(0o027);
      }
      expect((statSync(path).mode & 0o777).toString(8)).toBe(mode.toString(8));
      expect(readdirSync(folder)).toEqual(['kahe.sock']);
      expect(await connects()).toBe(true);
    },
  );

  test.each(["the process's own group", 'a group that is named'])(
    'it is for its owner alone until it has its mode: %s',
    async (group) => {
      const server = createServer();
      const modes: number[] = [];
      const listen = server.listen.bind(server) as (...args: unknown[]) => Server;
      server.listen = ((...args: unknown[]) => {
        listen(...args);
        modes.push(statSync(path).mode & 0o777);
        return server;
      }) as Server['listen'];
      const umask = process.umask(0);
      try {
        servers.push(server);
        await bindSocket(
          {
            setting: 'SOCKET',
            path,
            mode: 0o666,
            groupId: group.startsWith('a group') ? statSync(folder).gid : undefined,
          },
          server,
        );
        expect(process.umask(0)).toBe(0);
      } finally {
        process.umask(umask);
      }
      expect([...modes, statSync(path).mode & 0o777].map((mode) => mode.toString(8))).toEqual(['700', '666']);
    },
  );

  test('the kernel knows the socket by its own path, so what cleans /tmp spares it', async () => {
    await bind();
    const names = readFileSync('/proc/net/unix', 'utf8')
      .split('\n')
      .map((line) => line.replace(/^(\S+ +){7}/, ''));
    expect(names).toContain(path);
  });

  test('a stale socket is taken over', async () => {
    await stale();
    expect(await connects()).toBe(false);
    await bind();
    expect(await connects()).toBe(true);
  });

  test('what belongs to another, who lets nobody in, is no daemon: it says whose it is', async () => {
    await stale();
    chmodSync(path, 0);
    chmodSync(folder, 0o755);
    await asNobody(async () => {
      await expect(bind()).rejects.toThrow(
        /^SOCKET: (can't make .*\.lock: EACCES: .*; it belongs to \S+, group \S+, mode 0755|.*kahe\.sock belongs to \S+, group \S+, mode 0000, so it can't be found out whether a daemon listens there; remove it)/,
      );
    });
    chmodSync(folder, 0o1777);
    await asNobody(async () => {
      await expect(bind()).rejects.toThrow(
        /^SOCKET: .*kahe\.sock belongs to \S+, group \S+, mode 0000, so it can't be found out whether a daemon listens there; remove it if none does, or choose another path$/,
      );
    });
    expect(readdirSync(folder)).toEqual(['kahe.sock']);
  });

  test('a socket of another kind that somebody listens on is left alone', async () => {
    const other = spawn(
      'python3',
      [
        '-c',
        'import socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(sys.argv[1]); print("bound", flush=True); sys.stdin.read()',
        path,
      ],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    );
    try {
      await once(other.stdout, 'data');
      const { ino } = statSync(path);
      await expect(bind()).rejects.toThrow(
        /another program listens on .*kahe\.sock, which is a socket of another kind/,
      );
      expect(statSync(path).ino).toBe(ino);
    } finally {
      other.kill('SIGKILL');
    }
  });

  test('a live daemon is left alone', async () => {
    await bind();
    const { ino } = statSync(path);
    await expect(bindSocket({ setting: 'SOCKET', path, mode: 0o660, groupId: undefined })).rejects.toThrow(
      AlreadyRunningError,
    );
    expect(statSync(path).ino).toBe(ino);
    expect(await connects()).toBe(true);
    expect(readdirSync(folder)).toEqual(['kahe.sock']);
  });

  test('a live daemon is left alone, too, by a process that has no descriptor left to ask with', async () => {
    await bind();
    const { ino } = statSync(path);
    const child = start(`
      import { execFileSync } from 'node:child_process';
      import { openSync } from 'node:fs';
      import { bindSocket } from ${JSON.stringify(BIND)};
      execFileSync('prlimit', ['--pid', String(process.pid), '--nofile=64:64']);
      try { for (;;) openSync('/dev/null'); } catch {}
      bindSocket({ setting: 'SOCKET', path: ${JSON.stringify(path)}, mode: 0o660, groupId: undefined }).catch(
        (error) => process.send({ is: error.message }),
      );
    `);
    try {
      expect(await next(child)).toBe(
        `SOCKET: it can't be found out whether a daemon listens on ${path}: EMFILE; remove it if none does, or choose another path`,
      );
    } finally {
      child.kill();
    }
    expect(statSync(path).ino).toBe(ino);
    expect(await connects()).toBe(true);
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

  test.each(['a file', 'a stale socket', 'nothing'])(
    'a symlink to %s is refused, and what it points to stays',
    async (what) => {
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
    },
  );

  test.runIf(process.getuid!() === 0)(
    "a stale socket of another user in a folder as /tmp is told, for it can't be replaced",
    async () => {
      await stale();
      chmodSync(path, 0o777);
      lchownSync(path, 1, 1);
      chmodSync(folder, 0o1777);
      process.seteuid!(65_534);
      try {
        for (const attempt of [
          bind,
          () => tryToBind({ setting: 'SOCKET', path, mode: 0o660, groupId: undefined }),
        ]) {
          await expect(attempt()).rejects.toThrow(
            `SOCKET: nobody listens on ${path}, but it can't be taken over: it belongs to ${userName(1)}, group ${groupName(1)}, mode 0777, and only that user, the owner of ${folder} or root can remove it; remove it, or choose another path`,
          );
        }
      } finally {
        process.seteuid!(0);
      }
      expect(readdirSync(folder)).toEqual(['kahe.sock']);
      await bind();
    },
  );

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
    await expect(bind()).rejects.toThrow(/ has \d+ bytes; the path of a socket can have 107/);
    expect(readdirSync(folder)).toEqual([]);
  });

  test('a group that the process can not give it to is refused, and nothing is left', async () => {
    // No group has this number, so not even root can give it away.
    await expect(bind({ groupId: 2 ** 32 + 5 })).rejects.toThrow(
      /^SOCKET_GROUP: can't give .* to group 4294967301: .*; the user Kahe runs as must be in that group$/,
    );
    await turn();
    expect(readdirSync(folder)).toEqual([]);
  });

  test('the socket is given to the group', async () => {
    const { gid } = statSync(folder);
    await bind({ groupId: gid });
    expect(statSync(path).gid).toBe(gid);
  });

  test('what a starter of the same pid left behind is no hindrance', async () => {
    mkdirSync(join(`${path}.lock.${process.pid}`, '1'), { recursive: true });
    await bind();
    expect(readdirSync(folder)).toEqual(['kahe.sock']);
  });

  test('a lock that names this very process, which holds none, was left by a dead one of its number', async () => {
    mkdirSync(join(`${path}.lock`, String(process.pid)), { recursive: true });
    await bind();
    expect(readdirSync(folder)).toEqual(['kahe.sock']);
  });

  test('a lock from the future, of before the clock was set back, is of a dead one', async () => {
    mkdirSync(join(`${path}.lock`, String(process.ppid)), { recursive: true });
    const ahead = Date.now() / 1000 + 3600;
    utimesSync(`${path}.lock`, ahead, ahead);
    await bind();
    expect(readdirSync(folder)).toEqual(['kahe.sock']);
  });

  test("another's lock that can't be taken away is told with whose it is", async () => {
    const dead = spawnSync(process.execPath, ['--version']).pid;
    mkdirSync(join(`${path}.lock`, String(dead)), { recursive: true });
    chmodSync(folder, process.getuid!() === 0 ? 0o1777 : 0o500);
    await asNobody(async () => {
      await expect(bind()).rejects.toThrow(
        /^SOCKET: (.*kahe\.sock\.lock was left by a starter that died, and can't be taken away: .*; it belongs to root, group \S+, mode 07\d\d: remove it|can't make .*\.lock: EACCES: .*; it belongs to \S+, group \S+, mode 0500)$/,
      );
    });
    chmodSync(folder, 0o700);
    expect(readdirSync(folder)).toEqual(['kahe.sock.lock']);
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

  test.each(['a file', 'a symlink to nothing'])(
    '%s in the place of the lock is refused and stays',
    async (what) => {
      if (what === 'a file') writeFileSync(`${path}.lock`, 'precious');
      else symlinkSync(join(folder, 'nothing'), `${path}.lock`);
      await expect(bind()).rejects.toThrow(ConfigError);
      expect(readdirSync(folder)).toEqual(['kahe.sock.lock']);
    },
  );

  test('of ten starters at once exactly one wins, and it is the one that answers', async () => {
    for (const before of ['nothing', 'a stale socket']) {
      if (before === 'a stale socket') await stale();
      const outcomes = await Promise.allSettled(Array.from({ length: 10 }, () => bind()));
      const errors = outcomes.flatMap((outcome) =>
        outcome.status === 'rejected' ? [outcome.reason as Error] : [],
      );
      expect(errors).toHaveLength(9);
      for (const error of errors) expect(error).toBeInstanceOf(AlreadyRunningError);
      expect(await connects()).toBe(true);
      expect(readdirSync(folder)).toEqual(['kahe.sock']);
      // Takes the file away too.
      for (const server of servers.splice(0)) server.close();
    }
  });

  test('of ten processes at once exactly one wins', async () => {
    await stale();
    const children = Array.from({ length: 10 }, () =>
      start(`
      import { bindSocket } from ${JSON.stringify(BIND)};
      process.send({ is: 'ready' });
      process.once('message', () => {
        bindSocket({ setting: 'SOCKET', path: ${JSON.stringify(path)}, mode: 0o660, groupId: undefined }).then(
          () => process.send({ is: 'bound' }),
          (error) => process.send({ is: error.code ?? String(error) }),
        );
      });
    `),
    );
    try {
      await Promise.all(children.map(next));
      const outcomes = Promise.all(children.map(next));
      for (const child of children) child.send('go');
      expect((await outcomes).sort()).toEqual([
        ...Array.from({ length: 9 }, () => 'ALREADY_RUNNING'),
        'bound',
      ]);
      expect(await connects()).toBe(true);
    } finally {
      for (const child of children) child.kill('SIGKILL');
    }
  }, 60_000);
});

test('kill -9 of a starter, at whatever step, leaves nothing that keeps the next one from starting', async () => {
  /** Dies before the n-th of its calls. */
  const dying = (at: string, step: number): string => `
    import fs from 'node:fs';
    import { syncBuiltinESMExports } from 'node:module';
    import { Server } from 'node:net';
    let step = 0;
    const patch = (object, name) => {
      const original = object[name];
      object[name] = function (...args) {
        if (++step === ${step}) process.kill(process.pid, 'SIGKILL');
        return original.apply(this, args);
      };
    };
    for (const name of ['mkdirSync', 'renameSync', 'rmSync', 'lstatSync', 'unlinkSync', 'chmodSync', 'chownSync']) patch(fs, name);
    patch(Server.prototype, 'listen');
    syncBuiltinESMExports();
    const { bindSocket } = await import(${JSON.stringify(BIND)});
    process.once('message', async () => {
      await bindSocket({ setting: 'SOCKET', path: ${JSON.stringify(at)}, mode: 0o660, groupId: ${process.getgid!()} });
      process.send({ is: 'bound' });
    });
    process.send({ is: 'ready' });
  `;
  await stale();
  const outcomes: string[] = [];
  for (let step = 1; outcomes.at(-1) !== 'bound'; step++) {
    const child = start(dying(path, step));
    const killed = once(child, 'exit').then(() => 'killed');
    expect(await next(child)).toBe('ready');
    child.send('go');
    outcomes.push(await Promise.race([next(child), killed]));
    child.kill('SIGKILL');
    await killed;
    const bound = await bind();
    expect(await connects()).toBe(true);
    expect((statSync(path).mode & 0o777).toString(8)).toBe('660');
    // As kill -9 leaves it.
    renameSync(path, `${path}.kept`);
    bound.server.close();
    renameSync(`${path}.kept`, path);
  }
  expect(outcomes.length).toBeGreaterThan(10);
  expect(outcomes.slice(0, -1)).toEqual(outcomes.slice(0, -1).map(() => 'killed'));
}, 120_000);

describe('unlink', () => {
  test('takes our file away, and is harmless when called twice', async () => {
    const bound = await bind();
    bound.unlink();
    expect(readdirSync(folder)).toEqual([]);
    bound.unlink();
  });

  test('leaves the socket of a successor alone, and so does closing', async () => {
    const old = await bind();
    unlinkSync(path);
    await bind();
    const { ino } = statSync(path);
    old.unlink();
    old.close();
    await turn();
    expect(statSync(path).ino).toBe(ino);
    expect(await connects()).toBe(true);
  });

  test('leaves alone what is no socket of ours', async () => {
    const bound = await bind();
    unlinkSync(path);
    writeFileSync(path, 'precious');
    bound.unlink();
    bound.close();
    await turn();
    expect(readFileSync(path, 'utf8')).toBe('precious');
  });
});
