// SIGHUP while a destination is away, or has just come back: what waits goes where the new configuration
// says, or is kept with its reason.
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, inject, test } from 'vitest';
import {
  daemonFolder,
  filesOf,
  numberedFrames,
  range,
  startDaemon,
  type DaemonClient,
  type TestDaemon,
} from '../../support/daemon.js';
import { fileStream, kafkaStream, manualBackup, newTopic } from '../../support/daemonBuckets.js';
import { numbersInTopic, startShutKafka } from '../../support/daemonKafka.js';
import { endOffset } from '../faults/oracle.js';
import { Writer, numbersIn, reload } from '../../support/reloads.js';
import { type TcpProxy } from '../../support/tcpProxy.js';

const { bootstrap } = inject('kafka');
/** Nothing listens on the discard port. */
const NOWHERE = '127.0.0.1:9';
const HASTY = { 'message.timeout.ms': 500 };
const SPOOLS = [
  ['without a spool', {}],
  ['with a spool', { SPOOL: './spool' }],
] as const;

async function send(client: DaemonClient, bucket: string, from: number, to: number): Promise<void> {
  await client.send(numberedFrames(bucket, 'c', { from, count: to - from, bytes: 60 }));
}

async function reasons(daemon: TestDaemon): Promise<string> {
  const names = (await readdir(join(daemon.folder, 'rejected'))).filter((name) =>
    name.endsWith('.reasons.jsonl'),
  );
  return (
    await Promise.all(names.map((name) => readFile(join(daemon.folder, 'rejected', name), 'utf8')))
  ).join('');
}

function noSpoolFiles(daemon: TestDaemon): Promise<unknown> {
  return daemon.until(
    'an empty spool',
    async () => (await filesOf(join(daemon.folder, 'spool'))).length === 0,
  );
}

describe.each(SPOOLS)('another broker, while the one before is dead, %s', (_kind, env) => {
  const buckets = (topic: string, address: string, more = {}): object => ({
    streamsConfigs: { kafka: kafkaStream(address, HASTY, more) },
    buckets: [{ id: topic, streams: ['kafka'], batch: 10, batchTimeout: 20 }],
  });

  test('the frames that waited go there, in order', async () => {
    const topic = await newTopic(bootstrap, 'reload-broker');
    const daemon = await startDaemon({ buckets: buckets(topic, NOWHERE), env });
    const client = await daemon.connect();
    await send(client, topic, 0, 1000);
    await daemon.line(/delivery stopped/);
    await send(client, topic, 1000, 1200);
    expect(await reload(daemon, buckets(topic, bootstrap))).toBe(
      `changed buckets.${topic} (changed stream kafka)`,
    );
    await send(client, topic, 1200, 1500);
    expect(await numbersInTopic(topic, 1500)).toEqual(new Map([['c', range(0, 1500)]]));
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(daemon.accounts.get(`${topic}/kafka`)).toEqual({
      received: 1500,
      delivered: 1500,
      queued: 0,
      backedUp: 0,
      slicedOut: 0,
      rejected: 0,
      discarded: 0,
    });
  });

  test('what is on its way when it is told, too, and nothing of it goes to the backup', async () => {
    const topic = await newTopic(bootstrap, 'reload-flight');
    const slow = (address: string): object => ({
      streamsConfigs: {
        kafka: kafkaStream(address, { 'message.timeout.ms': 600_000 }, { backup: manualBackup('backup') }),
      },
      buckets: [{ id: topic, streams: ['kafka'], batch: 10, batchTimeout: 20 }],
    });
    const daemon = await startDaemon({ buckets: slow(NOWHERE), env });
    const client = await daemon.connect();
    await send(client, topic, 0, 300);
    await daemon.line(/no broker answers/);
    await reload(daemon, slow(bootstrap));
    expect(await numbersInTopic(topic, 300)).toEqual(new Map([['c', range(0, 300)]]));
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(await daemon.files('backup')).toEqual([]);
  });

  test('what lies in the backup is sent there first', async () => {
    const topic = await newTopic(bootstrap, 'reload-backup');
    const backup = { backup: fileStream('backup') };
    const daemon = await startDaemon({ buckets: buckets(topic, NOWHERE, backup), env });
    const client = await daemon.connect();
    await send(client, topic, 0, 1000);
    await daemon.untilFiled('backup', 1000);
    await reload(daemon, buckets(topic, bootstrap, backup));
    await send(client, topic, 1000, 1500);
    expect(await numbersInTopic(topic, 1500)).toEqual(new Map([['c', range(0, 1500)]]));
    await daemon.until(
      'an empty backup',
      async () => (await filesOf(join(daemon.folder, 'backup'))).length === 0,
    );
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(daemon.accounts.get(`${topic}/kafka`)).toMatchObject({
      received: 1500,
      delivered: 1500,
      backedUp: 0,
      queued: 0,
    });
  });
});

