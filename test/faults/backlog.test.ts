// A gibibyte left in a thousand segments: the next life takes frames soon, in little memory, and delivers all
// of it.
import { linkSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { encodeCheckpoint } from '../../src/frames/checkpoint.js';
import {
  daemonFolder,
  filesOf,
  frame,
  launchDaemon,
  numberedFrames,
  parseFrames,
  range,
} from '../../support/daemon.js';
import { fileStream } from '../../support/daemonBuckets.js';
import { kafkaAway } from '../../support/daemonKafka.js';
import { isUp, launchReady, segments, untilSpoolEmpty } from '../../support/daemonStates.js';
import { bucketsTo } from './machines.js';
import { BUCKET, note } from './senders.js';
import { isFull } from './sizes.js';
import { readFile } from 'node:fs/promises';

const MB = 1024 ** 2;
const SEGMENTS = 1000;
const FRAMES_EACH = 256;

/** All of them the same bytes, so that they cost the disk no more than one. */
function leaveBacklog(folder: string): void {
  const spooled = path.join(folder, 'spool', BUCKET);
  mkdirSync(spooled, { recursive: true });
  const frames = numberedFrames(BUCKET, 'old', { count: FRAMES_EACH, bytes: 4100 });
  const first = path.join(folder, 'segment');
  writeFileSync(first, Buffer.concat([frames, encodeCheckpoint(frames, FRAMES_EACH, 1_700_000_000_000)]));
  for (const i of range(0, SEGMENTS))
    linkSync(first, path.join(spooled, `${1_700_000_000_000 + i}-${String(i + 1).padStart(8, '0')}.bckstm`));
}

test('1 GiB in 1000 segments, Kafka away: it answers soon, in little memory', async () => {
  const folder = await daemonFolder();
  leaveBacklog(folder);
  const [budgetMb, startedMs] = [32, Date.now()];
  const daemon = await launchDaemon({
    buckets: bucketsTo(await kafkaAway()),
    env: { SPOOL: './spool', MAXMEMORY: `${budgetMb}MB` },
    folder,
  });
  await isUp(daemon);
  const upMs = Date.now() - startedMs;
  const client = await daemon.connect();
  await client.send(frame(BUCKET, 'new:0:'));
  expect(await client.receipt()).toBe(1);
  const servedMs = Date.now() - startedMs;
  await daemon.line(/delivery stopped/);
  const rssMb = Math.round(daemon.peakRssBytes / MB);
  note('1 GiB left', { 'ms to listen': upMs, 'ms to a receipt': servedMs, 'peak MB': rssMb });
  expect(servedMs).toBeLessThan(10_000);
  expect(rssMb).toBeLessThan(150 + budgetMb);
  await daemon.kill9();
  if (!isFull) return;

  const next = await launchReady({
    buckets: bucketsTo(fileStream('data', { fsync: false, sizeRotate: '64MB' })),
    env: { SPOOL: './spool', MAXMEMORY: `${budgetMb}MB` },
    folder,
  });
  await untilSpoolEmpty(next, 120_000);
  const deliveringMb = Math.round(next.peakRssBytes / MB);
  expect(await next.stop()).toMatchObject({ code: 0 });
  expect(await segments(next)).toEqual([]);
  // A file at a time: the whole is too much to hold.
  const expected = [
    ...range(0, SEGMENTS).flatMap(() => range(0, FRAMES_EACH).map((number) => `old:${number}`)),
    'new:0',
  ];
  let at = 0;
  for (const file of await filesOf(path.join(folder, 'data'))) {
    for (const { message } of parseFrames(await readFile(file), file))
      expect(message.split(':', 2).join(':')).toBe(expected[at++]);
  }
  expect(at).toBe(expected.length);
  note('1 GiB delivered', { 'peak MB': deliveringMb });
  expect(deliveringMb).toBeLessThan(150 + budgetMb);
}, 240_000);
