// The spool under kill -9, stops and shortage: what a receipt has counted is delivered, in order, and nothing
// is made up.
import { existsSync } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, inject, test } from 'vitest';
import { encodeCheckpoint } from '../../src/frames/checkpoint.js';
import { bucketsTo } from '../faults/machines.js';
import { BATCH, BUCKET, WINDOW, judge, randomOf, senders, type Sender } from '../faults/senders.js';
import {
  daemonFolder,
  launchDaemon,
  numberedFrames,
  numbersBySender,
  range,
  startDaemon,
  type TestDaemon,
} from '../../support/daemon.js';
import { fileStream, kafkaStream, newTopic } from '../../support/daemonBuckets.js';
import { isUp, launchReady, segments, untilSpoolEmpty } from '../../support/daemonStates.js';
import { kafkaAway, startShutKafka } from '../../support/daemonKafka.js';
import { allMessages, readTopic } from '../../support/kafkaReader.js';

const { bootstrap } = inject('kafka');
const MB = 1024 ** 2;

async function delivered(daemon: TestDaemon): Promise<Map<string, number[]>> {
  return numbersBySender((await daemon.files('data')).map(({ message }) => message));
}

describe('kill -9 with a spool', () => {
  test.each(range(0, 5).map((i) => 20_261 + i * 7))(
    'Kafka away, at random moments: what was receipted is delivered once, in order (seed %i)',
    async (seed) => {
      const random = randomOf(seed);
      const env = { SPOOL: './spool', SPOOL_SYNC: ['never', 'batch', 'always'][random(3)]! };
      const folder = await daemonFolder();
      const all: Sender[] = [];
      const away = bucketsTo(await kafkaAway());
      for (const life of range(0, 5)) {
        const daemon = await launchDaemon({ buckets: away, env, folder });
        // Now and then it dies before it has looked at what there is.
        if (random(4) > 0) {
          await isUp(daemon);
          const own = await senders(daemon, `life${life}`, random);
          all.push(...own);
          await pause(random(250));
          await daemon.kill9();
          await Promise.all(own.map(({ ended }) => ended));
        } else {
          await pause(random(400));
          await daemon.kill9();
        }
      }
      const daemon = await startDaemon({
        buckets: bucketsTo(fileStream('data', { fsync: false })),
        env,
        folder,
      });
      await isUp(daemon);
      await untilSpoolEmpty(daemon);
      expect(await daemon.stop()).toMatchObject({ code: 0 });
      expect(await segments(daemon)).toEqual([]);
      expect(
        judge(all, await delivered(daemon), `seed ${seed}`),
        'nothing was delivered before, so nothing comes twice',
      ).toBe(0);
      console.log(
        `seed ${seed}: ${all.reduce((sum, { sent }) => sum + sent, 0)} sent, ${all.reduce((sum, { receipted }) => sum + receipted, 0)} receipted, ${daemon.linesLike(/the daemon died while it wrote/).length} torn ends`,
      );
    },
    90_000,
  );

  test.each([7, 77, 777])(
    'during delivery, three in a row: nothing is lost, only what was on its way comes twice (seed %i)',
    async (seed) => {
      const random = randomOf(seed);
      const env = { SPOOL: './spool', SPOOL_SYNC: 'never' };
      const folder = await daemonFolder();
      const all: Sender[] = [];
      const buckets = bucketsTo(fileStream('data', { fsync: true, sizeRotate: '200KB' }));
      const away = await launchReady({ buckets: bucketsTo(await kafkaAway()), env, folder });
      all.push(...(await senders(away, 'away', random)));
      await away.until('a backlog', async () => (await segments(away)).length > 400);
      await away.kill9();
      let kills = 0;
      for (const life of range(0, 3)) {
        const daemon = await launchReady({ buckets, env, folder });
        if (life === 2) all.push(...(await senders(daemon, `life${life}`, random)));
        await pause(random(60));
        await daemon.kill9();
        kills++;
      }
      await Promise.all(all.map(({ ended }) => ended));
      const daemon = await launchReady({ buckets, env, folder });
      await untilSpoolEmpty(daemon);
      expect(await daemon.stop()).toMatchObject({ code: 0 });
      expect(await segments(daemon)).toEqual([]);
      const repeated = judge(all, await delivered(daemon), `seed ${seed}`);
      expect(repeated).toBeLessThanOrEqual(kills * WINDOW * BATCH);
      console.log(
        `seed ${seed}: ${all.reduce((sum, { sent }) => sum + sent, 0)} sent, ${repeated} came twice`,
      );
    },
    90_000,
  );
});

