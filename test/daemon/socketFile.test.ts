// The file of the socket goes while the daemon runs: who is connected does not notice, who comes finds a new
// one within a second or so, and until then nobody is told that it is ready.
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  rmdirSync,
  statSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { askAdmin, statusOf } from '../../support/adminDoor.js';
import {
  DaemonClient,
  daemonFolder,
  numberedFrames,
  numbersBySender,
  range,
  startDaemon,
  type TestDaemon,
} from '../../support/daemon.js';
import { fileStream } from '../../support/daemonBuckets.js';
import { freePorts } from '../../support/freePorts.js';
import { SteadyLoad } from '../../support/steadyLoad.js';

const TO_FILES = {
  streamsConfigs: { files: fileStream('data') },
  buckets: [{ id: 'orders', streams: ['files'], batch: 250, batchTimeout: 30 }],
};

async function readiness(door: number | string): Promise<string> {
  const { status, body } = await askAdmin(door, '/readyz');
  return `${status} ${body.trim()}`;
}

async function folderWith(name: string): Promise<string> {
  const folder = await daemonFolder();
  mkdirSync(join(folder, name));
  return folder;
}

/** Sends, and knows that it is safe. */
async function sendAs(daemon: TestDaemon, sender: string): Promise<void> {
  const client = await DaemonClient.connect(daemon.socketPath);
  await client.send(numberedFrames('orders', sender, { count: 100 }));
  expect(await client.receipt()).toBe(100);
  client.destroy();
}

test('rm, three times, while frames flow: all that was sent is delivered; the end removes the file', async () => {
  const daemon = await startDaemon({ buckets: TO_FILES });
  const stays = await daemon.connect();
  const load = new SteadyLoad(daemon.socketPath, 'orders', { asking: 2, telling: 1 });
  let sent = 0;
  for (let times = 1; times <= 3; times++) {
    await load.progress();
    unlinkSync(daemon.socketPath);
    await stays.send(numberedFrames('orders', 'stays', { from: sent, count: 500 }));
    await daemon.until(
      'another file',
      () => daemon.linesLike(/WARN .*kahe\.sock is bound again/).length === times,
    );
    await stays.send(numberedFrames('orders', 'stays', { from: sent + 500, count: 500 }));
    sent += 1000;
    expect(await stays.receipt()).toBe(sent);
    await sendAs(daemon, `new${times}`);
  }
  await load.progress();
  await load.end();
  // No file, or in the moment between bind and listen nobody behind it.
  expect(load.refusals.filter((refusal) => !/ENOENT|ECONNREFUSED/.test(refusal))).toEqual([]);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  expect(existsSync(daemon.socketPath)).toBe(false);
  const frames = await daemon.files('data');
  const numbers = numbersBySender(frames.map(({ message }) => message));
  expect(numbers.get('stays')).toEqual(range(0, sent));
  for (let times = 1; times <= 3; times++) expect(numbers.get(`new${times}`)).toEqual(range(0, 100));
  load.check(frames.filter(({ message }) => /^(asks|tells)/.test(message)));
});

