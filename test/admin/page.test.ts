// The status page in a real Chromium: a daemon with traffic, a stream in mode backup, one in mode error, and
// a client that tries to get markup into it; and a healthy host with one stream in backup, of which
// docs/status-page.png is the picture (`make picture`).
import { writeFileSync } from 'node:fs';
import { expect, inject, onTestFinished, test } from 'vitest';
import { statusOf } from '../../support/adminDoor.js';
import { type Page, startChromium } from '../../support/chromium.js';
import { runCli } from '../../support/cliProcess.js';
import {
  type DaemonClient,
  frame,
  numberedFrames,
  prefixed,
  startDaemon,
  type TestDaemon,
} from '../../support/daemon.js';
import { fileStream, kafkaStream, manualBackup, newTopic } from '../../support/daemonBuckets.js';
import { freePorts } from '../../support/freePorts.js';
import { createTopic } from '../../support/kafkaTopics.js';

const { bootstrap } = inject('kafka');
const HOSTILE = '<img src=x onerror="document.title=\'taken\';alert(1)">';
const PICTURE = process.env['KAHE_PICTURE'];

/** The text of the box that holds this bucket's name. */
const cardOf = (bucket: string): string =>
  `[...document.querySelectorAll('.bucket')].find((card) => card.querySelector('.name').textContent === ${JSON.stringify(bucket)})`;

function textOf(page: Page, expression: string): Promise<string> {
  return page.read<string>(`(${expression}).textContent`);
}

async function started(): Promise<{
  readonly daemon: TestDaemon;
  readonly port: number;
  readonly topic: string;
}> {
  const topic = await newTopic(bootstrap, 'requests', 3);
  const [port, away] = await freePorts(2);
  const daemon = await startDaemon({
    buckets: {
      streamsConfigs: {
        kafka: kafkaStream(bootstrap),
        copies: { ...fileStream('copies'), slice: 0.01 },
        other_site: kafkaStream(
          `127.0.0.1:${away}`,
          { 'message.timeout.ms': 300 },
          { backup: manualBackup('backup', { sizeRotate: '20KB', maxFiles: 3 }) },
        ),
        bare: kafkaStream(`127.0.0.1:${away}`, { 'message.timeout.ms': 300 }),
      },
      buckets: [
        { id: topic, streams: ['kafka', 'copies'], batchTimeout: 100 },
        { id: 'clicks', streams: ['other_site'], batchTimeout: 100 },
        { id: 'audit', streams: ['bare'], batchTimeout: 100 },
      ],
      defaultBucket: { streams: ['copies'], batchTimeout: 100 },
    },
    env: { ADMIN: `127.0.0.1:${port}`, SPOOL: 'spool' },
  });
  return { daemon, port: port!, topic };
}

/** Sends all the while, until the test ends. */
async function traffic(daemon: TestDaemon, topic: string): Promise<() => Promise<void>> {
  const client = await daemon.connect();
  await client.send(
    Buffer.concat([
      prefixed(Buffer.of(200, 1, 2)),
      frame(HOSTILE, 'x'),
      numberedFrames('audit', 'c', { count: 30 }),
    ]),
  );
  return sendingUntilEnded(client, (round) => [
    numberedFrames(topic, 'a', {
      from: round * 100,
      count: 40 + Math.round(25 * Math.sin(round / 40)),
      bytes: 120,
    }),
    numberedFrames('clicks', 'b', { from: round * 10, count: 5, bytes: 200 }),
  ]);
}

