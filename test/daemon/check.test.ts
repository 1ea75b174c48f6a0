// `kahe check --connect` against a real Kafka.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, inject, onTestFinished, test } from 'vitest';
import { runCli } from '../../support/cliProcess.js';
import { daemonFolder } from '../../support/daemon.js';
import { fileStream, kafkaStream, newTopic, newTopicName } from '../../support/daemonBuckets.js';
import { freePorts } from '../../support/freePorts.js';
import { startKafka } from '../../support/kafkaServer.js';
import { describeTopic } from '../../support/kafkaTopics.js';

const { bootstrap, security } = inject('kafka');

test('topics that are there, and one that is not: which it does not make either', async () => {
  const folder = await daemonFolder();
  const [topic, missing] = [await newTopic(bootstrap, 'check', 3), newTopicName('check')];
  const kafka = kafkaStream(
    bootstrap,
    { 'allow.auto.create.topics': true },
    { backup: fileStream('backup') },
  );
  await writeFile(join(folder, '.env.dev.local'), 'SOCKET=./it.sock');
  await mkdir(join(folder, 'backup'));
  const write = (buckets: readonly string[]): Promise<void> =>
    writeFile(
      join(folder, 'buckets.json'),
      JSON.stringify({
        streamsConfigs: { kafka, any: kafkaStream(bootstrap) },
        buckets: buckets.map((id) => ({ id, streams: ['kafka'] })),
        defaultBucket: { streams: ['any'] },
      }),
    );
  await write([topic, missing]);
  const bad = await runCli(['check', '--connect'], { cwd: folder });
  expect(bad).toMatchObject({ code: 1, err: '' });
  expect(bad.out).toContain(`ok   stream kafka, Kafka ${bootstrap}: topic ${topic} has 3 partitions\n`);
  expect(bad.out).toContain(`FAIL stream kafka, Kafka ${bootstrap}: topic ${missing} does not exist`);
  expect(bad.out).toContain(`ok   stream any, Kafka ${bootstrap}: its 1 broker is reached\n`);
  expect(await describeTopic([bootstrap], missing)).toBeUndefined();
  await write([topic]);
  const good = await runCli(['check', '--connect', '--json'], { cwd: folder });
  expect(good.code).toBe(0);
  const { connect } = JSON.parse(good.out) as { connect: { says: string; ok: boolean; state: string }[] };
  expect(connect.map(({ ok, state, says }) => ({ ok, state, says }))).toEqual([
    { ok: true, state: 'ok', says: 'its 1 broker is reached' },
    { ok: true, state: 'ok', says: `topic ${topic} has 3 partitions` },
    { ok: true, state: 'ok', says: 'its 1 broker is reached' },
  ]);
});

test('TLS and login: those that work, and one that is refused, which is tried once', async () => {
  if (security === undefined)
    throw new Error(
      'this test needs the Kafka that it starts: KAFKA_BOOTSTRAP names one without TLS and SASL',
    );
  const folder = await daemonFolder();
  const topic = await newTopic(bootstrap, 'check-login');
  const login = {
    'security.protocol': 'sasl_plaintext',
    'sasl.mechanisms': 'PLAIN',
    'sasl.username': security.user,
  };
  await writeFile(join(folder, '.env.dev.local'), 'SOCKET=./it.sock');
  await writeFile(
    join(folder, 'buckets.json'),
    JSON.stringify({
      streamsConfigs: {
        good: kafkaStream(security.saslPlainBootstrap, { ...login, 'sasl.password': security.password }),
        bad: kafkaStream(security.saslPlainBootstrap, { ...login, 'sasl.password': 'geheim-123' }),
        tls: kafkaStream(security.sslBootstrap, {
          'security.protocol': 'ssl',
          'ssl.ca.location': security.caFile,
        }),
        noCa: kafkaStream(security.sslBootstrap, { 'security.protocol': 'ssl' }),
      },
      buckets: [{ id: topic, streams: ['good', 'bad', 'tls', 'noCa'] }],
    }),
  );
  const { code, out } = await runCli(['check', '--connect'], { cwd: folder });
  expect(code).toBe(1);
  const lines = (stream: string): string[] =>
    out
      .split('\n')
      .filter((line) => line.includes(` stream ${stream}, Kafka `))
      .map((line) => line.replace(/ stream \w+, Kafka \S+:/, ''));
  expect(lines('good')).toEqual([
    `ok   its 1 broker is reached and takes the login of user "${security.user}"`,
    `ok   topic ${topic} has 1 partition`,
  ]);
  expect(lines('bad')).toEqual([
    expect.stringMatching(
      new RegExp(
        `^FAIL no broker lets us in: broker ${security.saslPlainBootstrap} refused the login of user "${security.user}" \\(PLAIN\\): Authentication failed`,
      ),
    ),
  ]);
  expect(lines('tls')).toEqual(['ok   its 1 broker is reached', `ok   topic ${topic} has 1 partition`]);
  expect(lines('noCa')).toEqual([expect.stringMatching(/^FAIL no broker can be used: .*ssl\.ca\.location$/)]);
  expect(out).not.toContain('geheim-123');
});

test.each(['an address at which nobody is', 'a name that nothing here knows'])(
  'a broker that advertises %s',
  async (what) => {
    const [dead] = await freePorts(1);
    const isName = what.startsWith('a name');
    const server = await startKafka(
      isName ? { advertisedHost: 'no-such-host.invalid' } : { advertisedPorts: [dead!] },
    );
    onTestFinished(() => server.close());
    await server.createTopic('orders');
    const folder = await daemonFolder();
    await writeFile(join(folder, '.env.dev.local'), 'SOCKET=./it.sock');
    await writeFile(
      join(folder, 'buckets.json'),
      JSON.stringify({
        streamsConfigs: { kafka: kafkaStream(server.bootstrap) },
        buckets: [{ id: 'orders', streams: ['kafka'] }],
      }),
    );
    const { code, out } = await runCli(['check', '--connect'], { cwd: folder });
    expect(code).toBe(1);
    const advertised = isName
      ? server.bootstrap.replace('127.0.0.1', 'no-such-host.invalid')
      : `127.0.0.1:${dead}`;
    // Without a name server that answers the system says EAI_AGAIN.
    const why = isName ? '(ENOTFOUND|EAI_AGAIN)' : 'ECONNREFUSED';
    const says = out
      .split('\n')
      .filter((line) => line.includes(` stream kafka, Kafka ${server.bootstrap}: `));
    expect(says).toEqual([
      `ok   stream kafka, Kafka ${server.bootstrap}: topic orders has 1 partition`,
      expect.stringMatching(
        new RegExp(
          `^FAIL .*: node 1 of the cluster says that it is ${advertised} \\(its advertised\\.listeners\\): broker ${advertised} can't be reached: .*${why}.*; what it leads of orders can't be delivered$`,
        ),
      ),
    ]);
  },
);
