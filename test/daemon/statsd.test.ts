// Figures over real UDP: their sums are the accounts, an outage is told as ekaf tells it, and nothing that
// becomes of the receiver matters.
import { createSocket } from 'node:dgram';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, inject, onTestFinished, test } from 'vitest';
import {
  daemonFolder,
  frame,
  numberedFrames,
  prefixed,
  startDaemon,
  type StreamAccount,
} from '../../support/daemon.js';
import { fileStream, kafkaStream, newTopic } from '../../support/daemonBuckets.js';
import { StatsdServer } from '../../support/statsdServer.js';
import { startProxy } from '../../support/tcpProxy.js';

const { bootstrap } = inject('kafka');
const FILES = {
  streamsConfigs: { files: fileStream('data') },
  buckets: [{ id: 'orders', streams: ['files'], batchTimeout: 20 }],
};

/** What the server was told of a stream, as an account. */
function accountOf(server: StatsdServer, name: string): StreamAccount {
  const counter = (path: string): number => server.counters.get(`kahe.${path}`) ?? 0;
  const gauge = (path: string): number => server.gauges.get(`kahe.${path}`) ?? 0;
  return {
    received: counter(`stream_received_frames.${name}`),
    delivered: counter(`stream_frames.${name}.delivered`),
    queued: gauge(`stream_held_frames.${name}.queued`),
    backedUp: gauge(`stream_held_frames.${name}.backed_up`),
    slicedOut: counter(`stream_frames.${name}.sliced_out`),
    rejected: counter(`stream_frames.${name}.rejected`),
    discarded: counter(`stream_frames.${name}.discarded`),
  };
}

test("the sums are the daemon's accounts, to the last frame; packets are small, lines are statsd's", async () => {
  const [topic, server] = [await newTopic(bootstrap, 'statsd', 2), await StatsdServer.start()];
  const buckets = {
    streamsConfigs: { kafka: kafkaStream(bootstrap), half: { ...fileStream('half'), slice: 0.5 } },
    buckets: [
      { id: topic, streams: ['kafka', 'half'], batch: 100, batchTimeout: 20 },
      { id: 'limited', streams: ['half'], batchTimeout: 20, rateLimit: { frames: 100, perMs: 3_600_000 } },
    ],
  };
  const daemon = await startDaemon({
    buckets,
    env: { STATSD: `127.0.0.1:${server.port}`, STATSD_INTERVAL: '100ms', SPOOL: 'spool' },
  });
  const client = await daemon.connect();
  for (let from = 0; from < 5000; from += 500) {
    await client.send(
      Buffer.concat([
        numberedFrames(topic, 'a', { from, count: 500, bytes: 50 }),
        numberedFrames('limited', 'a', { from, count: 30 }),
        prefixed(Buffer.from([0, 0])),
      ]),
    );
    expect(await client.receipt()).toBeGreaterThan(from);
  }
  await daemon.until(
    'some of it is told before the end',
    () => (server.counters.get('kahe.received_frames') ?? 0) > 0,
  );
  // The last of them are told at the end.
  await client.send(numberedFrames(topic, 'b', { count: 77 }));
  await client.close();
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  await server.until('the last packet', () => server.counters.get('kahe.received_frames') === 5387);
  for (const stream of ['kafka', 'half'])
    expect(accountOf(server, `${topic}.${stream}`), stream).toEqual(
      daemon.accounts.get(`${topic}/${stream}`),
    );
  expect(accountOf(server, 'limited.half')).toEqual(daemon.accounts.get('limited/half'));
  expect(server.counters.get('kahe.bad_frames.no_bucket')).toBe(10);
  expect(server.counters.get('kahe.bucket_rate_limited_frames.limited.reject')).toBe(200);
  expect(server.counters.get(`kahe.bucket_frames.${topic}`)).toBe(5077);
  expect(server.gauges.get(`kahe.stream_mode.${topic}.kafka.normal`)).toBeDefined();
  expect(server.gauges.get('kahe.spool')).toBeUndefined();
  expect(server.gauges.get('kahe.spool_bytes')).toBe(0);
  expect(server.strange).toEqual([]);
  expect(Math.max(...server.packetBytes)).toBeLessThanOrEqual(1432);
  expect(server.packetBytes.length).toBeGreaterThan(3);
});