/** Returns the way to end it. */
function sendingUntilEnded(
  client: DaemonClient,
  framesOf: (round: number) => readonly Buffer[],
): () => Promise<void> {
  let isEnding = false;
  const ended = (async () => {
    for (let round = 0; !isEnding; round++) {
      await client.send(Buffer.concat(framesOf(round)));
      // The pace of the load, and nothing that anybody waits for.
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  return async () => {
    isEnding = true;
    await ended;
  };
}

test("it draws each bucket's path, rates, modes, problems and discards; hostile names are text", async () => {
  const [{ daemon, port, topic }, chromium] = await Promise.all([started(), startChromium()]);
  const end = await traffic(daemon, topic);
  const page = await chromium.open(`http://127.0.0.1:${port}/`, { width: 1180, height: 1400 });
  onTestFinished(() => end());

  await page.until(cardOf(HOSTILE));
  expect(await page.read('document.querySelectorAll("img").length')).toBe(0);
  expect(await textOf(page, `${cardOf(HOSTILE)}.querySelector('.name')`)).toBe(HOSTILE);

  // Rates move, and so do the charts.
  await page.until(`parseFloat(${cardOf(topic)}.querySelector('.way .arrow span').textContent) > 0`);
  await page.until(`${cardOf(topic)}.querySelectorAll('.flows').length > 1`);
  const before = await textOf(page, cardOf(topic));
  await page.until(`${cardOf(topic)}.textContent !== ${JSON.stringify(before)}`);
  await page.until('document.querySelector("#charts polyline").getAttribute("points").split(" ").length > 2');

  // What each stream is called, its mode, and why.
  await page.until(`${cardOf('clicks')}.querySelector('.way .chip').textContent === 'backup'`);
  await page.until(`${cardOf('audit')}.querySelector('.way .chip').textContent === 'error'`);
  expect(
    await page.read(
      `[...${cardOf(topic)}.querySelectorAll('.way')].map((way) => way.querySelector('.box b').textContent.trim() + ' ' + way.querySelector('.chip').textContent)`,
    ),
  ).toEqual(['kafka normal', 'copies normal']);
  await page.until(`/last problem .* ago: .*ECONNREFUSED/.test(${cardOf('clicks')}.textContent)`);
  await page.until(`/queued 30/.test(${cardOf('audit')}.textContent)`);
  expect(await textOf(page, 'document.getElementById("state")')).toBe('not ready');
  expect(await textOf(page, 'document.getElementById("reasons")')).toContain(
    'bucket "audit", stream bare: mode error',
  );
  // The worst comes first.
  expect(await page.read('document.querySelector(".bucket .name").textContent')).toBe('audit');

  // Discards: three files are kept, so the oldest go.
  await page.until(
    '/Discarded[^]*clicks[^]*other_site[^]*maxFiles was reached/.test(document.getElementById("tables").innerText)',
  );
  await page.until(
    '/Rejected[^]*lengths pass the end of the frame/.test(document.getElementById("tables").innerText)',
  );
  await page.until(`/Kafka[^]*${bootstrap}/.test(document.getElementById("tables").innerText)`);
  const { buckets } = await statusOf(port);
  expect(buckets.map(({ name }) => name)).toEqual([topic, 'clicks', 'audit', HOSTILE]);

  expect(page.problems).toEqual([]);
  expect(
    page.asked.filter((url) => !url.startsWith(`http://127.0.0.1:${port}/`) && !url.startsWith('data:')),
  ).toEqual([]);
  await end();
  await daemon.kill9();
  await page.until('/no answer/.test(document.getElementById("state").textContent)');
});

test('it can be read on a telephone, and in the dark', async () => {
  const [{ daemon, port, topic }, chromium] = await Promise.all([started(), startChromium()]);
  const end = await traffic(daemon, topic);
  onTestFinished(() => end());
  const page = await chromium.open(`http://127.0.0.1:${port}/`, { width: 360, height: 740, isDark: true });
  await page.until(cardOf('clicks'));
  await page.until(`${cardOf('clicks')}.querySelector('.way .chip').textContent === 'backup'`);
  expect(await page.read('document.documentElement.scrollWidth')).toBeLessThanOrEqual(360);
  const [ground, ink] = await page.read<[string, string]>(
    '[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]',
  );
  expect(brightness(ground)).toBeLessThan(60);
  expect(brightness(ink)).toBeGreaterThan(200);
  expect(page.problems).toEqual([]);
  expect((await page.picture()).length).toBeGreaterThan(10_000);
  await end();
  await daemon.kill9();
});

test('a healthy host with one stream in backup is ready, and says so as kahe status does', async () => {
  const [requests, orders] = [await topicCalled('requests'), await topicCalled('orders')];
  const [port, away] = await freePorts(2);
  const [daemon, chromium] = await Promise.all([
    startDaemon({
      buckets: {
        streamsConfigs: {
          kafka: kafkaStream(bootstrap),
          copies: { ...fileStream('copies'), slice: 0.01 },
          other_site: kafkaStream(
            `127.0.0.1:${away}`,
            { 'message.timeout.ms': 300 },
            { backup: manualBackup('backup') },
          ),
        },
        buckets: [
          { id: requests, streams: ['kafka', 'copies'], batchTimeout: 100 },
          { id: orders, streams: ['kafka'], batchTimeout: 100 },
          { id: 'clicks', streams: ['other_site'], batchTimeout: 100 },
        ],
      },
      env: { ADMIN: `127.0.0.1:${port}`, SPOOL: 'spool' },
    }),
    startChromium(),
  ]);
  const client = await daemon.connect();
  const end = sendingUntilEnded(client, (round) => [
    numberedFrames(requests, 'a', {
      from: round * 100,
      count: 40 + Math.round(25 * Math.sin(round / 40)),
      bytes: 120,
    }),
    numberedFrames(orders, 'b', { from: round * 10, count: 8, bytes: 300 }),
    numberedFrames('clicks', 'c', { from: round * 10, count: 5, bytes: 200 }),
  ]);
  onTestFinished(() => end());
  const page = await chromium.open(`http://127.0.0.1:${port}/`, { width: 1180, height: 900 });
  await page.until(cardOf('clicks'));
  await page.until(`${cardOf('clicks')}.querySelector('.way .chip').textContent === 'backup'`);
  await page.until('document.getElementById("state").textContent === "ready, 1 stream in backup"');
  expect(await page.read('document.getElementById("state").className')).toBe('chip backup');
  expect(await page.read('document.getElementById("reasons").hidden')).toBe(true);
  const status = await runCli(['status', '--admin', `127.0.0.1:${port}`], { cwd: daemon.folder });
  expect([status.code, status.out.split('\n')[1]]).toEqual([0, 'ready, 1 stream in backup']);
  expect(page.problems).toEqual([]);
  if (PICTURE !== undefined) await takePicture(page, PICTURE);
  await end();
  await daemon.kill9();
});

/** In the picture it has just this name. */
async function topicCalled(about: string): Promise<string> {
  if (PICTURE === undefined) return newTopic(bootstrap, about, 3);
  await createTopic([bootstrap], about, { partitions: 3 });
  return about;
}

async function takePicture(page: Page, file: string): Promise<void> {
  // Charts need a while to have something in them.
  await page.until(
    'document.querySelector("#charts polyline").getAttribute("points").split(" ").length > 18',
  );
  writeFileSync(file, await page.picture());
}

/** Of a colour as `rgb(1, 2, 3)`, from 0 to 255. */
function brightness(colour: string): number {
  const parts = colour.match(/\d+/g)!.slice(0, 3).map(Number);
  return parts.reduce((a, b) => a + b) / 3;
}
