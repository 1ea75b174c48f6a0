// A topic that refuses the time at which frames came: an old backup, or one that was written while this
// machine's clock was ahead. They arrive all the same, in order, with the time of sending; with the setting
// off they wait.
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, inject, test } from 'vitest';
import { statusOf, metricsOf } from '../../support/adminDoor.js';
import {
  daemonFolder,
  filesOf,
  numberedFrames,
  range,
  startDaemon,
  type TestDaemon,
} from '../../support/daemon.js';
import { fileStream, kafkaStream, newTopicName } from '../../support/daemonBuckets.js';
import { numbersOf } from '../../support/daemonKafka.js';
import { allMessages, readTopic } from '../../support/kafkaReader.js';
import { createTopic } from '../../support/kafkaTopics.js';

const { bootstrap } = inject('kafka');
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const NOWHERE = '127.0.0.1:1';
const COUNT = 20_000;

function bucketsOf(topic: string, brokers: string, settings = {}): object {
  const kafka = kafkaStream(
    brokers,
    { 'message.timeout.ms': 500, ...settings },
    { backup: fileStream('backup') },
  );
  return {
    streamsConfigs: { kafka },
    buckets: [{ id: topic, streams: ['kafka'], batch: 1000, batchTimeout: 20 }],
  };
}

/** A folder with a backup of COUNT frames. */
async function backedUp(topic: string): Promise<string> {
  const folder = await daemonFolder();
  const daemon = await startDaemon({ buckets: bucketsOf(topic, NOWHERE), folder });
  const client = await daemon.connect();
  await client.send(numberedFrames(topic, 'a', { count: COUNT, bytes: 100 }));
  expect(await client.receipt()).toBe(COUNT);
  await daemon.stop();
  return folder;
}

/**
 * Makes the first frames of the backup older, or the last ones younger; see arrivalTimes.ts for the notes.
 * Gives the time of each frame, undefined for those that were changed.
 */
async function shiftTimes(folder: string, ms: number): Promise<readonly (number | undefined)[]> {
  const notesFolder = join(folder, 'backup', '.kahe');
  const [name, ...others] = (await readdir(notesFolder)).filter((file) => file.endsWith('.times'));
  expect(others).toEqual([]);
  const notes = await readFile(join(notesFolder, name!));
  const times: (number | undefined)[] = [];
  for (let at = 0; at < notes.length; at += 16) {
    const [until, time] = [Number(notes.readBigUInt64LE(at)), Number(notes.readBigUInt64LE(at + 8))];
    const isShifted = ms < 0 ? until <= COUNT / 2 : until > COUNT / 2;
    if (isShifted) notes.writeBigUInt64LE(BigInt(time + ms), at + 8);
    while (times.length < until) times.push(isShifted ? undefined : time);
  }
  await writeFile(join(notesFolder, name!), notes);
  return times;
}

const backReady = (daemon: TestDaemon): Promise<unknown> =>
  daemon.line(/switched to normal: the primary is back, and has had what was backed up/, {
    deadlineMs: 40_000,
  });

describe.each([
  ['message.timestamp.before.max.ms', 'an old backup', DAY_MS, -30 * DAY_MS],
  ['message.timestamp.after.max.ms', 'a backup from a clock that was ahead', HOUR_MS, 2 * HOUR_MS],
])('%s', (limit, what, mostMs, shiftMs) => {
  test(`${what} is delivered in order; refused frames have the time of sending, others their own`, async () => {
    const topic = newTopicName('times');
    await createTopic([bootstrap], topic, { config: { [limit]: String(mostMs) } });
    const folder = await backedUp(topic);
    const times = await shiftTimes(folder, shiftMs);
    const shifted = times.filter((time) => time === undefined).length;
    expect(shifted > 0 && shifted < COUNT).toBe(true);
    const sinceMs = Date.now();
    const daemon = await startDaemon({
      buckets: bucketsOf(topic, bootstrap),
      folder,
      env: { ADMIN: './admin.sock' },
    });
    await backReady(daemon);
    const messages = allMessages(await readTopic(bootstrap, topic, { expected: COUNT }));
    const untilMs = Date.now();
    expect(numbersOf(messages)).toEqual(new Map([['a', range(0, COUNT)]]));
    const odd = messages.filter(({ timestamp }, i) =>
      times[i] === undefined ? timestamp < sinceMs || timestamp > untilMs : timestamp !== times[i],
    );
    expect(odd.map(({ offset, timestamp }) => [offset, timestamp, times[offset]])).toEqual([]);
    const status = await statusOf(join(folder, 'admin.sock'));
    expect(
      status.buckets.flatMap(({ streams }) => streams.map(({ retimedFrames }) => retimedFrames)),
    ).toEqual([shifted]);
    expect(status.rejected).toEqual({ reasons: [], lostFrames: 0 });
    const metrics = await metricsOf(join(folder, 'admin.sock'));
    expect(metrics.get(`kahe_stream_retimed_frames_total{bucket="${topic}",stream="kafka"}`)).toBe(shifted);
    expect(daemon.lines.filter((line) => line.includes('refuses the arrival time'))).toHaveLength(1);
    await daemon.stop();
    expect(daemon.accounts.get(`${topic}/kafka`)).toMatchObject({
      received: COUNT,
      delivered: COUNT,
      backedUp: 0,
      rejected: 0,
      discarded: 0,
    });
    expect(await filesOf(join(folder, 'rejected'))).toEqual([]);
    expect(await filesOf(join(folder, 'backup'))).toEqual([]);
  });
});

test('with replace.refused.timestamps off they stay in the backup, and go once it is on', async () => {
  const topic = newTopicName('kept-times');
  await createTopic([bootstrap], topic, { config: { 'message.timestamp.before.max.ms': String(DAY_MS) } });
  const folder = await backedUp(topic);
  await shiftTimes(folder, -30 * DAY_MS);
  const off = await startDaemon({
    buckets: bucketsOf(topic, bootstrap, { 'replace.refused.timestamps': false }),
    folder,
  });
  await off.line(
    /INVALID_TIMESTAMP \(set this machine's clock, let the topic take older or newer times .*tried for 500 ms/,
    { deadlineMs: 40_000 },
  );
  await off.stop();
  expect(off.accounts.get(`${topic}/kafka`)).toMatchObject({
    received: COUNT,
    delivered: 0,
    backedUp: COUNT,
    rejected: 0,
    discarded: 0,
  });
  expect(await filesOf(join(folder, 'rejected'))).toEqual([]);
  const on = await startDaemon({ buckets: bucketsOf(topic, bootstrap), folder });
  await backReady(on);
  expect(numbersOf(allMessages(await readTopic(bootstrap, topic, { expected: COUNT })))).toEqual(
    new Map([['a', range(0, COUNT)]]),
  );
  await on.stop();
});