describe('stops with a spool', () => {
  test.each([3, 33, 333])(
    'SIGTERM under load, Kafka away: every frame is in the spool, and the next run delivers (seed %i)',
    async (seed) => {
      const random = randomOf(seed);
      const env = { SPOOL: './spool', STOP_TIMEOUT: '8s' };
      const folder = await daemonFolder();
      const first = await launchReady({ buckets: bucketsTo(await kafkaAway()), env, folder });
      const written = new Map<string, number>();
      await Promise.all(
        range(0, 4).map(async (i) => {
          const client = await first.connect();
          const count = 1 + random(5000);
          for (let from = 0; from < count; from += 100)
            await client.send(
              numberedFrames(BUCKET, `c${i}`, { from, count: Math.min(100, count - from), bytes: 80 }),
            );
          written.set(`c${i}`, count);
        }),
      );
      const { code, ms } = await first.stop();
      expect(code).toBe(0);
      expect(ms).toBeLessThan(9_500);
      const second = await launchReady({ buckets: bucketsTo(fileStream('data')), env, folder });
      await untilSpoolEmpty(second);
      expect(await second.stop()).toMatchObject({ code: 0 });
      expect(await delivered(second)).toEqual(
        new Map([...written].map(([name, count]) => [name, range(0, count)])),
      );
    },
    60_000,
  );

  test('Kafka gets the times of arrival, not those of delivery', async () => {
    const topic = await newTopic(bootstrap, 'spool-times');
    const kafka = await startShutKafka();
    const env = { SPOOL: './spool', STOP_TIMEOUT: '5s' };
    const buckets = bucketsTo(kafkaStream(kafka.address, { 'message.timeout.ms': 500 }), {
      bucket: topic,
      batch: 1000,
    });
    const first = await launchReady({ buckets, env });
    const client = await first.connect();
    const windows: [number, number][] = [];
    for (const from of range(0, 8)) {
      const beforeMs = Date.now();
      await client.send(numberedFrames(topic, 'c', { from, count: 1 }));
      expect(await client.receipt()).toBe(from + 1);
      windows.push([beforeMs, Date.now()]);
      await pause(40);
    }
    expect(await first.stop()).toMatchObject({ code: 0 });
    kafka.heal();
    const second = await launchReady({ buckets, env, folder: first.folder });
    await untilSpoolEmpty(second);
    expect(await second.stop()).toMatchObject({ code: 0 });
    const messages = allMessages(await readTopic(bootstrap, topic));
    expect(messages.map(({ value }) => value!.toString())).toEqual(
      range(0, 8).map((number) => `c:${number}:`),
    );
    for (const [i, { timestamp }] of messages.entries()) {
      expect(timestamp).toBeGreaterThanOrEqual(windows[i]![0]);
      expect(timestamp).toBeLessThanOrEqual(windows[i]![1]);
    }
  });

  test("a spool that can't be used is said, and nothing is started", async () => {
    for (const SPOOL of ['./buckets.json', './buckets.json/below', '/proc/spool']) {
      const daemon = await launchDaemon({ buckets: bucketsTo(fileStream('data')), env: { SPOOL } });
      expect(await daemon.exited).toEqual({ code: 1, signal: null });
      expect(daemon.lines.filter((line) => line.includes('SPOOL'))).toHaveLength(1);
      expect(daemon.lines.join('\n')).not.toContain('    at ');
      expect(existsSync(join(daemon.folder, 'data')), SPOOL).toBe(false);
    }
  });

  test('after a start that failed for its spool no socket stays', async () => {
    const daemon = await launchDaemon({
      buckets: bucketsTo(fileStream('data')),
      env: { SPOOL: './buckets.json' },
    });
    await daemon.exited;
    expect(existsSync(daemon.socketPath)).toBe(false);
  });
});

