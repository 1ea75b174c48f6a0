// A broker's listener that is of another kind than `security.protocol` says, shows a certificate that does
// not please, or refuses the login: what people are told leads them to the setting, and never has the
// password in it.
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import http from 'node:http';
import type { AddressInfo, Server } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import tls from 'node:tls';
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from 'vitest';
import { systemClock } from '../src/clock.js';
import { Log } from '../src/log/log.js';
import { Cluster } from '../src/kafka/cluster.js';
import type { KafkaFailure } from '../src/kafka/failure.js';
import { type Certificates, type KeyPair, makeCertificates, makeExpired } from '../support/certificates.js';
import { freePorts } from '../support/freePorts.js';
import { type LibrdkafkaSettings, settingsOf } from '../support/kafkaWorkbench.js';

const { bootstrap, security } = inject('kafka');
if (security === undefined)
  throw new Error(
    'these tests need the Kafka that they start: KAFKA_BOOTSTRAP names one without TLS and SASL',
  );
const { saslPlainBootstrap, sslBootstrap, caFile, user } = security;

const PASSWORD = 'geheim-123';
const TLS = { 'ssl.ca.location': caFile };
const LOGIN = { 'sasl.mechanisms': 'PLAIN', 'sasl.username': user, 'sasl.password': security.password };
const WRONG = { ...LOGIN, 'sasl.password': PASSWORD };

/** What asking for a topic fails with. */
async function refusal(brokers: string, settings: LibrdkafkaSettings): Promise<KafkaFailure> {
  const cluster = new Cluster(
    settingsOf({ 'bootstrap.servers': brokers, ...settings }),
    new Log('FATAL', () => undefined),
    systemClock,
  );
  try {
    const failure = await cluster.refresh('a').then(
      () => undefined,
      (error: unknown) => error as KafkaFailure,
    );
    expect(failure?.message).not.toMatch(new RegExp(`${PASSWORD}|${LOGIN['sasl.password']}`));
    return failure!;
  } finally {
    cluster.close();
  }
}

async function listening(server: Server, host = '127.0.0.1'): Promise<string> {
  server.listen(0, host);
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return `${host}:${(server.address() as AddressInfo).port}`;
}

describe('a listener of another kind', () => {
  const plain = { 'security.protocol': 'plaintext' };
  const ssl = { 'security.protocol': 'ssl', ...TLS };
  const sasl = { 'security.protocol': 'sasl_plaintext', ...LOGIN };
  const both = { 'security.protocol': 'sasl_ssl', ...TLS, ...LOGIN };
  test.each<[string, string, LibrdkafkaSettings, RegExp]>([
    [
      'TLS, and we speak plain',
      sslBootstrap,
      plain,
      /^no broker can be used: broker \S+ speaks TLS there: security\.protocol is plaintext; with TLS it is ssl, or with a login \(SASL\) sasl_ssl$/,
    ],
    [
      'SASL, and we speak plain',
      saslPlainBootstrap,
      plain,
      /^broker \S+ closed the connection, instead of answering the first request: does it want a login \(SASL\)\? security\.protocol is plaintext; with a login it is sasl_plaintext$/,
    ],
    [
      'TLS, and we speak SASL',
      sslBootstrap,
      sasl,
      /^no broker can be used: broker \S+ speaks TLS there: security\.protocol is sasl_plaintext; with TLS it is sasl_ssl$/,
    ],
    [
      'plain, and we speak TLS',
      bootstrap,
      ssl,
      /^no broker can be used: broker \S+ does not answer in TLS: security\.protocol is ssl; without TLS it is plaintext, or with a login \(SASL\) sasl_plaintext$/,
    ],
    [
      'SASL, and we speak TLS',
      saslPlainBootstrap,
      ssl,
      /^no broker can be used: broker \S+ does not answer in TLS: security\.protocol is ssl; /,
    ],
    [
      'SASL, and we speak TLS and SASL',
      saslPlainBootstrap,
      both,
      /^no broker can be used: broker \S+ does not answer in TLS: security\.protocol is sasl_ssl; without TLS it is sasl_plaintext$/,
    ],
    [
      'plain, and we speak SASL',
      bootstrap,
      sasl,
      /^no broker lets us in: broker \S+ knows of no login \(SASL\) there: security\.protocol is sasl_plaintext; without a login it is plaintext$/,
    ],
    [
      'TLS, and we speak TLS and SASL',
      sslBootstrap,
      both,
      /^no broker lets us in: broker \S+ knows of no login \(SASL\) there: security\.protocol is sasl_ssl; without a login it is ssl$/,
    ],
  ])('%s', async (_what, brokers, settings, message) => {
    expect((await refusal(brokers, settings)).message).toMatch(message);
  });

  test('HTTP, in plain and as TLS', async () => {
    const server = http.createServer((_request, response) => response.end());
    const brokers = await listening(server);
    onTestFinished(() => server.closeAllConnections());
    expect((await refusal(brokers, {})).message).toBe(
      `no broker can be used: broker ${brokers} does not speak Kafka: it says "HTTP/1.1 400 Bad Request"; is it the right port?`,
    );
    expect((await refusal(brokers, ssl)).message).toMatch(
      /does not answer in TLS: security\.protocol is ssl/,
    );
  });
});

