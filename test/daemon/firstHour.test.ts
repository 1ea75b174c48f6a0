// What somebody new types first: the lines that `make run` prints, pasted as they are, and the Kafka of `make
// kafka` with the stream of buckets.json taken in. On the files that come with Kahe, in a folder that stands
// for the checkout.
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, onTestFailed, onTestFinished, test } from 'vitest';
import { builtDaemon } from '../../support/daemonBuild.js';
import { daemonFolder, spawnDaemon } from '../../support/daemon.js';
import { freePortsInARow } from '../../support/freePorts.js';
import { allMessages, readTopic } from '../../support/kafkaReader.js';
import { runCli } from '../../support/cliProcess.js';

const ROOT = path.resolve(import.meta.dirname, '../..');
const run = promisify(execFile);

/** As a clone is, once it is built. */
async function checkout(): Promise<string> {
  const folder = path.join(await daemonFolder(), "it's here");
  await run('mkdir', ['-p', path.join(folder, 'test')]);
  for (const name of ['.env.dev.local', 'buckets.json'])
    await copyFile(path.join(ROOT, name), path.join(folder, name));
  await symlink(path.join(ROOT, 'test/demo'), path.join(folder, 'test/demo'));
  await symlink(path.dirname(await builtDaemon()), path.join(folder, 'dist'));
  return folder;
}

/** A program whose output is read as it comes, in a group of its own. Promise: it is gone after the test. */
class Started {
  output = '';
  readonly #child: ChildProcess;
  readonly #waiting = new Set<() => void>();

  constructor(
    command: string,
    args: readonly string[],
    options: { readonly cwd: string; readonly env: NodeJS.ProcessEnv },
  ) {
    this.#child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.#child.stdout!, this.#child.stderr!])
      stream.setEncoding('utf8').on('data', (text: string) => this.#take(text));
    this.#child.once('close', () => this.#take(''));
    onTestFailed(() => console.error(this.output));
    onTestFinished(() => this.end());
  }

  async says(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const found = pattern.exec(this.output);
      if (found !== null) return found;
      if (this.#child.exitCode !== null)
        throw new Error(`it has ended, and never said ${String(pattern)}:\n${this.output}`);
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGTERM');
    await once(this.#child, 'close');
  }

  #take(text: string): void {
    this.output += text;
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}

test('what make run prints works when it is pasted, and the status page is where it says', async () => {
  const cwd = await checkout();
  const env = {
    PATH: process.env['PATH'],
    SOCKET: path.join(path.dirname(cwd), 'kahe.sock'),
    LOG_FORMAT: 'text',
  };
  const daemon = new Started('sh', ['test/demo/start.sh'], { cwd, env });
  await daemon.says(/ listens on /);
  const [, lines] = await daemon.says(/in another terminal:\n\n((?: {2}.*\n)+)\n/);
  expect(lines!.split('\n').map((line) => line.trim().split(' ').slice(0, 3).join(' '))).toEqual([
    expect.stringMatching(/^cd /),
    'node dist/main.js send',
    'sleep 2',
    'node dist/main.js inspect',
    'node dist/main.js status',
    '',
  ]);
  const { stdout } = await run('sh', ['-e', '-c', lines!], { cwd: '/', env });
  expect(stdout).toMatch(/^1 frame: .*\n(.*\n)*0 +frame +requests +user-7 +5 B +hello\n(.*\n)*ready\n/);
  const [, page] = await daemon.says(/^The status page: (\S+)$/m);
  const answer = await fetch(page!);
  expect([answer.status, await answer.text()]).toEqual([
    200,
    expect.stringContaining('<title>Kahe') as string,
  ]);
  for (const command of [['top', '--count', '1', '--interval', '0.1'], ['status']])
    expect(await runCli(command, { cwd })).toMatchObject({ code: 0, err: '' });
});

test('make kafka has the topic requests, and the stream of buckets.json delivers to it', async () => {
  const port = await freePortsInARow(3);
  const data = path.join(ROOT, `.cache/kafka/data-${port}`);
  onTestFinished(() => rm(data, { recursive: true, force: true }));
  const kafka = new Started(path.join(ROOT, 'node_modules/.bin/tsx'), ['test/kafka/run.ts'], {
    cwd: ROOT,
    env: { ...process.env, KAFKA_PORT: String(port) },
  });
  const [, settings] = await kafka.says(
    /take in the stream "kafka", with ("bootstrap\.servers": ".*"), and put it into the streams of\n +the bucket "requests"/,
  );
  const folder = await checkout();
  const buckets = (await readFile(path.join(folder, 'buckets.json'), 'utf8'))
    .replace(/^ {4}\/\/ "kafka": \{\n[^]*?^ {4}\/\/ \},\n/m, (block) => block.replace(/^ {4}\/\/ /gm, '    '))
    .replace(/"bootstrap\.servers": "[^"]*"/, settings!);
  await writeFile(
    path.join(folder, 'buckets.json'),
    buckets.replace(/("id": "requests", "streams": \[)"files"/, '$1"kafka"'),
  );
  const daemon = await spawnDaemon(folder, {});
  await daemon.answers();
  expect(
    await runCli(['send', 'requests', 'hello', 'user-7'], {
      cwd: folder,
      env: { SOCKET: daemon.socketPath },
    }),
  ).toMatchObject({ code: 0 });
  const messages = async (): Promise<string[]> =>
    allMessages(await readTopic(`127.0.0.1:${port}`, 'requests')).map(
      ({ key, value }) => `${String(key)} ${String(value)}`,
    );
  await expect.poll(messages).toEqual(['user-7 hello']);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
});