describe.each(SPOOLS)('what is taken out while it is dead, %s', (_kind, env) => {
  const dead = (more = {}): object => kafkaStream(NOWHERE, HASTY, more);
  const other = { id: 'other', streams: ['files'], batchTimeout: 20 };

  test('a bucket: what came before is kept with that reason, what comes is unknown', async () => {
    const streamsConfigs = { kafka: dead(), files: fileStream('data') };
    const daemon = await startDaemon({
      buckets: {
        streamsConfigs,
        buckets: [{ id: 'gone', streams: ['kafka', 'files'], batch: 10, batchTimeout: 20 }, other],
      },
      env: { ...env, STOP_TIMEOUT: '2s' },
    });
    const client = await daemon.connect();
    await send(client, 'gone', 0, 1000);
    await daemon.line(/delivery stopped/);
    expect(await reload(daemon, { streamsConfigs, buckets: [other] })).toBe('removed buckets.gone');
    await send(client, 'gone', 1000, 1100);
    expect(await client.receipt()).toBe(1100);
    if ('SPOOL' in env) await noSpoolFiles(daemon);
    await daemon.until(
      'all of them rejected',
      async () => (await daemon.files('rejected').catch(() => [])).length === 1100,
    );
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    // Those that were unknown came before the bucket had ended.
    const rejected = numbersIn(await daemon.files('rejected')).get('c')!;
    expect(rejected.filter((number) => number < 1000)).toEqual(range(0, 1000));
    expect(rejected.filter((number) => number >= 1000)).toEqual(range(1000, 1100));
    expect(numbersIn(await daemon.files('data'))).toEqual(new Map([['c', range(0, 1000)]]));
    expect(await reasons(daemon)).toContain(
      'not delivered when stream kafka was taken out of the configuration',
    );
    expect(await reasons(daemon)).toContain('unknown bucket, and there is no defaultBucket');
    expect(daemon.accounts.get('gone/kafka')).toMatchObject({ received: 1000, rejected: 1000, queued: 0 });
    expect(daemon.accounts.get('gone/files')).toMatchObject({ received: 1000, delivered: 1000, queued: 0 });
  });

  test('a stream with a backup: what it could not deliver is there, and the spool holds nothing of it', async () => {
    const streamsConfigs = {
      kafka: {
        ...dead({ backup: manualBackup('backup') }),
        settings: { 'bootstrap.servers': NOWHERE, 'message.timeout.ms': 600_000 },
      },
      files: fileStream('data'),
    };
    const bucket = { id: 'orders', streams: ['kafka', 'files'], batch: 10, batchTimeout: 20 };
    const daemon = await startDaemon({
      buckets: { streamsConfigs, buckets: [bucket] },
      env: { ...env, STOP_TIMEOUT: '2s' },
    });
    const client = await daemon.connect();
    await send(client, 'orders', 0, 1000);
    await daemon.untilFiled('data', 1000);
    expect(await reload(daemon, { streamsConfigs, buckets: [{ ...bucket, streams: ['files'] }] })).toBe(
      'changed buckets.orders (without stream kafka)',
    );
    await send(client, 'orders', 1000, 1500);
    await daemon.untilFiled('backup', 1000);
    await daemon.untilFiled('data', 1500);
    if ('SPOOL' in env) await noSpoolFiles(daemon);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(numbersIn(await daemon.files('backup'))).toEqual(new Map([['c', range(0, 1000)]]));
    expect(numbersIn(await daemon.files('data'))).toEqual(new Map([['c', range(0, 1500)]]));
    expect(await filesOf(join(daemon.folder, 'rejected'))).toEqual([]);
    expect(daemon.accounts.get('orders/kafka')).toMatchObject({ received: 1000, backedUp: 1000, queued: 0 });
  });

  test('a stream that is there again before it has ended: the new one waits, and then gets what came since', async () => {
    const topic = await newTopic(bootstrap, 'reload-again');
    const configured = (streams: readonly string[], address: string): object => ({
      streamsConfigs: { kafka: kafkaStream(address, HASTY), files: fileStream('data') },
      buckets: [{ id: topic, streams, batch: 10, batchTimeout: 20 }],
    });
    const daemon = await startDaemon({
      buckets: configured(['kafka', 'files'], NOWHERE),
      env: { ...env, STOP_TIMEOUT: '2s' },
    });
    const client = await daemon.connect();
    await send(client, topic, 0, 500);
    await daemon.line(/delivery stopped/);
    await daemon.untilFiled('data', 500);
    await reload(daemon, configured(['files'], NOWHERE));
    await send(client, topic, 500, 600);
    await daemon.untilFiled('data', 600);
    await reload(daemon, configured(['kafka', 'files'], bootstrap));
    await send(client, topic, 600, 1000);
    expect(await numbersInTopic(topic, 400)).toEqual(new Map([['c', range(600, 1000)]]));
    // Its predecessor has ended; it is told once the rejected frames are in their file.
    await daemon.line(/rejected: not delivered when stream kafka was taken out of the configuration/);
    if ('SPOOL' in env) await noSpoolFiles(daemon);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(numbersIn(await daemon.files('rejected'))).toEqual(new Map([['c', range(0, 500)]]));
    expect(numbersIn(await daemon.files('data'))).toEqual(new Map([['c', range(0, 1000)]]));
    expect(daemon.accounts.get(`${topic}/kafka`)).toMatchObject({
      received: 900,
      rejected: 500,
      delivered: 400,
      queued: 0,
    });
  });

  test('a bucket that is there again before it has ended: what comes waits for its successor', async () => {
    const topic = await newTopic(bootstrap, 'reload-bucket-again');
    const configured = (address: string, isThere: boolean): object => ({
      streamsConfigs: { kafka: kafkaStream(address, HASTY), files: fileStream('data') },
      buckets: [...(isThere ? [{ id: topic, streams: ['kafka'], batch: 10, batchTimeout: 20 }] : []), other],
    });
    const daemon = await startDaemon({
      buckets: configured(NOWHERE, true),
      env: { ...env, STOP_TIMEOUT: '2s' },
    });
    const client = await daemon.connect();
    await send(client, topic, 0, 500);
    await daemon.line(/delivery stopped/);
    await reload(daemon, configured(NOWHERE, false));
    await reload(daemon, configured(bootstrap, true));
    await send(client, topic, 500, 1000);
    expect(await client.receipt()).toBe(1000);
    expect(await numbersInTopic(topic, 500)).toEqual(new Map([['c', range(500, 1000)]]));
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(numbersIn(await daemon.files('rejected'))).toEqual(new Map([['c', range(0, 500)]]));
    expect(daemon.accounts.get(`${topic}/kafka`)).toMatchObject({
      received: 1000,
      rejected: 500,
      delivered: 500,
      queued: 0,
    });
  });

  test('the daemon is stopped before it has ended: nothing goes without a word', async () => {
    const streamsConfigs = { kafka: dead(), files: fileStream('data') };
    const bucket = { id: 'orders', streams: ['kafka', 'files'], batch: 10, batchTimeout: 20 };
    const daemon = await startDaemon({
      buckets: { streamsConfigs, buckets: [bucket] },
      env: { ...env, STOP_TIMEOUT: '6s' },
    });
    const client = await daemon.connect();
    await send(client, 'orders', 0, 500);
    await daemon.line(/delivery stopped/);
    await daemon.untilFiled('data', 500);
    await reload(daemon, { streamsConfigs, buckets: [{ ...bucket, streams: ['files'] }] });
    const { code, ms } = await daemon.stop();
    expect(code).toBe(0);
    expect(ms).toBeLessThan(9000);
    const { received, rejected, queued } = daemon.accounts.get('orders/kafka')!;
    expect([received, rejected + queued]).toEqual([500, 500]);
    expect(rejected).toBe((await daemon.files('rejected')).length);
    const told = daemon.linesLike(
      /stream kafka was taken out of the configuration, and the daemon stopped too soon: the stream misses (\d+) batches of the spool/,
    );
    expect(told).toHaveLength(queued > 0 ? 1 : 0);
  });
});

