// Why a connection to a broker failed, in words that say which setting to look at: the listener is of another
// kind than security.protocol says, its certificate does not please, it refuses the login. Promise: the
// password is in none of them.
import { errnoOf } from '../disk/fileSystem.js';
import { messageOf } from '../errors.js';
import { KafkaFailure } from './failure.js';
import type { KafkaSecurity, SecurityProtocol } from '../config/kafka/securitySettings.js';

/** How far a connection has come. */
export type ConnectionStage =
  /** The connection is being made, and then its TLS. */
  | 'connecting'
  /** The broker was asked for its versions. */
  | 'versions'
  | 'login'
  /** It is made, and nothing was asked yet. */
  | 'ready'
  /** The first request for metadata is on its way. */
  | 'metadata'
  | 'open';

export interface ConnectionFacts {
  readonly stage: ConnectionStage;
  readonly host: string;
  readonly port: number;
  readonly security: KafkaSecurity;
}

/**
 * Whatever kafkajs has thrown becomes a KafkaFailure by what caused it (T6): its `retriable` is not asked.
 */
export function connectionFailure(error: unknown, facts: ConnectionFacts): KafkaFailure {
  if (error instanceof KafkaFailure) return error;
  const name = brokerName(facts);
  for (
    let cause: unknown = error;
    cause instanceof Error;
    cause = cause.cause ?? (cause as { originalError?: unknown }).originalError
  ) {
    const { name: errorName, type } = cause as Error & { type?: string };
    if (type === 'ILLEGAL_SASL_STATE')
      return new KafkaFailure(
        'AUTH',
        `${name} knows of no login (SASL) there: ${withoutSasl(facts.security.protocol)}`,
      );
    if (
      errorName === 'KafkaJSSASLAuthenticationError' ||
      type === 'SASL_AUTHENTICATION_FAILED' ||
      type === 'UNSUPPORTED_SASL_MECHANISM'
    )
      return refusedLogin(cause, facts);
    if (errorName === 'KafkaJSConnectionClosedError') return closedByBroker(facts);
    if (errorName === 'KafkaJSConnectionError')
      return facts.stage === 'login'
        ? closedByBroker(facts)
        : new KafkaFailure('CONNECTION', `${name}: ${cause.message}`);
  }
  return new KafkaFailure('PROTOCOL', `${name}: ${messageOf(error)}`);
}

/** The broker has ended the connection, without a reason. */
export function closedByBroker(facts: ConnectionFacts): KafkaFailure {
  const hint = closedHint(facts);
  return new KafkaFailure(
    'CONNECTION',
    `${brokerName(facts)} closed the connection${hint === undefined ? '' : `, ${hint}`}`,
  );
}

/** What came first, if it is surely not Kafka. */
export function strangeAnswer(first: Buffer, facts: ConnectionFacts): KafkaFailure | undefined {
  const { protocol } = facts.security;
  const isTls = (first[0] === 0x15 || first[0] === 0x16) && first[1] === 3;
  const said = /^[\x20-\x7e]{4,40}/.exec(first.toString('latin1'))?.[0];
  if (isTls)
    return new KafkaFailure('PROTOCOL', `${brokerName(facts)} speaks TLS there: ${withTls(protocol)}`);
  return said === undefined
    ? undefined
    : new KafkaFailure(
        'PROTOCOL',
        `${brokerName(facts)} does not speak Kafka: it says ${JSON.stringify(said)}; is it the right port?`,
      );
}

function brokerName({ host, port }: ConnectionFacts): string {
  return `broker ${host}:${port}`;
}

function closedHint({ stage, security: { protocol, tls } }: ConnectionFacts): string | undefined {
  if (stage === 'versions' && tls === undefined)
    return `instead of telling its versions: is it TLS that it listens for? ${withTls(protocol)}`;
  if (stage === 'metadata' && protocol === 'plaintext')
    return 'instead of answering the first request: does it want a login (SASL)? security.protocol is plaintext; with a login it is sasl_plaintext';
  if ((stage === 'metadata' || stage === 'versions') && protocol === 'ssl')
    return 'instead of answering the first request: does it want a login (SASL)? security.protocol is ssl; with a login it is sasl_ssl. Or a certificate? ssl.certificate.location names it';
  return undefined;
}

