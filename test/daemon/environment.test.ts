// A daemon without an .env file, as in a container: the real environment says all, to the commands too.
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runCli } from '../../support/cliProcess.js';
import { fileStream } from '../../support/daemonBuckets.js';
import { daemonFolder, spawnDaemon } from '../../support/daemon.js';

const BUCKETS = {
  streamsConfigs: { files: fileStream('data') },
  buckets: [{ id: 'orders', streams: ['files'], batchTimeout: 30 }],
};

test('the daemon starts, reloads and stops without a warning; check, send, status, replay find all', async () => {
  const folder = await daemonFolder();
  const work = join(folder, 'work');
  await mkdir(work);
  await writeFile(join(folder, 'its.json'), JSON.stringify(BUCKETS));
  const env = {
    BUCKETS_FILE: join(folder, 'its.json'),
    SOCKET: join(folder, 'it.sock'),
    ADMIN: join(folder, 'admin.sock'),
    SPOOL: join(folder, 'spool'),
  };
  const kahe = (...args: string[]): ReturnType<typeof runCli> => runCli(args, { cwd: work, env });

  expect(await kahe('check')).toMatchObject({
    code: 0,
    err: '',
    out: expect.stringContaining(`the environment and ${env.BUCKETS_FILE} are sound`) as string,
  });
  const daemon = await spawnDaemon(work, env);
  await daemon.line(/ listens on /);
  expect(daemon.linesLike(/there is no \.env file/)).toHaveLength(1);
  expect(await kahe('send', 'orders', 'hello')).toMatchObject({ code: 0, err: '' });
  expect(await kahe('status')).toMatchObject({
    code: 0,
    err: '',
    out: expect.stringContaining('ready') as string,
  });
  daemon.signal('SIGHUP');
  await daemon.line(/SIGHUP: .* is in force/);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  expect(daemon.linesLike(/^(WARN|ERROR|FATAL)/)).toEqual([]);
  expect((await daemon.files('data')).map(({ bucket, message }) => [bucket, message])).toEqual([
    ['orders', 'hello'],
  ]);

  expect(await kahe('replay', '--stream', 'files', '--dry-run', 'data')).toMatchObject({
    code: 0,
    out: expect.stringContaining('would send 1 frame to stream files (orders 1)') as string,
  });
  expect((await readdir(work)).filter((name) => name.startsWith('.env'))).toEqual([]);
});

test('a file that is made meanwhile is seen at a reload: it counts at the next start', async () => {
  const folder = await daemonFolder();
  await writeFile(join(folder, 'buckets.json'), JSON.stringify(BUCKETS));
  const daemon = await spawnDaemon(folder);
  await daemon.line(/ listens on /);
  await writeFile(join(folder, '.env.dev.local'), 'MAXCPUS=4');
  daemon.signal('SIGHUP');
  expect(await daemon.line(/WARN .*SIGHUP/)).toContain(
    `${join(folder, '.env.dev.local')} has changed: its settings need a restart`,
  );
});
