// A certificate authority made for one test run, with a certificate for brokers on 127.0.0.1 and one for
// clients.
import { execFile } from 'node:child_process';
import { writeFile, readFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Paths of PEM files. */
export interface Certificates {
  readonly ca: string;
  /** Key and certificate of the brokers in one file, as Kafka's `ssl.keystore.type=PEM` wants it. */
  readonly brokerKeystore: string;
  readonly clientCertificate: string;
  readonly clientKey: string;
}

/** Makes them in `folder` with the openssl command. */
export async function makeCertificates(folder: string): Promise<Certificates> {
  const ca = path.join(folder, 'ca.pem');
  await openssl([
    'req',
    '-x509',
    ...newKey(path.join(folder, 'ca.key')),
    '-subj',
    '/CN=Kahe test CA',
    '-days',
    '30',
    '-out',
    ca,
  ]);
  const broker = await sign(folder, { name: 'broker', subject: '/CN=127.0.0.1', extensions: BROKER_NAMES });
  const client = await sign(folder, {
    name: 'client',
    subject: '/CN=kahe',
    extensions: 'extendedKeyUsage=clientAuth\n',
  });
  const brokerKeystore = path.join(folder, 'broker-keystore.pem');
  await writeFile(
    brokerKeystore,
    (await readFile(broker.key, 'utf8')) + (await readFile(broker.certificate, 'utf8')),
    { mode: 0o600 },
  );
  return { ca, brokerKeystore, clientCertificate: client.certificate, clientKey: client.key };
}

const BROKER_NAMES = 'subjectAltName=IP:127.0.0.1,DNS:localhost\n';

/** As that of the brokers, of the authority in this folder, but its time is over. */
export function makeExpired(folder: string): Promise<KeyPair> {
  return sign(folder, { name: 'expired', subject: '/CN=127.0.0.1', extensions: BROKER_NAMES, days: -1 });
}

/** Paths of PEM files. */
export interface KeyPair {
  readonly key: string;
  readonly certificate: string;
}

interface Request {
  readonly name: string;
  readonly subject: string;
  readonly extensions: string;
  readonly days?: number;
}

async function sign(folder: string, { name, subject, extensions, days = 30 }: Request): Promise<KeyPair> {
  const file = (ending: string) => path.join(folder, `${name}.${ending}`);
  await writeFile(file('ext'), extensions);
  await openssl(['req', ...newKey(file('key')), '-subj', subject, '-out', file('csr')]);
  const authority = [
    '-CA',
    path.join(folder, 'ca.pem'),
    '-CAkey',
    path.join(folder, 'ca.key'),
    '-CAcreateserial',
  ];
  await openssl([
    'x509',
    '-req',
    '-in',
    file('csr'),
    ...authority,
    '-extfile',
    file('ext'),
    '-days',
    String(days),
    '-out',
    file('pem'),
  ]);
  return { key: file('key'), certificate: file('pem') };
}

function newKey(keyFile: string): string[] {
  return ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', keyFile];
}

async function openssl(args: string[]): Promise<void> {
  try {
    await run('openssl', args);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new Error('the command openssl is missing; on Debian or Ubuntu: apt-get install openssl', {
      cause: error,
    });
  }
}
