// Drop-in for kahego: what it does, row by row of the comparison, as far as it can be seen from outside. What
// only the configuration decides is in src/config; signals and exit codes are in life.test.ts, hostile input
// is in input.test.ts, outages are in outages.test.ts.
import { readFileSync } from 'node:fs';
import { mkdir, readFile, readdir, stat, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { describe, expect, inject, test } from 'vitest';
import {
  LOG_LINE,
  daemonFolder,
  filesOf,
  frame,
  numberedFrames,
  numbersBySender,
  parseFrames,
  prefixed,
  range,
  spawnDaemon,
  startDaemon,
  type TestDaemon,
} from '../../support/daemon.js';
import { fileStream, kafkaStream, newTopic } from '../../support/daemonBuckets.js';
import { allMessages, readBatches, readTopic } from '../../support/kafkaReader.js';

const { bootstrap } = inject('kafka');

const KAHEGO_FILE = join(import.meta.dirname, '../fixtures/kahego-500.bckstm');

function toFiles(settings: Parameters<typeof fileStream>[1] = {}, bucket: object = {}): object {
  return {
    streamsConfigs: { files: fileStream('data', settings) },
    buckets: [{ id: 'orders', streams: ['files'], batchTimeout: 20, ...bucket }],
  };
}

/** Frames of `orders`, each safe before the next is written. */
async function writeOneByOne(daemon: TestDaemon, sender: string, count: number, bytes = 0): Promise<void> {
  const client = await daemon.connect();
  for (let from = 0; from < count; from++) {
    await client.send(numberedFrames('orders', sender, { from, count: 1, bytes }));
    await client.receipt();
  }
  await client.close();
}

async function namesIn(daemon: TestDaemon, folder = 'data'): Promise<string[]> {
  const entries = await readdir(join(daemon.folder, folder), { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && !entry.parentPath.includes('.kahe'))
    .map((entry) => join(entry.parentPath, entry.name).slice(join(daemon.folder, folder).length + 1))
    .sort();
}

describe('environment, BUCKETS_FILE, LOG_LEVEL', () => {
  test('.env.{environment}.local is read, BUCKETS_FILE may be JSON5, and real variables win', async () => {
    const folder = await daemonFolder();
    const buckets = `{ // JSON5
      streamsConfigs: { files: { type: 'file', settings: { path: './there', fileNameTemplate: '{bucket}.bckstm', }, }, },
      buckets: [ { id: 'orders', streams: ['files'], batch: '1000', batchTimeout: '20' }, ], /* the end */
    }`;
    await writeFile(join(folder, 'streams.json5'), buckets);
    await writeFile(
      join(folder, '.env.prod.local'),
      'BUCKETS_FILE=./streams.json5\nSOCKET=/nowhere/kahe.sock\nLOG_LEVEL=WARN\n',
    );
    await writeFile(join(folder, '.env.dev.local'), 'BUCKETS_FILE=./not-there.json\n');
    const daemon = await spawnDaemon(folder, { environment: 'prod' });
    await daemon.answers();
    await writeOneByOne(daemon, 'c', 1);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(await daemon.files('there')).toEqual([{ bucket: 'orders', key: undefined, message: 'c:0:' }]);
    expect(daemon.lines).toEqual([]);
  });

  test('log lines are LEVEL | date time | text, at the level asked for; an unknown level is INFO', async () => {
    const daemon = await startDaemon({ buckets: toFiles(), env: { LOG_LEVEL: 'verbose' } });
    await daemon.line(/ listens on /);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(daemon.lines.every((line) => LOG_LINE.test(line))).toBe(true);
    expect(daemon.lines[0]).toMatch(/^WARN \| .* LOG_LEVEL: "verbose" is not one of .*; INFO is used$/);
    expect(
      daemon.linesLike(/^INFO \| \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ \| kahe \d+ listens on /),
    ).toHaveLength(1);
    const quiet = await startDaemon({ buckets: toFiles(), env: { LOG_LEVEL: 'ERROR' } });
    expect(await quiet.stop()).toMatchObject({ code: 0 });
    expect(quiet.lines).toEqual([]);
  });
});

describe('batch, batchTimeout, slice', () => {
  test('a batch closes at its count, long before its timeout', async () => {
    const daemon = await startDaemon({ buckets: toFiles({}, { batch: 10, batchTimeout: 600_000 }) });
    const client = await daemon.connect();
    await client.send(numberedFrames('orders', 'c', { count: 10 }));
    await daemon.untilFiled('data', 10);
    expect(await daemon.files('data')).toHaveLength(10);
    await client.send(numberedFrames('orders', 'c', { from: 10, count: 25 }));
    await daemon.untilFiled('data', 30);
    expect(await daemon.files('data')).toHaveLength(30);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(numbersBySender((await daemon.files('data')).map(({ message }) => message))).toEqual(
      new Map([['c', range(0, 35)]]),
    );
  });

  test('a batch closes at its timeout, long before its count', async () => {
    const daemon = await startDaemon({ buckets: toFiles({}, { batch: 1_000_000, batchTimeout: 150 }) });
    const client = await daemon.connect();
    const sent = Date.now();
    await client.send(numberedFrames('orders', 'c', { count: 3 }));
    expect(await client.receipt()).toBe(3);
    expect(Date.now() - sent).toBeGreaterThanOrEqual(140);
    expect(await daemon.files('data')).toHaveLength(3);
  });

  test('slice 0.1 sends about a tenth by chance; without slice all; two streams each have theirs', async () => {
    const count = 20_000;
    const streams = {
      all: fileStream('all'),
      too: fileStream('too'),
      tenth: { ...fileStream('tenth'), slice: 0.1 },
      none: { ...fileStream('none'), slice: 0 },
    };
    const daemon = await startDaemon({
      buckets: {
        streamsConfigs: streams,
        buckets: [{ id: 'orders', streams: Object.keys(streams), batch: 1000, batchTimeout: 50 }],
      },
    });
    const client = await daemon.connect();
    await client.send(numberedFrames('orders', 'c', { count }));
    expect(await client.receipt()).toBe(count);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    for (const name of ['all', 'too'])
      expect(numbersBySender((await daemon.files(name)).map(({ message }) => message))).toEqual(
        new Map([['c', range(0, count)]]),
      );
    const tenth = numbersBySender((await daemon.files('tenth')).map(({ message }) => message)).get('c')!;
    // Within 6 σ of 2000.
    expect(tenth.length).toBeGreaterThan(1740);
    expect(tenth.length).toBeLessThan(2260);
    expect(tenth).toEqual([...new Set(tenth)].sort((a, b) => a - b));
    // From each part of the batches, not one frame in ten nor the first tenth.
    for (const part of range(0, 10))
      expect(tenth.filter((number) => Math.floor((number % 1000) / 100) === part).length).toBeGreaterThan(
        100,
      );
    expect(new Set(tenth.map((number) => number % 10)).size).toBe(10);
    expect(await filesOf(join(daemon.folder, 'none'))).toEqual([]);
    expect(daemon.accounts.get('orders/tenth')).toEqual({
      received: count,
      delivered: tenth.length,
      slicedOut: count - tenth.length,
      backedUp: 0,
      rejected: 0,
      queued: 0,
      discarded: 0,
    });
  });
});

describe('files', () => {
  test("the default name is the bucket's; folders are 0750, files 0640", async () => {
    const before = process.umask(0o022);
    const daemon = await startDaemon({
      buckets: {
        streamsConfigs: { files: { type: 'file', settings: { path: './a/b/data' } } },
        buckets: [{ id: 'orders', streams: ['files'], batchTimeout: 20 }],
      },
    }).finally(() => process.umask(before));
    await writeOneByOne(daemon, 'c', 3);
    expect(await namesIn(daemon, 'a/b/data')).toEqual(['orders']);
    expect((await stat(join(daemon.folder, 'a/b/data'))).mode & 0o777).toBe(0o750);
    expect((await stat(join(daemon.folder, 'a/b/data/orders'))).mode & 0o777).toBe(0o640);
    expect(parseFrames(await readFile(join(daemon.folder, 'a/b/data/orders')))).toHaveLength(3);
  });

  test('fileNameTemplate: {bucket} {PS} {hostname} {rand} {ts}, folders and all', async () => {
    const daemon = await startDaemon({
      buckets: toFiles({ fileNameTemplate: '{hostname}{PS}{bucket}/{bucket}-{rand}-{ts}.bckstm' }),
    });
    const before = Math.floor(Date.now() / 1000);
    await writeOneByOne(daemon, 'c', 1);
    const [name] = await namesIn(daemon);
    const [, host, rand, ts] = /^([^/]+)\/orders\/orders-([a-z0-9]{8})-(\d+)\.bckstm$/.exec(name!)!;
    expect(host).toBe(hostname());
    expect(rand).toHaveLength(8);
    expect(Number(ts)).toBeGreaterThanOrEqual(before);
    expect(Number(ts)).toBeLessThanOrEqual(Date.now() / 1000);
  });

  test('sizeRotate: a bare number is bytes; files hold whole frames, names never repeat, order goes on', async () => {
    const daemon = await startDaemon({
      buckets: toFiles({ sizeRotate: '4096', fileNameTemplate: '{bucket}.bckstm' }, { batch: 5 }),
    });
    const client = await daemon.connect();
    for (const round of range(0, 40)) {
      await client.send(numberedFrames('orders', 'c', { from: round * 5, count: 5, bytes: 300 }));
      await client.receipt();
    }
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    const files = await filesOf(join(daemon.folder, 'data'));
    expect(files.length).toBeGreaterThan(10);
    for (const file of files) expect((await stat(file)).size).toBeLessThan(4096 + 5 * 400);
    expect(numbersBySender((await daemon.files('data')).map(({ message }) => message))).toEqual(
      new Map([['c', range(0, 200)]]),
    );
    // Started again, it goes on behind them.
    const again = await startDaemon({
      buckets: toFiles({ sizeRotate: '4096', fileNameTemplate: '{bucket}.bckstm' }),
      folder: daemon.folder,
    });
    await writeOneByOne(again, 'again', 2);
    expect(await again.stop()).toMatchObject({ code: 0 });
    const numbers = numbersBySender((await again.files('data')).map(({ message }) => message));
    expect(numbers).toEqual(
      new Map([
        ['c', range(0, 200)],
        ['again', [0, 1]],
      ]),
    );
  });

  test("maxFiles: the oldest of its own go, and are reported; a stranger's file stays", async () => {
    const folder = await daemonFolder();
    await mkdir(join(folder, 'data/orders'), { recursive: true });
    await writeFile(join(folder, 'data/orders/1000000000.bckstm'), "a stranger's");
    await writeFile(join(folder, 'data/orders/notes.txt'), 'mine');
    const daemon = await startDaemon({
      buckets: toFiles({ sizeRotate: 1024, maxFiles: '3' }, { batch: 1 }),
      folder,
    });
    await writeOneByOne(daemon, 'c', 20, 1100);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(await readFile(join(folder, 'data/orders/1000000000.bckstm'), 'utf8')).toBe("a stranger's");
    expect(await readFile(join(folder, 'data/orders/notes.txt'), 'utf8')).toBe('mine');
    const own = (await filesOf(join(folder, 'data'))).filter((file) => !file.endsWith('/1000000000.bckstm'));
    expect(own).toHaveLength(3);
    const frames = (await Promise.all(own.map(async (file) => parseFrames(await readFile(file))))).flat();
    expect(numbersBySender(frames.map(({ message }) => message))).toEqual(new Map([['c', [17, 18, 19]]]));
    expect(daemon.timesSaid(/WARN .*was removed with 1 frame: maxFiles was reached/)).toBe(17);
  });

  test("kahego's .bckstm bytes go in through the socket and come out the same; so do ours, once more", async () => {
    const bytes = readFileSync(KAHEGO_FILE);
    const daemon = await startDaemon({
      buckets: {
        streamsConfigs: { files: fileStream('data') },
        buckets: [{ id: 'other', streams: ['files'] }],
        defaultBucket: { streams: ['files'], batchTimeout: 20 },
      },
    });
    for (const round of [1, 2]) {
      const client = await daemon.connect();
      await client.send(round === 1 ? bytes : readFileSync((await filesOf(join(daemon.folder, 'data')))[0]!));
      expect(await client.receipt()).toBe(500);
    }
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    const [file, ...more] = await filesOf(join(daemon.folder, 'data'));
    expect(more).toEqual([]);
    expect(readFileSync(file!).equals(Buffer.concat([bytes, bytes]))).toBe(true);
  });

  test('checkpoint frames, as spool files have them, are taken from the socket and left out', async () => {
    const daemon = await startDaemon({ buckets: toFiles() });
    const client = await daemon.connect();
    const checkpoint = prefixed(
      Buffer.concat([Buffer.from([0, 5]), Buffer.from('kahe1'), Buffer.alloc(16, 7)]),
    );
    await client.send(frame('orders', 'c:0:'), checkpoint, frame('orders', 'c:1:'), checkpoint);
    expect(await client.receipt()).toBe(2);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(await daemon.files('data')).toHaveLength(2);
    expect(daemon.received).toEqual({ frames: 2, bad: 0 });
  });
});

describe('Kafka', () => {
  test("the topic is the bucket's name, the timestamp is the time of arrival, no key is a null key", async () => {
    const topic = await newTopic(bootstrap, 'compat');
    const daemon = await startDaemon({
      buckets: {
        streamsConfigs: { kafka: kafkaStream(bootstrap) },
        buckets: [{ id: topic, streams: ['kafka'], batchTimeout: 600 }],
      },
    });
    const client = await daemon.connect();
    const before = Date.now();
    await client.send(
      frame(topic, 'keyless'),
      frame(topic, 'keyed', 'user-1'),
      frame(topic, '', 'empty'),
      frame(topic, Buffer.from([0, 255, 128]), Buffer.from([0, 255])),
    );
    const written = Date.now();
    expect(await client.receipt()).toBe(4);
    const messages = allMessages(await readTopic(bootstrap, topic));
    expect(
      messages.map(({ key, value }) => [key?.toString('latin1') ?? null, value!.toString('latin1')]),
    ).toEqual([
      [null, 'keyless'],
      ['user-1', 'keyed'],
      ['empty', ''],
      ['\0\xff', '\0\xff\x80'],
    ]);
    for (const { timestamp } of messages) {
      expect(timestamp).toBeGreaterThanOrEqual(before);
      // Half a second and more before the batch was closed.
      expect(timestamp).toBeLessThan(written + 500);
    }
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });

  test("librdkafka's names are passed on: codec, acks, batch.num.messages", async () => {
    const topic = await newTopic(bootstrap, 'settings');
    const settings = {
      'compression.codec': 'gzip',
      acks: 'all',
      'batch.num.messages': '100',
      'queue.buffering.max.ms': '5',
      'enable.idempotence': 'true',
    };
    const daemon = await startDaemon({
      buckets: {
        streamsConfigs: { kafka: kafkaStream(bootstrap, settings) },
        buckets: [{ id: topic, streams: ['kafka'], batch: 1000, batchTimeout: 20 }],
      },
    });
    const client = await daemon.connect();
    await client.send(numberedFrames(topic, 'c', { count: 1000 }));
    expect(await client.receipt()).toBe(1000);
    const batches = [...(await readBatches(bootstrap, topic)).values()].flat();
    expect(batches.length).toBeGreaterThanOrEqual(10);
    for (const batch of batches) expect(batch.records.length).toBeLessThanOrEqual(100);
    expect(
      numbersBySender(batches.flatMap(({ records }) => records.map(({ value }) => value!.toString()))),
    ).toEqual(new Map([['c', range(0, 1000)]]));
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });
});

describe('buckets on demand', () => {
  test('an unknown bucket is made from defaultBucket, with the name in the frame: as topic and as file', async () => {
    const topics = [await newTopic(bootstrap, 'demand'), await newTopic(bootstrap, 'demand')];
    const daemon = await startDaemon({
      buckets: {
        streamsConfigs: { kafka: kafkaStream(bootstrap), files: fileStream('data') },
        buckets: [{ id: 'configured', streams: ['files'], batchTimeout: 20 }],
        defaultBucket: { id: 'default', streams: ['kafka', 'files'], batchTimeout: 20 },
      },
    });
    const client = await daemon.connect();
    // Mixed, frame by frame.
    await client.send(
      ...range(0, 900).map((number) =>
        frame([...topics, 'configured'][number % 3]!, `c:${Math.floor(number / 3)}:`),
      ),
    );
    expect(await client.receipt()).toBe(900);
    for (const topic of topics) {
      expect(
        numbersBySender(allMessages(await readTopic(bootstrap, topic)).map(({ value }) => value!.toString())),
      ).toEqual(new Map([['c', range(0, 300)]]));
    }
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    for (const bucket of [...topics, 'configured']) {
      const frames = await daemon.files(`data/${bucket}`);
      expect(new Set(frames.map((each) => each.bucket))).toEqual(new Set([bucket]));
      expect(numbersBySender(frames.map(({ message }) => message))).toEqual(new Map([['c', range(0, 300)]]));
    }
    expect([...daemon.accounts.keys()].sort()).toEqual(
      [...topics.flatMap((topic) => [`${topic}/files`, `${topic}/kafka`]), 'configured/files'].sort(),
    );
  });

  test('where defaultBucket leads to Kafka, a name that can be no topic is rejected and kept', async () => {
    const topic = await newTopic(bootstrap, 'names');
    const daemon = await startDaemon({
      buckets: {
        streamsConfigs: { kafka: kafkaStream(bootstrap) },
        buckets: [{ id: topic, streams: ['kafka'], batchTimeout: 20 }],
        defaultBucket: { streams: ['kafka'] },
      },
    });
    const client = await daemon.connect();
    const names = ['a b', '../x', '..', '.', 'ü', 'x'.repeat(250), 'a/b'];
    await client.send(
      ...names.map((name) => frame(name, 'never')),
      numberedFrames(topic, 'c', { count: 10 }),
    );
    expect(await client.receipt()).toBe(names.length + 10);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect((await daemon.files('rejected')).map(({ bucket }) => bucket)).toEqual(names);
    expect(allMessages(await readTopic(bootstrap, topic))).toHaveLength(10);
  });
});
