// `kahe tail` with the whole daemon: the frames that are shown, who may see them, and that nobody who looks
// holds it up.
import http from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { type FrameLine, type TailLine } from '../../src/admin/tail/tail.js';
import { askAdmin, statusOf } from '../../support/adminDoor.js';
import { type CliProcess, runCli, startCli } from '../../support/cliProcess.js';
import {
  type TestDaemon,
  frame,
  numberedFrames,
  numberedMessage,
  numbersBySender,
  range,
  startDaemon,
} from '../../support/daemon.js';
import { fileStream } from '../../support/daemonBuckets.js';
import { builtDaemon } from '../../support/daemonBuild.js';
import { freePorts } from '../../support/freePorts.js';

const BUCKETS = {
  streamsConfigs: { files: fileStream('data') },
  buckets: [{ id: 'requests', streams: ['files'], batchTimeout: 20 }],
  defaultBucket: { streams: ['files'], batchTimeout: 20 },
};
const ADMIN = './admin.sock';

beforeAll(() => builtDaemon());

async function startShown(
  env: Readonly<Record<string, string>> = { ADMIN },
): Promise<{ readonly daemon: TestDaemon; readonly door: string }> {
  const daemon = await startDaemon({ buckets: BUCKETS, env });
  const door = join(daemon.folder, ADMIN);
  await daemon.until(
    'a daemon to be seen',
    async () => (await askAdmin(door, '/status.json')).status === 200,
  );
  return { daemon, door };
}

function startTail({ folder }: TestDaemon, ...args: string[]): Promise<CliProcess> {
  return startCli(['tail', ...args], { cwd: folder, env: { ADMIN } });
}

/** A request that stays open; read by the test's own hand. */
async function openTail(door: string, path: string): Promise<http.IncomingMessage> {
  const request = http.get({ socketPath: door, path, agent: false });
  onTestFinished(() => void request.destroy());
  const response = await new Promise<http.IncomingMessage>((resolve, reject) =>
    request.on('response', resolve).on('error', reject),
  );
  response.on('error', () => undefined);
  return response;
}

/** Gathers its lines as they come. */
function linesOf(response: http.IncomingMessage): () => TailLine[] {
  let text = '';
  response.setEncoding('utf8').on('data', (piece: string) => (text += piece));
  return () =>
    text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as TailLine);
}

function framesOf(out: string): FrameLine[] {
  return out
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as FrameLine);
}

/** Shown and unseen. */
function countOf(lines: readonly TailLine[]): [number, number] {
  return [
    lines.filter(({ kind }) => kind === 'frame').length,
    lines.reduce((sum, line) => (line.kind === 'unseen' ? sum + line.frames : sum), 0),
  ];
}

test('frames as they pass, in their order, byte for byte; a bucket that is not there yet is waited for', async () => {
  const { daemon } = await startShown();
  const name = 'neu/ä?%\u001b[1m';
  const cli = await startTail(daemon, name, '--json', '--rate', '1000', '--count', '102');
  await daemon.until('it waits', () => cli.err.includes('its first frame is waited for'));
  const client = await daemon.connect();
  const odd = Buffer.of(0, 0xff, 0x1b, 0x5b);
  await client.send(
    Buffer.concat([
      frame('requests', 'another bucket'),
      numberedFrames(name, 's', { count: 100, bytes: 200, key: (n) => `k${n}` }),
      frame(name, odd, odd),
      frame(name, ''),
    ]),
  );
  expect(await client.receipt()).toBe(103);
  const { code, out, err } = await cli.exited;
  expect([code, err.split('\n').at(-2)]).toEqual([0, '102 frames shown, 0 passed unseen']);
  const frames = framesOf(out);
  expect(frames.slice(0, 100).map(({ bucket, key, message, size }) => [bucket, key, message, size])).toEqual(
    range(0, 100).map((n) => [name, `k${n}`, numberedMessage('s', n, 200), 200]),
  );
  expect(frames.slice(100)).toMatchObject([
    { key: odd.toString('base64'), message: odd.toString('base64'), base64: ['key', 'message'], size: 4 },
    { key: null, message: '', size: 0 },
  ]);
  for (const { time } of frames) expect(Math.abs(Date.parse(time) - Date.now())).toBeLessThan(120_000);
  expect((await daemon.files('data')).length).toBe(103);
});

