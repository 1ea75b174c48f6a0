// Clients in numbers, as PHP-FPM makes them: each connects, writes one frame and leaves; ten thousand that
// stay; and some that never end what they began.
import { describe, expect, test } from 'vitest';
import { errnoOf } from '../../src/disk/fileSystem.js';
import { frame, numberedFrames, range, type DaemonClient, type TestDaemon } from '../../support/daemon.js';
import { fileStream } from '../../support/daemonBuckets.js';
import { launchReady, untilSpoolEmpty } from '../../support/daemonStates.js';
import { mostOpenFiles } from '../../support/daemonIdleClients.js';
import { bucketsTo } from './machines.js';
import { BUCKET, bySender, note } from './senders.js';
import { isFull } from './sizes.js';

const TO_FILES = bucketsTo(fileStream('data', { fsync: false }), { batch: 1000 });

/** Whoever connects faster than the daemon takes connections is asked to come again, by the kernel. */
async function connected(daemon: TestDaemon, onAgain: () => void): Promise<DaemonClient> {
  for (;;) {
    try {
      return await daemon.connect();
    } catch (error) {
      if (errnoOf(error) !== 'EAGAIN') throw error;
      onAgain();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

async function end(daemon: TestDaemon): Promise<Map<string, number[]>> {
  await untilSpoolEmpty(daemon, 60_000);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  return bySender(await daemon.files('data'));
}

test('connect, one frame, close, again and again, spooled: every frame arrives, nothing stays open', async () => {
  const [lanes, each] = [20, isFull ? 3_000 : 400];
  const daemon = await launchReady({ buckets: TO_FILES, env: { SPOOL: './spool' } });
  const before = daemon.openFiles;
  const startedMs = Date.now();
  let again = 0;
  await Promise.all(
    range(0, lanes).map(async (lane) => {
      for (const number of range(0, each)) {
        const client = await connected(daemon, () => again++);
        await client.send(numberedFrames(BUCKET, `lane${lane}`, { from: number, count: 1, bytes: 500 }));
        client.destroy();
      }
    }),
  );
  note('connect, one frame, close', {
    clients: lanes * each,
    'came again': again,
    'per second': Math.round((1000 * lanes * each) / (Date.now() - startedMs)),
  });
  await daemon.until('as few open files as before', () => daemon.openFiles <= before + 3);
  const found = await end(daemon);
  expect(found.size).toBe(lanes);
  // Connections are taken one after another and read side by side: no order is promised between two of them.
  for (const [lane, numbers] of found)
    expect(
      numbers.sort((a, b) => a - b),
      lane,
    ).toEqual(range(0, each));
});

if (isFull) {
  test('ten thousand clients, ten frames each, all of them connected: every frame arrives', async () => {
    const limit = mostOpenFiles();
    const count = Math.min(10_000, limit - 500);
    expect(
      count,
      'the limit of open files is too low for this test: raise it (ulimit -Hn)',
    ).toBeGreaterThanOrEqual(1000);
    const daemon = await launchReady({ buckets: TO_FILES, env: { SPOOL: './spool' }, openFiles: limit });
    const clients: DaemonClient[] = [];
    while (clients.length < count)
      clients.push(...(await Promise.all(range(0, 100).map(() => daemon.connect()))));
    for (const number of range(0, 10))
      await Promise.all(
        clients.map((client, i) =>
          client.send(numberedFrames(BUCKET, `c${i}`, { from: number, count: 1, bytes: 300 })),
        ),
      );
    expect(await clients.at(-1)!.receipt()).toBe(10);
    for (const client of clients) client.destroy();
    const found = await end(daemon);
    expect(found.size).toBe(count);
    for (const [name, numbers] of found) expect(numbers, name).toEqual(range(0, 10));
  });

  describe('clients that never end a frame', () => {
    test('a byte a second: closed after half a minute, while idle ones stay and the others are served', async () => {
      const daemon = await launchReady({ buckets: TO_FILES });
      const whole = frame(BUCKET, 'x'.repeat(500));
      const [slow, idle] = [
        await Promise.all(range(0, 100).map(() => daemon.connect())),
        await Promise.all(range(0, 100).map(() => daemon.connect())),
      ];
      const startedMs = Date.now();
      await Promise.all(slow.map((client) => client.send(whole.subarray(0, 20))));
      const dripping = setInterval(
        () => slow.forEach((client) => void client.send(whole.subarray(20, 21)).catch(() => undefined)),
        1000,
      );
      let served = 0;
      const busy = await daemon.connect();
      while (!slow.every((client) => client.isClosed)) {
        expect(Date.now() - startedMs, 'they are closed').toBeLessThan(60_000);
        await busy.send(numberedFrames(BUCKET, 'busy', { from: served, count: 100 }));
        served += 100;
        expect(await busy.receipt()).toBe(served);
      }
      clearInterval(dripping);
      const ms = Date.now() - startedMs;
      expect(idle.some((client) => client.isClosed)).toBe(false);
      await Promise.all(
        idle.map((client, i) => client.send(numberedFrames(BUCKET, `idle${i}`, { count: 1 }))),
      );
      expect(await idle[0]!.receipt()).toBe(1);
      note('a byte a second', { closed: slow.length, 'ms until the last': ms, 'served meanwhile': served });
      const found = await end(daemon);
      expect(found.get('busy')).toEqual(range(0, served));
      expect(found.size).toBe(101);
    });
  });
}