test('Kafka goes and comes: down, up, the time between, and what was replayed', async () => {
  const [topic, server] = [await newTopic(bootstrap, 'statsd-outage'), await StatsdServer.start()];
  const proxy = await startProxy({ target: { port: Number(bootstrap.split(':')[1]) } });
  onTestFinished(() => proxy.close());
  const kafka = kafkaStream(
    `127.0.0.1:${proxy.port}`,
    { 'message.timeout.ms': 500 },
    { backup: fileStream('backup') },
  );
  const daemon = await startDaemon({
    buckets: { streamsConfigs: { kafka }, buckets: [{ id: topic, streams: ['kafka'], batchTimeout: 20 }] },
    env: { STATSD: `127.0.0.1:${server.port}`, STATSD_PREFIX: 'site.kahe', STATSD_INTERVAL: '200ms' },
  });
  proxy.faults.refuse = true;
  const client = await daemon.connect();
  await client.send(numberedFrames(topic, 'a', { count: 300 }));
  expect(await client.receipt()).toBe(300);
  const event = (what: string): string => `site.kahe.stream.${topic}.kafka.${what}`;
  await daemon.until('it is down', () => server.counters.get(event('down')) === 1);
  expect(server.counters.get(event('up'))).toBeUndefined();
  expect(server.gauges.get(`site.kahe.stream_mode.${topic}.kafka.backup`)).toBe(1);
  proxy.faults.refuse = false;
  const downLine = daemon.linesLike(/switched to backup/)[0]!;
  const upLine = await daemon.line(/switched to normal/, { deadlineMs: 40_000 });
  await daemon.until(
    'it is up again',
    () =>
      server.counters.get(event('up')) === 1 &&
      server.timings.has(event('downtime')) &&
      server.counters.get(event('replayed')) === 300,
  );
  const [downtime] = server.timings.get(event('downtime'))!;
  // As the log has it, about: it was some ten seconds.
  expect(Math.abs(downtime! - (timeOf(upLine) - timeOf(downLine)))).toBeLessThan(1000);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  expect(server.counters.get(event('down'))).toBe(1);
  expect(server.timings.get(event('downtime'))).toHaveLength(1);
  expect(server.strange).toEqual([]);
});

test('a folder that can not be written for a while is an outage too', async () => {
  const [server, folder] = [await StatsdServer.start(), await daemonFolder()];
  await mkdir(join(folder, 'data'));
  await writeFile(join(folder, 'data', 'orders'), 'in the way');
  const daemon = await startDaemon({
    buckets: FILES,
    folder,
    env: { STATSD: `localhost:${server.port}`, STATSD_INTERVAL: '100ms' },
  });
  const client = await daemon.connect();
  await client.send(numberedFrames('orders', 'a', { count: 10 }));
  await daemon.until(
    'it is down',
    () =>
      server.counters.get('kahe.stream.orders.files.down') === 1 &&
      server.gauges.get('kahe.stream_mode.orders.files.error') === 1,
  );
  await rm(join(folder, 'data', 'orders'));
  await daemon.until(
    'it is up',
    () =>
      server.counters.get('kahe.stream.orders.files.up') === 1 &&
      server.timings.get('kahe.stream.orders.files.downtime')?.length === 1,
  );
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  await server.until(
    'what was delivered',
    () => server.counters.get('kahe.stream_frames.orders.files.delivered') === 10,
  );
});

