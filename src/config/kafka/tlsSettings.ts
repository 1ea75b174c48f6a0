// `ssl.*`: reads the PEM files at start and checks that key and certificate fit. Promise: what is returned
// can open a TLS connection.
import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { ConfigError } from '../../errors.js';
import { describeValue, parseText } from '../values.js';
import { readNamedFile } from './namedFile.js';
import type { SettingReader } from './settingReader.js';

export interface KafkaTls {
  /** PEM of the authorities that brokers are checked against; undefined means Node's own list. */
  readonly ca: string | undefined;
  /** PEM of our certificate and its key; both or neither. */
  readonly certificate: string | undefined;
  readonly key: string | undefined;
  readonly keyPassword: string | undefined;
  /** False accepts any broker. */
  readonly verifiesCertificate: boolean;
  /** False accepts a certificate that was made for another host. */
  readonly verifiesHostname: boolean;
  /** OpenSSL's lists, as tls.connect takes them: `ciphers`, `ecdhCurve`, `sigalgs`. */
  readonly ciphers: string | undefined;
  readonly curves: string | undefined;
  readonly signatureAlgorithms: string | undefined;
}

/**
 * Where systems keep their authorities: librdkafka, as kahego links it, looks there too. Node alone would
 * not.
 */
const SYSTEM_CA_FILES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

/** Problems go to the reader; the result is to be used only when there were none. */
export function readTls(reader: SettingReader): KafkaTls {
  const keyPassword = reader.secret('ssl.key.password');
  const tls: KafkaTls = {
    ca: readPem(reader, 'ssl.ca', parseCertificate) ?? systemCa(),
    certificate: readPem(reader, 'ssl.certificate', parseCertificate),
    key: readPem(reader, 'ssl.key', (pem) => openKey(pem, keyPassword)),
    keyPassword,
    verifiesCertificate: reader.boolean('enable.ssl.certificate.verification', true),
    verifiesHostname:
      reader.choice('ssl.endpoint.identification.algorithm', ['https', 'none'], 'https') === 'https',
    ciphers: reader.text('ssl.cipher.suites'),
    curves: reader.text('ssl.curves.list'),
    signatureAlgorithms: reader.text('ssl.sigalgs.list'),
  };
  if (!tls.verifiesCertificate)
    reader.note('enable.ssl.certificate.verification', 'off: anyone can pose as a broker');
  checkPair(reader, tls);
  return tls;
}

/** The PEM of `name.pem`, or of the file that `name.location` names, once `check` has parsed it. */
function readPem(reader: SettingReader, name: string, check: (pem: string) => unknown): string | undefined {
  if (reader.has(`${name}.pem`)) {
    if (reader.has(`${name}.location`))
      reader.problem(`${name}.location`, `${name}.pem is set too; keep one`);
    return reader.read(`${name}.pem`, (value) => checked(parseText(value), 'the text', check));
  }
  return reader.read(`${name}.location`, (value) => {
    const file = parseText(value);
    if (name === 'ssl.ca' && file === 'probe') return undefined;
    return checked(readNamedFile(file), describeValue(file), check);
  });
}

function checked(pem: string, what: string, check: (pem: string) => unknown): string {
  if (!pem.includes('-----BEGIN '))
    throw new ConfigError(`${what} is not PEM: it has no line "-----BEGIN …-----"`);
  try {
    check(pem);
  } catch (error) {
    throw new ConfigError(`${what} can't be used: ${(error as Error).message}`);
  }
  return pem;
}

function parseCertificate(pem: string): X509Certificate {
  return new X509Certificate(pem);
}

function openKey(key: string, passphrase: string | undefined): KeyObject {
  return createPrivateKey({ key, ...(passphrase === undefined ? {} : { passphrase }) });
}

function checkPair(reader: SettingReader, { certificate, key, keyPassword }: KafkaTls): void {
  const isGiven = (name: string) => reader.has(`${name}.pem`) || reader.has(`${name}.location`);
  if (isGiven('ssl.certificate') && !isGiven('ssl.key'))
    reader.problem('ssl.key.location', 'missing; ssl.certificate needs its key');
  if (isGiven('ssl.key') && !isGiven('ssl.certificate'))
    reader.problem('ssl.certificate.location', 'missing; ssl.key needs its certificate');
  if (certificate === undefined || key === undefined) return;
  if (parseCertificate(certificate).checkPrivateKey(openKey(key, keyPassword))) return;
  reader.problem(
    reader.has('ssl.key.pem') ? 'ssl.key.pem' : 'ssl.key.location',
    'the key is not that of the certificate',
  );
}

function systemCa(): string | undefined {
  for (const file of SYSTEM_CA_FILES) {
    try {
      return readFileSync(file, 'utf8');
    } catch {
      continue; // That system keeps them elsewhere.
    }
  }
  return undefined;
}
