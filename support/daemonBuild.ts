// The program as it is built, for tests that run it as a process. Promise: what is returned was built from
// the sources as they are now, and of test files that ask at the same time only one builds.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, readdir, rename, rm, stat, unlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const ROOT = path.resolve(import.meta.dirname, '..');
const BUILDS = path.join(ROOT, '.cache/daemon');
const COMPILER = path.join(ROOT, 'node_modules/typescript/bin/tsc');
const CONFIG_FILES = ['package.json', 'tsconfig.json', 'tsconfig.build.json'];
const DEADLINE_MS = 180_000;
const POLL_MS = 50;
/** Builds of earlier sources stay so long: another test run may still be using them. */
const KEEP_MS = 60 * 60_000;

let built: Promise<string> | undefined;

/** The path of main.js. */
export function builtDaemon(): Promise<string> {
  return (built ??= findOrBuild());
}

async function findOrBuild(): Promise<string> {
  // Compiled is what was hashed, so that a source changed meanwhile can't make a build that lies about its
  // age.
  const sources = await readSources();
  const hash = createHash('sha256');
  for (const [name, bytes] of sources) hash.update(`${name}\0${bytes.length}\0`).update(bytes);
  const folder = path.join(BUILDS, hash.digest('hex').slice(0, 16));
  const main = path.join(folder, 'dist/main.js');
  const deadline = Date.now() + DEADLINE_MS;
  await mkdir(BUILDS, { recursive: true });
  while (!existsSync(main)) {
    if (await takeLock(`${folder}.lock`)) {
      try {
        if (!existsSync(main)) await build(sources, folder);
      } finally {
        await unlink(`${folder}.lock`);
      }
    } else if (Date.now() > deadline)
      throw new Error(`another process has been building ${folder} for ${DEADLINE_MS} ms`);
    else await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  return main;
}

async function readSources(): Promise<Map<string, Buffer>> {
  const names = await readdir(path.join(ROOT, 'src'), { recursive: true });
  const sources = names
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
    .map((name) => path.join('src', name));
  const all = [...CONFIG_FILES, ...sources.sort()];
  return new Map(
    await Promise.all(
      all.map(async (name): Promise<[string, Buffer]> => [name, await readFile(path.join(ROOT, name))]),
    ),
  );
}

/** Below the checkout, where Node finds the packages; complete once it has its name. */
async function build(sources: ReadonlyMap<string, Buffer>, folder: string): Promise<void> {
  const unfinished = `${folder}.${process.pid}`;
  try {
    for (const [name, bytes] of sources) {
      await mkdir(path.join(unfinished, path.dirname(name)), { recursive: true });
      await writeFile(path.join(unfinished, name), bytes);
    }
    await run(process.execPath, [COMPILER, '-p', path.join(unfinished, 'tsconfig.build.json')]);
    await rename(unfinished, folder);
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true });
    const { stdout } = error as { readonly stdout?: string };
    throw new Error(`the daemon can't be built:\n${stdout ?? String(error)}`, { cause: error });
  }
  await removeOldBuilds(folder);
}

/** The lock is a file with the pid of its holder; that of a dead one is taken away. */
async function takeLock(file: string): Promise<boolean> {
  try {
    await writeFile(file, String(process.pid), { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  const holder = Number(await readFile(file, 'utf8').catch(() => ''));
  if (holder > 0 && !isAlive(holder)) await unlink(file).catch(() => undefined);
  return false;
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function removeOldBuilds(current: string): Promise<void> {
  for (const name of await readdir(BUILDS)) {
    const other = path.join(BUILDS, name);
    if (other === current) continue;
    const age = Date.now() - ((await stat(other).catch(() => undefined)) ?? { mtimeMs: Date.now() }).mtimeMs;
    if (age > KEEP_MS) await rm(other, { recursive: true, force: true });
  }
}
