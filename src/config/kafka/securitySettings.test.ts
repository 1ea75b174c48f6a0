import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import { afterAll, describe, expect, test } from 'vitest';
import { Problems } from '../problems.js';
import { parseKafkaSettings, type KafkaSettings } from './settings.js';

interface Outcome {
  readonly settings: KafkaSettings;
  readonly problems: readonly string[];
  readonly notes: readonly string[];
}

function read(given: Record<string, unknown>): Outcome {
  const problems = new Problems();
  const settings = parseKafkaSettings({ 'bootstrap.servers': 'kafka1', ...given }, 's', problems);
  return { settings, problems: problems.lines, notes: settings.notes };
}

/** One DER element; the content is under 64 KB. */
function der(tag: number, ...content: (Buffer | string)[]): Buffer {
  const body = Buffer.concat(
    content.map((part) => (typeof part === 'string' ? Buffer.from(part, 'hex') : part)),
  );
  const length = body.length < 128 ? [body.length] : [0x82, body.length >> 8, body.length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}

/** A self-signed certificate in PEM, so that no key lies in the repository. */
function certificateOf({ publicKey, privateKey }: { publicKey: KeyObject; privateKey: KeyObject }): string {
  const ecdsaWithSha256 = der(0x30, der(0x06, '2a8648ce3d040302'));
  const name = der(0x30, der(0x31, der(0x30, der(0x06, '550403'), der(0x0c, Buffer.from('test')))));
  const validity = der(
    0x30,
    der(0x17, Buffer.from('240101000000Z')),
    der(0x17, Buffer.from('440101000000Z')),
  );
  const body = der(
    0x30,
    der(0x02, '01'),
    ecdsaWithSha256,
    name,
    validity,
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
  );
  const whole = der(0x30, body, ecdsaWithSha256, der(0x03, '00', sign('sha256', body, privateKey)));
  return `-----BEGIN CERTIFICATE-----\n${whole.toString('base64').replace(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`;
}

const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const certificate = certificateOf(pair);
const key = pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
const lockedKey = pair.privateKey
  .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'hunter2' })
  .toString();
const strangerKey = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  .privateKey.export({ type: 'pkcs8', format: 'pem' })
  .toString();

