// Secrets outside of buckets.json, in the whole daemon, against a Kafka that asks for a login: they work,
// they are read again, and nobody sees them.
import { execFileSync } from 'node:child_process';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, inject, test } from 'vitest';
import { askAdmin } from '../../support/adminDoor.js';
import { runCli } from '../../support/cliProcess.js';
import { newTopic } from '../../support/daemonBuckets.js';
import { daemonFolder, numberedFrames, startDaemon, type TestDaemon } from '../../support/daemon.js';
import { reload } from '../../support/reloads.js';

const { bootstrap, security } = inject('kafka');
const WRONG = 'a-wrong-password';

function bucketsOf(topic: string, password: object): object {
  const login = {
    'bootstrap.servers': security!.saslPlainBootstrap,
    'security.protocol': 'sasl_plaintext',
    'sasl.mechanisms': 'SCRAM-SHA-256',
    'sasl.username': '${USER_NAME}',
    'message.timeout.ms': 500,
  };
  return {
    streamsConfigs: { kafka: { type: 'kafka', settings: { ...login, ...password } } },
    buckets: [{ id: topic, streams: ['kafka'], batchTimeout: 20 }],
  };
}

async function delivers(daemon: TestDaemon, topic: string): Promise<void> {
  expect(
    await runCli(['send', topic, 'hello'], { cwd: daemon.folder, env: { SOCKET: daemon.socketPath } }),
  ).toMatchObject({ code: 0 });
}

/** Everything that a person, a program or another user of the machine gets to see of it. */
async function shown(daemon: TestDaemon, env: Readonly<Record<string, string>> = {}): Promise<string> {
  const door = join(daemon.folder, 'admin.sock');
  const pages = await Promise.all(
    ['/status.json', '/metrics', '/readyz', '/'].map(async (path) => (await askAdmin(door, path)).body),
  );
  const commands = await Promise.all(
    [['check', '--connect'], ['check', '--json'], ['status'], ['status', '--json']].map((args) =>
      runCli(args, { cwd: daemon.folder, env }),
    ),
  );
  const processes = execFileSync('ps', ['-e', '-ww', '-o', 'args='], { encoding: 'utf8' });
  return [...daemon.lines, ...pages, ...commands.map(({ out, err }) => out + err), processes].join('\n');
}

describe.skipIf(security === undefined)('a password', () => {
  test.each([
    [
      'of the .env file',
      { 'sasl.password': '${KAFKA_PASSWORD}' },
      (password: string) => `KAFKA_PASSWORD="${password}"`,
    ],
    [
      'of a file that is named',
      { 'sasl.password.location': '${SECRETS}/password' },
      (_password: string, folder: string) => `SECRETS=${folder}`,
    ],
  ])(
    '%s: it logs in, a new one is taken on at a reload, a wrong one is told, and none is shown',
    async (_what, setting, variable) => {
      const topic = await newTopic(bootstrap, 'secrets');
      const folder = await daemonFolder();
      const write = async (password: string): Promise<void> => {
        await writeFile(join(folder, 'password'), `${password}\n`, { mode: 0o600 });
        await writeFile(join(folder, '.env.dev.local'), envFile(password), { mode: 0o600 });
        await chmod(join(folder, '.env.dev.local'), 0o600);
      };
      const envFile = (password: string): string =>
        `ADMIN=./admin.sock\nLOG_LEVEL=TRACE\nUSER_NAME=${security!.user}\n${variable(password, folder)}\n`;
      await write(security!.password);
      const daemon = await startDaemon({
        folder,
        buckets: bucketsOf(topic, setting),
        envFile: envFile(security!.password),
      });
      await delivers(daemon, topic);
      // What it was is what it is: the .env file was written anew, with the same mode.
      await write(security!.password);
      expect(await reload(daemon)).toBe('nothing has changed');

      await write(WRONG);
      expect(await reload(daemon)).toBe(`changed buckets.${topic} (changed stream kafka)`);
      const client = await daemon.connect();
      await client.send(numberedFrames(topic, 'c', { count: 10 }));
      expect(await daemon.line(/delivery stopped/)).toContain(security!.user);
      const text = await shown(daemon);
      for (const seen of [
        'kahe_config_last_reload_successful',
        'FAIL stream kafka',
        '"buckets":[',
        'mode error',
      ])
        expect(text).toContain(seen);
      await write(security!.password);
      expect(await reload(daemon)).toBe(`changed buckets.${topic} (changed stream kafka)`);
      expect(await client.receipt()).toBe(10);
      await daemon.stop();
      expect(daemon.linesLike(/has changed: its settings need a restart/)).toEqual([]);
      for (const secret of [WRONG, security!.password])
        expect(text + daemon.lines.join('\n')).not.toContain(secret);
    },
  );

  test('that every user may read is told at the start, and at the reload that finds it so', async () => {
    const topic = await newTopic(bootstrap, 'secrets');
    const env = { USER_NAME: security!.user };
    const daemon = await startDaemon({
      buckets: bucketsOf(topic, { 'sasl.password': security!.password }),
      env,
    });
    const file = join(daemon.folder, 'buckets.json');
    const told = (): string[] => daemon.linesLike(/WARN .* holds a secret/);
    expect(told()).toEqual([
      expect.stringContaining(
        `${file} holds a secret (streamsConfigs.kafka.settings.sasl.password), and every user of this machine may read it (mode 0644): chmod o= '${file}'`,
      ),
    ]);
    await chmod(file, 0o640);
    await reload(daemon);
    expect(told()).toHaveLength(1);
    await chmod(file, 0o644);
    await reload(daemon);
    expect(told()).toHaveLength(2);
    await delivers(daemon, topic);
    expect(daemon.lines.join('\n')).not.toContain(security!.password);
  });

  test('of a variable that is not set: nothing starts, and a reload changes nothing', async () => {
    const topic = await newTopic(bootstrap, 'secrets');
    const daemon = await startDaemon({
      buckets: bucketsOf(topic, { 'sasl.password': '${PASSWORD}' }),
      env: { USER_NAME: security!.user, PASSWORD: security!.password },
    });
    expect(await reload(daemon, bucketsOf(topic, { 'sasl.password': '${PASSWORT}' }))).toBeUndefined();
    expect(daemon.linesLike(/PASSWORT/)[0]).toContain(
      'streamsConfigs.kafka.settings.sasl.password: ${PASSWORT} is not set; set PASSWORT in the environment or in the .env file',
    );
    await delivers(daemon, topic);
    expect(await readFile(`/proc/${daemon.pid}/cmdline`, 'utf8')).not.toContain(security!.password);
  });
});