test('under load a sample: no more than the rate, from all over, and shown and unseen are all there were', async () => {
  const { daemon, door } = await startShown();
  const lines = linesOf(await openTail(door, '/tail/requests?rate=20'));
  const key = linesOf(await openTail(door, '/tail/requests?rate=1000&key=k7'));
  const client = await daemon.connect();
  const startMs = Date.now();
  for (let from = 0; from < 100_000; from += 1_000) {
    await client.send(numberedFrames('requests', 's', { from, count: 1_000, key: (n) => `k${n % 1_000}` }));
    await client.receipt();
  }
  const seconds = (Date.now() - startMs) / 1000;
  await daemon.until('all is counted', () => countOf(lines())[0] + countOf(lines())[1] === 100_000);
  const [shown] = countOf(lines());
  expect(shown).toBeGreaterThanOrEqual(20);
  expect(shown).toBeLessThanOrEqual(20 + 20 * (seconds + 5));
  const numbers = numbersBySender(
    lines().flatMap((line) => (line.kind === 'frame' ? [line.message ?? ''] : [])),
  ).get('s')!;
  expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
  await daemon.until('each with the key', () => countOf(key())[0] + countOf(key())[1] === 100);
  expect(
    numbersBySender(key().flatMap((line) => (line.kind === 'frame' ? [line.message ?? ''] : []))).get('s'),
  ).toEqual(range(0, 100).map((n) => n * 1_000 + 7));
  expect(await daemon.stop()).toMatchObject({ code: 0 });
});

test('who never reads holds up nothing and costs little; when he reads at last, what he missed is counted', async () => {
  const { daemon, door } = await startShown();
  const response = await openTail(door, '/tail/requests?rate=1000');
  const client = await daemon.connect();
  await client.send(numberedFrames('requests', 's', { count: 10, bytes: 60_000 }));
  await client.receipt();
  const before = (await statusOf(door)).process.residentBytes;
  for (let from = 10; from < 4_010; from += 40) {
    await client.send(numberedFrames('requests', 's', { from, count: 40, bytes: 60_000 }));
    await client.receipt();
  }
  expect((await statusOf(door)).process.residentBytes - before).toBeLessThan(120 * 1024 ** 2);
  expect((await statusOf(door)).buckets[0]!.streams[0]!.account).toMatchObject({
    received: 4_010,
    delivered: 4_010,
  });
  const lines = linesOf(response);
  await daemon.until('all is counted', () => countOf(lines())[0] + countOf(lines())[1] === 4_010);
  expect(countOf(lines())[1]).toBeGreaterThan(1_000);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
});

test('on a port, and to a page of another name, frames are not shown; the answer says what to do', async () => {
  const [port] = await freePorts(1);
  const { daemon, door } = await startShown({ ADMIN: `127.0.0.1:${port},${ADMIN}` });
  expect(await askAdmin(port!, '/tail/requests')).toMatchObject({
    status: 403,
    body: expect.stringMatching(
      /^frames are shown on a Unix socket alone.* ADMIN=127\.0\.0\.1:9090, \/run\/kahe\/admin\.sock\n$/,
    ) as string,
  });
  expect(await askAdmin(door, '/tail/requests', { headers: { Host: 'evil.example:9090' } })).toMatchObject({
    status: 403,
  });
  const refused = await runCli(['tail', 'requests', '--admin', `127.0.0.1:${port}`], { cwd: daemon.folder });
  expect(refused).toMatchObject({
    code: 1,
    out: '',
    err: expect.stringMatching(/^kahe tail: frames are shown on a Unix socket alone/) as string,
  });
  // With both doors configured it takes the one that shows them.
  const cli = await startCli(['tail', 'requests', '--count', '1'], {
    cwd: daemon.folder,
    env: { ADMIN: `127.0.0.1:${port},${ADMIN}` },
  });
  const client = await daemon.connect();
  await daemon.until('one is shown', async () => {
    await client.send(frame('requests', 'hello', 'k'));
    return cli.out.includes('hello');
  });
  expect(await cli.exited).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^TIME +KEY +SIZE +MESSAGE\n\S+ k +5 B {2}hello\n$/) as string,
  });
});