describe('shortage with a spool', () => {
  test('200 MB, MAXMEMORY=32MB, Kafka away: all is taken, the process stays small, all arrives in order', async () => {
    const topic = await newTopic(bootstrap, 'spool-200');
    const kafka = await startShutKafka();
    const env = { SPOOL: './spool', MAXMEMORY: '32MB' };
    const daemon = await launchReady({
      buckets: bucketsTo(kafkaStream(kafka.address, { 'message.timeout.ms': 500 }), {
        bucket: topic,
        batch: 10_000,
      }),
      env,
    });
    const count = 12_500;
    await Promise.all(
      range(0, 4).map(async (i) => {
        const client = await daemon.connect();
        for (let from = 0; from < count; from += 50)
          await client.send(numberedFrames(topic, `c${i}`, { from, count: 50, bytes: 4000 }));
        expect(await client.receipt()).toBe(count);
      }),
    );
    const awayMb = Math.round(daemon.peakRssBytes / MB);
    kafka.heal();
    await untilSpoolEmpty(daemon, 50_000);
    const peakMb = Math.round(daemon.peakRssBytes / MB);
    console.log(`200 MB, MAXMEMORY=32MB: at most ${awayMb} MB while Kafka was away, ${peakMb} MB in all`);
    expect(peakMb).toBeLessThan(250);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    const found = numbersBySender(
      allMessages(await readTopic(bootstrap, topic)).map(({ value }) => value!.toString()),
    );
    for (const i of range(0, 4)) expect(found.get(`c${i}`), `c${i}`).toEqual(range(0, count));
  });

  test('at SPOOL_MAX clients wait, and go on once delivery does', async () => {
    const topic = await newTopic(bootstrap, 'spool-max');
    const kafka = await startShutKafka();
    const env = { SPOOL: './spool', SPOOL_MAX: '16MB', MAXMEMORY: '64MB' };
    const daemon = await launchReady({
      buckets: bucketsTo(kafkaStream(kafka.address, { 'message.timeout.ms': 500 }), {
        bucket: topic,
        batch: 10_000,
      }),
      env,
    });
    const client = await daemon.connect();
    const count = 20_000;
    let sent = 0;
    const writing = (async () => {
      for (; sent < count; sent += 50)
        await client.send(numberedFrames(topic, 'c', { from: sent, count: 50, bytes: 2000 }));
      return client.receipt();
    })();
    await daemon.line(/the spool is full/);
    const atFull = sent;
    expect(atFull).toBeLessThan(count);
    // What is on its way at that moment may still come, but no more than memory and a segment hold.
    await daemon.line(/delivery stopped/);
    expect(sent * 2000).toBeLessThan(24 * MB);
    kafka.heal();
    const healedMs = Date.now();
    await daemon.line(/the spool has room again/);
    expect(Date.now() - healedMs).toBeLessThan(10_000);
    expect(await writing).toBe(count);
    await untilSpoolEmpty(daemon, 30_000);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    const found = numbersBySender(
      allMessages(await readTopic(bootstrap, topic)).map(({ value }) => value!.toString()),
    );
    expect(found).toEqual(new Map([['c', range(0, count)]]));
  });

  test('a large backlog: the socket is served soon, in little memory, and what comes now comes behind it', async () => {
    const folder = await daemonFolder();
    const spooled = join(folder, 'spool', BUCKET);
    await mkdir(spooled, { recursive: true });
    const [files, perFile] = [300, 250];
    for (const file of range(0, files)) {
      const frames = numberedFrames(BUCKET, 'old', { from: file * perFile, count: perFile, bytes: 4100 });
      await writeFile(
        join(spooled, `${1_700_000_000_000 + file}-${String(file + 1).padStart(8, '0')}.bckstm`),
        Buffer.concat([frames, encodeCheckpoint(frames, perFile, 1_700_000_000_000 + file)]),
      );
    }
    const env = { SPOOL: './spool', MAXMEMORY: '64MB' };
    const away = await launchReady({ buckets: bucketsTo(await kafkaAway()), env, folder });
    const client = await away.connect();
    await client.send(numberedFrames(BUCKET, 'new', { count: 1000 }));
    expect(await client.receipt()).toBe(1000);
    const readBytes = away.readBytes;
    await away.line(/delivery stopped/);
    const [read, peak] = [readBytes, away.peakRssBytes].map((bytes) => Math.round(bytes / MB));
    console.log(`300 MB in ${files} segments: served after ${read} MB were read, at most ${peak} MB held`);
    // Nobody waits until it has read its way through them.
    expect(readBytes).toBeLessThan(100 * MB);
    expect(away.peakRssBytes).toBeLessThan(180 * MB);
    await away.kill9();
    const daemon = await launchReady({
      buckets: bucketsTo(fileStream('data', { fsync: false })),
      env,
      folder,
    });
    await untilSpoolEmpty(daemon, 50_000);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(await readdir(spooled)).toEqual([]);
    const found = await daemon.files('data');
    expect(found.map(({ message }) => message.split(':', 2).join(':'))).toEqual([
      ...range(0, files * perFile).map((number) => `old:${number}`),
      ...range(0, 1000).map((number) => `new:${number}`),
    ]);
  });
});