describe('another backup', () => {
  const NONE = { queued: 0, backedUp: 0, slicedOut: 0, rejected: 0, discarded: 0 };
  const buckets = (topic: string, address: string, backup: object): object => ({
    streamsConfigs: { kafka: kafkaStream(address, HASTY, { backup }) },
    buckets: [{ id: topic, streams: ['kafka'], batch: 10, batchTimeout: 20 }],
  });

  test('in another place: refused, nothing changes; taken out, what it holds is told, and sent later', async () => {
    const topic = await newTopic(bootstrap, 'reload-backups');
    const without = (address: string): object => ({
      streamsConfigs: { kafka: kafkaStream(address, HASTY) },
      buckets: [{ id: topic, streams: ['kafka'], batch: 10, batchTimeout: 20 }],
    });
    const daemon = await startDaemon({ buckets: buckets(topic, NOWHERE, fileStream('one')) });
    const client = await daemon.connect();
    await send(client, topic, 0, 500);
    await daemon.untilFiled('one', 500);
    expect(await reload(daemon, buckets(topic, bootstrap, fileStream('two')))).toBeUndefined();
    await daemon.line(
      /ERROR .*SIGHUP: .*streamsConfigs\.kafka\.backup\.settings\.path: ".*two" was ".*one", and a backup's place changes only with a restart of Kahe/,
    );
    await send(client, topic, 500, 800);
    await daemon.untilFiled('one', 800);
    await reload(daemon, without(NOWHERE));
    await daemon.line(
      /WARN .*800 frames stay in the backup below .*one: it has no backup any more; Kahe does not send them: use kahe replay/,
    );
    await reload(daemon, buckets(topic, bootstrap, fileStream('one')));
    expect(await numbersInTopic(topic, 800)).toEqual(new Map([['c', range(0, 800)]]));
    await daemon.until(
      'nothing in the backup',
      async () => (await filesOf(join(daemon.folder, 'one'))).length === 0,
    );
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(daemon.accounts.get(`${topic}/kafka`)).toEqual({ received: 800, delivered: 800, ...NONE });
  });

  test('that an operator sends: what went for maxFiles before and after a reload counts once', async () => {
    const backup = (maxFiles: number): object => manualBackup('backup', { sizeRotate: '1KB', maxFiles });
    const daemon = await startDaemon({ buckets: buckets('orders', NOWHERE, backup(50)) });
    const client = await daemon.connect();
    await send(client, 'orders', 0, 500);
    await daemon.untilFiled('backup', 500);
    await reload(daemon, buckets('orders', NOWHERE, backup(5)));
    await send(client, 'orders', 500, 600);
    expect(await client.receipt()).toBe(600);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    const kept = (await daemon.files('backup')).length;
    expect(kept).toBeLessThan(200);
    expect(daemon.accounts.get('orders/kafka')).toEqual({
      received: 600,
      delivered: 0,
      ...NONE,
      backedUp: kept,
      discarded: 600 - kept,
    });
  });
});

