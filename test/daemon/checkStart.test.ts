// Whatever keeps the daemon from starting, or a stream of it from working, is found by `kahe check`
// beforehand, with the same words.
import { readdirSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { runCli } from '../../support/cliProcess.js';
import { daemonFolder, launchDaemon, startDaemon } from '../../support/daemon.js';
import { fileStream, kafkaStream } from '../../support/daemonBuckets.js';

type Env = Readonly<Record<string, string>>;

const TO_FILES = {
  streamsConfigs: { files: fileStream('data') },
  buckets: [{ id: 'orders', streams: ['files'] }],
};

/**
 * Both in the same folder, with the same environment.
 * @returns what the daemon said; the check said it too
 */
async function bothRefuse(folder: string, env: Env): Promise<string> {
  const all = { SOCKET: './kahe.sock', ...env };
  const daemon = await launchDaemon({ buckets: TO_FILES, folder, env: all });
  expect((await daemon.exited).code).toBe(1);
  const reason = daemon.lines.find((line) => line.startsWith('kahe: '))!.replace(/^kahe: /, '');
  const before = readdirSync(folder, { recursive: true }).sort();
  const { code, out, err } = await runCli(['check'], { cwd: folder, env: all });
  expect([code, err]).toEqual([1, '']);
  expect(withoutCall(out)).toContain(withoutCall(reason));
  expect(readdirSync(folder, { recursive: true }).sort()).toEqual(before);
  return reason;
}

/** Process ids differ, and so does the system call that is refused first: the check makes no folder. */
function withoutCall(text: string): string {
  return text.replace(/\.(sock|lock)\.\d+/g, '.$1.PID').replace(/(SPOOL: \S+ can't be used): .*/, '$1');
}

describe('a start that fails', () => {
  test.each<[string, Env, RegExp]>([
    [
      "the socket's folder is missing",
      { SOCKET: './missing/kahe.sock' },
      /SOCKET: .*missing.*the folder must exist and be writable/,
    ],
    [
      "the socket's folder can't be written",
      { SOCKET: '/sys/kernel/kahe.sock' },
      /SOCKET: .*\/sys\/kernel.*must exist and be writable/,
    ],
    [
      'the socket lies in what is no folder',
      { SOCKET: './buckets.json/kahe.sock' },
      /SOCKET: can't make .*kahe\.sock\.lock: ENOTDIR: .*; the folder must exist and be writable/,
    ],
    ["the socket's path is too long", { SOCKET: `/tmp/${'k'.repeat(103)}` }, /SOCKET: .*has 108 bytes/],
    [
      "a file is in the socket's place",
      { SOCKET: './buckets.json' },
      /SOCKET: .*buckets\.json exists and is no socket/,
    ],
    [
      'there is no such group',
      { SOCKET_GROUP: 'no-such-group-here' },
      /SOCKET_GROUP: there is no group "no-such-group-here"/,
    ],
    ['the spool is a file', { SPOOL: './buckets.json' }, /SPOOL: .*buckets\.json/],
    ["the spool can't be made", { SPOOL: '/proc/kahe-spool' }, /SPOOL: \/proc\/kahe-spool can't be used/],
    ['the spool lies in what is no folder', { SPOOL: './buckets.json/spool' }, /SPOOL: .*can't be used/],
    [
      "ADMIN's folder is missing",
      { ADMIN: './missing/admin.sock' },
      /ADMIN: .*missing.*the folder must exist and be writable/,
    ],
    [
      "a file is in ADMIN's place",
      { ADMIN: './buckets.json' },
      /ADMIN: .*buckets\.json exists and is no socket/,
    ],
    [
      'ADMIN is an address of another machine',
      { ADMIN: '192.0.2.1:9090' },
      /ADMIN: can't listen on 192\.0\.2\.1:9090: this machine has no such address/,
    ],
    [
      'ADMIN is at a host that is not there',
      { ADMIN: 'nowhere.invalid:9090' },
      /ADMIN: can't listen on nowhere\.invalid:9090/,
    ],
  ])('%s', async (_what, env, reason) => {
    expect(await bothRefuse(await daemonFolder(), env)).toMatch(reason);
  });

  test("ADMIN's port is another program's", async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    onTestFinished(() => void other.close());
    const { port } = other.address() as AddressInfo;
    expect(await bothRefuse(await daemonFolder(), { ADMIN: `127.0.0.1:${port}` })).toMatch(
      /another program listens there/,
    );
  });

  test("the spool is another daemon's", async () => {
    const [folder, spool] = [await daemonFolder(), join(await daemonFolder(), 'spool')];
    const first = await startDaemon({ buckets: TO_FILES, env: { SPOOL: spool } });
    expect(await bothRefuse(folder, { SPOOL: spool })).toMatch(
      /is the spool of another daemon that is running/,
    );
    expect(await first.stop()).toMatchObject({ code: 0 });
  });
});

describe('a start that goes well, with a REJECTED that', () => {
  test.each([
    [
      "can't be written",
      '/sys/kernel',
      /^E\w+: .*; (let the user Kahe runs as write there|that file system is read-only.*)$/,
    ],
    ["can't be made", '/proc/kahe/rejected', /^E\w+: .*\/proc\//],
    ['is a file', './buckets.json', /buckets\.json is not a folder; move it away$/],
    ['lies below a file', './buckets.json/rejected', /buckets\.json is not a folder; move it away$/],
  ])('%s: the check fails with the words of the daemon', async (_what, path, says) => {
    const folder = await daemonFolder();
    const env = { SOCKET: './kahe.sock', REJECTED: path };
    const daemon = await startDaemon({ buckets: TO_FILES, folder, env });
    const line = await daemon.line(
      /\(REJECTED\) can't be written: .*; until it can, connections that send frames to be rejected wait/,
    );
    const [, reason] = /can't be written: (.*); until it can/.exec(line)!;
    expect(reason).toMatch(says);
    const { code, out } = await runCli(['check'], { cwd: folder, env });
    expect(code).toBe(1);
    expect(withoutProbe(out)).toContain(
      `FAIL REJECTED, folder ${resolve(folder, path)}: ${withoutProbe(reason!)}\n`,
    );
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });

  test('is missing and can be made: neither says a word against it', async () => {
    const folder = await daemonFolder();
    const env = { SOCKET: './kahe.sock', REJECTED: './not/yet/there' };
    const daemon = await startDaemon({ buckets: TO_FILES, folder, env });
    const { code, out } = await runCli(['check'], { cwd: folder, env });
    expect(out).toContain(
      `ok   REJECTED, folder ${join(folder, 'not/yet/there')}: it is not there yet; it can be made, because ${folder} can be written\n`,
    );
    expect(code).toBe(0);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(daemon.linesLike(/REJECTED/)).toEqual([]);
  });

  test("can't be written, and REJECTED_FULL=drop: the daemon says what becomes of frames then", async () => {
    const env = { REJECTED: './buckets.json', REJECTED_FULL: 'drop' };
    const daemon = await startDaemon({ buckets: TO_FILES, env });
    expect(await daemon.line(/\(REJECTED\) can't be written/)).toMatch(
      /; until it can, frames to be rejected are discarded \(REJECTED_FULL=drop\)$/,
    );
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });
});

/** The file that is tried to be made has a random name. */
function withoutProbe(text: string): string {
  return text.replace(/\.kahe-probe-\w+/g, 'PROBE');
}

describe("a start that goes well, with a stream that can't work", () => {
  test("a file where the files' folder should be", async () => {
    const folder = await daemonFolder();
    await writeFile(join(folder, 'data'), 'a file where the folder should be');
    const daemon = await startDaemon({ buckets: TO_FILES, folder });
    await daemon.line(new RegExp(`delivery stopped.*${join(folder, 'data')}`));
    const { code, out } = await runCli(['check'], { cwd: folder, env: { SOCKET: daemon.socketPath } });
    expect(code).toBe(1);
    expect(out).toContain(
      `FAIL stream files, folder ${join(folder, 'data')}: ${join(folder, 'data')} is not a folder; move it away\n`,
    );
  });

  test("a package of a codec that can't be loaded", async () => {
    const folder = await daemonFolder();
    const hook = `export const resolve = (name, context, next) => { if (name === 'lz4-napi') throw new Error('no lz4 for this machine'); return next(name, context); };`;
    writeFileSync(join(folder, 'hook.mjs'), hook);
    writeFileSync(
      join(folder, 'register.mjs'),
      'import { register } from "node:module"; register("./hook.mjs", import.meta.url);',
    );
    const env = { NODE_OPTIONS: `--import=${join(folder, 'register.mjs')}`, SOCKET: './kahe.sock' };
    const buckets = {
      streamsConfigs: { kafka: kafkaStream('127.0.0.1:1', { 'compression.codec': 'lz4' }) },
      buckets: [{ id: 'orders', streams: ['kafka'] }],
    };
    const daemon = await startDaemon({ buckets, folder, env });
    await daemon.line(/no lz4 for this machine/);
    const { code, out } = await runCli(['check'], { cwd: folder, env });
    expect(code).toBe(1);
    expect(out).toContain('FAIL stream kafka, compression.codec lz4: no lz4 for this machine');
  });
});

test('beside the daemon that is running with this very configuration all is well', async () => {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  const folder = await daemonFolder();
  await mkdir(join(folder, 'data'));
  const env = { SOCKET: './kahe.sock', SPOOL: './spool', ADMIN: `127.0.0.1:${port}, ./admin.sock` };
  const daemon = await startDaemon({ buckets: TO_FILES, folder, env });
  const { code, out } = await runCli(['check'], { cwd: folder, env });
  expect(
    out
      .split('\n')
      .filter((line) => /^(ok|FAIL|warn)/.test(line))
      .map((line) => line.replace(/, .*?: /, ': ')),
  ).toEqual([
    'ok   SOCKET: somebody listens there: a daemon that is running, or systemd for it',
    expect.stringMatching(/^ok {3}ADMIN: /),
    'ok   ADMIN: somebody listens there: a daemon that is running, or systemd for it',
    'ok   SPOOL: it can be written',
    expect.stringMatching(/^ok {3}REJECTED: /),
    'ok   stream files: it can be written',
  ]);
  expect(code).toBe(0);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
});
