// What is said to a NOTIFY_SOCKET that listens, by the real systemd-notify.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FakeClock } from '../../support/fakeClock.js';
import { NotifySocket } from '../../support/notifySocket.js';
import { newFolder } from '../../support/newFolder.js';
import { Log } from '../log/log.js';
import { ServiceManager } from './serviceManager.js';

const { PATH } = process.env;
let folder: string;
let clock: FakeClock;
let lines: string[];
const managers: ServiceManager[] = [];

beforeEach(() => {
  folder = newFolder();
  clock = new FakeClock();
  lines = [];
});

afterEach(() => {
  for (const manager of managers.splice(0)) manager.close();
});

function start(env: Readonly<Record<string, string | undefined>>): ServiceManager {
  const manager = new ServiceManager({
    env: { PATH, ...env },
    log: new Log('TRACE', (line) => lines.push(line.trimEnd())),
    clock,
  });
  managers.push(manager);
  return manager;
}

function listen(): Promise<NotifySocket> {
  return NotifySocket.listen(join(folder, 'notify'));
}

describe('ServiceManager', () => {
  test('ready comes with the status; a status that changed is said, one that did not is not', async () => {
    const socket = await listen();
    const manager = start({ NOTIFY_SOCKET: socket.address });
    let status = '2 buckets, 0 frames received';
    manager.ready(() => status);
    clock.advance(60_000);
    status = '2 buckets, 7 frames received';
    clock.advance(29_999);
    clock.advance(1);
    clock.advance(300_000);
    manager.stopping('stopping after SIGTERM');
    await socket.until(/^STOPPING/);
    expect(socket.datagrams).toEqual([
      ['READY=1', 'STATUS=2 buckets, 0 frames received'],
      ['STATUS=2 buckets, 7 frames received'],
      ['STOPPING=1', 'STATUS=stopping after SIGTERM'],
    ]);
    expect(lines).toEqual([]);
  });

  test('a status stays one text of one message, whatever is in it', async () => {
    const socket = await listen();
    const manager = start({ NOTIFY_SOCKET: socket.address });
    manager.ready(() => 'a\nREADY=0\tb *  $HOME "\'\\n`id`');
    expect(await socket.until(/^READY/)).toEqual(['READY=1', 'STATUS=a READY=0 b *  $HOME "\'\\n`id`']);
  });

  test('an abstract socket', async () => {
    const socket = await NotifySocket.listen(`@kahe-test-${process.pid}`);
    start({ NOTIFY_SOCKET: socket.address }).ready(() => 'well');
    expect(await socket.until(/^READY/)).toEqual(['READY=1', 'STATUS=well']);
  });

  test.each([
    ['unset', undefined],
    ['ours', String(process.pid)],
  ])(
    'the watchdog is fed at half its time while the event loop turns, WATCHDOG_PID %s',
    async (_what, pid) => {
      const socket = await listen();
      const manager = start({ NOTIFY_SOCKET: socket.address, WATCHDOG_USEC: '10000000', WATCHDOG_PID: pid });
      clock.advance(20_000);
      manager.ready(() => 'well');
      clock.advance(4_999);
      manager.stopping('well');
      clock.advance(1);
      clock.advance(15_000);
      await expect
        .poll(() => socket.said, { timeout: 20_000 })
        .toEqual([
          'READY=1',
          'STATUS=well',
          'STOPPING=1',
          'WATCHDOG=1',
          'WATCHDOG=1',
          'WATCHDOG=1',
          'WATCHDOG=1',
        ]);
      manager.close();
      expect(clock.timers).toBe(0);
    },
  );

  test.each([
    ['of another process', { WATCHDOG_USEC: '10000000', WATCHDOG_PID: '1' }],
    ['that is none', { WATCHDOG_USEC: '0' }],
    ['that is no number', { WATCHDOG_USEC: 'soon' }],
  ])('a watchdog %s is not fed', async (_what, env) => {
    const socket = await listen();
    const manager = start({ NOTIFY_SOCKET: socket.address, ...env });
    manager.ready(() => 'well');
    clock.advance(25_000);
    manager.stopping('well');
    await socket.until(/^STOPPING/);
    expect(socket.said).toEqual(['READY=1', 'STATUS=well', 'STOPPING=1']);
  });

  test('a watchdog of centuries does not make a timer that Node takes for one of no time', () => {
    const periods: number[] = [];
    const every = clock.every.bind(clock);
    clock.every = (periodMs, run) => {
      periods.push(periodMs);
      return every(periodMs, run);
    };
    start({ NOTIFY_SOCKET: join(folder, 'none'), WATCHDOG_USEC: '18446744073709551615' }).ready(() => 'well');
    expect(periods).toEqual([30_000, 2 ** 31 - 1]);
  });

  test('reloading says since when, and ready follows', async () => {
    const socket = await listen();
    const manager = start({ NOTIFY_SOCKET: socket.address, WATCHDOG_USEC: '10000000' });
    manager.ready(() => 'well');
    const before = process.hrtime.bigint() / 1000n;
    manager.reloading();
    manager.ready(() => 'well');
    clock.advance(5_000);
    await socket.until(/^WATCHDOG/);
    const [ready, [reloading, since], again, ...more] = socket.datagrams as [
      string[],
      [string, string],
      string[],
      ...string[][],
    ];
    expect([ready, reloading, again, more]).toEqual([
      ['READY=1', 'STATUS=well'],
      'RELOADING=1',
      ['READY=1'],
      [['WATCHDOG=1']],
    ]);
    const [, usec] = /^MONOTONIC_USEC=(\d+)$/.exec(since)!;
    expect(BigInt(usec!) >= before && BigInt(usec!) <= process.hrtime.bigint() / 1000n).toBe(true);
  });

  test('without NOTIFY_SOCKET nothing happens', () => {
    for (const address of [undefined, '']) {
      const manager = start({ NOTIFY_SOCKET: address, WATCHDOG_USEC: '1000' });
      manager.ready(() => 'well');
      manager.stopping('well');
    }
    expect([clock.timers, lines]).toEqual([0, []]);
  });

  test.each([
    ['nobody listens', () => ({ NOTIFY_SOCKET: join(folder, 'nobody') }), /systemd-notify/],
    [
      'there is no systemd-notify',
      () => ({ NOTIFY_SOCKET: join(folder, 'nobody'), PATH: folder }),
      /not found/,
    ],
    [
      'systemd-notify kills its sender',
      () => {
        writeFileSync(join(folder, 'systemd-notify'), '#!/bin/sh\nkill -9 $PPID\n', { mode: 0o755 });
        return { NOTIFY_SOCKET: join(folder, 'nobody'), PATH: folder };
      },
      /ended by SIGKILL/,
    ],
  ])('%s: one warning, and it goes on', async (_what, envOf, reason) => {
    const manager = start({ ...envOf(), WATCHDOG_USEC: '1000000' });
    manager.ready(() => 'well');
    await expect.poll(() => lines.length, { timeout: 20_000 }).toBe(1);
    expect(lines[0]).toMatch(/^WARN .* systemd can't be told how the daemon is: .*NotifyAccess=all$/);
    expect(lines[0]).toMatch(reason);
    clock.advance(10_000);
    manager.stopping('over');
    manager.close();
    expect(lines).toHaveLength(1);
  });
});
