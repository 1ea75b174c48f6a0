// Every setting name of librdkafka (its CONFIGURATION.md, up to 2.16, and those it keeps to itself) and of
// its Go client, and Kahe's own, and what each means to Kahe. Promise: a configuration that was right for
// kahego has no name that is unknown here.

export type NameMeaning =
  | { readonly kind: 'used' }
  /** The same setting as `of`. */
  | { readonly kind: 'alias'; readonly of: string }
  /** A real setting that changes nothing here; `note` says why. */
  | { readonly kind: 'noted'; readonly note: string }
  /** A real setting that can't be passed over, for that would be less safe than what was asked for. */
  | { readonly kind: 'refused'; readonly reason: string };

/** The last line is Kahe's own: librdkafka has no file for a password. */
const USED = `
  metadata.broker.list client.id message.max.bytes request.required.acks request.timeout.ms message.timeout.ms
  compression.codec compression.level batch.num.messages batch.size partitioner enable.idempotence allow.auto.create.topics
  topic.metadata.refresh.interval.ms metadata.max.age.ms retry.backoff.ms retry.backoff.max.ms
  socket.timeout.ms socket.connection.setup.timeout.ms
  security.protocol sasl.mechanisms sasl.username sasl.password
  ssl.ca.location ssl.ca.pem ssl.certificate.location ssl.certificate.pem ssl.key.location ssl.key.pem ssl.key.password
  ssl.cipher.suites ssl.curves.list ssl.sigalgs.list
  enable.ssl.certificate.verification ssl.endpoint.identification.algorithm
  sasl.password.location ssl.key.password.location`;

/** Kahe's own. */
const OWN = 'replace.refused.timestamps';

const ALIASES: Readonly<Record<string, string>> = {
  'bootstrap.servers': 'metadata.broker.list',
  acks: 'request.required.acks',
  'compression.type': 'compression.codec',
  'linger.ms': 'queue.buffering.max.ms',
  'delivery.timeout.ms': 'message.timeout.ms',
  retries: 'message.send.max.retries',
  'max.in.flight': 'max.in.flight.requests.per.connection',
  'sasl.mechanism': 'sasl.mechanisms',
  'sasl.oauthbearer.client.credentials.client.id': 'sasl.oauthbearer.client.id',
  'sasl.oauthbearer.client.credentials.client.secret': 'sasl.oauthbearer.client.secret',
  'max.partition.fetch.bytes': 'fetch.message.max.bytes',
};

