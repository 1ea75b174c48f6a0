// `kahe check --connect` against a real Kafka.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import { runCli } from '../support/cliProcess.js';
import { daemonFolder } from '../support/daemon.js';
import { fileStream, kafkaStream, newTopic, newTopicName } from '../support/daemonBuckets.js';
import { describeTopic } from '../support/kafkaTopics.js';

const { bootstrap } = inject('kafka');

test('topics that are there, and one that is not: which it does not make either', async () => {
  const folder = await daemonFolder();
  const [topic, missing] = [await newTopic(bootstrap, 'check', 3), newTopicName('check')];
  const kafka = kafkaStream(bootstrap, { 'allow.auto.create.topics': true }, { backup: fileStream('backup') });
  await writeFile(join(folder, '.env.dev.local'), 'SOCKET=./it.sock');
  await mkdir(join(folder, 'backup'));
  const write = (buckets: readonly string[]): Promise<void> => writeFile(join(folder, 'buckets.json'), JSON.stringify({
    streamsConfigs: { kafka, any: kafkaStream(bootstrap) }, buckets: buckets.map((id) => ({ id, streams: ['kafka'] })), defaultBucket: { streams: ['any'] },
  }));
  await write([topic, missing]);
  const bad = await runCli(['check', '--connect'], { cwd: folder });
  expect(bad).toMatchObject({ code: 1, err: '' });
  expect(bad.out).toContain(`ok   stream kafka, Kafka ${bootstrap}: topic ${topic} has 3 partitions\n`);
  expect(bad.out).toContain(`FAIL stream kafka, Kafka ${bootstrap}: topic ${missing} does not exist`);
  expect(bad.out).toContain(`ok   stream any, Kafka ${bootstrap}: it answers\n`);
  expect(bad.out).toContain(`ok   backup of stream kafka, folder ${join(folder, 'backup')}: it can be written\n`);
  expect(await describeTopic([bootstrap], missing)).toBeUndefined();
  await write([topic]);
  const good = await runCli(['check', '--connect', '--json'], { cwd: folder });
  expect(good.code).toBe(0);
  expect((JSON.parse(good.out) as { connect: { ok: boolean }[] }).connect.map(({ ok }) => ok)).toEqual([true, true, true, true, true]);
});
