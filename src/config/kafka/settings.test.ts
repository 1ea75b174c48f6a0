import { describe, expect, test } from 'vitest';
import { Problems } from '../problems.js';
import { LIBRDKAFKA_NAMES, meaningOf, spellingsOf } from './librdkafkaNames.js';
import { parseKafkaSettings, type KafkaSettings } from './settings.js';

interface Outcome {
  readonly settings: KafkaSettings;
  readonly problems: readonly string[];
  readonly notes: readonly string[];
}

function read(changes: Record<string, unknown>): Outcome {
  const problems = new Problems();
  const settings = parseKafkaSettings({ 'bootstrap.servers': 'kafka1', ...changes }, 's', problems);
  return { settings, problems: problems.lines, notes: settings.notes };
}

const keyOf = (changes: Record<string, unknown>): string => read(changes).settings.clusterKey;

describe('kafka settings', () => {
  test('the defaults', () => {
    const { settings, problems } = read({});
    expect(problems).toEqual([]);
    expect(settings).toEqual({
      bootstrapServers: [{ host: 'kafka1', port: 9092 }],
      clientId: 'kahe',
      acks: -1,
      compressionCodec: 'none',
      compressionLevel: -1,
      batchNumMessages: 10_000,
      batchSizeBytes: 1_000_000,
      messageMaxBytes: 1_000_000,
      messageTimeoutMs: 10_000,
      requestTimeoutMs: 10_000,
      socketTimeoutMs: 15_000,
      socketConnectionSetupTimeoutMs: 5000,
      retryBackoffMs: 100,
      retryBackoffMaxMs: 1000,
      partitioner: 'consistent_random',
      replaceRefusedTimestamps: true,
      topicMetadataRefreshIntervalMs: 300_000,
      metadataMaxAgeMs: 900_000,
      allowAutoCreateTopics: false,
      security: { protocol: 'plaintext', tls: undefined, sasl: undefined },
      notes: [],
      clusterKey: expect.stringMatching(/^[0-9a-f]{64}$/) as unknown,
    });
  });

  test('the result is frozen, all of it', () => {
    const { settings } = read({ 'linger.ms': 5 });
    const parts = [
      settings,
      settings.bootstrapServers,
      settings.bootstrapServers[0],
      settings.security,
      settings.notes,
    ];
    expect(parts.every(Object.isFrozen)).toBe(true);
  });

  test("COMPAT kafka settings: librdkafka's names and aliases, as texts or numbers", () => {
    const given = {
      'client.id': 'web-1',
      'compression.codec': 'LZ4',
      'compression.level': '12',
      'batch.num.messages': '50000',
      'batch.size': '2000',
      'message.max.bytes': '5000',
      'message.timeout.ms': '0',
      'request.timeout.ms': '1',
      'socket.timeout.ms': '300000',
      'socket.connection.setup.timeout.ms': '1000',
      'retry.backoff.ms': '7',
      'retry.backoff.max.ms': '70',
      partitioner: 'murmur2_random',
      'topic.metadata.refresh.interval.ms': '-1',
      'metadata.max.age.ms': '5',
      'allow.auto.create.topics': 'true',
      'request.required.acks': '1',
    };
    expect(read(given)).toMatchObject({ problems: [], notes: [] });
    expect(read(given).settings).toMatchObject({
      clientId: 'web-1',
      compressionCodec: 'lz4',
      compressionLevel: 12,
      batchNumMessages: 50_000,
      batchSizeBytes: 2000,
      messageMaxBytes: 5000,
      messageTimeoutMs: Infinity,
      requestTimeoutMs: 1,
      socketTimeoutMs: 300_000,
      socketConnectionSetupTimeoutMs: 1000,
      retryBackoffMs: 7,
      retryBackoffMaxMs: 70,
      partitioner: 'murmur2_random',
      topicMetadataRefreshIntervalMs: Infinity,
      metadataMaxAgeMs: 5,
      allowAutoCreateTopics: true,
      acks: 1,
    });
    const numbers = Object.fromEntries(
      Object.entries(given).map(([name, text]) => [name, /^-?\d+$/.test(text) ? Number(text) : text]),
    );
    expect(read(numbers).settings).toEqual(read(given).settings);
    expect(read({ 'delivery.timeout.ms': 5, 'compression.type': 'zstd' }).settings).toMatchObject({
      messageTimeoutMs: 5,
      compressionCodec: 'zstd',
    });
  });

  test('an alias beside its name is a problem only when they differ', () => {
    expect(read({ acks: '1', 'request.required.acks': 1 }).problems).toEqual([]);
    expect(read({ acks: 1, 'request.required.acks': 0 }).problems).toEqual([
      's.acks: the same setting as request.required.acks, with another value; keep one',
    ]);
  });

  test.each([
    ['all', -1],
    ['ALL', -1],
    ['-1', -1],
    [-1, -1],
    ['0', 0],
    [0, 0],
    ['1', 1],
    [1, 1],
  ])('acks %j', (value, acks) => {
    expect(read({ acks: value }).settings.acks).toBe(acks);
  });

  test.each([
    ['alll', '"alll"'],
    [2, '2'],
    ['', '""'],
    [null, 'null'],
    [['all'], 'a list'],
    [true, 'true'],
  ])('acks %j is refused', (value, shown) => {
    expect(read({ acks: value }).problems).toEqual([`s.acks: ${shown} is not one of all, -1, 0, 1`]);
  });

  test.each([
    ['batch.num.messages', 1, 1_000_000],
    ['batch.size', 1, 2_147_483_647],
    ['message.max.bytes', 1000, 1_000_000_000],
    ['message.timeout.ms', 0, 2_147_483_647],
    ['delivery.timeout.ms', 0, 2_147_483_647],
    ['request.timeout.ms', 1, 900_000],
    ['socket.timeout.ms', 10, 300_000],
    ['socket.connection.setup.timeout.ms', 1000, 2_147_483_647],
    ['retry.backoff.ms', 1, 300_000],
    ['retry.backoff.max.ms', 1, 300_000],
    ['topic.metadata.refresh.interval.ms', -1, 3_600_000],
    ['metadata.max.age.ms', 1, 86_400_000],
  ])("%s is a whole number from %d to %d, librdkafka's range", (name, min, max) => {
    expect(read({ [name]: min }).problems).toEqual([]);
    expect(read({ [name]: String(max) }).problems).toEqual([]);
    for (const value of [min - 1, max + 1, 100.5, 'many', '', null, {}]) {
      expect(read({ [name]: value }).problems).toEqual([
        expect.stringMatching(new RegExp(`^s\\.${name}: .* is not a whole number from ${min} to ${max}$`)),
      ]);
    }
  });

  test.each([
    ['gzip', 9],
    ['lz4', 12],
    ['zstd', 19],
  ])('compression.level of %s goes up to %d', (codec, finest) => {
    expect(read({ 'compression.codec': codec, 'compression.level': finest }).settings.compressionLevel).toBe(
      finest,
    );
    expect(read({ 'compression.codec': codec, 'compression.level': finest + 1 }).problems).toEqual([
      `s.compression.level: ${finest + 1} is not a whole number from -1 to ${finest}`,
    ]);
  });

  test('compression.level means nothing without levels', () => {
    expect(read({ 'compression.codec': 'snappy', 'compression.level': 5 })).toMatchObject({
      problems: [],
      notes: ['s.compression.level: compression.codec snappy has no levels'],
      settings: { compressionLevel: -1 },
    });
  });

  test.each([
    ['compression.codec', 'brotli', '"brotli" is not one of none, gzip, snappy, lz4, zstd'],
    [
      'partitioner',
      'consistant',
      '"consistant" is not one of consistent, consistent_random, murmur2, murmur2_random, fnv1a, fnv1a_random, random',
    ],
    ['security.protocol', 'tls', '"tls" is not one of plaintext, ssl, sasl_plaintext, sasl_ssl'],
    ['enable.idempotence', 'yes', '"yes" is not true or false'],
    [
      'client.id',
      'kafkajs',
      '"kafkajs" hides who is connected, for any program may have it; choose another name',
    ],
    ['client.id', '', '"" is not a name of 1 to 249 plain characters'],
    ['client.id', 'a\nb', '"a\\nb" is not a name of 1 to 249 plain characters'],
  ])('%s %j is refused', (name, value, message) => {
    expect(read({ [name]: value }).problems).toEqual([`s.${name}: ${message}`]);
  });

  test('a socket timeout below the request timeout lowers that, unless it was asked for', () => {
    expect(read({ 'socket.timeout.ms': 3000 }).settings.requestTimeoutMs).toBe(3000);
    expect(read({ 'socket.timeout.ms': 3000, 'request.timeout.ms': 9000 }).settings.requestTimeoutMs).toBe(
      9000,
    );
  });

  test('the back-off never starts over its maximum', () => {
    expect(read({ 'retry.backoff.ms': 5000 }).settings).toMatchObject({
      retryBackoffMs: 5000,
      retryBackoffMaxMs: 5000,
    });
    expect(read({ 'retry.backoff.ms': 5000, 'retry.backoff.max.ms': 2000 })).toMatchObject({
      settings: { retryBackoffMs: 2000, retryBackoffMaxMs: 2000 },
      notes: ['s.retry.backoff.ms: over retry.backoff.max.ms, so that is used: 2000'],
    });
  });
});