test('a bucket that was not configured at the start, and is again: its spool is delivered', async () => {
  const [topic, folder] = [await newTopic(bootstrap, 'reload-left'), await daemonFolder()];
  const other = { id: 'other', streams: ['kafka'] };
  const configured = (address: string, isThere: boolean): object => ({
    streamsConfigs: { kafka: kafkaStream(address, HASTY) },
    buckets: [...(isThere ? [{ id: topic, streams: ['kafka'], batch: 10, batchTimeout: 20 }] : []), other],
  });
  const env = { SPOOL: './spool', STOP_TIMEOUT: '2s' };
  const first = await startDaemon({ buckets: configured(NOWHERE, true), env, folder });
  const client = await first.connect();
  await send(client, topic, 0, 500);
  expect(await client.receipt()).toBe(500);
  await first.stop();
  const second = await startDaemon({ buckets: configured(bootstrap, false), env, folder });
  await second.line(
    new RegExp(`WARN .* the spool holds batches of bucket ${topic}, which is no longer configured`),
  );
  expect(await reload(second, configured(bootstrap, true))).toBe(`added buckets.${topic}`);
  expect(await numbersInTopic(topic, 500)).toEqual(new Map([['c', range(0, 500)]]));
  await noSpoolFiles(second);
  expect(await second.stop()).toMatchObject({ code: 0 });
});

