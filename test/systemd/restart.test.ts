// The daemon as a service, without a system: it tells NOTIFY_SOCKET how it is, and takes over the socket that
// its predecessor had.
import { execFileSync, spawn } from 'node:child_process';
import { unlinkSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFailed, onTestFinished, test } from 'vitest';
import { askAdmin } from '../../support/adminDoor.js';
import { builtDaemon } from '../../support/daemonBuild.js';
import { fileStream } from '../../support/daemonBuckets.js';
import {
  DaemonClient,
  TestDaemon,
  daemonFolder,
  launchDaemon,
  numberedFrames,
  startDaemon,
} from '../../support/daemon.js';
import { reload } from '../../support/reloads.js';
import { NotifySocket } from '../../support/notifySocket.js';
import { SteadyLoad } from '../../support/steadyLoad.js';

const TO_FILES = {
  streamsConfigs: { files: fileStream('data') },
  buckets: [{ id: 'orders', streams: ['files'], batch: 250, batchTimeout: 30 }],
};

describe('NOTIFY_SOCKET', () => {
  test('hears that the daemon is ready, alive and stopping, with what it has done', async () => {
    const folder = await daemonFolder();
    const socket = await NotifySocket.listen(join(folder, 'notify'));
    const daemon = await startDaemon({
      buckets: TO_FILES,
      folder,
      env: { NOTIFY_SOCKET: socket.address, WATCHDOG_USEC: '200000' },
    });
    expect(await socket.until(/^READY/)).toEqual([
      'READY=1',
      'STATUS=1 bucket, 0 frames received, 0 delivered',
    ]);
    await socket.until(/^WATCHDOG=1/);
    const client = await daemon.connect();
    await client.send(numberedFrames('orders', 'c', { count: 100 }));
    expect(await client.receipt()).toBe(100);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(await socket.until(/^STOPPING/)).toEqual([
      'STOPPING=1',
      'STATUS=stopping after SIGTERM: 1 bucket, 100 frames received, 100 delivered',
    ]);
    expect(socket.said.filter((said) => /^READY|^STOPPING/.test(said))).toEqual(['READY=1', 'STOPPING=1']);
  });

  test('hears when it reloads, and of a file that could not be used', async () => {
    const folder = await daemonFolder();
    const socket = await NotifySocket.listen(join(folder, 'notify'));
    const daemon = await startDaemon({ buckets: TO_FILES, folder, env: { NOTIFY_SOCKET: socket.address } });
    await socket.until(/^READY/);
    expect(await reload(daemon, { ...TO_FILES, buckets: [{ ...TO_FILES.buckets[0], batch: 10 }] })).toBe(
      'changed buckets.orders (batch)',
    );
    await expect.poll(() => socket.datagrams.length, { timeout: 20_000 }).toBe(3);
    expect(await reload(daemon, '{')).toBeUndefined();
    await expect.poll(() => socket.datagrams.length, { timeout: 20_000 }).toBe(5);
    const since = expect.stringMatching(/^MONOTONIC_USEC=\d+$/) as string;
    expect(socket.datagrams).toEqual([
      ['READY=1', 'STATUS=1 bucket, 0 frames received, 0 delivered'],
      ['RELOADING=1', since],
      ['READY=1'],
      ['RELOADING=1', since],
      [
        'READY=1',
        expect.stringMatching(
          /^STATUS=1 bucket, 0 frames received, 0 delivered, the configuration was not reloaded: .*buckets\.json: line 1, column/,
        ) as string,
      ],
    ]);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });

  test('hears nothing of a daemon that can not start', async () => {
    const folder = await daemonFolder();
    const socket = await NotifySocket.listen(join(folder, 'notify'));
    const daemon = await launchDaemon({ buckets: '{}', folder, env: { NOTIFY_SOCKET: socket.address } });
    expect(await daemon.exited).toMatchObject({ code: 1 });
    expect(socket.datagrams).toEqual([]);
  });

  test('of which nobody reads: the daemon warns and works on', async () => {
    const daemon = await startDaemon({
      buckets: TO_FILES,
      env: { NOTIFY_SOCKET: '/nowhere/notify', WATCHDOG_USEC: '200000' },
    });
    await daemon.line(/WARN .* systemd can't be told/);
    const client = await daemon.connect();
    await client.send(numberedFrames('orders', 'c', { count: 100 }));
    expect(await client.receipt()).toBe(100);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(daemon.linesLike(/systemd can't be told/)).toHaveLength(1);
  });
});

describe('LISTEN_FDS, of systemd-socket-activate', () => {
  const LISTENS = /kahe (\d+) listens on the socket that systemd holds/;

  /** A daemon on the socket that is handed over, and when it ends another one. */
  async function activate(env: Readonly<Record<string, string>>): Promise<TestDaemon> {
    const folder = await daemonFolder();
    await writeFile(join(folder, 'buckets.json'), JSON.stringify(TO_FILES));
    await writeFile(
      join(folder, '.env.dev.local'),
      Object.entries({ SOCKET: 'not-used.sock', ...env })
        .map((entry) => entry.join('='))
        .join('\n'),
    );
    const again = `cd '${folder}' && while :; do setpriv --pdeathsig KILL sh -c 'LISTEN_PID=$$ exec "$@"' sh '${process.execPath}' '${await builtDaemon()}'; echo "ended $?"; done`;
    const socketPath = join(folder, 'kahe.sock');
    const child = spawn(
      'setpriv',
      ['--pdeathsig', 'KILL', 'systemd-socket-activate', '--listen', socketPath, 'sh', '-c', again],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const service = new TestDaemon(child, folder, socketPath);
    onTestFailed(() => console.error(service.lines.slice(-40).join('\n')));
    onTestFinished(() => service.kill9());
    await service.line(/Listening on/);
    return service;
  }

  /** @returns the process that listens now, where `known` did before */
  async function daemonAfter(service: TestDaemon, known: number): Promise<number> {
    const { length } = service.linesLike(LISTENS);
    if (known === 0 || length === 0) return Number(LISTENS.exec(await service.line(LISTENS))![1]);
    return service.until('another daemon', () => {
      const pid = Number(LISTENS.exec(service.linesLike(LISTENS).at(-1)!)![1]);
      return pid === known ? undefined : pid;
    });
  }

  /** Ends one daemon after another while the load goes on, and the last one in good order after it. */
  async function restartUnderLoad(
    service: TestDaemon,
    load: SteadyLoad,
    { times, signal }: { readonly times: number; readonly signal: NodeJS.Signals },
  ): Promise<void> {
    let pid = 0;
    for (let restart = 0; restart < times; restart++) {
      pid = await daemonAfter(service, pid);
      await load.progress();
      process.kill(pid, signal);
    }
    pid = await daemonAfter(service, pid);
    await load.progress();
    await load.end();
    process.kill(pid, 'SIGTERM');
    await daemonAfter(service, pid);
  }

  test.each([
    ['without a spool', {}],
    ['with a spool', { SPOOL: 'spool' }],
  ])('restarts under load, %s: no connection is refused, and nothing is lost', async (_what, env) => {
    const service = await activate(env);
    const load = new SteadyLoad(service.socketPath, 'orders');
    await restartUnderLoad(service, load, { times: 5, signal: 'SIGTERM' });
    expect(load.refusals).toEqual([]);
    expect(service.linesLike(/^ended/)).toEqual(Array.from({ length: 6 }, () => 'ended 0'));
    load.check(await service.files('data'));
  });

  test('kill -9 under load: no connection is refused, and what was confirmed is there', async () => {
    const service = await activate({ SPOOL: 'spool' });
    const load = new SteadyLoad(service.socketPath, 'orders', { telling: 0 });
    await restartUnderLoad(service, load, { times: 4, signal: 'SIGKILL' });
    expect(load.refusals).toEqual([]);
    const there = new Set((await service.files('data')).map(({ message }) => message));
    for (const [sender, count] of load.sent)
      for (let number = 0; number < count; number++) expect(there).toContain(`${sender}:${number}:`);
  });

  test('its file goes: not ready, with what to do; who is connected goes on', async () => {
    const service = await activate({ ADMIN: './admin.sock' });
    const client = await DaemonClient.connect(service.socketPath);
    onTestFinished(() => client.destroy());
    await service.line(LISTENS);
    unlinkSync(service.socketPath);
    await service.line(
      /ERROR .*the file of systemd's socket .*kahe\.sock is gone: .*systemctl restart kahe\.socket\); open connections go on/,
    );
    const { status, body } = await askAdmin(join(service.folder, 'admin.sock'), '/readyz');
    expect([status, body]).toEqual([
      503,
      `the file of systemd's socket ${service.socketPath} is gone: no client can connect until systemd makes it again (systemctl restart kahe.socket)\n`,
    ]);
    await client.send(numberedFrames('orders', 'c', { count: 10 }));
    expect(await client.receipt()).toBe(10);
  });

  test.each([
    [
      '--datagram',
      /is a datagram socket, and Kahe reads streams: write ListenStream= into the \.socket unit, instead of ListenDatagram=/,
    ],
    ['--seqpacket', /is a sequential packet socket, .*instead of ListenSequentialPacket=/],
    [
      '--accept',
      /is a single connection, not a socket to listen on: the \.socket unit has Accept=yes; write Accept=no/,
    ],
  ])('of a kind that Kahe can not use (%s): it ends with 1 and says what to write', async (kind, says) => {
    const folder = await daemonFolder();
    await writeFile(join(folder, 'buckets.json'), JSON.stringify(TO_FILES));
    await writeFile(join(folder, '.env.dev.local'), '');
    const socketPath = join(folder, 'kahe.sock');
    const once = `cd '${folder}' && LISTEN_PID=$$ exec '${process.execPath}' '${await builtDaemon()}'`;
    const child = spawn(
      'setpriv',
      ['--pdeathsig', 'KILL', 'systemd-socket-activate', kind, '--listen', socketPath, 'sh', '-c', once],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const service = new TestDaemon(child, folder, socketPath);
    onTestFinished(() => service.kill9());
    await service.line(/Listening on/);
    // Whatever comes starts it.
    execFileSync('python3', [
      '-c',
      'import socket, sys; s = socket.socket(socket.AF_UNIX, getattr(socket, sys.argv[2])); s.connect(sys.argv[1]); s.send(b"x")',
      socketPath,
      { '--datagram': 'SOCK_DGRAM', '--seqpacket': 'SOCK_SEQPACKET' }[kind] ?? 'SOCK_STREAM',
    ]);
    expect(await service.line(/kahe: /)).toMatch(says);
    expect(service.linesLike(/^\s+at /)).toEqual([]);
    if (kind !== '--accept') expect(await service.exited).toMatchObject({ code: 1 });
  });

  test('the socket is served whatever SOCKET says, and no file is made there', async () => {
    const service = await activate({});
    const client = await DaemonClient.connect(service.socketPath);
    onTestFinished(() => client.destroy());
    await client.send(numberedFrames('orders', 'c', { count: 10 }));
    expect(await client.receipt()).toBe(10);
    await expect(DaemonClient.connect(join(service.folder, 'not-used.sock'))).rejects.toThrow('ENOENT');
  });
});
