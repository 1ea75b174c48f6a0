// The units as systemd's own tools see them, and the configuration that is installed with them.
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SERVICE_SOCKET } from '../../src/cli/adminLink.js';
import { parseBuckets } from '../../src/config/buckets.js';
import { loadEnvironment } from '../../src/config/env.js';

const SYSTEMD = path.resolve(import.meta.dirname, '../../systemd');
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'kahe-units-'));
  for (const name of ['kahe.service', 'kahe.socket'])
    writeFileSync(path.join(folder, name), read(name).replaceAll('@BINDIR@', folder));
  writeFileSync(path.join(folder, 'kahe'), '#!/bin/sh\n', { mode: 0o755 });
});
afterAll(() => rmSync(folder, { recursive: true }));

function read(name: string): string {
  return readFileSync(path.join(SYSTEMD, name), 'utf8');
}

function verify(...units: string[]): string {
  const { status, stdout, stderr } = spawnSync(
    'systemd-analyze',
    ['verify', '--man=no', ...units.map((unit) => path.join(folder, unit))],
    { encoding: 'utf8' },
  );
  // Of other units of this machine nothing is said here.
  const said = `${stdout}${stderr}`.split('\n').filter((line) => line.includes('kahe'));
  return said.length === 0 && status === 0 ? '' : `exit code ${String(status)}: ${said.join('\n')}`;
}

test('systemd-analyze verify has nothing to say', () => {
  expect(verify('kahe.service', 'kahe.socket')).toBe('');
});

test('systemd-analyze verify sees a mistake', () => {
  writeFileSync(
    path.join(folder, 'kahe-wrong.service'),
    readFileSync(path.join(folder, 'kahe.service'), 'utf8').replace(
      'ProtectSystem=strict',
      'ProtectSystem=very',
    ),
  );
  expect(verify('kahe-wrong.service')).toContain('very');
});

test('systemd-analyze security: exposed under 3.0, and not at all where it can be helped', () => {
  const json = execFileSync(
    'systemd-analyze',
    ['security', '--offline=true', '--json=short', '--threshold=30', path.join(folder, 'kahe.service')],
    { encoding: 'utf8' },
  );
  const rows = JSON.parse(json) as readonly {
    readonly name: string;
    readonly set: boolean | null;
    readonly exposure: string | null;
  }[];
  expect(rows.length).toBeGreaterThan(50);
  const open = rows.filter(({ exposure }) => Number(exposure ?? 0) >= 0.2).map(({ name }) => name);
  expect(open.sort()).toEqual([
    'IPAddressDeny=',
    'NotifyAccess=',
    'PrivateMounts=',
    'PrivateNetwork=',
    'PrivateUsers=',
    'RestrictAddressFamilies=~AF_(INET|INET6)',
  ]);
});

test('the installed configuration is right, and keeps everything below /var/lib/kahe', () => {
  cpSync(path.join(SYSTEMD, 'etc'), path.join(folder, 'etc'), { recursive: true });
  const environment = loadEnvironment({ cwd: path.join(folder, 'etc'), env: { environment: 'prod' } });
  expect(environment.warnings).toEqual([]);
  expect([environment.bucketsFile, environment.socket.path]).toEqual([
    '/etc/kahe/buckets.json',
    /^ListenStream=(.+)$/m.exec(read('kahe.socket'))![1],
  ]);
  const buckets = parseBuckets(read('etc/buckets.json'), 'buckets.json', '/etc/kahe');
  expect([buckets.warnings, buckets.notes]).toEqual([[], []]);
  const paths = [
    environment.spool!.path,
    environment.rejected.path,
    ...read('etc/buckets.json').matchAll(/"path": "(.+?)"/g),
  ].map((found) => (typeof found === 'string' ? found : found[1]!));
  expect(paths).toHaveLength(4);
  expect(paths.filter((each) => !each.startsWith('/var/lib/kahe/'))).toEqual([]);
});

test('the commands find the admin door that is installed, in a folder that the service has', () => {
  const { admin } = loadEnvironment({ cwd: path.join(SYSTEMD, 'etc'), env: { environment: 'prod' } });
  expect(admin).toEqual([{ path: SERVICE_SOCKET }]);
  expect(path.dirname(SERVICE_SOCKET)).toBe(
    `/run/${/^RuntimeDirectory=(.+)$/m.exec(read('kahe.service'))![1]!}`,
  );
});

test('systemd waits longer than STOP_TIMEOUT before it kills', () => {
  const { stopTimeoutMs } = loadEnvironment({ cwd: path.join(SYSTEMD, 'etc'), env: { environment: 'prod' } });
  const [, seconds] = /^TimeoutStopSec=(\d+)$/m.exec(read('kahe.service'))!;
  expect(Number(seconds) * 1000).toBeGreaterThan(stopTimeoutMs + 10_000);
});

test('systemd-sysusers and systemd-tmpfiles take their files', () => {
  const users = spawnSync(
    'systemd-sysusers',
    [`--root=${folder}`, '--dry-run', path.join(SYSTEMD, 'kahe.sysusers')],
    { encoding: 'utf8' },
  );
  expect([users.status, users.stderr]).toEqual([
    0,
    expect.stringMatching(
      /^Creating group 'kahe-clients' .*\nCreating group 'kahe' .*\nCreating user 'kahe' /,
    ),
  ]);
  expect(/^SocketGroup=(.+)$/m.exec(read('kahe.socket'))![1]).toBe('kahe-clients');
  for (const line of read('kahe.tmpfiles')
    .split('\n')
    .filter((each) => /^[^#x]/.test(each)))
    expect(line).toMatch(/^[dz] \/etc\/kahe\S* 0[67][45]0 root kahe -$/);
});