function withTls(protocol: SecurityProtocol): string {
  return `security.protocol is ${protocol}; with TLS it is ${protocol === 'sasl_plaintext' ? 'sasl_ssl' : 'ssl, or with a login (SASL) sasl_ssl'}`;
}

function withoutTls(protocol: SecurityProtocol): string {
  return `security.protocol is ${protocol}; without TLS it is ${protocol === 'sasl_ssl' ? 'sasl_plaintext' : 'plaintext, or with a login (SASL) sasl_plaintext'}`;
}

function withoutSasl(protocol: SecurityProtocol): string {
  return `security.protocol is ${protocol}; without a login it is ${protocol === 'sasl_ssl' ? 'ssl' : 'plaintext'}`;
}

function refusedLogin(cause: Error, facts: ConnectionFacts): KafkaFailure {
  const { username = '', mechanism = 'PLAIN' } = facts.security.sasl ?? {};
  const why = cause.message.replace(/^SASL [\w -]+ authentication failed: /, '');
  return new KafkaFailure(
    'AUTH',
    `${brokerName(facts)} refused the login of user ${JSON.stringify(username)} (${mechanism}): ${why}`,
  );
}

const OF_NO_KNOWN_AUTHORITY: ReadonlySet<string | undefined> = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'CERT_UNTRUSTED',
]);

/** What the socket itself says. */
export function socketFailure(error: Error, facts: ConnectionFacts): KafkaFailure {
  const name = brokerName(facts);
  const problem = facts.security.tls === undefined ? undefined : tlsProblem(error, facts);
  return problem === undefined
    ? new KafkaFailure('CONNECTION', `${name}: ${reasonOf(error)}`)
    : new KafkaFailure('PROTOCOL', `${name} ${problem}`);
}

function tlsProblem(
  error: Error,
  { host, stage, security: { protocol } }: ConnectionFacts,
): string | undefined {
  const code = errnoOf(error);
  if (OF_NO_KNOWN_AUTHORITY.has(code))
    return `shows a certificate that no authority known here has signed (${reasonOf(error)}): name the file with its CA's certificate in ssl.ca.location`;
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return `shows a certificate for ${namesIn(error)}, not for ${host}: use a name that is in it in bootstrap.servers (and in the brokers' advertised.listeners), or have one made for ${host}`;
  if (code === 'CERT_HAS_EXPIRED')
    return 'shows a certificate that has expired: have it renewed (or is the clock of this machine wrong?)';
  if (code === 'CERT_NOT_YET_VALID')
    return 'shows a certificate that is not valid yet: is the clock of this machine right?';
  if (
    /ALERT_(CERTIFICATE_REQUIRED|BAD_CERTIFICATE|HANDSHAKE_FAILURE|UNKNOWN_CA|CERTIFICATE_UNKNOWN)/.test(
      code ?? '',
    )
  )
    return `does not accept us (${reasonOf(error)}): does it want a certificate? ssl.certificate.location and ssl.key.location name it`;
  const isNotTls =
    code === 'ERR_SSL_WRONG_VERSION_NUMBER' ||
    code === 'EPROTO' ||
    (code === 'ECONNRESET' && stage === 'connecting');
  return isNotTls ? `does not answer in TLS: ${withoutTls(protocol)}` : undefined;
}

/** OpenSSL's messages name places in its sources, and end with a line end. */
function reasonOf(error: Error): string {
  const { reason } = error as Error & { reason?: unknown };
  return typeof reason === 'string' ? reason : messageOf(error);
}

function namesIn(error: Error): string {
  const { cert } = error as Error & { cert?: { subjectaltname?: string; subject?: { CN?: string } } };
  const names = cert?.subjectaltname ?? cert?.subject?.CN;
  return names === undefined ? 'another name' : names.replace(/(DNS|IP Address):/g, '');
}
