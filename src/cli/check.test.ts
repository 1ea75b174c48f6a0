// `kahe check`, as it is typed.
import { once } from 'node:events';
import { chmod, mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { type Ran, runHere } from '../../support/cliIo.js';
import { newFolder } from '../../support/newFolder.js';

let folder: string;

const BUCKETS = {
  streamsConfigs: {
    kafka: {
      type: 'kafka',
      settings: {
        'bootstrap.servers': '127.0.0.1:1',
        'compression.codec': 'gzip',
        'security.protocol': 'sasl_plaintext',
        'sasl.mechanisms': 'PLAIN',
        'sasl.username': 'me',
        'sasl.password': 'geheim',
      },
      backup: { type: 'file', settings: { path: './backup' }, replay: 'manual' },
    },
    copies: { type: 'file', slice: 0.5, settings: { path: './data/copies' } },
  },
  buckets: [{ id: 'orders', streams: ['kafka', 'copies'] }],
  defaultBucket: { streams: ['copies'], batch: 10 },
};

beforeEach(() => void (folder = newFolder()));

async function check(
  args: readonly string[],
  { env = 'SOCKET=./it.sock', buckets = BUCKETS }: { readonly env?: string; readonly buckets?: object } = {},
): Promise<Ran> {
  await writeFile(join(folder, '.env.dev.local'), env);
  await writeFile(join(folder, 'buckets.json'), JSON.stringify(buckets));
  return runHere(['check', ...args], { cwd: folder });
}

describe('kahe check', () => {
  test('shows what was understood: where each bucket goes, and what happens when that fails', async () => {
    const { code, out, err } = await check([]);
    expect([code, err]).toEqual([0, '']);
    expect(out).toContain(
      `${join(folder, '.env.dev.local')} and ${join(folder, 'buckets.json')} are sound\n`,
    );
    expect(out).toContain(`socket    ${join(folder, 'it.sock')}, mode 0660\n`);
    const rows = out.split('\n').map((line) => line.split(/ {2,}/));
    expect(rows).toContainEqual([
      'orders',
      '10000 frames, 976KB, 1000 ms',
      'kafka',
      'Kafka 127.0.0.1:1 (acks all, gzip, sasl_plaintext)',
      `files in ${join(folder, 'backup')}, replay manual`,
    ]);
    expect(rows).toContainEqual([
      '(any other)',
      '10 frames, 976KB, 1000 ms',
      'copies',
      `files in ${join(folder, 'data/copies')}, 50% of the frames`,
      'none',
    ]);
    expect(out).not.toContain('geheim');
  });

  test('a rate limit is shown with its bucket', async () => {
    const { out } = await check([], {
      buckets: { ...BUCKETS, defaultBucket: { streams: ['copies'], rateLimit: { frames: 50, perMs: 1000 } } },
    });
    expect(out).toContain(
      '(any other)  10000 frames, 976KB, 1000 ms; at most 50 frames in 1000 ms, over that: reject  copies',
    );
  });

  test('the places of the admin door are shown where there are any', async () => {
    expect((await check([], { env: 'ADMIN=127.0.0.1:9090, ./admin.sock\nSOCKET=./it.sock' })).out).toMatch(
      /\n *admin +http:\/\/127\.0\.0\.1:9090\/, \/\S+\/admin\.sock\n/,
    );
    expect((await check([])).out).not.toContain('admin');
  });

  test('statsd is shown where figures go to one', async () => {
    expect(
      (await check([], { env: 'STATSD=stats.example:8125\nSTATSD_INTERVAL=1m\nSOCKET=./it.sock' })).out,
    ).toContain('statsd    stats.example:8125 every 1m00s, as kahe.…\n');
    expect((await check([])).out).not.toContain('statsd');
  });

  test('every problem of both files at once, and 1', async () => {
    const { code, out } = await check([], {
      env: 'MAXMEMORY=little\nSOKET=x\n',
      buckets: { ...BUCKETS, buckets: [{ id: 'orders', streams: ['kafke'] }] },
    });
    expect(code).toBe(1);
    expect(out.trimEnd().split('\n')).toEqual([
      expect.stringContaining('unknown variable "SOKET"; did you mean "SOCKET"?'),
      expect.stringContaining('MAXMEMORY: "little" is not a size'),
      expect.stringContaining(
        'buckets[0].streams[0]: no stream "kafke" in streamsConfigs; did you mean "kafka"?',
      ),
    ]);
  });

  test('a group that is not there: the daemon would not start', async () => {
    const { code, out } = await check([], { env: 'SOCKET=./it.sock\nSOCKET_GROUP=no-such-group' });
    expect(code).toBe(1);
    expect(out).toContain(
      `FAIL SOCKET, ${join(folder, 'it.sock')}: SOCKET_GROUP: there is no group "no-such-group"; make it with groupadd, or name another\n`,
    );
  });

  test('with an environment that is wrong, the file that it names is read all the same', async () => {
    const { out } = await check([], { env: 'BUCKETS_FILE=./elsewhere.json\nMAXCPUS=0\n' });
    expect(out).toContain('elsewhere.json: not found');
  });

  test('a password that everybody may read is a warning, and no problem; one that others may not is none', async () => {
    const { code, out } = await check([]);
    expect(out).toContain(
      `warning: ${join(folder, 'buckets.json')} holds a secret (streamsConfigs.kafka.settings.sasl.password), and every user of this machine may read it (mode 0644): chmod o= '${join(folder, 'buckets.json')}'\n`,
    );
    expect([code, out.includes('geheim')]).toEqual([0, false]);
    expect(JSON.parse((await check(['--json'])).out)).toMatchObject({
      ok: true,
      warnings: [expect.stringContaining('holds a secret')],
    });
    await chmod(join(folder, 'buckets.json'), 0o640);
    expect((await check([])).out).not.toContain('holds a secret');
  });

  test('a password of the .env file is in what it says nowhere, also when it stands in the wrong place', async () => {
    const rest = BUCKETS.streamsConfigs.kafka.settings;
    const kafka = (settings: object): object => ({
      ...BUCKETS,
      streamsConfigs: {
        ...BUCKETS.streamsConfigs,
        kafka: { ...BUCKETS.streamsConfigs.kafka, settings: { ...rest, ...settings } },
      },
    });
    const env = 'SOCKET=./it.sock\nWORD=geheim2';
    const good = await check([], {
      env,
      buckets: kafka({ 'bootstrap.servers': 'a', 'sasl.password': '${WORD}' }),
    });
    const bad = await check([], {
      env: `${env}\ngeheim2`,
      buckets: kafka({ 'bootstrap.servers': 'a:${WORD}', acks: '${WORD}', 'sasl.mechanisms': '${WORD}' }),
    });
    expect([good.code, bad.code, bad.out.match(/^.*"[^"]*\$\{WORD\}" is not.*$/gm)]).toEqual([
      0,
      1,
      expect.objectContaining({ length: 3 }),
    ]);
    expect(good.out + bad.out).not.toContain('geheim2');
  });

  test('no .env file is needed when the environment says all: what it says is checked', async () => {
    await writeFile(join(folder, 'its.json'), JSON.stringify(BUCKETS));
    const env = { BUCKETS_FILE: './its.json', SOCKET: './it.sock' };
    expect(await runHere(['check'], { cwd: folder, env })).toMatchObject({
      code: 0,
      out: expect.stringContaining(`the environment and ${join(folder, 'its.json')} are sound`) as string,
    });
    expect(JSON.parse((await runHere(['check', '--json'], { cwd: folder, env })).out)).toMatchObject({
      ok: true,
      environment: { socket: { path: join(folder, 'it.sock') } },
    });
    expect(await runHere(['check'], { cwd: folder, env: { ...env, MAXCPUS: '0' } })).toMatchObject({
      code: 1,
      out: expect.stringContaining('environment variable MAXCPUS: "0"') as string,
    });
  });

  test('no .env file: it says so; warnings are shown and are no problem', async () => {
    await writeFile(join(folder, 'buckets.json'), JSON.stringify(BUCKETS));
    expect(await runHere(['check'], { cwd: folder })).toMatchObject({
      code: 1,
      out: expect.stringContaining('.env.dev.local: not found') as string,
    });
    expect(await check([], { env: 'LOG_LEVEL=LOUD' })).toMatchObject({
      code: 0,
      out: expect.stringContaining('warning: ') as string,
    });
  });

  test('--json: one object, without passwords', async () => {
    const { code, out } = await check(['--json']);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      ok: true,
      problems: [],
      environment: { socket: { path: join(folder, 'it.sock') }, maxMemoryBytes: 250 * 1024 ** 2 },
      buckets: [
        {
          id: 'orders',
          batchFrames: 10_000,
          streams: [
            { id: 'kafka', type: 'kafka', slice: 1, backup: { type: 'file', replay: 'manual' } },
            { id: 'copies', slice: 0.5, backup: null },
          ],
        },
        { id: null },
      ],
      places: expect.arrayContaining([
        { what: `SOCKET, ${join(folder, 'it.sock')}`, ok: true, state: 'ok', says: 'it can be made' },
      ]) as object,
      connect: [],
    });
    expect(out).not.toContain('geheim');
    expect(JSON.parse((await check(['--json'], { env: 'MAXCPUS=0' })).out)).toMatchObject({
      ok: false,
      problems: [expect.stringContaining('MAXCPUS')],
      environment: null,
    });
  });

  test('places that can be used, made, or not; and it leaves nothing behind', async () => {
    await mkdir(join(folder, 'data'));
    await writeFile(join(folder, 'backup'), 'a file where the folder should be');
    const before = await readdir(folder);
    const { code, out } = await check([], {
      env: 'SOCKET=./it.sock\nSPOOL=./deep/spool\nADMIN=./admin.sock',
    });
    expect(code).toBe(1);
    expect(out.split('\n').filter((line) => /^(ok|FAIL|warn) /.test(line))).toEqual([
      `ok   SOCKET, ${join(folder, 'it.sock')}: it can be made`,
      `ok   ADMIN, ${join(folder, 'admin.sock')}: it can be had`,
      `ok   SPOOL, folder ${join(folder, 'deep/spool')}: it is not there yet; it can be made, because ${folder} can be written`,
      `ok   REJECTED, folder ${join(folder, 'rejected')}: it is not there yet; it can be made, because ${folder} can be written`,
      `FAIL backup of stream kafka, folder ${join(folder, 'backup')}: ${join(folder, 'backup')} is not a folder; move it away`,
      `ok   stream copies, folder ${join(folder, 'data/copies')}: it is not there yet; it can be made, because ${join(folder, 'data')} can be written`,
    ]);
    expect((await readdir(folder)).sort()).toEqual(
      [...new Set([...before, '.env.dev.local', 'buckets.json'])].sort(),
    );
  });

  test('a folder that is a symlink to nothing', async () => {
    await symlink(join(folder, 'nothing'), join(folder, 'backup'));
    expect(await check([])).toMatchObject({
      code: 1,
      out: expect.stringContaining(`${join(folder, 'backup')} is a symlink that leads nowhere`) as string,
    });
  });

  describe('what systemd makes before it starts the daemon is no problem while it is not there', () => {
    const systemctl = (says: string): Promise<void> =>
      writeFile(join(folder, 'systemctl'), `#!/bin/sh\n[ "$1" = show ] && cat <<'END'\n${says}\nEND\n`, {
        mode: 0o755,
      });
    const places = async (): Promise<string[]> => {
      await writeFile(
        join(folder, '.env.dev.local'),
        [
          'SOCKET=./run/kahe.sock',
          'ADMIN=/run/kahe-nowhere/admin/admin.sock',
          'SPOOL=/proc/kahe-state/spool',
          'REJECTED=./rejected',
        ].join('\n'),
      );
      await writeFile(
        join(folder, 'buckets.json'),
        JSON.stringify({
          ...BUCKETS,
          streamsConfigs: {
            ...BUCKETS.streamsConfigs,
            kafka: { ...BUCKETS.streamsConfigs.kafka, backup: undefined },
          },
        }),
      );
      const { out } = await runHere(['check'], {
        cwd: folder,
        env: { PATH: `${folder}:${process.env['PATH']!}` },
      });
      return out.split('\n').filter((line) => /^(ok|FAIL|warn) +(SOCKET|ADMIN|SPOOL)/.test(line));
    };

    test('the socket of kahe.socket, and the folders of kahe.service', async () => {
      await systemctl(
        `Listen=${folder}/run/kahe.sock (Stream)\n\nRuntimeDirectory=kahe-nowhere/admin\nStateDirectory=../../proc/kahe-state`,
      );
      expect(await places()).toEqual([
        `ok   SOCKET, ${folder}/run/kahe.sock: systemd makes it when it starts kahe`,
        'ok   ADMIN, /run/kahe-nowhere/admin/admin.sock: systemd makes it when it starts kahe',
        'ok   SPOOL, folder /proc/kahe-state/spool: systemd makes it when it starts kahe',
      ]);
    });

    test('but not other places', async () => {
      await systemctl(
        'Listen=/run/kahe/kahe.sock (Stream)\n\nRuntimeDirectory=kahe/admin\nStateDirectory=kahe',
      );
      expect((await places()).map((line) => line.split(',')[0])).toEqual([
        'FAIL SOCKET',
        'FAIL ADMIN',
        'FAIL SPOOL',
      ]);
    });
  });

  test('a socket at which systemd listens is not connected to: that would start the daemon', async () => {
    let connections = 0;
    const server = createServer(() => connections++).listen(join(folder, 'it.sock'));
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    expect(await check([])).toMatchObject({
      code: 0,
      out: expect.stringContaining(
        `ok   SOCKET, ${join(folder, 'it.sock')}: somebody listens there: a daemon that is running, or systemd for it\n`,
      ) as string,
    });
    expect(connections).toBe(0);
  });

  test('--connect: a Kafka that does not answer', async () => {
    const { code, out } = await check(['--connect']);
    expect(code).toBe(1);
    expect(out).toMatch(/^FAIL stream kafka, Kafka 127\.0\.0\.1:1: no broker answers: /m);
  });

  test('operands are a wrong command line', async () => {
    expect(await check(['buckets.json'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('it takes no "buckets.json"') as string,
    });
  });
});
