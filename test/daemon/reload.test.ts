// SIGHUP: another buckets.json is taken on while frames come. No connection is dropped, no frame is lost,
// order is kept, the accounts add up.
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { filesOf, numberedFrames, range, startDaemon, type DaemonClient } from '../../support/daemon.js';
import { fileStream } from '../../support/daemonBuckets.js';
import { Writer, numbersIn, reload } from '../../support/reloads.js';

async function sendAll(
  client: DaemonClient,
  bucket: string,
  sender: string,
  from: number,
  to: number,
): Promise<void> {
  await client.send(numberedFrames(bucket, sender, { from, count: to - from, bytes: 60 }));
}

const toFiles = (folder: string, settings = {}): object => ({ files: fileStream(folder, settings) });
const SPOOLS = [
  ['without a spool', {}],
  ['with a spool', { SPOOL: './spool' }],
] as const;

describe("a file that can't be used", () => {
  const good = {
    streamsConfigs: toFiles('data'),
    buckets: [{ id: 'orders', streams: ['files'], batchTimeout: 20 }],
  };

  test.each([
    [
      'a mistake in it',
      { ...good, buckets: [{ id: 'orders', streams: ['fiels'] }] },
      /buckets\.json: buckets\[0\]\.streams\[0\]: no stream "fiels" in streamsConfigs/,
    ],
    ['no JSON5', '{ streams', /buckets\.json: line 1, column/],
  ])('%s: it says why, and nothing changes', async (_what, bad, said) => {
    const daemon = await startDaemon({ buckets: good });
    const client = await daemon.connect();
    await sendAll(client, 'orders', 'c', 0, 50);
    expect(await reload(daemon, bad)).toBeUndefined();
    expect(daemon.linesLike(said)).toHaveLength(1);
    expect(daemon.linesLike(said)[0]).toMatch(/^ERROR/);
    await sendAll(client, 'orders', 'c', 50, 100);
    expect(await client.receipt()).toBe(100);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(numbersIn(await daemon.files('data'))).toEqual(new Map([['c', range(0, 100)]]));
    expect(await filesOf(join(daemon.folder, 'data'))).toHaveLength(1);
  });

  test('a file that is not there: the old configuration goes on, and a later one is taken on', async () => {
    const daemon = await startDaemon({ buckets: good });
    await rename(join(daemon.folder, 'buckets.json'), join(daemon.folder, 'away.json'));
    expect(await reload(daemon)).toBeUndefined();
    await daemon.line(/ERROR .*buckets\.json: not found; BUCKETS_FILE names this file/);
    await rename(join(daemon.folder, 'away.json'), join(daemon.folder, 'buckets.json'));
    expect(await reload(daemon)).toBe('nothing has changed');
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });
});

describe('what is in .env needs a restart', () => {
  const good = { streamsConfigs: toFiles('data'), buckets: [{ id: 'orders', streams: ['files'] }] };

  test.each([
    [
      'changed',
      'MAXBUCKETS=7',
      /WARN .* SIGHUP: .*\.env\.dev\.local has changed: its settings need a restart/,
    ],
    [
      'not to be used any more',
      'MAXBUCKETS=seven',
      /WARN .* SIGHUP: .*\.env\.dev\.local: MAXBUCKETS: "seven".*; with it the daemon would not start again/,
    ],
  ])('%s: that is told', async (_what, text, said) => {
    const daemon = await startDaemon({ buckets: good });
    await reload(daemon);
    expect(daemon.linesLike(/WARN/)).toEqual([]);
    await writeFile(join(daemon.folder, '.env.dev.local'), text);
    expect(await reload(daemon)).toBe('nothing has changed');
    expect(daemon.linesLike(said)).toHaveLength(1);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });
});

