// The process is killed, stopped, short of files, led astray by symlinks or by its clock, at any moment and
// under load: what is missing is the end of a connection at most, and nothing that a receipt confirmed; the
// next life starts by itself.
import { createHash } from 'node:crypto';
import { lstatSync, mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import {
  daemonFolder,
  filesOf,
  frame,
  launchDaemon,
  numberedFrames,
  numbersBySender,
  range,
  type DaemonClient,
  type TestDaemon,
} from '../../support/daemon.js';
import { fileStream, kafkaStream, newTopic } from '../../support/daemonBuckets.js';
import { kafkaAway, numbersInTopic, startProxiedKafka } from '../../support/daemonKafka.js';
import { isUp, launchReady, segments, untilSpoolEmpty } from '../../support/daemonStates.js';
import { readTopic } from '../../support/kafkaReader.js';
import { startKafka, type KafkaServer } from '../../support/kafkaServer.js';
import { type TcpProxy } from '../../support/tcpProxy.js';
import { bucketsTo, everyFile, expectNoOrphans, launchOnBadDisk } from './machines.js';
import {
  BATCH,
  BUCKET,
  WINDOW,
  bySender,
  judge,
  judgeSpread,
  note,
  randomOf,
  record,
  senders,
  sentBy,
  sum,
  type Sender,
  type Sent,
} from './senders.js';
import { isFull } from './sizes.js';

const { bootstrap } = inject('kafka');

/** Kafka comes or goes for the next life. */
function toss(kafka: TcpProxy, isThere: boolean): void {
  if (isThere) return kafka.heal();
  kafka.faults.refuse = true;
  kafka.resetAll();
}

/** A daemon that feeds a topic of its own by way of a Kafka that comes and goes. */
async function onAndOff(
  about: string,
  env: Readonly<Record<string, string>>,
): Promise<{
  topic: string;
  kafka: TcpProxy;
  options: Parameters<typeof launchDaemon>[0] & { folder: string };
}> {
  const topic = await newTopic(bootstrap, about);
  const kafka = await startProxiedKafka();
  const buckets = bucketsTo(kafkaStream(kafka.address, { 'message.timeout.ms': 1000 }), { bucket: topic });
  return { topic, kafka, options: { buckets, env, folder: await daemonFolder() } };
}

/** All that is left is delivered by one more life. @returns what Kafka has */
async function finish({
  topic,
  kafka,
  options,
}: Awaited<ReturnType<typeof onAndOff>>): Promise<Map<string, number[]>> {
  kafka.heal();
  const last = await launchReady(options);
  await untilSpoolEmpty(last, 60_000);
  expect(await last.stop()).toMatchObject({ code: 0 });
  return numbersInTopic(topic);
}

describe('kill -9 at random moments under load', () => {
  const KILLS = 5;
  const seeds = range(0, isFull ? 20 : 1).map((i) => 20_270 + 7 * i);

  test.each(
    seeds.flatMap(
      (seed) =>
        [
          [seed, 'with a spool'],
          [seed, 'without a spool'],
        ] as const,
    ),
  )(
    'Kafka there or away (seed %i, %s)',
    async (seed, kind) => {
      const random = randomOf(seed);
      const hasSpool = kind === 'with a spool';
      const setup = await onAndOff(
        'faults-kill',
        hasSpool ? { SPOOL: './spool', SPOOL_SYNC: ['never', 'batch', 'always'][random(3)]! } : {},
      );
      const all: Sender[] = [];
      const startsMs: number[] = [];
      for (const life of range(0, KILLS)) {
        toss(setup.kafka, random(2) === 0);
        const startedMs = Date.now();
        const daemon = await launchReady(setup.options);
        startsMs.push(Date.now() - startedMs);
        const own = await senders(daemon, `life${life}`, random, { count: 3, bucket: setup.topic });
        all.push(...own);
        await pause(random(400));
        await daemon.kill9();
        await Promise.all(own.map(({ ended }) => ended));
      }
      const repeated = judge(all, await finish(setup), `seed ${seed}, ${kind}`);
      expect(repeated).toBeLessThanOrEqual(KILLS * WINDOW * BATCH);
      record('kill -9 at random moments, Kafka there or away', hasSpool ? 'spool' : 'no spool, no backup', {
        runs: KILLS,
        sent: sentBy(all),
        duplicated: repeated,
        recoverMs: Math.max(...startsMs),
      });
      note(`kill -9, ${kind}, seed ${seed}`, {
        kills: KILLS,
        sent: sentBy(all),
        receipted: sum(all.map(({ receipted }) => receipted)),
        'came twice': repeated,
        'slowest start ms': Math.max(...startsMs),
      });
    },
    120_000,
  );
});

describe('kill -9 of Kahe over kill -9 of the broker', () => {
  const [LIVES, PARTITIONS] = [isFull ? 19 : 5, 4];

  test.each(range(0, isFull ? 4 : 1).map((i) => 20_310 + 7 * i))(
    'keyed, four partitions, a spool: no hole (seed %i)',
    async (seed) => {
      const random = randomOf(seed);
      const kafka = await startKafka();
      onTestFinished(() => kafka.close());
      const [broker] = kafka.nodes as [KafkaServer['nodes'][number]];
      const topic = await newTopic(kafka.bootstrap, 'faults-both', PARTITIONS);
      const buckets = bucketsTo(kafkaStream(kafka.bootstrap, { 'message.timeout.ms': 2000 }), {
        bucket: topic,
        batch: 100,
      });
      const options = { buckets, env: { SPOOL: './spool' }, folder: await daemonFolder() };
      const all: Sender[] = [];
      for (const life of range(0, LIVES)) {
        const daemon = await launchReady(options);
        const own = await senders(daemon, `life${life}`, random, { count: 3, bucket: topic, keys: 50 });
        all.push(...own);
        await pause(random(400));
        const isOfBoth = life % 2 === 1;
        if (isOfBoth) await broker.kill();
        await pause(random(100));
        await daemon.kill9();
        await Promise.all(own.map(({ ended }) => ended));
        if (isOfBoth) await broker.start();
      }
      const last = await launchReady(options);
      await untilSpoolEmpty(last, 60_000);
      expect(await last.stop()).toMatchObject({ code: 0 });
      const partitions = [...(await readTopic(kafka.bootstrap, topic)).values()].map((messages) =>
        numbersBySender(messages.map(({ value }) => value!.toString())),
      );
      const repeated = judgeSpread(all, partitions, `seed ${seed}`);
      record('kill -9 of Kahe over kill -9 of the broker', 'spool', {
        runs: LIVES,
        sent: sentBy(all),
        duplicated: repeated,
      });
      note(`kill -9 of both, seed ${seed}`, { kills: LIVES, sent: sentBy(all), 'came twice': repeated });
    },
    240_000,
  );
});

describe('SIGTERM at random moments', () => {
  const STOPS = 5;
  const seeds = range(0, isFull ? 10 : 1).map((i) => 20_280 + 7 * i);

  test.each(seeds)(
    '20 busy and 20 idle clients, Kafka there or away: all written frames are delivered (seed %i)',
    async (seed) => {
      const random = randomOf(seed);
      const setup = await onAndOff('faults-term', { SPOOL: './spool', STOP_TIMEOUT: '7s' });
      const all: Sent[] = [];
      const stopsMs: number[] = [];
      for (const life of range(0, STOPS)) {
        toss(setup.kafka, random(2) === 0);
        const daemon = await launchReady(setup.options);
        await Promise.all(range(0, 20).map(() => daemon.connect()));
        const busy = await senders(daemon, `life${life}`, random, { count: 20, bucket: setup.topic });
        await pause(random(500));
        const taken = busy.map((sender) => sender.taken);
        // Some go on as if nothing were.
        for (const sender of busy.slice(0, random(20))) sender.stop();
        const exit = await daemon.stop();
        expect(exit).toMatchObject({ code: 0 });
        stopsMs.push(exit.ms);
        await Promise.all(busy.map(({ ended }) => ended));
        all.push(...busy.map(({ name, sent }, i) => ({ name, sent, receipted: taken[i]! })));
      }
      const repeated = judge(all, await finish(setup), `seed ${seed}`);
      expect(repeated).toBeLessThanOrEqual(STOPS * WINDOW * BATCH);
      record('SIGTERM at random moments, Kafka there or away', 'spool', {
        runs: STOPS,
        sent: sentBy(all),
        duplicated: repeated,
      });
      note(`SIGTERM, seed ${seed}`, {
        stops: STOPS,
        sent: sentBy(all),
        'came twice': repeated,
        'slowest end ms': Math.max(...stopsMs),
      });
    },
    180_000,
  );

  test('a second one ends it at once, and costs nothing that a receipt confirmed', async () => {
    const random = randomOf(20_290);
    const setup = await onAndOff('faults-term-twice', { SPOOL: './spool' });
    const all: Sender[] = [];
    for (const life of range(0, isFull ? 20 : 3)) {
      toss(setup.kafka, false);
      const daemon = await launchReady(setup.options);
      const own = await senders(daemon, `life${life}`, random, { count: 3, bucket: setup.topic });
      all.push(...own);
      await pause(random(200));
      daemon.signal('SIGTERM');
      await daemon.line(/SIGTERM: no new clients/);
      await pause(random(100));
      daemon.signal('SIGTERM');
      expect(await daemon.exited).toEqual({ code: 1, signal: null });
      await Promise.all(own.map(({ ended }) => ended));
    }
    judge(all, await finish(setup), 'twice');
  });
});

describe('128 open files, 500 clients', () => {
  const STAYING = 60;

  /** All write some frames; the first of them ask. @returns their answers, in time */
  async function crowd(
    daemon: TestDaemon,
  ): Promise<{ readonly clients: readonly DaemonClient[]; readonly answers: readonly Promise<number>[] }> {
    const clients = await Promise.all(range(0, 500).map(() => daemon.connect()));
    const ask = async (client: DaemonClient, i: number): Promise<number> => {
      await client.send(numberedFrames(BUCKET, `c${i}`, { count: 5 }));
      return i < STAYING ? client.receipt() : 0;
    };
    // Who is turned away has no answer.
    const answers = clients.map((client, i) => ask(client, i).catch(() => 0));
    await daemon.line(/a connection was turned away: 96 are open/);
    return { clients, answers };
  }

  /**
   * One more client writes, as soon as the daemon has seen that others left: until then it is turned away
   * unread.
   * @returns its answer
   */
  async function served(daemon: TestDaemon): Promise<number> {
    return daemon.until('room for one more', async () => {
      const after = await daemon.connect();
      try {
        await after.send(numberedFrames(BUCKET, 'after', { count: 100 }));
        return await after.receipt();
      } catch {
        return undefined;
      }
    });
  }

  const theirs = (receipted: readonly number[]): Sent[] =>
    range(0, 500).map((i) => ({ name: `c${i}`, sent: 5, receipted: receipted[i] ?? 0 }));

  test('without a spool: clients wait or are turned away, and once others leave all are served', async () => {
    const daemon = await launchReady({ buckets: bucketsTo(fileStream('data')), openFiles: 128 });
    const { clients, answers } = await crowd(daemon);
    const startedMs = Date.now();
    for (const client of clients.slice(STAYING)) client.destroy();
    const staying = await Promise.all(answers.slice(0, STAYING));
    const ms = Date.now() - startedMs;
    for (const [i, answer] of staying.entries())
      expect(answer === 5 || clients[i]!.isClosed, `client ${i} has its answer, or was turned away`).toBe(
        true,
      );
    expect(await served(daemon)).toBe(100);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    judge(
      [...theirs(staying), { name: 'after', sent: 100, receipted: 100 }],
      bySender(await daemon.files('data')),
      'without a spool',
    );
    note('128 files, without a spool', {
      served: staying.filter((answer) => answer === 5).length,
      'ms after the others left': ms,
    });
  });

  test('with a spool too, for the daemon keeps some for itself', async () => {
    const env = { SPOOL: './spool' };
    const daemon = await launchReady({ buckets: bucketsTo(fileStream('data')), env, openFiles: 128 });
    const { clients, answers } = await crowd(daemon);
    for (const client of clients.slice(STAYING)) client.destroy();
    const staying = await Promise.all(answers.slice(0, STAYING));
    for (const [i, answer] of staying.entries())
      expect(answer === 5 || clients[i]!.isClosed, `client ${i} has its answer, or was turned away`).toBe(
        true,
      );
    expect(await served(daemon)).toBe(100);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(daemon.accounts.get(`${BUCKET}/out`)).toMatchObject({
      queued: 0,
      rejected: 0,
      discarded: 0,
      received: daemon.received.frames,
    });
    judge(
      [...theirs(staying), { name: 'after', sent: 100, receipted: 100 }],
      bySender(await daemon.files('data')),
      'with a spool',
    );
    note('128 files, with a spool', {
      read: daemon.received.frames,
      served: staying.filter((answer) => answer === 5).length,
    });
  });
});

describe('symlinks in the way', () => {
  const sha = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex');

  test('of the spool, the files and the rejected frames: no target is touched, and nothing is lost', async () => {
    const [folder, outside] = [await daemonFolder(), await daemonFolder()];
    const at = (...names: string[]): string => path.join(folder, ...names);
    const target = path.join(outside, 'precious');
    writeFileSync(target, 'precious');
    mkdirSync(path.join(outside, 'away'));
    for (const name of ['spool', 'data/.kahe', 'rejected']) mkdirSync(at(name), { recursive: true });
    // Where a bucket's segments would come, a file and a journal; a damaged piece; and one with the name of a
    // segment.
    symlinkSync(path.join(outside, 'away'), at('spool', 'led-away'));
    symlinkSync(path.join(outside, 'away'), at('data', 'led-away'));
    mkdirSync(at('spool', BUCKET));
    symlinkSync(target, at('spool', BUCKET, '0000000000001-00000001.bckstm'));
    symlinkSync(path.join(outside, 'away'), at('spool', BUCKET, 'damaged'));
    const buckets = {
      streamsConfigs: { out: fileStream('data') },
      buckets: [BUCKET, 'led-away'].map((id) => ({ id, streams: ['out'], batch: BATCH, batchTimeout: 20 })),
    };
    const daemon = await launchReady({ buckets, env: { SPOOL: './spool', STOP_TIMEOUT: '5s' }, folder });
    const [good, led] = [await daemon.connect(), await daemon.connect()];
    await good.send(numberedFrames(BUCKET, 'good', { count: 200 }), frame('', 'bad'));
    expect(await good.receipt()).toBe(200);
    await daemon.until(
      'what was good is delivered',
      async () => (await daemon.files(`data/${BUCKET}`)).length === 200,
    );
    await led.send(numberedFrames('led-away', 'led', { count: 10 }));
    await daemon.line(/\/spool .*led-away.* is a symlink/);
    // It is mended while the daemon waits.
    rmSync(at('spool', 'led-away'));
    rmSync(at('data', 'led-away'));
    expect(await led.receipt()).toBe(10);
    await daemon.untilFiled('data', 210);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(await everyFile(outside)).toEqual(['precious']);
    expect(sha(target)).toBe(createHash('sha256').update('precious').digest('hex'));
    expect(lstatSync(at('spool', BUCKET, '0000000000001-00000001.bckstm')).isSymbolicLink()).toBe(true);
    expect(bySender(await daemon.files('data'))).toEqual(
      new Map([
        ['good', range(0, 200)],
        ['led', range(0, 10)],
      ]),
    );
  });

  test("in the socket's place: refused, whatever it leads to", async () => {
    const folder = await daemonFolder();
    writeFileSync(path.join(folder, 'precious'), 'precious');
    for (const target of ['precious', 'nowhere']) {
      symlinkSync(path.join(folder, target), path.join(folder, `${target}.sock`));
      const daemon = await launchDaemon({
        buckets: bucketsTo(fileStream('data')),
        env: { SOCKET: path.join(folder, `${target}.sock`) },
        folder,
      });
      expect((await daemon.exited).code, target).toBe(1);
      expect(lstatSync(path.join(folder, `${target}.sock`)).isSymbolicLink(), target).toBe(true);
    }
    expect(readFileSync(path.join(folder, 'precious'), 'utf8')).toBe('precious');
    expect(readdirSync(folder).filter((name) => name.includes('nowhere'))).toEqual(['nowhere.sock']);
  });
});

test('hostile bucket names never make a path outside of the spool, nor of the backup', async () => {
  const names = [
    '../../x',
    '..',
    '.',
    'a/b',
    '/etc/passwd',
    'a\0b',
    '\n',
    'damaged',
    'x'.repeat(255),
    '-rf',
    '{bucket}',
    '%2e%2e',
    'settled.json',
  ];
  const backup = fileStream('backup');
  const buckets = {
    streamsConfigs: { out: await kafkaAway({ backup }), files: fileStream('data') },
    defaultBucket: { streams: ['files'], batch: BATCH, batchTimeout: 20 },
    buckets: [{ id: BUCKET, streams: ['out'], batchTimeout: 20 }],
  };
  const folder = await daemonFolder();
  const first = await launchReady({ buckets, env: { SPOOL: './spool' }, folder });
  const client = await first.connect();
  await client.send(
    ...names.map((name, i) => frame(name, `hostile:${i}:`)),
    numberedFrames(BUCKET, 'good', { count: 10 }),
  );
  expect(await client.receipt()).toBe(names.length + 10);
  await first.kill9();
  expect(
    readdirSync(folder)
      .sort()
      .filter((name) => !name.startsWith('.env') && name !== 'kahe.sock'),
  ).toEqual(expect.arrayContaining(['buckets.json', 'spool']));
  const second = await launchReady({ buckets, env: { SPOOL: './spool' }, folder });
  await untilSpoolEmpty(second);
  expect(await second.stop()).toMatchObject({ code: 0 });
  const entries = readdirSync(path.join(folder, 'spool'), { recursive: true, withFileTypes: true });
  expect(entries.filter((entry) => entry.isFile()).map(({ name }) => name)).toEqual(['format.json']);
  const found = await second.files('data');
  expect(new Map(found.map(({ bucket, message }) => [bucket, message]))).toEqual(
    new Map(names.map((name, i) => [name, `hostile:${i}:`])),
  );
  expect(readdirSync(folder).sort()).toEqual(['.env.dev.local', 'backup', 'buckets.json', 'data', 'spool']);
});

test('a clock set an hour forth and back, over restarts: no name twice, order kept, nothing lost', async () => {
  const [folder, env] = [await daemonFolder(), { SPOOL: './spool' }];
  const hour = 3_600_000;
  const random = randomOf(20_300);
  const all: Sender[] = [];
  for (const life of range(0, 2)) {
    const stream = life === 0 ? await kafkaAway() : fileStream('data', { sizeRotate: '20KB' });
    const daemon = await launchOnBadDisk(
      { buckets: bucketsTo(stream), env, folder },
      [],
      [hour, -2 * hour, hour, -hour],
    );
    await isUp(daemon);
    const own = await senders(daemon, `life${life}`, random);
    all.push(...own);
    for (const step of range(0, 4)) {
      const before = sum(own.map(({ receipted }) => receipted));
      await daemon.until(
        `receipts before step ${step}`,
        () => sum(own.map(({ receipted }) => receipted)) > before + 100,
      );
      daemon.signal('SIGUSR2');
    }
    const before = sum(own.map(({ receipted }) => receipted));
    await daemon.until(
      'receipts behind the last step',
      () => sum(own.map(({ receipted }) => receipted)) > before + 100,
    );
    await daemon.kill9();
    await Promise.all(own.map(({ ended }) => ended));
  }
  const last = await launchReady({
    buckets: bucketsTo(fileStream('data', { sizeRotate: '20KB' })),
    env,
    folder,
  });
  await untilSpoolEmpty(last);
  expect(await last.stop()).toMatchObject({ code: 0 });
  const repeated = judge(all, bySender(await last.files('data')), 'clock');
  expect(repeated).toBeLessThanOrEqual(WINDOW * BATCH);
  await expectNoOrphans(path.join(folder, 'data'));
  record('the clock is set an hour forward and back', 'spool', {
    runs: 8,
    sent: sentBy(all),
    duplicated: repeated,
  });
  note('clock steps', {
    sent: sentBy(all),
    'came twice': repeated,
    files: (await filesOf(path.join(folder, 'data'))).length,
    segments: (await segments(last)).length,
  });
});
