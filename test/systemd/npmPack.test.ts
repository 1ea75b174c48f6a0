// The tarball of `npm pack`, installed where there is nothing else: its command works, and nothing of the tests or the tools is in it.
import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { builtDaemon } from '../support/daemonBuild.js';
import { daemonFolder } from '../support/daemon.js';

const ROOT = path.resolve(import.meta.dirname, '../..');
const run = promisify(execFile);

test('npx kahe works in an empty folder after npm install of the tarball', async () => {
  const folder = await daemonFolder();
  const [checkout, empty] = [path.join(folder, 'checkout'), path.join(folder, 'empty')];
  await mkdir(empty);
  // dist/ of this checkout may be older than its sources; the tarball is made of a copy with the one that the tests built.
  const { files, version } = JSON.parse(await readFile(path.join(ROOT, 'package.json'), 'utf8')) as { files: string[]; version: string };
  await mkdir(checkout);
  const there = [...files.filter((name) => !name.startsWith('!') && name !== 'dist'), 'package.json', 'package-lock.json'];
  await run('cp', ['-R', ...there.map((name) => path.join(ROOT, name)), checkout]);
  await run('cp', ['-R', path.dirname(await builtDaemon()), path.join(checkout, 'dist')]);
  const { stdout } = await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], { cwd: checkout });
  const [packed] = JSON.parse(stdout) as { filename: string; files: { path: string }[] }[];
  const names = packed!.files.map((file) => file.path);
  expect(names).toEqual(expect.arrayContaining(['dist/main.js', 'package.json', 'README.md', 'LICENSE', 'docs/operations.md', 'systemd/kahe.service', 'systemd/kahe.socket', 'systemd/etc/.env.prod.local', 'systemd/etc/buckets.json']));
  expect(names.filter((name) => /\.test\.|^(src|test|node_modules|bench)\/|\.deb$/.test(name))).toEqual([]);

  await writeFile(path.join(empty, 'package.json'), '{ "private": true }');
  await run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', path.join(folder, packed!.filename)], { cwd: empty });
  const kahe = async (...args: string[]): Promise<string> => (await run('npx', ['--no-install', 'kahe', ...args], { cwd: empty })).stdout;
  expect(await kahe('--help')).toContain('kahe send BUCKET');
  expect(await kahe('--version')).toBe(`${version}\n`);
}, 180_000);
