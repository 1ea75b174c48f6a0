// `${NAME}` in buckets.json, as loadBuckets takes it.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { newFolder } from '../../support/newFolder.js';
import { type BucketsConfig, type KafkaStreamConfig, loadBuckets } from './buckets.js';

let cwd: string;
beforeEach(() => void (cwd = newFolder()));

const SASL = {
  'bootstrap.servers': 'kafka1',
  'security.protocol': 'sasl_ssl',
  'sasl.mechanisms': 'SCRAM-SHA-512',
  'sasl.username': 'app',
  'sasl.password': '${PASSWORD}',
};

function load(settings: object, env: Record<string, string> = {}, more: object = {}): BucketsConfig {
  writeFileSync(
    join(cwd, 'buckets.json'),
    JSON.stringify({
      streamsConfigs: { kafka: { type: 'kafka', settings: { ...SASL, ...settings } } },
      buckets: [{ id: 'a', streams: ['kafka'] }],
      ...more,
    }),
  );
  return loadBuckets(join(cwd, 'buckets.json'), { cwd, env });
}

function problemsOf(...args: Parameters<typeof load>): string[] {
  try {
    load(...args);
  } catch (error) {
    return (error as Error).message.replaceAll(`${cwd}/`, '').split('\n');
  }
  return [];
}

function passwordOf(written: string, env: Record<string, string>): string {
  return (load({ 'sasl.password': written }, env).streamsConfigs['kafka'] as KafkaStreamConfig).settings
    .security.sasl!.password;
}

describe('${NAME}', () => {
  test.each([
    ['${PASSWORD}', 'hunter2'],
    ['a-${PASSWORD}-${N}', 'a-hunter2-7'],
    ['$PASSWORD', '$PASSWORD'],
    ['pa$$word$', 'pa$$word$'],
    ['$${PASSWORD}', '${PASSWORD}'],
    ['$$${PASSWORD}', '$${PASSWORD}'],
    ['$${${PASSWORD}', '${hunter2'],
    ['${NESTED}', '${PASSWORD}'],
    ['${QUOTED}', '","acks":"0'],
  ])('%j becomes %j', (written, text) => {
    expect(
      passwordOf(written, { PASSWORD: 'hunter2', N: '7', NESTED: '${PASSWORD}', QUOTED: '","acks":"0' }),
    ).toBe(text);
  });

  test('stands in any string: in lists, ids, numbers that are written as texts', () => {
    const { buckets, defaultBucket } = load(
      {},
      { PASSWORD: 'x', TOPIC: 'orders', N: '500', STREAM: 'kafka' },
      {
        buckets: [{ id: '${TOPIC}', streams: ['${STREAM}'], batch: '${N}' }],
        defaultBucket: { streams: ['${STREAM}'] },
      },
    );
    expect(buckets).toMatchObject([{ id: 'orders', streams: ['kafka'], batchFrames: 500 }]);
    expect(defaultBucket?.streams).toEqual(['kafka']);
  });

  test('is of the .env file too; the real environment wins, also with an empty text', () => {
    writeFileSync(join(cwd, '.env.dev.local'), 'PASSWORD="of the file"');
    expect(passwordOf('${PASSWORD}', {})).toBe('of the file');
    expect(passwordOf('${PASSWORD}', { PASSWORD: 'real' })).toBe('real');
    expect(problemsOf({}, { PASSWORD: '' })).toEqual([
      'buckets.json: streamsConfigs.kafka.settings.sasl.password: is empty',
    ]);
    writeFileSync(join(cwd, '.env.prod.local'), 'PASSWORD=prod');
    expect(passwordOf('${PASSWORD}', { environment: 'prod' })).toBe('prod');
  });

  test('not set: one line for each, with its path, and nothing that follows from it', () => {
    expect(
      problemsOf({ acks: '${ACKS}' }, {}, { buckets: [{ id: 'a', streams: ['kafka'], batch: '${N}' }] }),
    ).toEqual([
      'buckets.json: streamsConfigs.kafka.settings.sasl.password: ${PASSWORD} is not set; set PASSWORD in the environment or in the .env file, or for a literal ${ write $${',
      'buckets.json: streamsConfigs.kafka.settings.acks: ${ACKS} is not set; set ACKS in the environment or in the .env file, or for a literal ${ write $${',
      'buckets.json: buckets[0].batch: ${N} is not set; set N in the environment or in the .env file, or for a literal ${ write $${',
    ]);
    expect(
      problemsOf({ 'sasl.password.location': '${CREDENTIALS_DIRECTORY}/kafka', 'sasl.password': undefined }),
    ).toEqual([
      expect.stringContaining('systemd sets it for a service with LoadCredential=. By hand') as string,
    ]);
  });

  test.each([
    ['${}', '"${}" names no variable'],
    ['${A-B}', '"${A-B}" names no variable'],
    ['${PASSWORD:-x}', '"${PASSWORD:-x}" names no variable'],
    ['a${PASSWORD', '"${" without its "}"'],
    ['${toString}', '${toString} is not set'],
    ['${__proto__}', '${__proto__} is not set'],
  ])('%j is an error', (written, says) => {
    expect(problemsOf({ 'sasl.password': written }, { PASSWORD: 'x' })).toEqual([
      expect.stringContaining(`sasl.password: ${says}`) as string,
    ]);
  });
});

describe('what a variable holds is shown in no problem', () => {
  const long = `hunter2${'x'.repeat(100)}`;

  test.each([
    ['acks', 'hunter2', '"${SECRET}" is not one of all, -1, 0, 1'],
    ['acks', long, '"${SECRET}" is not one of all, -1, 0, 1'],
    ['acks', 'hunter2"\\\n', '"${SECRET}" is not one of all, -1, 0, 1'],
    ['batch.size', 'hunter2', '"${SECRET}" is not a whole number from 1 to 2147483647'],
    [
      'bootstrap.servers',
      'kafka1, hunter2:x:y',
      '"${SECRET}" is not a broker; write host:port or [IPv6]:port, commas between brokers',
    ],
    ['ssl.ca.location', '/hunter2', '"${SECRET}" does not exist'],
    ['enable.idempotence', 'hunter2', '"${SECRET}" is not true or false'],
    ['client.id', 'hunter2\u00e9', '"${SECRET}" is not a name of 1 to 249 plain characters'],
  ])('%s with %j', (name, value, says) => {
    expect(problemsOf({ [name]: '${SECRET}' }, { PASSWORD: 'x', SECRET: value })).toEqual([
      `buckets.json: streamsConfigs.kafka.settings.${name}: ${says}`,
    ]);
  });

  test('nor of a bucket', () => {
    const bucket = {
      id: '${SECRET} a',
      streams: ['${SECRET}'],
      batch: '${SECRET}',
      rateLimit: { frames: '${SECRET}', perMs: 1 },
    };
    const told = problemsOf({}, { PASSWORD: 'x', SECRET: 'hunter2' }, { buckets: [bucket] });
    expect(told.length).toBeGreaterThan(2);
    expect(told.join()).not.toContain('hunter2');
  });
});