test('something else is there, or its folder is gone: not ready, with the reason, until it is back', async () => {
  const [port] = (await freePorts(1)) as [number];
  const daemon = await startDaemon({
    buckets: TO_FILES,
    env: { ADMIN: `127.0.0.1:${port}, ./admin.sock`, SOCKET: './run/kahe.sock' },
    folder: await folderWith('run'),
  });
  const path = daemon.socketPath;
  const stays = await daemon.connect();
  expect(await readiness(port)).toBe('200 ready');

  unlinkSync(path);
  writeFileSync(path, 'precious');
  const inTheWay = `SOCKET: ${path} exists and is no socket; move it away or choose another path`;
  await daemon.line(/ERROR .*exists and is no socket; .*Kahe tries again every second/);
  expect([await readiness(port), (await statusOf(port)).unreachable]).toEqual([
    `503 ${inTheWay}`,
    [inTheWay],
  ]);
  expect(readFileSync(path, 'utf8')).toBe('precious');
  unlinkSync(path);
  await daemon.until('readiness', async () => (await readiness(port)) === '200 ready');
  await sendAs(daemon, 'second');

  unlinkSync(path);
  rmdirSync(join(daemon.folder, 'run'));
  await daemon.line(/ERROR .*can't make .*run.*; the folder must exist and be writable/);
  expect(await readiness(port)).toMatch(/^503 SOCKET: .*; the folder must exist and be writable$/);
  await stays.send(numberedFrames('orders', 'stays', { count: 100 }));
  expect(await stays.receipt()).toBe(100);
  mkdirSync(join(daemon.folder, 'run'));
  await daemon.until('readiness', async () => (await readiness(port)) === '200 ready');
  await sendAs(daemon, 'third');

  unlinkSync(path);
  writeFileSync(path, 'precious');
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  expect(readFileSync(path, 'utf8')).toBe('precious');
  const numbers = numbersBySender((await daemon.files('data')).map(({ message }) => message));
  expect(numbers).toEqual(
    new Map([
      ['second', range(0, 100)],
      ['stays', range(0, 100)],
      ['third', range(0, 100)],
    ]),
  );
});

test("the admin door's file too: asked elsewhere it says so, and it is there again", async () => {
  const [port] = (await freePorts(1)) as [number];
  const daemon = await startDaemon({ buckets: TO_FILES, env: { ADMIN: `127.0.0.1:${port}, ./admin.sock` } });
  const admin = join(daemon.folder, 'admin.sock');
  unlinkSync(admin);
  mkdirSync(admin);
  await daemon.until(
    'a reason',
    async () =>
      (await readiness(port)) ===
      `503 ADMIN: ${admin} exists and is no socket; move it away or choose another path`,
  );
  rmdirSync(admin);
  await daemon.until('readiness', async () => (await readiness(port)) === '200 ready');
  expect(await readiness(admin)).toBe('200 ready');
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  expect(existsSync(admin)).toBe(false);
});

test("two daemons: one's file goes, the other starts there; each goes on, and the path comes back", async () => {
  const first = await startDaemon({ buckets: TO_FILES, env: { ADMIN: './admin.sock' } });
  const stays = await first.connect();
  // So that the other one is quicker.
  first.signal('SIGSTOP');
  unlinkSync(first.socketPath);
  const second = await startDaemon({ buckets: TO_FILES, env: { SOCKET: first.socketPath } });
  first.signal('SIGCONT');
  await first.line(/ERROR .* a daemon is listening on .* already/);
  expect(await readiness(join(first.folder, 'admin.sock'))).toMatch(
    /^503 a daemon is listening on .* already/,
  );
  await sendAs(second, 'there');
  await stays.send(numberedFrames('orders', 'here', { count: 100 }));
  expect(await stays.receipt()).toBe(100);
  await second.kill9();
  await first.line(/WARN .*kahe\.sock is bound again/);
  await sendAs(first, 'back');
  expect(await first.stop()).toMatchObject({ code: 0 });
  const messages = (await first.files('data')).map(({ message }) => message);
  expect(numbersBySender(messages)).toEqual(
    new Map([
      ['here', range(0, 100)],
      ['back', range(0, 100)],
    ]),
  );
});

test('systemd-tmpfiles, which cleans /tmp of old files, knows it by its path and leaves it', async () => {
  const daemon = await startDaemon({ buckets: TO_FILES, env: { ADMIN: './admin.sock' } });
  const sockets = [daemon.socketPath, join(daemon.folder, 'admin.sock')];
  const inodes = sockets.map((path) => statSync(path).ino);
  const old = Date.now() / 1000 - 3600;
  for (const path of sockets) utimesSync(path, old, old);
  const rules = join(daemon.folder, 'rules.conf');
  writeFileSync(join(daemon.folder, 'old'), '');
  utimesSync(join(daemon.folder, 'old'), old, old);
  // By the time of change, which can't be set back, all would be young: 'am' looks at those of access and
  // modification alone.
  writeFileSync(rules, `d ${daemon.folder} - - - am:1m\n`);
  const { status, stderr } = spawnSync('systemd-tmpfiles', ['--clean', rules], { encoding: 'utf8' });
  expect([status, stderr]).toEqual([0, '']);
  expect(existsSync(join(daemon.folder, 'old'))).toBe(false);
  expect(sockets.map((path) => statSync(path).ino)).toEqual(inodes);
  await daemon.stop();
});