describe('a replay is going on', () => {
  const COUNT = 60_000;
  const buckets = (topic: string, proxy: TcpProxy, settings = {}): object => ({
    streamsConfigs: {
      kafka: kafkaStream(
        proxy.address,
        { ...HASTY, ...settings },
        { backup: fileStream('backup', { sizeRotate: '4MB' }) },
      ),
    },
    buckets: [{ id: topic, streams: ['kafka'], batch: 1000, batchTimeout: 20 }],
  });

  test('changed again and again during it: each successor goes on where the last stood, nothing twice', async () => {
    const [proxy, topic, folder] = [
      await startShutKafka(),
      await newTopic(bootstrap, 'reload-replay'),
      await daemonFolder(),
    ];
    const daemon = await startDaemon({ buckets: buckets(topic, proxy), folder });
    const client = await daemon.connect();
    for (let from = 0; from < COUNT; from += 5000)
      await client.send(numberedFrames(topic, 'c', { from, count: 5000, bytes: 500 }));
    expect(await client.receipt()).toBe(COUNT);
    proxy.faults.refuse = false;
    const writer = await Writer.start(daemon, topic, 'w');
    let turns = 0;
    await daemon.until(
      'the backup is sent',
      async () => {
        const before = await endOffset(bootstrap, topic);
        await reload(daemon, buckets(topic, proxy, { 'batch.num.messages': 5000 + turns++ }));
        await daemon.until(
          'some more of it in Kafka',
          async () => (await endOffset(bootstrap, topic)) > before,
        );
        return (await filesOf(join(daemon.folder, 'backup'))).length === 0;
      },
      60_000,
    );
    expect(turns).toBeGreaterThan(2);
    await writer.sends(daemon, 100);
    await writer.end();
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    const total = COUNT + writer.sent;
    expect(await numbersInTopic(topic, total)).toEqual(
      new Map([
        ['c', range(0, COUNT)],
        ['w', range(0, writer.sent)],
      ]),
    );
    expect(daemon.accounts.get(`${topic}/kafka`)).toEqual({
      received: total,
      delivered: total,
      queued: 0,
      backedUp: 0,
      slicedOut: 0,
      rejected: 0,
      discarded: 0,
    });
  });
});

describe('after a reload, killed (kill -9) with batches in the spool', () => {
  test('the streams of that time have all; a later one has nothing from before; one that went, nothing', async () => {
    const topic = await newTopic(bootstrap, 'reload-killed');
    const folder = await daemonFolder();
    const streamsConfigs = (address: string): object => ({
      kafka: kafkaStream(address, HASTY),
      old: fileStream('old'),
      late: fileStream('late'),
    });
    const configured = (address: string, ...streams: string[]): object => ({
      streamsConfigs: streamsConfigs(address),
      buckets: [{ id: topic, streams, batch: 10, batchTimeout: 20 }],
    });
    const env = { SPOOL: './spool' };
    const first = await startDaemon({ buckets: configured(NOWHERE, 'kafka', 'old'), env, folder });
    const client = await first.connect();
    await send(client, topic, 0, 500);
    await first.line(/delivery stopped/);
    await first.untilFiled('old', 500);
    await reload(first, configured(NOWHERE, 'kafka', 'late'));
    await send(client, topic, 500, 800);
    expect(await client.receipt()).toBe(800);
    await first.untilFiled('late', 300);
    const notes = join(folder, 'spool', topic, 'settled.json');
    await first.until('a note of the stream that came', async () =>
      /"late":/.test(await readFile(notes, 'utf8').catch(() => '')),
    );
    await first.kill9();
    const second = await startDaemon({ buckets: configured(bootstrap, 'kafka', 'late'), env, folder });
    expect(await numbersInTopic(topic, 800)).toEqual(new Map([['c', range(0, 800)]]));
    await noSpoolFiles(second);
    expect(await second.stop()).toMatchObject({ code: 0 });
    const late = numbersIn(await second.files('late')).get('c')!;
    expect([...new Set(late)]).toEqual(range(500, 800));
    expect(numbersIn(await second.files('old'))).toEqual(new Map([['c', range(0, 500)]]));
  });
});
