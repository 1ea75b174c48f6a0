// Two daemons that were told to write the same files: they are the first one's until it ends, and nothing of
// either is lost.
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import {
  daemonFolder,
  numberedFrames,
  numbersBySender,
  range,
  readFiles,
  startDaemon,
} from '../../support/daemon.js';
import { fileStream, kafkaStream, newTopic } from '../../support/daemonBuckets.js';
import { allMessages, readTopic } from '../../support/kafkaReader.js';

const { bootstrap } = inject('kafka');

test('the second one waits until the first has ended, and then knows its files', async () => {
  const place = join(await daemonFolder(), 'data');
  const buckets = {
    streamsConfigs: { files: fileStream(place) },
    buckets: [{ id: 'orders', streams: ['files'], batchTimeout: 20 }],
  };
  const first = await startDaemon({ buckets });
  const second = await startDaemon({ buckets });
  await second.line(/another process that is running has the files of stream files and bucket orders/);
  // Neither had written anything when the other came.
  const client = await first.connect();
  await client.send(numberedFrames('orders', 'first', { count: 100 }));
  expect(await client.receipt()).toBe(100);
  const other = await second.connect();
  await other.send(numberedFrames('orders', 'second', { count: 100 }));
  await second.line(/delivery stopped: .*another process that is running/);
  expect(numbersBySender((await readFiles(place)).map(({ message }) => message))).toEqual(
    new Map([['first', range(0, 100)]]),
  );

  expect(await first.stop()).toMatchObject({ code: 0 });
  expect(await other.receipt()).toBe(100);
  expect(await second.stop()).toMatchObject({ code: 0 });
  expect(numbersBySender((await readFiles(place)).map(({ message }) => message))).toEqual(
    new Map([
      ['first', range(0, 100)],
      ['second', range(0, 100)],
    ]),
  );
  const [journal] = (await readdir(join(place, '.kahe'))).filter((name) => name.endsWith('.json'));
  const { files } = JSON.parse(await readFile(join(place, '.kahe', journal!), 'utf8')) as {
    files: { frames: number }[];
  };
  expect(files.map(({ frames }) => frames)).toEqual([100, 100]);
});

test('a backup that another daemon has does not keep one from a Kafka that is well', async () => {
  const topic = await newTopic(bootstrap, 'shared');
  const backup = { ...fileStream(join(await daemonFolder(), 'backup')), replay: 'auto' };
  const buckets = {
    streamsConfigs: { kafka: { ...kafkaStream(bootstrap), backup } },
    buckets: [{ id: topic, streams: ['kafka'], batchTimeout: 20 }],
  };
  const first = await startDaemon({ buckets });
  const second = await startDaemon({ buckets });
  for (const [name, daemon] of [
    ['second', second],
    ['first', first],
  ] as const) {
    const client = await daemon.connect();
    await client.send(numberedFrames(topic, name, { count: 100 }));
    expect(await client.receipt()).toBe(100);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  }
  const read = numbersBySender(
    allMessages(await readTopic(bootstrap, topic)).map(({ value }) => value!.toString()),
  );
  expect(new Map([...read].map(([name, numbers]) => [name, numbers.toSorted((a, b) => a - b)]))).toEqual(
    new Map([
      ['second', range(0, 100)],
      ['first', range(0, 100)],
    ]),
  );
});
