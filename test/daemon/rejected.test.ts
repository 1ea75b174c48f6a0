// REJECTED that is full, or whose disk fails: nothing is lost by it, nothing that is not kept is called safe,
// and it goes on by itself when there is room. And what a connection is told of its frames.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, inject, test } from 'vitest';
import {
  frame,
  numberedFrames,
  numbersBySender,
  prefixed,
  range,
  startDaemon,
  type TestDaemon,
} from '../../support/daemon.js';
import { fileStream, kafkaStream, manualBackup, newTopic } from '../../support/daemonBuckets.js';
import { createTopic } from '../../support/kafkaTopics.js';
import { allMessages, readTopic } from '../../support/kafkaReader.js';
import { readFiles } from '../../support/daemonFrames.js';

const { bootstrap } = inject('kafka');
const MAIN = path.resolve(import.meta.dirname, '../../dist/main.js');
const ADMIN = { ADMIN: './admin.sock' };
/** Bytes of REJECTED_MAX that a file of ours takes, so that hardly a frame fits beside it. */
const FILLED = { REJECTED_MAX: '100KB' };

/** A REJECTED that has no room; removing what it returns makes some. */
function fillRejected(daemon: Pick<TestDaemon, 'folder'>): string {
  const file = path.join(daemon.folder, 'rejected', '20250101-abcdefgh.bckstm');
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, '');
  truncateSync(file, 100 * 1024);
  return file;
}

function status({ folder }: TestDaemon): { readonly code: number | null; readonly text: string } {
  const { status: code, stdout } = spawnSync(
    process.execPath,
    [MAIN, 'status', '--admin', path.join(folder, 'admin.sock')],
    { encoding: 'utf8' },
  );
  return { code, text: stdout };
}

const TO_FILES = {
  streamsConfigs: { files: fileStream('data') },
  buckets: [{ id: 'orders', streams: ['files'], batchTimeout: 30 }],
};