describe('bootstrap.servers', () => {
  test.each<[string, KafkaSettings['bootstrapServers']]>([
    ['kafka1:29092', [{ host: 'kafka1', port: 29_092 }]],
    [
      'kafka_1.x-y, 10.0.0.1:1 ,',
      [
        { host: 'kafka_1.x-y', port: 9092 },
        { host: '10.0.0.1', port: 1 },
      ],
    ],
    [
      '[::1]:9093,[fe80::1]',
      [
        { host: '::1', port: 9093 },
        { host: 'fe80::1', port: 9092 },
      ],
    ],
    ['PLAINTEXT://kafka1:9092', [{ host: 'kafka1', port: 9092 }]],
  ])('%s', (text, brokers) => {
    expect(read({ 'bootstrap.servers': text }).settings.bootstrapServers).toEqual(brokers);
    expect(read({ 'bootstrap.servers': text, 'metadata.broker.list': text }).problems).toEqual([]);
  });

  test.each([
    'kafka1:',
    'kafka1:0',
    'kafka1:65536',
    ':9092',
    '::1',
    '[::1',
    '[zz]:1',
    '[1.2.3.4]:1',
    'a b:1',
    'a:1;b:2',
    'kafka1:9092/x',
    'http://',
  ])('%s is no broker', (text) => {
    expect(read({ 'bootstrap.servers': `ok,${text}` }).problems).toEqual([
      `s.bootstrap.servers: ${JSON.stringify(text)} is not a broker; write host:port or [IPv6]:port, commas between brokers`,
    ]);
  });

  test('is needed, under either name', () => {
    const problems = new Problems();
    parseKafkaSettings({}, 's', problems);
    expect(problems.lines).toEqual([
      's.bootstrap.servers: missing; name the brokers ("kafka1:9092,kafka2:9092")',
    ]);
    expect(read({ 'bootstrap.servers': ' , ' }).problems).toEqual([
      's.bootstrap.servers: " , " names no broker ("kafka1:9092,kafka2:9092")',
    ]);
    expect(read({ 'bootstrap.servers': 9092 }).problems).toEqual([
      's.bootstrap.servers: 9092 is not a list of brokers ("kafka1:9092,kafka2:9092")',
    ]);
    expect(read({ 'bootstrap.servers': 'ssl://kafka1' }).problems).toEqual([
      's.bootstrap.servers: "ssl://kafka1" is not what security.protocol says: plaintext',
    ]);
  });
});