test('names that clients made up end no line, and become no level of their own', async () => {
  const server = await StatsdServer.start();
  const buckets = {
    streamsConfigs: { 'fi.les:|@#': fileStream('data') },
    buckets: [{ id: 'orders', streams: ['fi.les:|@#'] }],
    defaultBucket: { streams: ['fi.les:|@#'], batchTimeout: 20 },
  };
  const daemon = await startDaemon({
    buckets,
    env: { STATSD: `127.0.0.1:${server.port}`, STATSD_INTERVAL: '100ms' },
  });
  const names = [
    'a:1|c\nkahe.received_frames:9999|c',
    'x.y',
    'x|y',
    'größe ☃',
    '../../etc',
    '@0.1',
    '#tag,b',
    'n'.repeat(255),
    '…'.repeat(85),
    '\u0000\u007f',
  ];
  const client = await daemon.connect();
  await client.send(Buffer.concat(names.map((name) => frame(name, 'message'))));
  expect(await client.receipt()).toBe(names.length);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  const told = (): [string, number][] =>
    [...server.counters].filter(([name]) => name.startsWith('kahe.stream_frames.'));
  await server.until(
    'all of them',
    () => told().reduce((sum, [, frames]) => sum + frames, 0) === names.length,
  );
  const levels = [
    ['a_1_c_kahe_received_frames_9999_c', 1],
    ['x_y', 2],
    ['gr__e__', 1],
    ['______etc', 1],
    ['_0_1', 1],
    ['_tag_b', 1],
    ['n'.repeat(120), 1],
    ['_'.repeat(85), 1],
    ['__', 1],
  ] as const;
  expect(new Map(told())).toEqual(
    new Map(levels.map(([level, frames]) => [`kahe.stream_frames.${level}.fi_les____.delivered`, frames])),
  );
  expect(server.counters.get('kahe.received_frames')).toBe(names.length);
  expect(server.strange).toEqual([]);
});

test('nobody listens there, then somebody does: the daemon goes on, and tells what it counts then', async () => {
  const gone = createSocket('udp4');
  await new Promise<void>((resolve) => gone.bind(0, '127.0.0.1', resolve));
  const { port } = gone.address();
  await new Promise<void>((resolve) => gone.close(() => resolve()));
  const daemon = await startDaemon({
    buckets: FILES,
    env: { STATSD: `127.0.0.1:${port}`, STATSD_INTERVAL: '100ms', LOG_LEVEL: 'DEBUG' },
  });
  const client = await daemon.connect();
  for (let round = 1; round <= 5; round++) {
    await client.send(numberedFrames('orders', 'a', { count: 20 }));
    expect(await client.receipt()).toBe(20 * round);
  }
  const server = await StatsdServer.start(port);
  await daemon.until('figures', () => server.gauges.get('kahe.connections') === 1);
  await client.send(numberedFrames('orders', 'a', { count: 20 }));
  expect(await client.receipt()).toBe(120);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  expect(daemon.accounts.get('orders/files')).toMatchObject({ delivered: 120 });
  expect(daemon.linesLike(/WARN|ERROR/)).toEqual([]);
});

test('a name that leads nowhere: one warning, the daemon runs, and its end does not wait', async () => {
  const daemon = await startDaemon({
    buckets: FILES,
    env: { STATSD: 'statsd.invalid:8125', STATSD_INTERVAL: '100ms' },
  });
  await daemon.line(
    /WARN .*\/statsd figures can't go to statsd\.invalid:8125 \(STATSD\): .*; next try in 100 ms, with all that is counted until then/,
  );
  const client = await daemon.connect();
  await client.send(numberedFrames('orders', 'a', { count: 20 }));
  expect(await client.receipt()).toBe(20);
  const { code, ms } = await daemon.stop();
  expect(code).toBe(0);
  expect(ms).toBeLessThan(10_000);
  expect(daemon.linesLike(/WARN/)).toHaveLength(1);
  expect(daemon.accounts.get('orders/files')).toMatchObject({ delivered: 20 });
});

/** Of a log line, ms since 1970. */
function timeOf(line: string): number {
  return Date.parse(`${/\| (\S+ \S+) \|/.exec(line)![1]!.replace(' ', 'T')}Z`);
}
