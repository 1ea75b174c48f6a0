// The admin door of the whole daemon: what it shows while frames flow, on a port and on a Unix socket, and
// that nothing asked there does harm.
import { existsSync, statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import { askAdmin, checkAccounts, metricsOf, statusOf } from '../../support/adminDoor.js';
import {
  daemonFolder,
  launchDaemon,
  numberedFrames,
  prefixed,
  startDaemon,
  type DaemonOptions,
  type TestDaemon,
} from '../../support/daemon.js';
import { fileStream, kafkaStream, manualBackup, newTopic } from '../../support/daemonBuckets.js';
import { freePorts } from '../../support/freePorts.js';
import { startProxy } from '../../support/tcpProxy.js';

const { bootstrap } = inject('kafka');
const FILES = {
  streamsConfigs: { files: fileStream('data') },
  buckets: [{ id: 'requests', streams: ['files'], batchTimeout: 20 }],
};
const SLOW = { ...FILES, buckets: [{ id: 'requests', streams: ['files'], batchTimeout: 600_000 }] };

async function freePort(): Promise<number> {
  return (await freePorts(1))[0]!;
}

/** The socket answers a moment before there is a daemon to be seen. */
async function startShown(options: DaemonOptions, door: number | string): Promise<TestDaemon> {
  const daemon = await startDaemon(options);
  await daemon.until(
    'a daemon to be seen',
    async () => (await askAdmin(door, '/status.json')).status === 200,
  );
  return daemon;
}

/** Asks again and again while `work` goes on, and checks each account that is shown. */
async function watched<T>(
  door: number | string,
  work: Promise<T>,
): Promise<{ readonly result: T; readonly looks: number }> {
  let isDone = false;
  const ended = work.finally(() => (isDone = true));
  let looks = 0;
  while (!isDone) {
    checkAccounts(await statusOf(door));
    looks++;
  }
  return { result: await ended, looks };
}

test("to Kafka, under load: accounts add up at every moment, and brokers' figures are what was sent", async () => {
  const [topic, port] = [await newTopic(bootstrap, 'admin', 3), await freePort()];
  const buckets = {
    streamsConfigs: { kafka: kafkaStream(bootstrap), part: { ...fileStream('part'), slice: 0.5 } },
    buckets: [{ id: topic, streams: ['kafka', 'part'], batch: 100, batchTimeout: 20 }],
  };
  const daemon = await startShown({ buckets, env: { ADMIN: `127.0.0.1:${port}`, SPOOL: 'spool' } }, port);
  const client = await daemon.connect();
  const sent = (async () => {
    for (let from = 0; from < 20_000; from += 500)
      await client.send(numberedFrames(topic, 'a', { from, count: 500, bytes: 100, key: (n) => `k${n}` }));
    return client.receipt();
  })();
  const { result, looks } = await watched(port, sent);
  expect(result).toBe(20_000);
  expect(looks).toBeGreaterThan(1);
  await daemon.until('all is settled', async () =>
    (await statusOf(port)).buckets[0]!.streams.every(
      ({ account }) => account.received === 20_000 && account.queued === 0,
    ),
  );

  const snapshot = await statusOf(port);
  const [kafka, part] = snapshot.buckets[0]!.streams;
  expect(kafka).toMatchObject({
    mode: 'normal',
    account: { delivered: 20_000 },
    failures: 0,
    failedBatches: 0,
    written: { primary: { bytes: snapshot.buckets[0]!.closed.bytes } },
  });
  expect(part!.account.delivered + part!.account.slicedOut).toBe(20_000);
  expect(snapshot.buckets[0]!.closed.batches).toBe(kafka!.written.primary.batches);
  expect(snapshot).toMatchObject({
    isStopping: false,
    socket: { received: 20_000, bad: 0, receipts: 1 },
    spool: { isFull: false },
  });
  await daemon.until('the spool is empty', async () => (await statusOf(port)).spool!.bytes === 0);

  const metrics = await metricsOf(port);
  const of = (name: string): number | undefined => metrics.get(name);
  expect(of(`kahe_stream_frames_total{bucket="${topic}",stream="kafka",outcome="delivered"}`)).toBe(20_000);
  expect(of(`kahe_stream_received_frames_total{bucket="${topic}",stream="part"}`)).toBe(20_000);
  expect(of(`kahe_bucket_frames_total{bucket="${topic}"}`)).toBe(20_000);
  expect(of(`kahe_stream_mode{bucket="${topic}",stream="kafka",mode="normal"}`)).toBe(1);
  const requests = of(`kahe_kafka_requests_total{broker="${bootstrap}"}`)!;
  expect(requests).toBeGreaterThan(0);
  expect(of(`kahe_kafka_request_duration_seconds_count{broker="${bootstrap}"}`)).toBe(requests);
  expect(of(`kahe_kafka_request_duration_seconds_bucket{broker="${bootstrap}",le="+Inf"}`)).toBe(requests);
  expect(of(`kahe_kafka_record_batches_total{broker="${bootstrap}"}`)).toBeGreaterThanOrEqual(requests);
  expect(of(`kahe_kafka_connections{broker="${bootstrap}"}`)).toBe(2);
  expect(of('process_resident_memory_bytes')).toBeGreaterThan(1e6);
  expect(of('kahe_event_loop_delay_p99_seconds')).toBeGreaterThanOrEqual(0);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
});

test('Kafka goes and comes back: modes, the time in them, errors, the backup, readiness', async () => {
  const [topic, other, port] = [
    await newTopic(bootstrap, 'away'),
    await newTopic(bootstrap, 'waits'),
    await freePort(),
  ];
  const proxy = await startProxy({ target: { port: Number(bootstrap.split(':')[1]) } });
  const to = kafkaStream.bind(undefined, `127.0.0.1:${proxy.port}`, { 'message.timeout.ms': 500 });
  const daemon = await startShown(
    {
      buckets: {
        streamsConfigs: { kafka: to({ backup: manualBackup('backup') }), bare: to() },
        buckets: [
          { id: topic, streams: ['kafka'], batchTimeout: 20 },
          { id: other, streams: ['bare'], batchTimeout: 20 },
        ],
      },
      env: { ADMIN: `127.0.0.1:${port}` },
    },
    port,
  );
  expect(await askAdmin(port, '/readyz')).toMatchObject({ status: 200, body: 'ready\n' });
  proxy.faults.refuse = true;
  const client = await daemon.connect();
  await client.send(
    Buffer.concat([numberedFrames(topic, 'a', { count: 100 }), numberedFrames(other, 'b', { count: 50 })]),
  );
  await daemon.until('both have failed', async () =>
    (await statusOf(port)).buckets.every(({ streams }) => streams[0]!.mode !== 'normal'),
  );
  await daemon.until(
    'all is backed up',
    async () => (await statusOf(port)).buckets[0]!.streams[0]!.account.backedUp === 100,
  );
  const away = await statusOf(port);
  expect(away.buckets[0]!.streams[0]).toMatchObject({
    mode: 'backup',
    failures: 1,
    failedBatches: 1,
    account: { received: 100 },
    backedUp: { files: 1, isBeingSent: false },
    backupType: 'file',
  });
  expect(away.buckets[0]!.streams[0]!.lastProblem!.text).toMatch(/ECONN(REFUSED|RESET)/);
  expect(away.buckets[1]!.streams[0]).toMatchObject({ mode: 'error', account: { received: 50, queued: 50 } });
  const metrics = await metricsOf(port);
  expect(metrics.get(`kahe_stream_mode{bucket="${topic}",stream="kafka",mode="backup"}`)).toBe(1);
  expect(metrics.get(`kahe_stream_held_frames{bucket="${topic}",stream="kafka",place="backed_up"}`)).toBe(
    100,
  );
  expect(metrics.get(`kahe_backup_files{bucket="${topic}",stream="kafka"}`)).toBe(1);
  expect(
    metrics.get(`kahe_kafka_errors_total{broker="127.0.0.1:${proxy.port}",code="CONNECTION"}`),
  ).toBeGreaterThan(0);
  expect(metrics.get(`kahe_stream_retries_total{bucket="${topic}",stream="kafka"}`)).toBeGreaterThan(0);
  const notReady = await askAdmin(port, '/readyz');
  expect(notReady.status).toBe(503);
  expect(notReady.body).toMatch(
    new RegExp(`^bucket "${other}", stream bare: mode error: .*ECONN(REFUSED|RESET).*\\n$`),
  );
  expect(await askAdmin(port, '/healthz')).toMatchObject({ status: 200, body: 'ok\n' });

  proxy.faults.refuse = false;
  await daemon.until('it is ready', async () => (await askAdmin(port, '/readyz')).status === 200);
  await daemon.until(
    'what waited is delivered',
    async () => (await statusOf(port)).buckets[1]!.streams[0]!.account.delivered === 50,
  );
  const { modeMs } = (await statusOf(port)).buckets[1]!.streams[0]!;
  expect(modeMs.error).toBeGreaterThan(0);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  await proxy.close();
});

test('an open batch is in the account, bad frames are counted by reason, and names are escaped', async () => {
  const port = await freePort();
  const daemon = await startShown(
    {
      buckets: { ...SLOW, defaultBucket: { streams: ['files'], batchTimeout: 600_000 } },
      env: { ADMIN: `127.0.0.1:${port}` },
    },
    port,
  );
  const client = await daemon.connect();
  const strange = 'a"b\\c\nd';
  await client.send(
    Buffer.concat([
      numberedFrames('requests', 'a', { count: 7 }),
      prefixed(Buffer.of(200, 1, 2)),
      numberedFrames(strange, 'b', { count: 2 }),
    ]),
  );
  // Rejected is what is kept: that takes the disk a moment.
  await daemon.until('all is read', async () => {
    const { socket, rejected } = await statusOf(port);
    return socket.received === 10 && rejected.reasons.length === 1;
  });
  const snapshot = await statusOf(port);
  expect(
    snapshot.buckets.map(({ name, isOnDemand, open, closed }) => ({
      name,
      isOnDemand,
      open: open.frames,
      closed: closed.frames,
    })),
  ).toEqual([
    { name: 'requests', isOnDemand: false, open: 7, closed: 0 },
    { name: strange, isOnDemand: true, open: 2, closed: 0 },
  ]);
  expect(snapshot.buckets.map(({ streams }) => streams[0]!.account)).toMatchObject([
    { received: 7, queued: 7 },
    { received: 2, queued: 2 },
  ]);
  expect(snapshot.rejected.reasons).toMatchObject([
    { reason: 'lengths pass the end of the frame', frames: 1 },
  ]);
  const metrics = await metricsOf(port);
  expect(metrics.get('kahe_bad_frames_total{reason="lengths pass the end of the frame"}')).toBe(1);
  expect(metrics.get('kahe_bad_frames_total{reason="no bucket"}')).toBe(0);
  expect(metrics.get('kahe_rejected_frames_total')).toBe(1);
  expect(metrics.get('kahe_bucket_open_frames{bucket="a\\"b\\\\c\\nd"}')).toBe(2);
  expect(metrics.get('kahe_connections')).toBe(1);
  expect(metrics.has('kahe_spool_bytes')).toBe(false);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
});

test('a Unix socket: 0660, a stale one is taken over, it is gone at the end', async () => {
  const folder = await daemonFolder();
  const path = join(folder, 'admin.sock');
  const first = await startShown({ buckets: FILES, folder, env: { ADMIN: './admin.sock' } }, path);
  expect(statSync(path).mode & 0o7777).toBe(0o660);
  expect(await askAdmin(path, '/readyz')).toMatchObject({ status: 200 });
  await first.kill9();
  expect(existsSync(path)).toBe(true);
  const second = await startShown({ buckets: FILES, folder, env: { ADMIN: path } }, path);
  expect((await statusOf(path)).program.pid).toBe(second.pid);
  expect(
    (await metricsOf(path)).get('kahe_build_info{version="0.1.0",node="' + process.versions.node + '"}'),
  ).toBe(1);
  expect(await second.stop()).toMatchObject({ code: 0 });
  expect(existsSync(path)).toBe(false);
});

test('what can not be had is said, exit code 1, and no socket is left', async () => {
  const folder = await daemonFolder();
  const [taken] = await freePorts(1);
  const server = net.createServer().listen(taken, '127.0.0.1');
  const socketServer = net.createServer().listen(join(folder, 'other.sock'));
  writeFileSync(join(folder, 'file'), '');
  const cases: [string, RegExp][] = [
    [
      `127.0.0.1:${taken}`,
      /^kahe: ADMIN: can't listen on 127\.0\.0\.1:\d+: another program listens there; stop it, or give ADMIN another port$/,
    ],
    ['192.0.2.1:9090', /^kahe: ADMIN: can't listen on 192\.0\.2\.1:9090: this machine has no such address$/],
    [
      './other.sock',
      /^kahe: ADMIN: somebody is listening on .*other\.sock already; stop it, or give ADMIN another path$/,
    ],
    ['./file', /^kahe: ADMIN: .*\/file exists and is no socket; move it away or choose another path$/],
    [
      './none/admin.sock',
      /^kahe: ADMIN: can't make .*admin\.sock\.lock: .*; the folder must exist and be writable$/,
    ],
    [
      './kahe.sock',
      /^kahe: ADMIN: ".*kahe\.sock" is the SOCKET that applications write to; give ADMIN a path of its own$/,
    ],
  ];
  try {
    for (const [admin, words] of cases) {
      const daemon = await launchDaemon({ buckets: FILES, folder, env: { ADMIN: admin } });
      expect([
        admin,
        (await daemon.exited).code,
        daemon.lines.filter((line) => words.test(line)).length,
      ]).toEqual([admin, 1, 1]);
      expect(existsSync(daemon.socketPath)).toBe(false);
    }
  } finally {
    server.close();
    socketServer.close();
  }
});

test('a place that others reach is warned of; loopback is not', async () => {
  const [port, own] = await freePorts(2);
  const daemon = await startDaemon({ buckets: FILES, env: { ADMIN: `0.0.0.0:${port}` } });
  await daemon.line(/^WARN .* ADMIN: http:\/\/0\.0\.0\.0:\d+\/ can be read from other machines/);
  expect((await askAdmin(port!, '/healthz', { headers: { Host: 'kahe.example' } })).status).toBe(200);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  const quiet = await startDaemon({ buckets: FILES, env: { ADMIN: `127.0.0.1:${own}` } });
  expect(await quiet.stop()).toMatchObject({ code: 0 });
  expect(quiet.linesLike(/^WARN/)).toEqual([]);
});

test('it only reads: other methods, bodies, paths and foreign names are refused, garbage gets nothing', async () => {
  const port = await freePort();
  const daemon = await startShown({ buckets: FILES, env: { ADMIN: `127.0.0.1:${port}` } }, port);
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS'])
    expect(await askAdmin(port, '/metrics', { method })).toMatchObject({
      status: 405,
      headers: { allow: 'GET, HEAD' },
    });
  expect((await askAdmin(port, '/metrics', { body: 'x', headers: { 'Content-Length': 1 } })).status).toBe(
    400,
  );
  expect((await askAdmin(port, '/../etc/passwd')).status).toBe(404);
  expect((await askAdmin(port, '/', { headers: { Host: `evil.example:${port}` } })).status).toBe(403);
  for (const host of ['localhost', `localhost:${port}`, '[::1]:1', '127.0.0.1'])
    expect((await askAdmin(port, '/?x=1', { headers: { Host: host } })).status).toBe(200);
  expect(await askAdmin(port, '/status.json', { method: 'HEAD' })).toMatchObject({ status: 200, body: '' });
  const page = await askAdmin(port, '/');
  expect(page.headers['content-security-policy']).toMatch(
    /^default-src 'none'; script-src 'sha256-[^']+'; style-src 'sha256-[^']+'; connect-src 'self'/,
  );
  expect(page.headers).toMatchObject({ 'x-content-type-options': 'nosniff', 'cache-control': 'no-store' });

  for (const garbage of [
    '\0\x01\xff garbage\r\n\r\n',
    `GET / HTTP/1.1\r\nX: ${'y'.repeat(20_000)}\r\n\r\n`,
    'GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n',
  ]) {
    expect(await answerTo(port, garbage)).not.toContain('200 OK');
  }
  expect((await askAdmin(port, '/healthz')).status).toBe(200);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
});

test('connections that ask nothing, or never read, hold up neither the others for long nor the end', async () => {
  const port = await freePort();
  const daemon = await startShown({ buckets: FILES, env: { ADMIN: `127.0.0.1:${port}` } }, port);
  const silent = Array.from({ length: 80 }, () =>
    net.connect(port, '127.0.0.1').on('error', () => undefined),
  );
  silent.forEach(
    (socket, i) => i % 2 === 0 && socket.write('GET /status.json HTTP/1.1\r\nHost: localhost\r\nX: '),
  );
  const client = await daemon.connect();
  await client.send(numberedFrames('requests', 'a', { count: 100 }));
  expect(await client.receipt()).toBe(100);
  // Those that ask nothing are sent away after a while, and there is room again.
  await daemon.until('it answers', () =>
    askAdmin(port, '/healthz').then(
      ({ status }) => status === 200,
      () => false,
    ),
  );
  const reader = net.connect(port, '127.0.0.1').on('error', () => undefined);
  reader.pause().write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(1000));
  await stopWithin(daemon);
  for (const socket of [...silent, reader]) socket.destroy();
});

test('while it is being stopped it is alive, and not ready', async () => {
  const port = await freePort();
  const proxy = await startProxy({ target: { port: Number(bootstrap.split(':')[1]) } });
  proxy.faults.refuse = true;
  const topic = await newTopic(bootstrap, 'stopping');
  const daemon = await startShown(
    {
      buckets: {
        streamsConfigs: { kafka: kafkaStream(`127.0.0.1:${proxy.port}`) },
        buckets: [{ id: topic, streams: ['kafka'], batchTimeout: 20 }],
      },
      env: { ADMIN: `127.0.0.1:${port}`, STOP_TIMEOUT: '5s' },
    },
    port,
  );
  const client = await daemon.connect();
  await client.send(numberedFrames(topic, 'a', { count: 10 }));
  await daemon.until('they are there', async () => (await statusOf(port)).socket.received === 10);
  const ended = daemon.stop();
  await daemon.until('it says so', async () =>
    (await askAdmin(port, '/readyz')).body.startsWith('stopping\n'),
  );
  expect(await askAdmin(port, '/healthz')).toMatchObject({ status: 200 });
  expect((await statusOf(port)).isStopping).toBe(true);
  expect(await ended).toMatchObject({ code: 0 });
  await proxy.close();
});

async function stopWithin(daemon: TestDaemon): Promise<void> {
  expect(await daemon.stop()).toMatchObject({ code: 0 });
}

/** All that comes back until the connection ends. */
function answerTo(port: number, text: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = net.connect(port, '127.0.0.1', () => socket.write(text, 'latin1'));
    socket.on('data', (piece: Buffer) => (answer += piece.toString('latin1')));
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(answer));
  });
}