test('four can look at a time; a fifth is told so, and has his turn when one of them ends', async () => {
  const { daemon, door } = await startShown();
  const open = await Promise.all(range(0, 4).map(() => openTail(door, '/tail/requests')));
  expect(await askAdmin(door, '/tail/requests')).toMatchObject({
    status: 429,
    body: '4 are looking at frames already, and no more can at a time: end one of them\n',
  });
  expect(await runCli(['tail', 'requests'], { cwd: daemon.folder, env: { ADMIN } })).toMatchObject({
    code: 1,
    err: expect.stringContaining('4 are looking at frames already') as string,
  });
  open[2]!.destroy();
  await daemon.until('there is room', async () => {
    const next = await openTail(door, '/tail/requests');
    return next.statusCode === 200;
  });
  expect(await daemon.stop()).toMatchObject({ code: 0 });
});

test('a bucket that is quiet for long, and then is not', async () => {
  const { daemon, door } = await startShown();
  const cli = await startTail(daemon, 'quiet', '--count', '1');
  await daemon.until('it waits', () => cli.err.includes('its first frame is waited for'));
  // One that is idle from now on is sent away after a while: by then a tail would have been, too.
  const idle = net.connect(door, () => idle.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n'));
  await new Promise((resolve) => idle.resume().on('close', resolve));
  const client = await daemon.connect();
  await client.send(frame('quiet', 'at last'));
  expect(await cli.exited).toMatchObject({ code: 0, out: expect.stringContaining('at last') as string });
});

test('what makes no sense is refused, and harms nothing', async () => {
  const { daemon, door } = await startShown();
  const bad = [
    '/tail/',
    '/tail/%ff',
    '/tail/%',
    `/tail/${'x'.repeat(256)}`,
    '/tail/a?rate=0',
    '/tail/a?rate=-1',
    '/tail/a?rate=1e9',
    '/tail/a?rate=x',
    '/tail/a?key=',
    `/tail/a?key=${'k'.repeat(256)}`,
  ];
  for (const path of bad) expect([path, (await askAdmin(door, path)).status]).toEqual([path, 400]);
  expect((await askAdmin(door, '/tail/a', { method: 'HEAD' })).status).toBe(405);
  expect((await askAdmin(door, '/tail/a', { method: 'POST' })).status).toBe(405);
  expect((await askAdmin(door, '/tail')).status).toBe(404);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
});

test('it ends with the daemon: what was on its way is shown, exit code 3; and with Ctrl-C: exit code 0', async () => {
  const { daemon } = await startShown();
  const [left, stopped] = await Promise.all([
    startTail(daemon, 'requests', '--rate', '1000'),
    startTail(daemon, 'requests', '--rate', '1000'),
  ]);
  const client = await daemon.connect();
  await daemon.until('both look', async () => {
    await client.send(frame('requests', 'look'));
    return left.out.includes('look') && stopped.out.includes('look');
  });
  stopped.signal('SIGINT');
  expect(await stopped.exited).toMatchObject({
    code: 0,
    err: expect.stringMatching(/^\d+ frames? shown, \d+ passed unseen\n$/) as string,
  });
  await client.send(frame('requests', 'the last one'));
  await client.receipt();
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  const { code, out, err } = await left.exited;
  expect([code, out.trimEnd().endsWith('the last one')]).toEqual([3, true]);
  expect(err).toMatch(/kahe tail: the daemon went away/);
});
