// `security.protocol`, `sasl.*` and `ssl.*`. Promise: certificates and keys are read and fit before anything
// starts, nothing weaker than what was asked for is used, and no password stands in a message.
import { ConfigError } from '../../errors.js';
import { describeValue, notOneOf } from '../values.js';
import type { SettingReader } from './settingReader.js';
import { readTls, type KafkaTls } from './tlsSettings.js';

export const SECURITY_PROTOCOLS = ['plaintext', 'ssl', 'sasl_plaintext', 'sasl_ssl'] as const;
export type SecurityProtocol = (typeof SECURITY_PROTOCOLS)[number];

export const SASL_MECHANISMS = ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512'] as const;
export type SaslMechanism = (typeof SASL_MECHANISMS)[number];

export interface KafkaSasl {
  readonly mechanism: SaslMechanism;
  readonly username: string;
  readonly password: string;
}

export interface KafkaSecurity {
  readonly protocol: SecurityProtocol;
  /** Set with ssl and sasl_ssl. */
  readonly tls: KafkaTls | undefined;
  /** Set with sasl_plaintext and sasl_ssl. */
  readonly sasl: KafkaSasl | undefined;
}

const SASL_NAMES = ['sasl.mechanisms', 'sasl.username', 'sasl.password', 'sasl.password.location'];
const TLS_NAMES = [
  'ssl.ca.location',
  'ssl.ca.pem',
  'ssl.certificate.location',
  'ssl.certificate.pem',
  'ssl.key.location',
  'ssl.key.pem',
];

/** Problems go to the reader; the result is to be used only when there were none. */
export function readSecurity(reader: SettingReader): KafkaSecurity {
  const protocol = reader.choice('security.protocol', SECURITY_PROTOCOLS, 'plaintext');
  const hasTls = protocol === 'ssl' || protocol === 'sasl_ssl';
  const hasSasl = protocol === 'sasl_plaintext' || protocol === 'sasl_ssl';
  if (!hasTls) noteUnused(reader, TLS_NAMES, protocol);
  if (!hasSasl) noteUnused(reader, SASL_NAMES, protocol);
  const sasl = hasSasl ? readSasl(reader) : undefined;
  if (!hasTls && sasl?.mechanism === 'PLAIN')
    reader.note('security.protocol', 'the password crosses the network as plain text; sasl_ssl hides it');
  return { protocol, tls: hasTls ? readTls(reader) : undefined, sasl };
}

function noteUnused(reader: SettingReader, names: readonly string[], protocol: SecurityProtocol): void {
  for (const name of names.filter((given) => reader.has(given)))
    reader.note(name, `security.protocol is ${protocol}, so it is not used`);
}

function readSasl(reader: SettingReader): KafkaSasl {
  if (!reader.has('sasl.mechanisms')) {
    reader.problem(
      'sasl.mechanisms',
      `missing, and librdkafka's default GSSAPI is not supported; one of ${SASL_MECHANISMS.join(', ')}`,
    );
  }
  if (!reader.has('sasl.username')) reader.problem('sasl.username', 'missing; security.protocol asks for it');
  if (!reader.has('sasl.password') && !reader.has('sasl.password.location'))
    reader.problem(
      'sasl.password',
      'missing; security.protocol asks for it, here or in the file of sasl.password.location',
    );
  return {
    mechanism: reader.read('sasl.mechanisms', parseMechanism) ?? 'PLAIN',
    username: reader.text('sasl.username') ?? '',
    password: reader.secret('sasl.password') ?? '',
  };
}

function parseMechanism(value: unknown): SaslMechanism {
  const name = typeof value === 'string' ? value.trim().toUpperCase() : '';
  const mechanism = SASL_MECHANISMS.find((known) => known === name);
  if (mechanism !== undefined) return mechanism;
  if (name === 'GSSAPI' || name === 'OAUTHBEARER') {
    throw new ConfigError(
      `${describeValue(value)} is not supported by Kahe; use one of ${SASL_MECHANISMS.join(', ')}`,
    );
  }
  throw new ConfigError(notOneOf(value, SASL_MECHANISMS));
}