describe.each(SPOOLS)('under load, %s', (_kind, env) => {
  test('buckets are added, changed and removed; what does not change is not touched', async () => {
    const bucket = (id: string, more = {}): object => ({
      id,
      streams: ['files'],
      batch: 30,
      batchTimeout: 20,
      ...more,
    });
    const streamsConfigs = { files: fileStream('data'), more: fileStream('more') };
    const daemon = await startDaemon({
      buckets: { streamsConfigs, buckets: [bucket('same'), bucket('changed'), bucket('removed')] },
      env,
    });
    const writers = await Promise.all(
      ['same', 'changed', 'removed', 'added'].map((name) => Writer.start(daemon, name, name)),
    );
    for (const writer of writers) await writer.sends(daemon, 200);
    const changed = await reload(daemon, {
      streamsConfigs,
      buckets: [
        bucket('same'),
        bucket('changed', { streams: ['files', 'more'], batchTimeout: 30, batch: 7 }),
        bucket('added'),
      ],
    });
    expect(changed).toBe(
      'added buckets.added; removed buckets.removed; changed buckets.changed (batch, batchTimeout, new stream more)',
    );
    for (const writer of writers) await writer.sends(daemon, 200);
    for (const writer of writers) await writer.end();
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    const [delivered, more, rejected] = [
      numbersIn(await daemon.files('data')),
      numbersIn(await daemon.files('more')),
      numbersIn(await daemon.files('rejected')),
    ];
    for (const { name, sent } of writers) {
      const [own, refused] = [delivered.get(name) ?? [], rejected.get(name) ?? []];
      // Before the reload what has no bucket is rejected, after it what has none any more.
      expect(name === 'added' ? [...refused, ...own] : [...own, ...refused], name).toEqual(range(0, sent));
      expect(own.length, name).toBeGreaterThan(0);
    }
    expect([...rejected.keys()].sort()).toEqual(['added', 'removed']);
    const sent = new Map(writers.map(({ name, sent: all }) => [name, all]));
    // From some moment on, and then all.
    const first = more.get('changed')![0]!;
    expect([...more.keys()]).toEqual(['changed']);
    expect(first).toBeGreaterThan(0);
    expect(more.get('changed')).toEqual(range(first, sent.get('changed')!));
    // Of the bucket that has changed, this stream has not.
    for (const name of ['same', 'changed'])
      expect(await filesOf(join(daemon.folder, 'data', name)), name).toHaveLength(1);
    expect(daemon.accounts.get('removed/files')).toMatchObject({ queued: 0, rejected: 0 });
    expect(await filesOf(join(daemon.folder, 'spool'))).toEqual([]);
  });

  test('the open batch of a bucket that does not change stays open', async () => {
    const configured = (batch: number): object => ({
      streamsConfigs: toFiles('data'),
      buckets: [
        { id: 'quiet', streams: ['files'], batchTimeout: 60_000 },
        { id: 'other', streams: ['files'], batch },
      ],
    });
    const daemon = await startDaemon({ buckets: configured(10), env });
    const client = await daemon.connect();
    await sendAll(client, 'quiet', 'q', 0, 30);
    await sendAll(client, 'other', 'o', 0, 100);
    await daemon.untilFiled('data/other', 100);
    await reload(daemon, configured(20));
    await sendAll(client, 'other', 'o', 100, 200);
    await daemon.untilFiled('data/other', 200);
    expect(await filesOf(join(daemon.folder, 'data', 'quiet'))).toEqual([]);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(numbersIn(await daemon.files('data'))).toEqual(
      new Map([
        ['q', range(0, 30)],
        ['o', range(0, 200)],
      ]),
    );
  });

  test('defaultBucket: added, changed, removed; and a bucket that comes back to it', async () => {
    const streamsConfigs = { a: fileStream('a'), b: fileStream('b') };
    const known = { id: 'known', streams: ['a'], batchTimeout: 20 };
    const daemon = await startDaemon({ buckets: { streamsConfigs, buckets: [known] }, env });
    const writer = await Writer.start(daemon, 'any', 'w');
    await writer.sends(daemon, 100);
    expect(
      await reload(daemon, {
        streamsConfigs,
        buckets: [known],
        defaultBucket: { streams: ['a'], batchTimeout: 20 },
      }),
    ).toBe('added defaultBucket');
    await writer.sends(daemon, 200);
    expect(
      await reload(daemon, {
        streamsConfigs,
        buckets: [known],
        defaultBucket: { streams: ['b'], batchTimeout: 20 },
      }),
    ).toBe('changed defaultBucket (new stream b, without stream a)');
    await writer.sends(daemon, 200);
    // Of its own now, and back again.
    await reload(daemon, {
      streamsConfigs,
      buckets: [known, { id: 'any', streams: ['b', 'a'], batchTimeout: 20 }],
      defaultBucket: { streams: ['b'], batchTimeout: 20 },
    });
    await writer.sends(daemon, 200);
    await reload(daemon, {
      streamsConfigs,
      buckets: [known],
      defaultBucket: { streams: ['b'], batchTimeout: 20 },
    });
    await writer.sends(daemon, 200);
    expect(await reload(daemon, { streamsConfigs, buckets: [known] })).toBe('removed defaultBucket');
    await writer.sends(daemon, 200);
    await writer.end();
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    const [a, b, rejected] = [
      numbersIn(await daemon.files('a')).get('w')!,
      numbersIn(await daemon.files('b')).get('w')!,
      numbersIn(await daemon.files('rejected')).get('w')!,
    ];
    const [start, end] = [a[0]!, b.at(-1)! + 1];
    expect(b).toEqual(range(b[0]!, end));
    expect(rejected).toEqual([...range(0, start), ...range(end, writer.sent)]);
    // First and third time; b has what it has not, and all of the third time too.
    expect(a.slice(0, b[0]! - start)).toEqual(range(start, b[0]!));
    const third = a.slice(b[0]! - start);
    expect(third).toEqual(range(third[0]!, third[0]! + third.length));
    expect(third.length).toBeGreaterThan(0);
    const { received, delivered } = daemon.accounts.get('any/b')!;
    expect([received, delivered]).toEqual([b.length, b.length]);
    expect(daemon.accounts.get('any/a')).toMatchObject({ received: a.length, delivered: a.length });
  });

  test('a stream that is changed, back and forth: its successor goes on in order, in files that are closed', async () => {
    const buckets = (settings: object): object => ({
      streamsConfigs: toFiles('data', settings),
      buckets: [{ id: 'orders', streams: ['files'], batch: 50, batchTimeout: 20 }],
    });
    const daemon = await startDaemon({ buckets: buckets({}), env });
    const writers = await Promise.all(range(0, 4).map((i) => Writer.start(daemon, 'orders', `w${i}`)));
    for (const round of range(0, 10)) {
      await writers[0]!.sends(daemon, 40);
      expect(await reload(daemon, buckets(round % 2 === 0 ? { sizeRotate: '4KB' } : {}))).toBe(
        'changed buckets.orders (changed stream files)',
      );
    }
    for (const writer of writers) await writer.end();
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(numbersIn(await daemon.files('data'))).toEqual(
      new Map(writers.map(({ name, sent }) => [name, range(0, sent)])),
    );
    const sum = writers.reduce((all, { sent }) => all + sent, 0);
    expect(daemon.accounts.get('orders/files')).toEqual({
      received: sum,
      delivered: sum,
      queued: 0,
      backedUp: 0,
      slicedOut: 0,
      rejected: 0,
      discarded: 0,
    });
  });
});