describe('REJECTED full', () => {
  test('who brings frames for it waits and gets no receipt, others go on; not ready; it goes on by itself', async () => {
    const daemon = await startDaemon({ buckets: TO_FILES, env: { ...FILLED, ...ADMIN } });
    const file = fillRejected(daemon);
    const [bringing, other] = [await daemon.connect(), await daemon.connect()];
    const unknown = range(0, 1000).map((n) => frame('nobody', `n${n}`));
    await bringing.send(numberedFrames('orders', 'b', { count: 10 }), ...unknown);
    const receipt = bringing.receipt();
    await daemon.line(/ERROR .* rejected frames can't be kept: the files in .* \(REJECTED_MAX\)/);
    // What it writes now stays in the kernel.
    await bringing.send(numberedFrames('orders', 'b', { from: 10, count: 5 }));
    await other.send(numberedFrames('orders', 'o', { count: 100 }));
    expect(await other.receipt()).toBe(100);
    expect(await other.report('settled')).toMatchObject({
      frames: 100,
      outcomes: { delivered: 100, rejected: 0 },
    });
    expect(numbersBySender((await daemon.files('data')).map(({ message }) => message)).get('b')).toEqual(
      range(0, 10),
    );
    expect(bringing.answersWaiting).toBe(0);
    expect(status(daemon)).toMatchObject({
      code: 1,
      text: expect.stringContaining("rejected frames can't be kept") as string,
    });

    rmSync(file);
    expect(await receipt).toBe(1010);
    await daemon.line(/INFO .* rejected frames can be kept again/);
    expect(await bringing.report('')).toEqual({
      level: 'safe',
      frames: 1015,
      outcomes: { safe: 15, rejected: 1000, discarded: 0 },
      reasons: [
        { outcome: 'rejected', reason: 'unknown bucket, and there is no defaultBucket', frames: 1000 },
      ],
    });
    expect((await readFiles(path.join(daemon.folder, 'rejected'))).map(({ message }) => message)).toEqual(
      range(0, 1000).map((n) => `n${n}`),
    );
    expect(status(daemon).code).toBe(0);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });

  test('REJECTED_FULL=drop: nobody waits, what is dropped is counted as discarded and is under no receipt', async () => {
    const daemon = await startDaemon({
      buckets: TO_FILES,
      env: { ...FILLED, ...ADMIN, REJECTED_FULL: 'drop' },
    });
    fillRejected(daemon);
    const client = await daemon.connect();
    await client.send(
      numberedFrames('orders', 'b', { count: 10 }),
      ...range(0, 100).map((n) => frame('nobody', `n${n}`)),
    );
    expect(await client.receipt()).toBe(10);
    expect(await client.report('settled')).toMatchObject({
      frames: 110,
      outcomes: { delivered: 10, rejected: 0, discarded: 100, unknown: 0 },
    });
    expect(status(daemon).code).toBe(0);
    await daemon.line(
      /discarded: bucket "nobody", stream \*: rejected \(unknown bucket.*\), and REJECTED can't keep more: 100 frames/,
    );
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });

  test('REJECTED_FULL=drop: who asks for each frame hears that it was discarded, a malformed one too', async () => {
    const daemon = await startDaemon({ buckets: TO_FILES, env: { ...FILLED, REJECTED_FULL: 'drop' } });
    fillRejected(daemon);
    const client = await daemon.connect();
    await client.each();
    const malformed = prefixed(Buffer.concat([Buffer.from([0, 0]), Buffer.alloc(4096)]));
    await client.send(
      malformed,
      frame('nobody', 'n'.repeat(4096)),
      numberedFrames('orders', 'b', { count: 2 }),
    );
    const { each } = (await client.each()) as { each: { frames: number; outcome: string }[] };
    expect(each.map(({ frames, outcome }) => `${frames} ${outcome}`)).toEqual([
      '1 discarded',
      '1 discarded',
      '2 delivered',
    ]);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });

  test.each([
    ['a spool', true, undefined],
    ['neither spool nor backup', false, undefined],
    ['a backup', false, manualBackup('backup')],
  ] as const)(
    'a stream that must reject holds what it has, with %s',
    async (_, hasSpool, backup) => {
      const env: Readonly<Record<string, string>> = hasSpool ? { SPOOL: './spool' } : {};
      const topic = await newTopic(bootstrap, 'rejected-full');
      const buckets = {
        streamsConfigs: {
          kafka: kafkaStream(bootstrap, {}, backup === undefined ? {} : { backup }),
          ...TO_FILES.streamsConfigs,
        },
        buckets: [{ id: topic, streams: ['kafka'], batchTimeout: 30 }, ...TO_FILES.buckets],
      };
      const daemon = await startDaemon({ buckets, env: { ...env, ...FILLED, ...ADMIN, STOP_TIMEOUT: '4s' } });
      const file = fillRejected(daemon);
      const client = await daemon.connect();
      const tooLarge = 'x'.repeat(2 * 1024 ** 2);
      await client.send(
        numberedFrames(topic, 'c', { count: 50 }),
        frame(topic, tooLarge),
        numberedFrames(topic, 'c', { from: 50, count: 50 }),
      );
      await daemon.line(/delivery stopped: frames must be rejected and can't be kept: the files in /);
      await client.send(numberedFrames(topic, 'c', { from: 100, count: 10 }));
      expect(status(daemon)).toMatchObject({
        code: 1,
        text: expect.stringContaining('mode error: frames must be rejected') as string,
      });
      expect(await daemon.files('backup')).toEqual([]);

      truncateSync(file, 0);
      // One frame is larger than all of REJECTED_MAX: it holds its stream until a person makes room for it.
      expect(status(daemon).code).toBe(1);
      expect(await daemon.stop()).toMatchObject({ code: 0 });
      const next = await startDaemon({ buckets, env: { ...env, ...ADMIN }, folder: daemon.folder });
      const found = async (): Promise<number[]> =>
        numbersBySender(
          allMessages(await readTopic(bootstrap, topic)).map(({ value }) => value!.toString()),
        ).get('c') ?? [];
      if (hasSpool) {
        // What was delivered beside it lies in its segment, and comes once more.
        await next.until('all is delivered', async () => new Set(await found()).size === 110);
        await next.until('it is kept', async () =>
          (await readFiles(path.join(next.folder, 'rejected'))).some(({ message }) => message === tooLarge),
        );
      } else if (backup !== undefined) {
        const inBackup = (await next.files('backup')).map(({ message }) => message);
        expect(inBackup.filter((message) => message === tooLarge)).toHaveLength(1);
        expect(
          [
            ...(await found()),
            ...(numbersBySender(inBackup.filter((message) => message !== tooLarge)).get('c') ?? []),
          ].toSorted((a, b) => a - b),
        ).toEqual(range(0, 110));
      } else {
        expect(daemon.linesLike(/discarded in all: .*not delivered when the daemon stopped/)).toHaveLength(1);
      }
      expect(await next.stop()).toMatchObject({ code: 0 });
    },
    60_000,
  );

  test('… and goes on by itself when there is room', async () => {
    const topic = `rejected-room-${process.pid}`;
    await createTopic([bootstrap], topic, { partitions: 1, config: { 'max.message.bytes': '2000' } });
    const daemon = await startDaemon({
      buckets: {
        streamsConfigs: { kafka: kafkaStream(bootstrap) },
        buckets: [{ id: topic, streams: ['kafka'], batchTimeout: 30 }],
      },
      env: { ...FILLED, ...ADMIN },
    });
    const file = fillRejected(daemon);
    const client = await daemon.connect();
    await client.send(
      numberedFrames(topic, 'c', { count: 5 }),
      frame(topic, 'x'.repeat(3000)),
      numberedFrames(topic, 'c', { from: 5, count: 5 }),
    );
    const receipt = client.receipt();
    await daemon.line(/delivery stopped: frames must be rejected/);
    expect(client.answersWaiting).toBe(0);
    rmSync(file);
    expect(await receipt).toBe(11);
    expect(await client.report('settled')).toMatchObject({
      outcomes: { delivered: 10, rejected: 1 },
      reasons: [{ outcome: 'rejected', reason: `${topic}[0]: MESSAGE_TOO_LARGE`, frames: 1 }],
    });
    expect(
      numbersBySender(allMessages(await readTopic(bootstrap, topic)).map(({ value }) => value!.toString())),
    ).toEqual(new Map([['c', range(0, 10)]]));
    expect(
      (await readFiles(path.join(daemon.folder, 'rejected'))).map(({ message }) => message.length),
    ).toEqual([3000]);
    const modes = daemon.lines.flatMap((line) => /delivery stopped|switched to \w+/.exec(line) ?? []);
    expect(modes).toEqual(['delivery stopped', 'switched to normal']);
    expect(status(daemon).code).toBe(0);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });
});

test('a REJECTED that can not be written is told at the start', async () => {
  const daemon = await startDaemon({ buckets: TO_FILES, env: { REJECTED: '/proc/rejected' } });
  await daemon.line(/ERROR .*\/proc\/rejected \(REJECTED\) can't be written: /);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
});

describe('reports', () => {
  test('over a rate limit, bad, unknown: each with its reason; what went to a backup is stored', async () => {
    const buckets = {
      streamsConfigs: {
        away: kafkaStream('127.0.0.1:1', { 'message.timeout.ms': 200 }, { backup: fileStream('backup') }),
        ...TO_FILES.streamsConfigs,
      },
      buckets: [
        {
          id: 'orders',
          streams: ['files'],
          batchTimeout: 30,
          rateLimit: { frames: 100, perMs: 3_600_000, over: 'reject' },
        },
        { id: 'away', streams: ['files', 'away'], batchTimeout: 30 },
      ],
    };
    const daemon = await startDaemon({ buckets, env: { SPOOL: './spool' } });
    const client = await daemon.connect();
    await client.send(
      numberedFrames('orders', 'c', { count: 150 }),
      numberedFrames('away', 'c', { count: 20 }),
      frame('', 'no bucket'),
    );
    const reasons = [
      {
        outcome: 'rejected',
        reason: expect.stringMatching(/^over the rate limit of the bucket: 100 frames/) as string,
        frames: 50,
      },
      { outcome: 'rejected', reason: 'no bucket', frames: 1 },
    ];
    const safe = await client.report('');
    expect(safe).toEqual({
      level: 'safe',
      frames: 171,
      outcomes: { safe: 120, rejected: 51, discarded: 0 },
      reasons: expect.arrayContaining(reasons) as object[],
    });
    expect(safe.reasons).toHaveLength(2);
    // The first Kafka stream counts where there are several.
    expect(await client.report('settled')).toMatchObject({
      level: 'settled',
      frames: 171,
      outcomes: { delivered: 100, stored: 20, slicedOut: 0, rejected: 51, discarded: 0, unknown: 0 },
    });
    const another = await daemon.connect();
    expect(await another.report('settled')).toMatchObject({
      frames: 0,
      outcomes: { delivered: 0 },
      reasons: [],
    });
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(readdirSync(path.join(daemon.folder, 'backup')).length).toBeGreaterThan(0);
    expect(statSync(path.join(daemon.folder, 'rejected')).isDirectory()).toBe(true);
  });
});
