// How the daemon starts and ends: signals, exit codes, and the file of its socket.
import { existsSync, lstatSync } from 'node:fs';
import { mkdir, readFile, readdir, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import {
  DaemonClient,
  daemonFolder,
  frame,
  launchDaemon,
  numberedFrames,
  numbersBySender,
  range,
  spawnDaemon,
  startDaemon,
  type TestDaemon,
} from '../../support/daemon.js';
import { fileStream, kafkaStream, newTopic } from '../../support/daemonBuckets.js';
import { allMessages, readTopic } from '../../support/kafkaReader.js';

const { bootstrap } = inject('kafka');

const TO_FILES = {
  streamsConfigs: { files: fileStream('data') },
  buckets: [{ id: 'orders', streams: ['files'], batchTimeout: 60_000 }],
};

/** A Kafka that is not there: nothing listens on the discard port. */
function toNowhere(id: string): object {
  return {
    streamsConfigs: { kafka: kafkaStream('127.0.0.1:9', { 'message.timeout.ms': 1000 }) },
    buckets: [{ id, streams: ['kafka'], batchTimeout: 20 }],
  };
}

async function numbersIn(daemon: TestDaemon, folder: string): Promise<Map<string, number[]>> {
  return numbersBySender((await daemon.files(folder)).map(({ message }) => message));
}

describe('the end', () => {
  test.each(['SIGTERM', 'SIGINT', 'SIGQUIT'] as const)(
    '%s: what clients have written is delivered, none of them is waited for, exit 0, the socket is gone',
    async (signal) => {
      const daemon = await startDaemon({ buckets: TO_FILES });
      const clients = await Promise.all(range(0, 20).map(() => daemon.connect()));
      // All stay connected. The batch is open for a minute yet.
      await Promise.all(
        clients.map((client, index) =>
          client.send(numberedFrames('orders', `c${index}`, { count: 300, bytes: 100 })),
        ),
      );
      const { code, ms } = await daemon.stop(signal);
      expect(code).toBe(0);
      expect(ms).toBeLessThan(5000);
      expect(existsSync(daemon.socketPath)).toBe(false);
      expect(await numbersIn(daemon, 'data')).toEqual(
        new Map(range(0, 20).map((index) => [`c${index}`, expect.anything()])),
      );
      for (const [, numbers] of await numbersIn(daemon, 'data')) expect(numbers).toEqual(range(0, 300));
      await Promise.all(clients.map((client) => client.closed));
      expect((await readdir(daemon.folder)).sort()).toEqual(['.env.dev.local', 'buckets.json', 'data']);
    },
  );

  test('what lay unread in the sockets, and who was not yet accepted, is read too', async () => {
    const daemon = await startDaemon({ buckets: TO_FILES });
    const accepted = await Promise.all(range(0, 10).map(() => daemon.connect()));
    await Promise.all(
      accepted.map((client, index) => client.send(numberedFrames('orders', `a${index}`, { count: 10 }))),
    );
    daemon.signal('SIGSTOP');
    await Promise.all(
      accepted.map((client, index) =>
        client.send(numberedFrames('orders', `a${index}`, { from: 10, count: 500, bytes: 200 })),
      ),
    );
    const late = await Promise.all(range(0, 10).map(() => daemon.connect()));
    await Promise.all(
      late.map((client, index) =>
        client.send(numberedFrames('orders', `l${index}`, { count: 500, bytes: 200 })),
      ),
    );
    daemon.signal('SIGTERM');
    const exit = daemon.stop('SIGCONT');
    expect(await exit).toMatchObject({ code: 0 });
    const expected = [
      ...range(0, 10).map((index): [string, number[]] => [`a${index}`, range(0, 510)]),
      ...range(0, 10).map((index): [string, number[]] => [`l${index}`, range(0, 500)]),
    ];
    expect(await numbersIn(daemon, 'data')).toEqual(new Map(expected));
    expect(daemon.received).toEqual({ frames: 10_100, bad: 0 });
  });

  test('a drain reaches Kafka too', async () => {
    const topic = await newTopic(bootstrap, 'drain');
    const daemon = await startDaemon({
      buckets: {
        streamsConfigs: { kafka: kafkaStream(bootstrap) },
        buckets: [{ id: topic, streams: ['kafka'], batchTimeout: 60_000 }],
      },
    });
    const client = await daemon.connect();
    await client.send(numberedFrames(topic, 'c', { count: 5000, bytes: 100 }));
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    const messages = allMessages(await readTopic(bootstrap, topic)).map(({ value }) => value!.toString());
    expect(numbersBySender(messages)).toEqual(new Map([['c', range(0, 5000)]]));
  });

  test('a client that goes on writing does not hold it up', async () => {
    const daemon = await startDaemon({ buckets: TO_FILES, env: { STOP_TIMEOUT: '4s' } });
    const client = await daemon.connect();
    const piece = numberedFrames('orders', 'busy', { count: 100 });
    let isGoingOn = true;
    const writing = (async () => {
      while (isGoingOn) await client.send(piece);
    })().catch(() => undefined);
    await daemon.untilFiled('data', 1);
    const { code, ms } = await daemon.stop();
    isGoingOn = false;
    await writing;
    expect(code).toBe(0);
    expect(ms).toBeLessThan(6000);
    expect(await daemon.files('data')).toHaveLength(daemon.received.frames);
  });

  test('a question that waits is answered before its connection ends', async () => {
    const daemon = await startDaemon({ buckets: TO_FILES });
    const client = await daemon.connect();
    await client.send(numberedFrames('orders', 'c', { count: 70 }));
    const answer = client.receipt();
    // An answered question on a second connection shows that those before it were read.
    const other = await daemon.connect();
    expect(await other.receipt()).toBe(0);
    const exit = daemon.stop();
    expect((await Promise.all([answer.catch((error: unknown) => (error as Error).message), exit]))[0]).toBe(
      70,
    );
  });

  test('a second signal ends it at once', async () => {
    const daemon = await startDaemon({ buckets: toNowhere('orders') });
    const client = await daemon.connect();
    await client.send(numberedFrames('orders', 'c', { count: 100 }));
    await daemon.line(/delivery stopped/);
    daemon.signal('SIGTERM');
    await daemon.line(/SIGTERM: no new clients/);
    const { code, ms } = await daemon.stop('SIGINT');
    expect(code).toBe(1);
    expect(ms).toBeLessThan(1000);
    expect(daemon.lines.at(-1)).toMatch(/^WARN .*SIGINT again: ends at once/);
  });

  test('STOP_TIMEOUT bounds it: what could be delivered nowhere is kept with its reason', async () => {
    const daemon = await startDaemon({ buckets: toNowhere('orders'), env: { STOP_TIMEOUT: '4s' } });
    const client = await daemon.connect();
    await client.send(numberedFrames('orders', 'c', { count: 1234, bytes: 100 }));
    const { code, ms } = await daemon.stop();
    expect(code).toBe(0);
    expect(ms).toBeLessThan(6000);
    expect(await numbersIn(daemon, 'rejected')).toEqual(new Map([['c', range(0, 1234)]]));
    const [name] = (await readdir(join(daemon.folder, 'rejected'))).filter((each) =>
      each.endsWith('.reasons.jsonl'),
    );
    expect(await readFile(join(daemon.folder, 'rejected', name!), 'utf8')).toContain(
      'not delivered when the daemon stopped',
    );
    expect(daemon.accounts.get('orders/kafka')).toMatchObject({ received: 1234, rejected: 1234 });
  });

  test('SIGPIPE is ignored', async () => {
    const daemon = await startDaemon({ buckets: TO_FILES });
    daemon.signal('SIGPIPE');
    const client = await daemon.connect();
    await client.send(frame('orders', 'after'));
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(await daemon.files('data')).toHaveLength(1);
  });
});

describe('the file of the socket', () => {
  test('one left by kill -9 is taken over', async () => {
    const first = await startDaemon({ buckets: TO_FILES });
    await first.kill9();
    expect(lstatSync(first.socketPath).isSocket()).toBe(true);
    const second = await startDaemon({ buckets: TO_FILES, folder: first.folder });
    const client = await second.connect();
    await client.send(numberedFrames('orders', 'c', { count: 10 }));
    expect(await second.stop()).toMatchObject({ code: 0 });
    expect(await numbersIn(second, 'data')).toEqual(new Map([['c', range(0, 10)]]));
  });

  test('a second daemon ends with exit 3 and leaves the first alone', async () => {
    const first = await startDaemon({ buckets: TO_FILES });
    const client = await first.connect();
    await client.send(numberedFrames('orders', 'c', { count: 10 }));
    const second = await launchDaemon({ buckets: TO_FILES, env: { SOCKET: first.socketPath } });
    expect(await second.exited).toMatchObject({ code: 3 });
    expect(second.lines).toEqual([
      `kahe: a daemon is listening on ${first.socketPath} already; stop it first, or give this one another SOCKET`,
    ]);
    await client.send(numberedFrames('orders', 'c', { from: 10, count: 10 }));
    const late = await first.connect();
    await late.send(numberedFrames('orders', 'late', { count: 10 }));
    expect(await first.stop()).toMatchObject({ code: 0 });
    expect(await numbersIn(first, 'data')).toEqual(
      new Map([
        ['c', range(0, 20)],
        ['late', range(0, 10)],
      ]),
    );
  });

  test('of several starters one wins, the others end with exit 3', async () => {
    const folder = await daemonFolder();
    await launchDaemon({ buckets: TO_FILES, folder }).then((daemon) => daemon.kill9());
    const daemons = await Promise.all(range(0, 5).map(() => spawnDaemon(folder)));
    const ended = new Set<TestDaemon>();
    for (const daemon of daemons) void daemon.exited.then(() => ended.add(daemon));
    await expect.poll(() => ended.size).toBe(4);
    for (const loser of ended) expect(await loser.exited).toMatchObject({ code: 3 });
    const winner = daemons.find((daemon) => !ended.has(daemon))!;
    const client = await winner.connect();
    await client.send(numberedFrames('orders', 'c', { count: 10 }));
    expect(await winner.stop()).toMatchObject({ code: 0 });
    expect(await numbersIn(winner, 'data')).toEqual(new Map([['c', range(0, 10)]]));
    expect((await readdir(folder)).sort()).toEqual(['.env.dev.local', 'buckets.json', 'data']);
  });

  test.each([
    ['a file', async (path: string) => writeFile(path, 'precious')],
    ['a folder', async (path: string) => mkdir(path)],
    [
      'a symlink to a file',
      async (path: string) => {
        await writeFile(`${path}.target`, 'precious');
        await symlink(`${path}.target`, path);
      },
    ],
    ['a symlink to nothing', async (path: string) => symlink(`${path}.nothing`, path)],
  ])('%s in its place is refused with exit 1, and untouched', async (_what, make) => {
    const folder = await daemonFolder();
    const path = join(folder, 'kahe.sock');
    await make(path);
    const before = [lstatSync(path), await readdir(folder)];
    const daemon = await launchDaemon({ buckets: TO_FILES, folder });
    expect(await daemon.exited).toMatchObject({ code: 1 });
    expect(daemon.lines).toEqual([
      `kahe: SOCKET: ${path} exists and is no socket; move it away or choose another path`,
    ]);
    const after = [
      lstatSync(path),
      (await readdir(folder)).filter((name) => !['buckets.json', '.env.dev.local'].includes(name)),
    ];
    expect(after).toEqual(before);
  });

  test('another program that listens there is not pushed aside', async () => {
    const folder = await daemonFolder();
    const other = createServer().listen(join(folder, 'kahe.sock'));
    onTestFinished(() => void other.close());
    const daemon = await launchDaemon({ buckets: TO_FILES, folder });
    expect(await daemon.exited).toMatchObject({ code: 3 });
    expect((await DaemonClient.connect(join(folder, 'kahe.sock'))).isClosed).toBe(false);
  });

  test('SOCKET_MODE and SOCKET_GROUP hold, and at no moment is it open wider', async () => {
    const group = await otherGroup();
    const folder = await daemonFolder();
    const seen = new Set<string>();
    const starting = launchDaemon({
      buckets: TO_FILES,
      folder,
      env: { SOCKET_MODE: '0600', ...(group && { SOCKET_GROUP: group.name }) },
    });
    const daemon = await starting;
    for (
      let isThere = false;
      !isThere && daemon.isRunning;
      await new Promise((resolve) => setImmediate(resolve))
    ) {
      for (const name of await readdir(folder)) {
        if (!name.startsWith('kahe.sock')) continue;
        const found = lstatSync(join(folder, name), { throwIfNoEntry: false });
        if (found?.isSocket()) seen.add((found.mode & 0o777).toString(8));
        if (seen.has('600')) isThere = true;
      }
    }
    await daemon.answers();
    // In its first moment its owner has an x, too, which means nothing for a socket.
    expect([...seen].filter((mode) => mode !== '700')).toEqual(['600']);
    expect(lstatSync(daemon.socketPath).gid).toBe(group?.id ?? process.getgid!());
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });

  test('SOCKET_MODE is 0660 when nothing is said, whatever the umask', async () => {
    const before = process.umask(0o077);
    const daemon = await startDaemon({ buckets: TO_FILES }).finally(() => process.umask(before));
    // It answers under its own name before it is opened to others.
    await expect.poll(() => lstatSync(daemon.socketPath).mode & 0o777).toBe(0o660);
    expect(lstatSync(daemon.socketPath).gid).toBe(process.getgid!());
  });

  test('a group that is not there: exit 1, and no socket', async () => {
    const daemon = await launchDaemon({ buckets: TO_FILES, env: { SOCKET_GROUP: 'no-such-group-here' } });
    expect(await daemon.exited).toMatchObject({ code: 1 });
    expect(daemon.lines.join()).toContain('SOCKET_GROUP: there is no group "no-such-group-here"');
    expect(existsSync(daemon.socketPath)).toBe(false);
  });
});

describe('a configuration that can not be used: exit 1, nothing is started, and the message says where', () => {
  const stream = { files: fileStream('data') };
  test.each([
    [
      'an unknown stream',
      { streamsConfigs: stream, buckets: [{ id: 'a', streams: ['fiels'] }] },
      {},
      /buckets\.json: buckets\[0\]\.streams\[0\]: no stream "fiels" in streamsConfigs/,
    ],
    [
      'a bad number',
      { streamsConfigs: stream, buckets: [{ id: 'a', streams: ['files'], batch: 'many' }] },
      {},
      /buckets\.json: buckets\[0\]\.batch: "many"/,
    ],
    [
      'an unknown setting',
      {
        streamsConfigs: { kafka: kafkaStream(bootstrap, { 'compresion.codec': 'gzip' }) },
        buckets: [{ id: 'a', streams: ['kafka'] }],
      },
      {},
      /buckets\.json: streamsConfigs\.kafka\.settings\.compresion\.codec: .*"compression\.codec"/,
    ],
    [
      'no stream at all',
      { streamsConfigs: {}, buckets: [{ id: 'a', streams: [] }] },
      {},
      /buckets\.json: streamsConfigs: is empty/,
    ],
    ['no bucket at all', { streamsConfigs: stream, buckets: [] }, {}, /buckets\.json: buckets: is empty/],
    ['text that is no JSON5', '{ streamsConfigs: ', {}, /buckets\.json: line 1, column/],
    [
      'a bad size',
      { streamsConfigs: stream, buckets: [{ id: 'a', streams: ['files'] }] },
      { MAXMEMORY: 'lots' },
      /MAXMEMORY: "lots"/,
    ],
    [
      'a bad mode',
      { streamsConfigs: stream, buckets: [{ id: 'a', streams: ['files'] }] },
      { SOCKET_MODE: '0999' },
      /SOCKET_MODE: "0999"/,
    ],
  ])('%s', async (_what, buckets, env, message) => {
    const daemon = await launchDaemon({ buckets, env });
    expect(await daemon.exited).toMatchObject({ code: 1 });
    expect(daemon.lines.join('\n')).toMatch(message);
    expect(daemon.lines[0]).toMatch(/^kahe: /);
    expect((await readdir(daemon.folder)).sort()).toEqual(['.env.dev.local', 'buckets.json']);
  });

  test('no .env file, though `environment` names one: it is named', async () => {
    const folder = await daemonFolder();
    const daemon = await spawnDaemon(folder, { environment: 'prod' });
    expect(await daemon.exited).toMatchObject({ code: 1 });
    expect(daemon.lines.join('\n')).toContain(join(folder, '.env.prod.local'));
    expect(await readdir(folder)).toEqual([]);
  });

  test('a file stream whose folder can not be: it is said with the path, and frames wait', async () => {
    const folder = await daemonFolder();
    await writeFile(join(folder, 'data'), 'a file where the folder should be');
    const daemon = await startDaemon({ buckets: TO_FILES, folder });
    expect(await daemon.line(/delivery stopped/)).toContain(join(folder, 'data'));
    expect(await readFile(join(folder, 'data'), 'utf8')).toBe('a file where the folder should be');
  });

  test('a folder in which no socket can be made', async () => {
    const daemon = await launchDaemon({ buckets: TO_FILES, env: { SOCKET: 'not-there/kahe.sock' } });
    expect(await daemon.exited).toMatchObject({ code: 1 });
    expect(daemon.lines.join('\n')).toMatch(/^kahe: SOCKET: .*not-there/);
  });
});

/** A group that is not ours by default, if we may give files to one. */
async function otherGroup(): Promise<{ readonly name: string; readonly id: number } | undefined> {
  const isRoot = process.getuid!() === 0;
  const groups = (await readFile('/etc/group', 'utf8')).split('\n').map((line) => line.split(':'));
  const usable = groups
    .map(([name, , id]) => ({ name: name!, id: Number(id) }))
    .filter(({ name, id }) => name !== '' && id !== process.getgid!());
  return usable.find(({ id }) => isRoot || process.getgroups!().includes(id));
}