const folder = mkdtempSync(join(tmpdir(), 'kahe-tls-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});
function file(name: string, text: string | Buffer): string {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
}

const SASL = {
  'security.protocol': 'sasl_ssl',
  'sasl.mechanisms': 'SCRAM-SHA-512',
  'sasl.username': 'app',
  'sasl.password': 'hunter2',
};

describe('sasl', () => {
  test('mechanism, user and password, in any case and under either name', () => {
    const { settings, problems } = read({
      'security.protocol': 'SASL_SSL',
      'sasl.mechanism': 'scram-sha-256',
      'sasl.username': 'app',
      'sasl.password': 123,
    });
    expect(problems).toEqual([]);
    expect(settings.security).toMatchObject({
      protocol: 'sasl_ssl',
      sasl: { mechanism: 'SCRAM-SHA-256', username: 'app', password: '123' },
    });
  });

  test('all three are needed', () => {
    expect(read({ 'security.protocol': 'sasl_plaintext' }).problems).toEqual([
      "s.sasl.mechanisms: missing, and librdkafka's default GSSAPI is not supported; one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512",
      's.sasl.username: missing; security.protocol asks for it',
      's.sasl.password: missing; security.protocol asks for it, here or in the file of sasl.password.location',
    ]);
  });

  test.each(['GSSAPI', 'OAUTHBEARER', 'oauthbearer'])('%s is not supported', (mechanism) => {
    expect(read({ ...SASL, 'sasl.mechanisms': mechanism }).problems).toEqual([
      `s.sasl.mechanisms: "${mechanism}" is not supported by Kahe; use one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512`,
    ]);
  });

  test('another is unknown', () => {
    expect(read({ ...SASL, 'sasl.mechanisms': 'SCRAM' }).problems).toEqual([
      's.sasl.mechanisms: "SCRAM" is not one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512',
    ]);
  });

  test('without sasl in security.protocol it is not used, with a note', () => {
    expect(read({ ...SASL, 'security.protocol': 'plaintext', 'sasl.mechanisms': 'GSSAPI' })).toMatchObject({
      problems: [],
      notes: ['sasl.mechanisms', 'sasl.username', 'sasl.password'].map(
        (name) => `s.${name}: security.protocol is plaintext, so it is not used`,
      ),
      settings: { security: { sasl: undefined } },
    });
  });

  test('a password in clear is noted', () => {
    expect(
      read({ ...SASL, 'security.protocol': 'sasl_plaintext', 'sasl.mechanisms': 'PLAIN' }).notes,
    ).toEqual(['s.security.protocol: the password crosses the network as plain text; sasl_ssl hides it']);
  });

  test.each([['hunter2\0'], [12345678901234567890], [''], [['hunter2']], [{ hunter2: 1 }], [true], [null]])(
    'a password of %j is refused, and not shown',
    (password) => {
      const { problems } = read({ ...SASL, 'sasl.password': password, 'bootstrap.servers': '' });
      expect(problems.filter((line) => line.startsWith('s.sasl.password: '))).toHaveLength(1);
      expect(problems.join('\n')).not.toContain('hunter2');
    },
  );

  describe('sasl.password.location', () => {
    const rest = {
      'security.protocol': 'sasl_ssl',
      'sasl.mechanisms': 'SCRAM-SHA-512',
      'sasl.username': 'app',
    };
    const from = (text: string | Buffer): Outcome =>
      read({ ...rest, 'sasl.password.location': file('password', text) });

    test.each([['hunter2'], ['hunter2\n'], ['hunter2\r\n']])(
      '%j: the password is what stands there, without the line end',
      (text) => {
        expect(from(text)).toMatchObject({
          problems: [],
          settings: { security: { sasl: { password: 'hunter2' } } },
        });
      },
    );

    test('only the one line end is cut: spaces and other lines belong to it', () => {
      expect(from(' hunter2 \n\n').settings.security.sasl!.password).toBe(' hunter2 \n');
    });

    test.each([
      ['', 'is empty'],
      ['\n', 'is empty'],
      ['hunter2\0', 'has a zero byte in it'],
      [Buffer.from('hunter2\xff', 'latin1'), 'is not UTF-8 text'],
    ])('%j can not be one, and is not shown', (text, says) => {
      const { problems } = from(text);
      expect(problems).toEqual([
        expect.stringMatching(new RegExp(`^s\\.sasl\\.password\\.location: .*${says}$`)),
      ]);
      expect(problems.join()).not.toContain('hunter2');
    });

    test('a file that is not there, and a password beside it', () => {
      expect(read({ ...rest, 'sasl.password.location': join(folder, 'none') }).problems).toEqual([
        `s.sasl.password.location: ${JSON.stringify(join(folder, 'none'))} does not exist`,
      ]);
      expect(read({ ...SASL, 'sasl.password.location': file('password', 'hunter3') }).problems).toEqual([
        's.sasl.password.location: sasl.password is set too; keep one',
      ]);
    });

    test('without sasl in security.protocol it is not used, with a note', () => {
      expect(read({ 'sasl.password.location': join(folder, 'none') })).toMatchObject({
        problems: [],
        notes: ['s.sasl.password.location: security.protocol is plaintext, so it is not used'],
      });
    });
  });

  test('clusterKey and notes hold no password, yet the key differs by it', () => {
    const { settings } = read(SASL);
    expect(settings.clusterKey + settings.notes.join()).not.toContain('hunter2');
    expect(settings.clusterKey).not.toBe(read({ ...SASL, 'sasl.password': 'other' }).settings.clusterKey);
  });
});

describe('ssl', () => {
  const ssl = (given: Record<string, unknown>): Outcome => read({ 'security.protocol': 'ssl', ...given });

  test('brokers are verified by default', () => {
    expect(ssl({})).toMatchObject({
      problems: [],
      notes: [],
      settings: {
        security: {
          protocol: 'ssl',
          sasl: undefined,
          tls: { verifiesCertificate: true, verifiesHostname: true, certificate: undefined },
        },
      },
    });
  });

  test('files are read at start, and what is read makes a TLS context', () => {
    const { settings, problems } = ssl({
      'ssl.ca.location': file('ca.pem', certificate),
      'ssl.certificate.location': file('cert.pem', certificate),
      'ssl.key.location': file('key.pem', lockedKey),
      'ssl.key.password': 'hunter2',
      'ssl.endpoint.identification.algorithm': 'none',
      'enable.ssl.certificate.verification': false,
      'ssl.cipher.suites': 'ECDHE-ECDSA-AES128-GCM-SHA256',
      'ssl.curves.list': 'P-256',
      'ssl.sigalgs.list': 'ECDSA+SHA256',
    });
    expect(problems).toEqual([]);
    expect(settings.security.tls).toEqual({
      ca: certificate,
      certificate,
      key: lockedKey,
      keyPassword: 'hunter2',
      verifiesCertificate: false,
      verifiesHostname: false,
      ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256',
      curves: 'P-256',
      signatureAlgorithms: 'ECDSA+SHA256',
    });
    expect(
      ssl({
        'ssl.certificate.location': file('cert.pem', certificate),
        'ssl.key.location': file('key.pem', lockedKey),
        'ssl.key.password.location': file('password', 'hunter2\n'),
      }),
    ).toMatchObject({ problems: [], settings: { security: { tls: { keyPassword: 'hunter2' } } } });
    expect(() =>
      createSecureContext({ ca: certificate, cert: certificate, key: lockedKey, passphrase: 'hunter2' }),
    ).not.toThrow();
    expect(settings.notes).toEqual([
      's.enable.ssl.certificate.verification: off: anyone can pose as a broker',
    ]);
  });

  test('texts do as well as files', () => {
    const { settings, problems } = ssl({
      'ssl.ca.pem': certificate,
      'ssl.certificate.pem': certificate,
      'ssl.key.pem': key,
    });
    expect(problems).toEqual([]);
    expect(settings.security.tls).toMatchObject({ ca: certificate, certificate, key });
  });

  test('a file that is not there is named with its setting', () => {
    const missing = join(folder, 'none.pem');
    expect(ssl({ 'ssl.ca.location': missing }).problems).toEqual([
      `s.ssl.ca.location: ${JSON.stringify(missing)} does not exist`,
    ]);
    expect(ssl({ 'ssl.ca.location': folder }).problems).toEqual([
      `s.ssl.ca.location: ${JSON.stringify(folder)} is a folder; name one file`,
    ]);
  });

  test('a file with something else in it is refused, and not shown', () => {
    const other = file('other.pem', 'hunter2');
    expect(ssl({ 'ssl.ca.location': other }).problems).toEqual([
      `s.ssl.ca.location: ${JSON.stringify(other)} is not PEM: it has no line "-----BEGIN …-----"`,
    ]);
    expect(
      ssl({ 'ssl.ca.pem': '-----BEGIN CERTIFICATE-----\nhunter2\n-----END CERTIFICATE-----' }).problems,
    ).toEqual([expect.stringMatching(/^s\.ssl\.ca\.pem: the text can't be used: (?!.*hunter2)/)]);
  });

  test('key and certificate come together, and fit', () => {
    expect(ssl({ 'ssl.key.pem': key }).problems).toEqual([
      's.ssl.certificate.location: missing; ssl.key needs its certificate',
    ]);
    expect(ssl({ 'ssl.certificate.pem': certificate }).problems).toEqual([
      's.ssl.key.location: missing; ssl.certificate needs its key',
    ]);
    expect(ssl({ 'ssl.certificate.pem': certificate, 'ssl.key.pem': strangerKey }).problems).toEqual([
      's.ssl.key.pem: the key is not that of the certificate',
    ]);
    expect(
      ssl({ 'ssl.certificate.pem': certificate, 'ssl.key.pem': key, 'ssl.key.location': '/x' }).problems,
    ).toEqual(['s.ssl.key.location: ssl.key.pem is set too; keep one']);
  });

  test('a locked key needs its password, which is not shown', () => {
    for (const password of [undefined, 'hunter3']) {
      const { problems } = ssl({
        'ssl.certificate.pem': certificate,
        'ssl.key.pem': lockedKey,
        ...(password === undefined ? {} : { 'ssl.key.password': password }),
      });
      expect(problems).toEqual([
        expect.stringMatching(/^s\.ssl\.key\.pem: the text can't be used: (?!.*hunter)/),
      ]);
    }
  });

  test('without ssl in security.protocol it is not used, and no file is read', () => {
    expect(read({ 'ssl.ca.location': join(folder, 'none.pem') })).toMatchObject({
      problems: [],
      notes: ['s.ssl.ca.location: security.protocol is plaintext, so it is not used'],
    });
  });
});
