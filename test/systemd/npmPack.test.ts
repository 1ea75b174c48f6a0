// The tarball of `npm pack`, installed where there is nothing else: its command works, and nothing of the
// tests or the tools is in it, nor of a configuration that somebody edited in the checkout.
import { execFile } from 'node:child_process';
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { builtDaemon } from '../../support/daemonBuild.js';
import { daemonFolder } from '../../support/daemon.js';

const ROOT = path.resolve(import.meta.dirname, '../..');
const run = promisify(execFile);

/**
 * As a checkout in use: its configuration, and what `make build` has copied and kept aside of it, was edited
 * and has a password in it.
 */
const EDITED = [
  'buckets.json',
  '.env.dev.local',
  '.env.prod.local',
  'dist/buckets.json',
  'dist/buckets.json.old',
  'dist/.env.dev.local',
  'dist/.env.dev.local.old',
  'dist/kahe_0.1.0_amd64.deb',
];
const PASSWORD = 'a password that must stay here';

/** In a checkout, but no source of its. */
const MADE: ReadonlySet<string> = new Set([
  '.git',
  '.cache',
  'node_modules',
  'dist',
  'data',
  'spool',
  'rejected',
]);

interface Packed {
  readonly tarball: string;
  /** Paths in the package. */
  readonly names: readonly string[];
}

/**
 * dist/ of this checkout may be older than its sources; the tarball is made of a copy with the one that the
 * tests built.
 */
async function pack(folder: string): Promise<Packed> {
  const checkout = path.join(folder, 'checkout');
  await mkdir(checkout);
  const sources = (await readdir(ROOT)).filter((name) => !MADE.has(name));
  await run('cp', ['-R', ...sources.map((name) => path.join(ROOT, name)), checkout]);
  await run('cp', ['-R', path.dirname(await builtDaemon()), path.join(checkout, 'dist')]);
  for (const name of EDITED) await writeFile(path.join(checkout, name), PASSWORD);
  const { stdout } = await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], {
    cwd: checkout,
  });
  const [packed] = JSON.parse(stdout) as { filename: string; files: { path: string }[] }[];
  return { tarball: path.join(folder, packed!.filename), names: packed!.files.map((file) => file.path) };
}

test('npx kahe works after npm install of the tarball, which has no configuration that somebody edited', async () => {
  const folder = await daemonFolder();
  const empty = path.join(folder, 'empty');
  await mkdir(empty);
  const { tarball, names } = await pack(folder);
  expect(names).toEqual(
    expect.arrayContaining([
      'dist/main.js',
      'package.json',
      'README.md',
      'LICENSE',
      'docs/operations.md',
      'systemd/kahe.service',
      'systemd/kahe.socket',
      'systemd/etc/.env.prod.local',
      'systemd/etc/buckets.json',
    ]),
  );
  expect(names.filter((name) => /\.test\.|^(src|test|node_modules|bench)\/|\.deb$/.test(name))).toEqual([]);
  expect(names.filter((name) => EDITED.includes(name))).toEqual([]);

  await writeFile(path.join(empty, 'package.json'), '{ "private": true }');
  await run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', tarball], { cwd: empty });
  const kahe = async (...args: string[]): Promise<string> =>
    (await run('npx', ['--no-install', 'kahe', ...args], { cwd: empty })).stdout;
  expect(await kahe('--help')).toContain('kahe send BUCKET');
  const { version } = JSON.parse(await readFile(path.join(ROOT, 'package.json'), 'utf8')) as {
    version: string;
  };
  expect(await kahe('--version')).toBe(`${version}\n`);
  const found = await run('grep', [
    '--recursive',
    '--files-with-matches',
    PASSWORD,
    path.join(empty, 'node_modules/kahe'),
  ]).catch((error: unknown) => error as { readonly code: number; readonly stdout: string });
  expect(found).toMatchObject({ code: 1, stdout: '' });
  await examplesAreRight(path.join(empty, 'node_modules/kahe/systemd/etc'));
});

/** They are what somebody begins with who has only the package. */
async function examplesAreRight(folder: string): Promise<void> {
  const main = path.resolve(folder, '../../dist/main.js');
  // Users and folders of the service are not on a machine that has only the package: that is told, and does
  // not matter here.
  const { stdout } = await run(process.execPath, [main, 'check'], {
    cwd: folder,
    env: { environment: 'prod', BUCKETS_FILE: './buckets.json' },
  }).catch((error: unknown) => error as { readonly stdout: string });
  expect(stdout).toContain(
    `${path.join(folder, '.env.prod.local')} and ${path.join(folder, 'buckets.json')} are sound`,
  );
}
