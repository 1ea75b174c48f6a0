// `kahe status` and `kahe top` with the whole daemon, at both doors of ADMIN, in pipes and on a real
// terminal.
import { existsSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import type { Snapshot } from '../../src/stats/snapshot.js';
import { statusOf } from '../../support/adminDoor.js';
import { type CliExit, runCli } from '../../support/cliProcess.js';
import {
  type TestDaemon,
  daemonFolder,
  launchDaemon,
  numberedFrames,
  spawnDaemon,
  startDaemon,
} from '../../support/daemon.js';
import { fileStream, kafkaStream } from '../../support/daemonBuckets.js';
import { builtDaemon } from '../../support/daemonBuild.js';
import { freePorts } from '../../support/freePorts.js';
import { type TestTerminal, openTerminal } from '../../support/terminal.js';

const FILES = {
  streamsConfigs: { files: fileStream('data') },
  buckets: [{ id: 'requests', streams: ['files'], batchTimeout: 20 }],
  defaultBucket: { streams: ['files'], batchTimeout: 20 },
};
const ADMIN = './admin.sock';

beforeAll(() => builtDaemon());

async function startShown(
  buckets: object = FILES,
  env: Readonly<Record<string, string>> = { ADMIN },
): Promise<TestDaemon> {
  const daemon = await startDaemon({ buckets, env });
  await untilShown(daemon);
  return daemon;
}

async function untilShown(daemon: TestDaemon): Promise<void> {
  await daemon.until(
    'a daemon to be seen',
    async () => (await statusOf(join(daemon.folder, ADMIN)).catch(() => undefined)) !== undefined,
  );
}

function status({ folder }: TestDaemon, ...args: string[]): Promise<CliExit> {
  return runCli(['status', ...args], { cwd: folder, env: { ADMIN } });
}

async function send(daemon: TestDaemon, bucket: string, count: number): Promise<void> {
  const client = await daemon.connect();
  await client.send(numberedFrames(bucket, 's', { count }));
  expect(await client.receipt()).toBe(count);
  await client.close();
}

test('status: ready, then with a stream that delivers nowhere, then gone', async () => {
  const [closed] = await freePorts(1);
  const daemon = await startShown({
    ...FILES,
    streamsConfigs: {
      ...FILES.streamsConfigs,
      kafka: kafkaStream(`127.0.0.1:${closed}`, { 'message.timeout.ms': 200 }),
    },
    buckets: [...FILES.buckets, { id: 'lost', streams: ['kafka'], batchTimeout: 20 }],
  });
  await send(daemon, 'requests', 1_234);
  const ready = await status(daemon);
  expect(ready).toMatchObject({ code: 0, err: '' });
  expect(ready.out).toMatch(/^Kahe \S+ on \S+, process \d+, up \d+s\nready\n {2}received {5}1,234 frames/);
  expect(ready.out).toMatch(/^requests +files +normal +[\d,.]+ +[\d,.]+ +1,234 +1,234 +0 +0 +0 +0 +0 +0 B$/m);

  const client = await daemon.connect();
  await client.send(numberedFrames('lost', 's', { count: 5 }));
  await daemon.until('it is not ready', async () => (await status(daemon)).code === 1);
  const { out } = await status(daemon);
  expect(out).toMatch(/^not ready: bucket "lost", stream kafka: mode error: .*ECONNREFUSED/m);
  expect(out).toMatch(/^lost +kafka +error for \ds +\S+ +0 +5 +0 +5 /m);
  expect(out).toMatch(/^lost +kafka +\ds ago: .*ECONNREFUSED/m);
  const json = JSON.parse((await status(daemon, '--json')).out) as Snapshot;
  expect(json.buckets.find(({ name }) => name === 'lost')!.streams[0]).toMatchObject({
    mode: 'error',
    account: { received: 5, queued: 5 },
  });

  await daemon.kill9();
  expect(await status(daemon)).toMatchObject({
    code: 3,
    out: '',
    err: expect.stringMatching(/admin\.sock: nobody listens there/) as string,
  });
});

test("ADMIN with two places: both show the same; when one can't be had neither is left", async () => {
  const [port, taken] = await freePorts(2);
  const daemon = await startShown(FILES, { ADMIN: `127.0.0.1:${port}, ${ADMIN}` });
  await daemon.line(
    / metrics, health and the status page are on http:\/\/127\.0\.0\.1:\d+\/ and .*\/admin\.sock$/,
  );
  await send(daemon, 'requests', 10);
  const [here, there] = [await statusOf(port!), await statusOf(join(daemon.folder, ADMIN))];
  expect([here.program, here.startedAtMs, here.socket.received]).toEqual([
    there.program,
    there.startedAtMs,
    10,
  ]);
  expect((await status(daemon, '--admin', `127.0.0.1:${port}`)).code).toBe(0);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  expect(existsSync(join(daemon.folder, ADMIN))).toBe(false);

  const folder = await daemonFolder();
  const other = net.createServer().listen(taken, '127.0.0.1');
  const failed = await launchDaemon({
    buckets: FILES,
    folder,
    env: { ADMIN: `${ADMIN},127.0.0.1:${taken}` },
  });
  expect((await failed.exited).code).toBe(1);
  expect(
    failed.linesLike(/^kahe: ADMIN: can't listen on 127\.0\.0\.1:\d+: another program listens there/),
  ).toHaveLength(1);
  expect([existsSync(join(folder, ADMIN)), existsSync(failed.socketPath)]).toEqual([false, false]);
  other.close();
});

test('top in a pipe: plain blocks with what came meanwhile, and an end', async () => {
  const daemon = await startShown();
  const client = await daemon.connect();
  let isEnded = false;
  const load = (async () => {
    for (let from = 0; !isEnded; from += 100) {
      await client.send(numberedFrames('requests', 's', { from, count: 100 }));
      await client.receipt();
    }
  })();
  const { code, out, err } = await runCli(['top', '--interval', '0.2', '--count', '3'], {
    cwd: daemon.folder,
    env: { ADMIN },
  });
  isEnded = true;
  await load;
  expect([code, err]).toEqual([0, '']);
  const rates = [...out.matchAll(/^requests +files +normal +([\d,.]+) +([\d,.]+) +(\S+ \S+) +\d/gm)].map(
    ([, received, delivered]) => [received, delivered].map((text) => Number(text!.replaceAll(',', ''))),
  );
  expect(rates).toHaveLength(3);
  for (const [received, delivered] of rates) expect(Math.min(received!, delivered!)).toBeGreaterThan(0);
  expect(out).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/);
});

/** Ends it, and checks that the terminal is as it was. */
async function ended(terminal: TestTerminal, end: () => void): Promise<number> {
  expect(terminal.isOtherScreen).toBe(true);
  end();
  const { code, isRestored } = await terminal.ended;
  expect([
    isRestored,
    terminal.isOtherScreen,
    terminal.output.endsWith('\u001b[?7h\u001b[?25h\u001b[?1049l'),
  ]).toEqual([true, false, true]);
  return code;
}

const isReady = (rows: readonly string[]): boolean => rows.includes('ready');

test('top on a terminal: a table that fits, keys, another size, and q', async () => {
  const daemon = await startShown();
  for (const name of ['日本語バケツ', 'evil\u001b[2J\u001b]0;x\u0007', 'a', 'b', 'c', 'd', 'e', 'f'])
    await send(daemon, name, 5);
  const terminal = await openTerminal(['top', '--interval', '0.1', '--sort', 'name'], {
    cwd: daemon.folder,
    env: { ADMIN },
    rows: 10,
    columns: 90,
  });
  await terminal.until('rates', (rows) => rows.some((row) => /^a +files +normal +0 +0 +0 B/.test(row)));
  expect(terminal.rows[0]).toMatch(/^Kahe .* up \d+s$/);
  expect(terminal.rows[4]).toMatch(/^BUCKET +STREAM +MODE +IN\/S +OUT\/S +BYTES\/S +QUEUED +BACKED UP/);
  expect(terminal.rows.at(-1)).toMatch(/^q quits {3}↑ ↓ scroll {3}← → sort by name {3}1–4 of 9$/);
  expect(terminal.rows.slice(5, 9).map((row) => row.split(' ')[0])).toEqual([
    '0x6576696c1b5b324a…',
    'a',
    'b',
    'c',
  ]);
  terminal.type('\u001b[B\u001b[B');
  await terminal.until(
    'the rows below',
    (rows) => rows[5]?.startsWith('b ') === true && rows.at(-1)!.endsWith('3–6 of 9'),
  );
  terminal.type('\u001b[6~\u001b[6~');
  await terminal.until(
    'the last rows, in the width of their characters',
    (rows) => rows[8]?.startsWith('日本語バケツ ') === true,
  );
  terminal.type('\u001b[C');
  await terminal.until('another order', (rows) => rows.at(-1)!.includes('sort by rate   1–4 of 9'));
  terminal.resize(20, 60);
  await terminal.until(
    'all rows, in less room',
    (rows) =>
      rows.findLast((row) => row !== '') === 'q quits   ↑ ↓ scroll   ← → sort by rate' &&
      rows.filter((row) => row.includes(' normal ')).length === 9,
  );
  expect([terminal.rows[1]!.length, terminal.rows[1]!.at(-1)]).toEqual([60, '…']);
  expect(await ended(terminal, () => terminal.type('q'))).toBe(0);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
});

test('top on a terminal: signals leave it as it was; another size is drawn at once; NO_COLOR is kept', async () => {
  const daemon = await startShown();
  const open = (env: Readonly<Record<string, string>> = {}): Promise<TestTerminal> =>
    openTerminal(['top', '--interval', '3600'], { cwd: daemon.folder, env: { ADMIN, ...env } });
  const coloured = await open();
  await coloured.until('it is ready', isReady);
  expect(coloured.output).toContain('\u001b[32mready');
  coloured.resize(10, 40);
  await coloured.until('it drawn anew', (rows) => rows[1]!.length === 40 && rows[1]!.endsWith('…'));
  expect(await ended(coloured, () => coloured.type('\u0003'))).toBe(0);
  const plain = await open({ NO_COLOR: '1' });
  await plain.until('it is ready', isReady);
  expect(plain.output).not.toMatch(new RegExp('\u001b\\[\\d*m'));
  expect(await ended(plain, () => plain.terminate())).toBe(0);
});

test('top on a terminal: the daemon goes away, which is said, and comes back', async () => {
  const daemon = await startShown();
  await send(daemon, 'requests', 7);
  const terminal = await openTerminal(['top', '--interval', '0.1'], { cwd: daemon.folder, env: { ADMIN } });
  await terminal.until('it is ready', isReady);
  await daemon.kill9();
  await terminal.until('that it is gone', (rows) =>
    rows.some((row) => /^since \d\d:\d\d:\d\d UTC, tried again at each look: no daemon answers on/.test(row)),
  );
  expect(isReady(terminal.rows)).toBe(false);
  const next = await spawnDaemon(daemon.folder, { ADMIN });
  await next.answers();
  await terminal.until('the new one', (rows) => isReady(rows) && rows[0]!.includes(`process ${next.pid},`));
  expect(await ended(terminal, () => terminal.type('q'))).toBe(0);
});
