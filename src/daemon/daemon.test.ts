// The daemon in this process, on a clock that the test moves: what takes minutes in life.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { FakeClock } from '../../support/fakeClock.js';
import { LineDoor } from '../../support/lineDoor.js';
import { messagesIn } from '../../support/frames.js';
import { loadBuckets } from '../config/buckets.js';
import { loadEnvironment } from '../config/env.js';
import { Daemon } from './daemon.js';
import type { Door } from '../doors/door.js';
import { SocketDoor } from '../doors/socket/socketDoor.js';
import { FailingDisk } from '../../support/failingDisk.js';
import { newFolder } from '../../support/newFolder.js';
import { encodeFrame } from '../frames/frame.js';
import { Log } from '../log/log.js';
import { bindSocket } from '../net/namedSocket.js';

let folder: string;
let clock: FakeClock;
let disk: FailingDisk;
let lines: string[];
let daemon: Daemon;

beforeEach(() => {
  folder = newFolder();
  [clock, disk, lines] = [new FakeClock(), new FailingDisk(), []];
});

async function start(buckets: object, others: readonly Door[] = []): Promise<void> {
  writeFileSync(join(folder, '.env.dev.local'), '');
  writeFileSync(join(folder, 'buckets.json'), JSON.stringify(buckets));
  const environment = loadEnvironment({ cwd: folder, env: { SOCKET: './it.sock' } });
  const socket = await bindSocket({
    path: environment.socket.path,
    mode: 0o600,
    groupId: undefined,
    setting: 'SOCKET',
  });
  const log = new Log('DEBUG', (line) => lines.push(line));
  daemon = await Daemon.start({
    environment,
    buckets: loadBuckets(environment.bucketsFile, { cwd: folder, env: {} }),
    doors: [new SocketDoor({ socket, maxFrameBytes: environment.maxFrameBytes }), ...others],
    log,
    clock,
    fs: disk.fs,
  });
}

function send(bucket: string, ...messages: string[]): Promise<void> {
  return new Promise((resolve) => {
    const socket = createConnection(join(folder, 'it.sock'), () =>
      socket.end(Buffer.concat(messages.map((message) => encodeFrame(bucket, null, message)))),
    );
    socket.on('close', () => resolve()).resume();
  });
}

/** Time goes by, and the real disk and sockets have theirs, until it is so. */
async function until(what: string, isSo: () => boolean, stepMs = 200): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!isSo()) {
    if (Date.now() > deadline) throw new Error(`never: ${what}\n${lines.join('')}`);
    clock.advance(stepMs);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

async function stop(): Promise<void> {
  let hasStopped = false;
  void daemon.stop().then(() => (hasStopped = true));
  await until('the end', () => hasStopped);
}

const files = (name: string): string[] => readdirSync(join(folder, name)).filter((each) => each !== '.kahe');

test('a bucket made on demand does not end as long as frames of it lie in a backup that it is to send', async () => {
  const toFiles = (path: string): object => ({ type: 'file', settings: { path: join(folder, path) } });
  disk.fail({ call: 'open', path: /primary/, code: 'ENOSPC' });
  await start({
    streamsConfigs: { out: { ...toFiles('primary'), backup: toFiles('backup') } },
    buckets: [{ id: 'known', streams: ['out'] }],
    defaultBucket: { streams: ['out'], batchTimeout: 100 },
  });
  await send('on-demand', 'a', 'b', 'c');
  await until('they are backed up', () => daemon.accounts.get('on-demand/out')?.backedUp === 3);
  const startedMs = clock.now();
  await until('ten minutes', () => clock.now() - startedMs > 600_000, 2_000);
  disk.heal();
  await until('they are delivered', () => daemon.accounts.get('on-demand/out')?.delivered === 3);
  expect(daemon.accounts.get('on-demand/out')).toMatchObject({ received: 3, backedUp: 0, queued: 0 });
  await until('the backup is empty', () => files('backup').length === 0);
  await stop();
  expect(files('primary')).toEqual(['on-demand']);
});

test('a door beside the socket: what comes by either is delivered, counted, and answered at the end', async () => {
  const lines = new LineDoor();
  const out = { type: 'file', settings: { path: join(folder, 'out') } };
  await start(
    { streamsConfigs: { out }, buckets: [{ id: 'both', streams: ['out'], batch: 1e6, batchTimeout: 1e6 }] },
    [lines],
  );
  const client = lines.connect();
  client.write('both by lines 1\nboth by lines 2\nnonsense\n?\n');
  await send('both', 'by the socket');
  await until('it is received', () => daemon.received.frames === 4);
  expect(daemon.received).toEqual({ frames: 4, bad: 1 });
  expect(daemon.snapshot().socket).toMatchObject({ received: 1, bad: 0 });
  // Their batch is still open: the end closes it, and only then is there an answer.
  expect(client.answers).toEqual([]);
  await stop();
  expect([client.answers, client.isGone, lines.state]).toEqual([[2], true, 'gone']);
  const delivered = messagesIn(readFileSync(join(folder, 'out', 'both')));
  expect(delivered).toEqual(['by lines 1', 'by lines 2', 'by the socket']);
  expect(daemon.accounts.get('both/out')).toMatchObject({ received: 3, delivered: 3 });
});