describe('a certificate', () => {
  let own: Certificates;
  let expired: KeyPair;
  let pair: { readonly key: Buffer; readonly cert: Buffer };
  beforeAll(async () => {
    own = await makeCertificates(await mkdtemp(join(tmpdir(), 'kahe-listeners-')));
    expired = await makeExpired(dirname(own.ca));
    const keystore = await readFile(own.brokerKeystore);
    pair = { key: keystore, cert: keystore };
  });
  afterAll(() => rm(dirname(own.ca), { recursive: true, force: true }));
  const ssl = (ca: string): LibrdkafkaSettings => ({ 'security.protocol': 'ssl', 'ssl.ca.location': ca });

  test('of an authority that is not known, with none named and with another', async () => {
    for (const settings of [{ 'security.protocol': 'ssl' }, ssl(own.ca)]) {
      const { code, message } = await refusal(sslBootstrap, settings);
      expect(message).toMatch(
        /^no broker can be used: broker \S+ shows a certificate that no authority known here has signed \(.*\): name the file with its CA's certificate in ssl\.ca\.location$/,
      );
      expect(code).toBe('PROTOCOL');
    }
  });

  test('for another host', async () => {
    const brokers = await listening(tls.createServer(pair), '127.0.0.2');
    expect((await refusal(brokers, ssl(own.ca))).message).toMatch(
      /shows a certificate for 127\.0\.0\.1, localhost, not for 127\.0\.0\.2: use a name that is in it in bootstrap\.servers/,
    );
  });

  test('that has expired', async () => {
    const brokers = await listening(
      tls.createServer({ key: await readFile(expired.key), cert: await readFile(expired.certificate) }),
    );
    expect((await refusal(brokers, ssl(own.ca))).message).toMatch(
      /shows a certificate that has expired: have it renewed/,
    );
  });

  test('of ours, which the broker wants', async () => {
    const brokers = await listening(
      tls.createServer({ ...pair, requestCert: true, rejectUnauthorized: true, ca: await readFile(own.ca) }),
    );
    expect((await refusal(brokers, ssl(own.ca))).message).toMatch(
      /does not accept us \(tlsv13 alert certificate required\): does it want a certificate\? ssl\.certificate\.location and ssl\.key\.location name it/,
    );
  });
});

describe('a login that is refused', () => {
  test.each(['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512'])(
    '%s: by which broker, as whom, and not that nobody answers',
    async (mechanism) => {
      const { code, message } = await refusal(saslPlainBootstrap, {
        'security.protocol': 'sasl_plaintext',
        ...WRONG,
        'sasl.mechanisms': mechanism,
      });
      expect(message).toMatch(
        new RegExp(
          `^no broker lets us in: broker ${saslPlainBootstrap} refused the login of user "${user}" \\(${mechanism}\\): Authentication failed`,
        ),
      );
      expect(code).toBe('AUTH');
    },
  );

  test.each(['before', 'behind'])('a dead broker %s it in the list does not hide it', async (place) => {
    const dead = `127.0.0.1:${(await freePorts(1))[0]!}`;
    const brokers = place === 'before' ? `${dead},${saslPlainBootstrap}` : `${saslPlainBootstrap},${dead}`;
    const { code, message } = await refusal(brokers, { 'security.protocol': 'sasl_plaintext', ...WRONG });
    expect(message).toMatch(
      new RegExp(
        `^no broker lets us in: broker ${saslPlainBootstrap} refused the login of user "${user}" .*; broker ${dead} can't be reached: connect ECONNREFUSED`,
      ),
    );
    expect(code).toBe('AUTH');
  });
});
