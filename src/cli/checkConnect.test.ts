// `kahe check --connect` against brokers that are there, dead, or not where they say.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runHere } from '../../support/cliIo.js';
import { type FakeCluster, startFakeCluster } from '../../support/fakeBroker.js';
import { freePorts } from '../../support/freePorts.js';
import { newFolder } from '../../support/newFolder.js';

let folder: string;
let cluster: FakeCluster;
let first: string;
let second: string;

beforeEach(async () => {
  folder = newFolder();
  cluster = await startFakeCluster(2, { ofFirst: [1, 1], ofBoth: [1, 2] });
  [first, second] = cluster.bootstrap.split(',') as [string, string];
});
afterEach(async () => {
  // Nothing is left open.
  await expect.poll(() => cluster.openConnections).toBe(0);
  await cluster.close();
});

/** The exit code, and the lines about Kafka. */
async function check(
  servers: string,
  topics: readonly string[],
): Promise<[code: number, ...lines: string[]]> {
  const streams = ['kafka'];
  await writeFile(
    join(folder, 'buckets.json'),
    JSON.stringify({
      streamsConfigs: {
        kafka: { type: 'kafka', settings: { 'bootstrap.servers': servers } },
        files: { type: 'file', settings: { path: './data' } },
      },
      buckets:
        topics.length === 0 ? [{ id: 'other', streams: ['files'] }] : topics.map((id) => ({ id, streams })),
      ...(topics.length === 0 ? { defaultBucket: { streams } } : {}),
    }),
  );
  await writeFile(join(folder, '.env.dev.local'), 'SOCKET=./it.sock');
  const { code, out } = await runHere(['check', '--connect'], { cwd: folder });
  return [
    code,
    ...out
      .split('\n')
      .filter((line) => line.includes(` stream kafka, Kafka ${servers}: `))
      .map((line) => line.replace(` stream kafka, Kafka ${servers}:`, '')),
  ];
}

async function deadPort(): Promise<string> {
  return `127.0.0.1:${(await freePorts(1))[0]!}`;
}

test('every broker is connected to, and then it is well', async () => {
  expect(await check(first, ['ofFirst', 'ofBoth'])).toEqual([
    0,
    'ok   its 2 brokers are reached',
    'ok   topic ofFirst has 2 partitions',
    'ok   topic ofBoth has 2 partitions',
  ]);
});

test("a leader that is not where it says: what it leads can't be delivered", async () => {
  await cluster.takeDown(2);
  expect(await check(first, ['ofFirst', 'ofBoth'])).toEqual([
    1,
    'ok   topic ofFirst has 2 partitions',
    'ok   topic ofBoth has 2 partitions',
    expect.stringMatching(
      new RegExp(
        `^FAIL node 2 of the cluster says that it is ${second} \\(its advertised\\.listeners\\): broker ${second} can't be reached: connect ECONNREFUSED .*; what it leads of ofBoth can't be delivered$`,
      ),
    ),
  ]);
});

test('one that leads none of the topics now is a warning; where any name may be a topic it is a failure', async () => {
  await cluster.takeDown(2);
  const [code, ...lines] = await check(first, ['ofFirst']);
  expect([code, lines[1]]).toEqual([
    0,
    expect.stringMatching(/^warn node 2 .*; it leads no partition of these topics now, but it may$/),
  ]);
  const [anyCode, ...anyLines] = await check(first, []);
  expect([anyCode, anyLines]).toEqual([
    1,
    [expect.stringMatching(/^FAIL node 2 .*; what it leads can't be delivered$/)],
  ]);
});

test('a dead bootstrap server among living ones is a warning', async () => {
  const dead = await deadPort();
  for (const servers of [`${dead},${first}`, `${first},${dead}`]) {
    expect(await check(servers, ['ofFirst'])).toEqual([
      0,
      'ok   topic ofFirst has 2 partitions',
      expect.stringMatching(
        new RegExp(
          `^warn bootstrap server ${dead} is of no use: broker ${dead} can't be reached: connect ECONNREFUSED .*; the others do: start it, or take it out of bootstrap\\.servers$`,
        ),
      ),
    ]);
  }
});

test('when none answers it is said once, whatever the number of topics', async () => {
  const dead = await deadPort();
  expect(await check(dead, ['ofFirst', 'ofBoth'])).toEqual([
    1,
    expect.stringMatching(/^FAIL no broker answers: /),
  ]);
});

test('a partition without a leader is a warning, a topic without any a failure', async () => {
  cluster.setTopic('half', [1, -1]);
  cluster.setTopic('none', [-1]);
  expect(await check(first, ['half'])).toEqual([
    0,
    'ok   its 2 brokers are reached',
    'warn topic half has 2 partitions, of which 1 has no leader now',
  ]);
  expect(await check(first, ['none'])).toEqual([
    1,
    'ok   its 2 brokers are reached',
    'FAIL topic none has 1 partition, of which 1 has no leader now',
  ]);
});