/** Names by the note that stands for them. */
const NOTED: Readonly<Record<string, string>> = {
  'Kahe batches by bucket: batch, batchTimeout': `
    queue.buffering.max.ms queue.buffering.max.messages queue.buffering.max.kbytes queue.buffering.backpressure.threshold
    sticky.partitioning.linger.ms message.copy.max.bytes`,
  'Kahe retries until message.timeout.ms, however often that is': 'message.send.max.retries',
  'Kahe has one request in flight for each partition, which keeps their order': `
    max.in.flight.requests.per.connection queuing.strategy enable.gapless.guarantee msg_order_cmp`,
  'Kahe sends no transactions': 'transactional.id transaction.timeout.ms',
  'it means nothing for a producer': `
    group.id group.instance.id partition.assignment.strategy session.timeout.ms heartbeat.interval.ms group.protocol.type
    group.protocol group.remote.assignor coordinator.query.interval.ms max.poll.interval.ms enable.auto.commit
    auto.commit.enable auto.commit.interval.ms enable.auto.offset.store queued.min.messages queued.max.messages.kbytes
    fetch.wait.max.ms fetch.queue.backoff.ms fetch.message.max.bytes fetch.max.bytes fetch.min.bytes fetch.error.backoff.ms
    offset.store.method offset.store.path offset.store.sync.interval.ms isolation.level enable.partition.eof check.crcs
    auto.offset.reset consume.callback.max.messages client.rack max.poll.records`,
  'Kahe asks each broker which versions it speaks': `
    api.version.request api.version.request.timeout.ms api.version.fallback.ms broker.version.fallback`,
  'Kahe logs by LOG_LEVEL': 'debug log_level log.queue log.thread.name log.connection.close',
  'Kahe counts for itself':
    'statistics.interval.ms enable.metrics.push delivery.report.only.error produce.offset.report',
  'Kahe decides this for itself': `
    builtin.features receive.message.max.bytes metadata.recovery.strategy metadata.recovery.rebootstrap.trigger.ms
    topic.metadata.refresh.fast.interval.ms topic.metadata.refresh.fast.cnt topic.metadata.refresh.sparse
    topic.metadata.propagation.max.ms topic.blacklist socket.blocking.max.ms socket.send.buffer.bytes
    socket.receive.buffer.bytes socket.keepalive.enable socket.nagle.disable socket.max.fails broker.address.ttl
    broker.address.family connections.max.idle.ms reconnect.backoff.jitter.ms reconnect.backoff.ms reconnect.backoff.max.ms
    enabled_events enable.random.seed internal.termination.signal client.dns.lookup ssl.ca.certificate.stores ssl.providers
    plugin.library.paths enable.sparse.connections metadata.request.timeout.ms test.mock.num.brokers test.mock.broker.rtt`,
  'only for SASL mechanisms that Kahe does not have': `
    sasl.kerberos.service.name sasl.kerberos.principal sasl.kerberos.kinit.cmd sasl.kerberos.keytab
    sasl.kerberos.min.time.before.relogin sasl.oauthbearer.config enable.sasl.oauthbearer.unsecure.jwt
    oauthbearer_token_refresh_cb sasl.oauthbearer.method sasl.oauthbearer.client.id sasl.oauthbearer.client.secret
    sasl.oauthbearer.scope sasl.oauthbearer.extensions sasl.oauthbearer.token.endpoint.url sasl.oauthbearer.grant.type
    sasl.oauthbearer.assertion.algorithm sasl.oauthbearer.assertion.private.key.file
    sasl.oauthbearer.assertion.private.key.passphrase sasl.oauthbearer.assertion.private.key.pem
    sasl.oauthbearer.assertion.file sasl.oauthbearer.assertion.claim.aud sasl.oauthbearer.assertion.claim.exp.seconds
    sasl.oauthbearer.assertion.claim.iss sasl.oauthbearer.assertion.claim.jti.include
    sasl.oauthbearer.assertion.claim.nbf.seconds sasl.oauthbearer.assertion.claim.sub
    sasl.oauthbearer.assertion.jwt.template.file sasl.oauthbearer.metadata.authentication.type
    https.ca.location https.ca.pem`,
  'only a program that links librdkafka can set it': `
    error_cb throttle_cb stats_cb log_cb background_event_cb socket_cb connect_cb closesocket_cb open_cb resolve_cb opaque
    default_topic_conf ssl_key ssl_certificate ssl_ca ssl_engine_callback_data ssl.certificate.verify_cb interceptors
    consume_cb rebalance_cb offset_commit_cb dr_cb dr_msg_cb partitioner_cb enable_sasl_queue`,
  'only for the Go client': `
    default.topic.config go.batch.producer go.delivery.reports go.delivery.report.fields go.events.channel.enable
    go.events.channel.size go.produce.channel.size go.application.rebalance.enable go.logs.channel.enable go.logs.channel`,
};

const REFUSED: Readonly<Record<string, string>> = {
  'Kahe can not check revocation lists': 'ssl.crl.location',
  'Kahe reads PEM; use ssl.certificate.location and ssl.key.location':
    'ssl.keystore.location ssl.keystore.password',
  'Kahe can not load an OpenSSL engine; use ssl.key.location': 'ssl.engine.location ssl.engine.id',
  'only Java knows it; use sasl.mechanisms, sasl.username and sasl.password': 'sasl.jaas.config',
  'only Java knows it; use ssl.ca.location': 'ssl.truststore.location ssl.truststore.password',
};

const MEANINGS: ReadonlyMap<string, NameMeaning> = new Map([
  ...wordsOf(`${USED} ${OWN}`).map((name): [string, NameMeaning] => [name, { kind: 'used' }]),
  ...Object.entries(ALIASES).map(([name, of]): [string, NameMeaning] => [name, { kind: 'alias', of }]),
  ...meaningsOf(NOTED, (note) => ({ kind: 'noted', note })),
  ...meaningsOf(REFUSED, (reason) => ({ kind: 'refused', reason })),
]);

export const LIBRDKAFKA_NAMES: readonly string[] = [...MEANINGS.keys()];

/** What the name means to Kahe; undefined when librdkafka has no such name. */
export function meaningOf(name: string): NameMeaning | undefined {
  return MEANINGS.get(name);
}

/** The names under which a setting may stand, its own first. */
export function spellingsOf(name: string): readonly string[] {
  return [name, ...Object.keys(ALIASES).filter((alias) => ALIASES[alias] === name)];
}

function meaningsOf(
  groups: Readonly<Record<string, string>>,
  meaning: (text: string) => NameMeaning,
): [string, NameMeaning][] {
  return Object.entries(groups).flatMap(([text, names]) =>
    wordsOf(names).map((name): [string, NameMeaning] => [name, meaning(text)]),
  );
}

function wordsOf(text: string): string[] {
  return text.trim().split(/\s+/);
}
