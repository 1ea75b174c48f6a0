// SIGHUP with rate limits: a limit comes, changes and goes while frames do; none is lost, none is counted
// twice.
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { checkAccounts, statusOf } from '../../support/adminDoor.js';
import { range, startDaemon, type Frame, type TestDaemon } from '../../support/daemon.js';
import { fileStream } from '../../support/daemonBuckets.js';
import { Writer, configure, numbersIn, reload } from '../../support/reloads.js';
import { numberedFrames } from '../../support/daemonFrames.js';

/** Longer than any test: what passes is just the limit. */
const AN_HOUR_MS = 3_600_000;
const ZERO = { received: 0, delivered: 0, queued: 0, backedUp: 0, slicedOut: 0, rejected: 0, discarded: 0 };

function sorted(frames: readonly Pick<Frame, 'message'>[]): number[] {
  return (numbersIn(frames as readonly Frame[]).get('a') ?? []).toSorted((x, y) => x - y);
}

async function send(daemon: TestDaemon, bucket: string, from: number, to: number): Promise<void> {
  const client = await daemon.connect();
  await client.send(numberedFrames(bucket, 'a', { from, count: to - from, bytes: 60 }));
  expect(await client.receipt()).toBe(to - from);
}

describe('a limit', () => {
  const buckets = (rateLimit?: object, streams = ['files']): object => ({
    streamsConfigs: { files: fileStream('data'), more: fileStream('more') },
    buckets: [{ id: 'orders', streams, batchTimeout: 20, ...(rateLimit === undefined ? {} : { rateLimit }) }],
  });

  test('comes, is raised, stays while a stream is added, and goes', async () => {
    const daemon = await startDaemon({ buckets: buckets() });
    await send(daemon, 'orders', 0, 50);
    expect(await reload(daemon, buckets({ frames: 10, perMs: AN_HOUR_MS }))).toBe(
      'changed buckets.orders (rateLimit)',
    );
    await send(daemon, 'orders', 50, 80);
    expect(await reload(daemon, buckets({ frames: 20, perMs: AN_HOUR_MS }))).toBe(
      'changed buckets.orders (rateLimit)',
    );
    // Ten of it were let through before.
    await send(daemon, 'orders', 80, 110);
    // The same limit, which has let through all that it may.
    expect(await reload(daemon, buckets({ frames: 20, perMs: AN_HOUR_MS }, ['files', 'more']))).toBe(
      'changed buckets.orders (new stream more)',
    );
    await send(daemon, 'orders', 110, 130);
    expect(await reload(daemon, buckets(undefined, ['files', 'more']))).toBe(
      'changed buckets.orders (rateLimit)',
    );
    await send(daemon, 'orders', 130, 150);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(sorted(await daemon.files('data'))).toEqual([
      ...range(0, 60),
      ...range(80, 90),
      ...range(130, 150),
    ]);
    expect(sorted(await daemon.files('rejected'))).toEqual([...range(60, 80), ...range(90, 130)]);
    expect(daemon.accounts.get('orders/files')).toEqual({
      ...ZERO,
      received: 150,
      delivered: 90,
      rejected: 60,
    });
    expect(daemon.accounts.get('orders/more')).toEqual({
      ...ZERO,
      received: 40,
      delivered: 20,
      rejected: 20,
    });
  });

  test.each([
    ['without a spool', {}],
    ['with a spool', { SPOOL: './spool' }],
  ])(
    '%s: it comes, changes and goes again and again, while clients write',
    async (_what, env) => {
      const daemon = await startDaemon({ buckets: buckets(), env: { ADMIN: './admin.sock', ...env } });
      const door = join(daemon.folder, 'admin.sock');
      const writer = await Writer.start(daemon, 'orders', 'a');
      for (let round = 0; round < 12; round++) {
        await writer.sends(daemon, 60);
        const limit = { frames: 20 + round, perMs: AN_HOUR_MS };
        await reload(daemon, round % 4 === 3 ? buckets() : buckets(limit));
        checkAccounts(await statusOf(door));
      }
      await writer.end();
      expect(await daemon.stop()).toMatchObject({ code: 0 });
      const [data, rejected] = await Promise.all(
        ['data', 'rejected'].map(async (folder) => sorted(await daemon.files(folder))),
      );
      expect([...data!, ...rejected!].toSorted((x, y) => x - y)).toEqual(range(0, writer.sent));
      expect(daemon.accounts.get('orders/files')).toEqual({
        ...ZERO,
        received: writer.sent,
        delivered: data!.length,
        rejected: rejected!.length,
      });
      expect(rejected!.length).toBeGreaterThan(0);
    },
    60_000,
  );

  test('a bucket that turns to defaultBucket, with the same settings, keeps its limit', async () => {
    const settings = { streams: ['files'], batchTimeout: 20, rateLimit: { frames: 10, perMs: AN_HOUR_MS } };
    const withBuckets = (ids: readonly string[]): object => ({
      streamsConfigs: { files: fileStream('data') },
      buckets: ids.map((id) => ({ id, ...settings })),
      defaultBucket: settings,
    });
    const daemon = await startDaemon({ buckets: withBuckets(['orders', 'others']) });
    await send(daemon, 'orders', 0, 15);
    expect(await reload(daemon, withBuckets(['others']))).toBe('removed buckets.orders');
    await send(daemon, 'orders', 15, 40);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(sorted(await daemon.files('data'))).toEqual(range(0, 10));
    expect(sorted(await daemon.files('rejected'))).toEqual(range(10, 40));
    expect(daemon.accounts.get('orders/files')).toEqual({
      ...ZERO,
      received: 40,
      delivered: 10,
      rejected: 30,
    });
  });

  test('a stop in the middle of a change of it: every frame is somewhere', async () => {
    const daemon = await startDaemon({
      buckets: buckets({ frames: 30, perMs: AN_HOUR_MS }),
      env: { SPOOL: './spool' },
    });
    const writer = await Writer.start(daemon, 'orders', 'a');
    await writer.sends(daemon, 100);
    await configure(daemon, buckets({ frames: 31, perMs: AN_HOUR_MS }));
    daemon.signal('SIGHUP');
    await writer.sends(daemon, 40);
    await writer.end();
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    const frames = [...(await daemon.files('data')), ...(await daemon.files('rejected'))];
    expect(sorted(frames)).toEqual(range(0, writer.sent));
  });

  test('over: "backup", which there is no more, leaves the old one in force', async () => {
    const daemon = await startDaemon({ buckets: buckets({ frames: 10, perMs: AN_HOUR_MS }) });
    await configure(daemon, buckets({ frames: 20, perMs: AN_HOUR_MS, over: 'backup' }));
    daemon.signal('SIGHUP');
    await daemon.line(/buckets\[0\]\.rateLimit\.over: "backup" is not there any more: .* kahe replay --rate/);
    await send(daemon, 'orders', 0, 15);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(sorted(await daemon.files('data'))).toEqual(range(0, 10));
  });
});
