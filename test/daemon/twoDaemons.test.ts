// Two daemons that were told to write the same files: the second waits for the first to end, and nothing of either is lost.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { daemonFolder, numberedFrames, numbersBySender, range, readFiles, startDaemon } from '../support/daemon.js';

test('one stream\'s files belong to the first daemon until it ends, then the second goes on', async () => {
  const place = join(await daemonFolder(), 'data');
  const buckets = {
    streamsConfigs: { files: { type: 'file', settings: { path: place, fileNameTemplate: '{bucket}.bckstm' } } },
    buckets: [{ id: 'orders', streams: ['files'], batchTimeout: 20 }],
  };
  const first = await startDaemon({ buckets });
  const client = await first.connect();
  await client.send(numberedFrames('orders', 'first', { count: 100 }));
  expect(await client.receipt()).toBe(100);
  const before = await readFile(join(place, 'orders.bckstm'));

  const second = await startDaemon({ buckets });
  const other = await second.connect();
  await other.send(numberedFrames('orders', 'second', { count: 100 }));
  await second.line(/mode error: file stream files: .* can't be used: process \d+, which is running, has the files of this stream/);
  expect(await readFile(join(place, 'orders.bckstm'))).toEqual(before);

  expect(await first.stop()).toMatchObject({ code: 0 });
  expect(await other.receipt()).toBe(100);
  expect(await second.stop()).toMatchObject({ code: 0 });
  const frames = await readFiles(place);
  expect(numbersBySender(frames.map(({ message }) => message))).toEqual(new Map([['first', range(0, 100)], ['second', range(0, 100)]]));
}, 60_000);
