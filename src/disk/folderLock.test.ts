import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rename, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { newFolder } from '../../support/newFolder.js';
import { nodeFileSystem } from './fileSystem.js';
import { lockFolder } from './folderLock.js';

let folder: string;
beforeEach(() => void (folder = newFolder()));

const take = (path = folder): ReturnType<typeof lockFolder> => lockFolder(nodeFileSystem, path);

test('one has it, whatever the folder is called, until it is given back', async () => {
  const unlock = await take();
  expect(await take()).toBeUndefined();
  await rename(folder, `${folder}-moved`);
  expect(await take(`${folder}-moved`)).toBeUndefined();
  await rename(`${folder}-moved`, folder);
  unlock!();
  const again = await take();
  expect(again).toBeDefined();
  again!();
});

test('another folder is another lock', async () => {
  const unlock = await take();
  const other = await mkdtemp(join(tmpdir(), 'kahe-lock-'));
  const others = await take(other);
  expect(others).toBeDefined();
  others!();
  unlock!();
  await rm(other, { recursive: true });
});

test('it is gone with its process, killed or not', async () => {
  await symlink(folder, `${folder}.link`);
  const script = `
    import { statSync } from 'node:fs';
    import { createServer } from 'node:net';
    const { dev, ino } = statSync(process.argv[1], { bigint: true });
    createServer().listen('\\0kahe-folder-' + dev + '-' + ino, () => console.log('has it'));`;
  const holder = spawn(process.execPath, ['--input-type=module', '-e', script, folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(holder.stdout, 'data');
  expect(await take()).toBeUndefined();
  holder.kill('SIGKILL');
  await once(holder, 'close');
  const unlock = await take();
  expect(unlock).toBeDefined();
  unlock!();
  await rm(`${folder}.link`);
});