describe('names', () => {
  test('an unknown one is refused with the nearest, and its value is not shown', () => {
    expect(
      read({ 'compression.code': 'x', 'sasl.pasword': 'hunter2', __proto__x: 1, toString: 1, constructor: 1 })
        .problems,
    ).toEqual([
      's.compression.code: librdkafka has no such setting; did you mean "compression.codec"?',
      's.sasl.pasword: librdkafka has no such setting; did you mean "sasl.password"?',
      's.__proto__x: librdkafka has no such setting',
      's.toString: librdkafka has no such setting',
      's.constructor: librdkafka has no such setting',
    ]);
  });

  test.each([
    ['queue.buffering.max.ms', 'Kahe batches by bucket: batch, batchTimeout'],
    ['linger.ms', 'Kahe batches by bucket: batch, batchTimeout'],
    ['queue.buffering.max.kbytes', 'Kahe batches by bucket: batch, batchTimeout'],
    ['retries', 'Kahe retries until message.timeout.ms, however often that is'],
    ['max.in.flight', 'Kahe has one request in flight for each partition, which keeps their order'],
    ['group.id', 'it means nothing for a producer'],
    ['broker.version.fallback', 'Kahe asks each broker which versions it speaks'],
    ['statistics.interval.ms', 'Kahe counts for itself'],
    ['debug', 'Kahe logs by LOG_LEVEL'],
    ['go.delivery.reports', 'only for the Go client'],
  ])('%s is accepted with a note', (name, note) => {
    expect(read({ [name]: 'whatever' })).toMatchObject({ problems: [], notes: [`s.${name}: ${note}`] });
  });

  test('what would be less safe when passed over is refused', () => {
    expect(read({ 'ssl.crl.location': '/x', 'ssl.keystore.password': 'hunter2' }).problems).toEqual([
      's.ssl.crl.location: Kahe can not check revocation lists',
      's.ssl.keystore.password: Kahe reads PEM; use ssl.certificate.location and ssl.key.location',
    ]);
  });

  test('acks 0 and enable.idempotence say what to expect', () => {
    expect(read({ acks: 0, 'enable.idempotence': true }).notes).toEqual([
      's.acks: no broker confirms, so frames count as delivered once they are sent',
      's.enable.idempotence: order is kept by one request in flight for each partition; after a fault there may be duplicates',
    ]);
    expect(read({ 'enable.idempotence': 'false' }).notes).toEqual([]);
  });

  test('the table has each name once, and every alias leads to a name', () => {
    expect(new Set(LIBRDKAFKA_NAMES).size).toBe(LIBRDKAFKA_NAMES.length);
    expect(LIBRDKAFKA_NAMES.length).toBeGreaterThan(190);
    for (const name of LIBRDKAFKA_NAMES) {
      const meaning = meaningOf(name)!;
      if (meaning.kind !== 'alias') continue;
      expect(['used', 'noted']).toContain(meaningOf(meaning.of)?.kind);
      expect(spellingsOf(meaning.of)).toContain(name);
    }
  });

  test('no known name is unknown when it is given', () => {
    for (const name of LIBRDKAFKA_NAMES)
      expect(read({ [name]: '1' }).problems.filter((line) => line.includes('no such setting'))).toEqual([]);
  });
});

describe('clusterKey', () => {
  test('is equal for streams that can share connections', () => {
    const shared = {
      'compression.codec': 'zstd',
      acks: 0,
      partitioner: 'random',
      'message.timeout.ms': 5,
      'request.timeout.ms': 5,
      'batch.size': 5,
      'linger.ms': 5,
    };
    expect(keyOf(shared)).toBe(keyOf({}));
    expect(keyOf({ 'bootstrap.servers': 'kafka1:9092, ' })).toBe(keyOf({}));
  });

  test.each([
    { 'bootstrap.servers': 'kafka2' },
    { 'client.id': 'b' },
    { 'socket.timeout.ms': 5000 },
    { 'socket.connection.setup.timeout.ms': 6000 },
    { 'security.protocol': 'ssl' },
    { 'metadata.max.age.ms': 5 },
    { 'topic.metadata.refresh.interval.ms': 5 },
    { 'allow.auto.create.topics': true },
    { 'retry.backoff.ms': 5 },
    { 'retry.backoff.max.ms': 500 },
  ])('differs for %j', (changes) => {
    expect(keyOf(changes)).not.toBe(keyOf({}));
  });
});
