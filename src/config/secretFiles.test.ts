// Which files hold a secret, and that everybody may read them is told.
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { newFolder } from '../../support/newFolder.js';
import { loadBuckets } from './buckets.js';

let cwd: string;
beforeEach(() => void (cwd = newFolder()));

function write(name: string, text: string, mode = 0o644): string {
  writeFileSync(join(cwd, name), text);
  chmodSync(join(cwd, name), mode);
  return join(cwd, name);
}

/** Those that are told of, with the setting that they are told for. */
function told(
  settings: object,
  {
    mode = 0o644,
    env = {},
    backup,
  }: { readonly mode?: number; readonly env?: Record<string, string>; readonly backup?: object } = {},
): string[] {
  const kafka = {
    type: 'kafka',
    settings: {
      'bootstrap.servers': 'kafka1',
      'security.protocol': 'sasl_ssl',
      'sasl.mechanisms': 'PLAIN',
      'sasl.username': 'app',
      ...settings,
    },
    ...(backup === undefined ? {} : { backup }),
  };
  const file = write(
    'buckets.json',
    JSON.stringify({ streamsConfigs: { kafka }, buckets: [{ id: 'a', streams: ['kafka'] }] }),
    mode,
  );
  const { warnings } = loadBuckets(file, { cwd, env });
  expect(warnings.join()).not.toContain('hunter2');
  return warnings.map((line) => line.replaceAll(`${cwd}/`, ''));
}

const EVERYBODY = 'and every user of this machine may read it (mode 0644)';

describe('a file that everybody may read', () => {
  test('buckets.json with a password in it', () => {
    expect(told({ 'sasl.password': 'hunter2' })).toEqual([
      `buckets.json holds a secret (streamsConfigs.kafka.settings.sasl.password), ${EVERYBODY}: chmod o= 'buckets.json'`,
    ]);
    expect(told({ 'sasl.password': 'hunter2${MORE}' }, { env: { MORE: 'x' } })).toHaveLength(1);
    expect(told({ 'sasl.password': 1234 })).toHaveLength(1);
  });

  test('also where the password is not used, and in a backup', () => {
    expect(
      told({ 'sasl.password': '${P}', 'sasl.oauthbearer.client.secret': 'hunter2' }, { env: { P: 'x' } }),
    ).toEqual([
      expect.stringContaining('(streamsConfigs.kafka.settings.sasl.oauthbearer.client.secret)') as string,
    ]);
    const backup = { type: 'kafka', settings: { 'bootstrap.servers': 'kafka2', 'sasl.password': 'hunter2' } };
    expect(told({ 'sasl.password': '${P}' }, { env: { P: 'x' }, backup })).toEqual([
      expect.stringContaining('(streamsConfigs.kafka.backup.settings.sasl.password)') as string,
    ]);
  });

  test('the file of a password', () => {
    write('password', 'hunter2');
    expect(told({ 'sasl.password.location': join(cwd, 'password') })).toEqual([
      `password holds a secret (streamsConfigs.kafka.settings.sasl.password.location), ${EVERYBODY}: chmod o= 'password'`,
    ]);
    expect(told({ 'sasl.password.location': '${HERE}/password' }, { env: { HERE: cwd } })).toHaveLength(1);
  });

  test('the .env file, when a secret comes from it', () => {
    write('.env.dev.local', 'P=hunter2\nBROKERS=kafka1');
    expect(told({ 'sasl.password': '${P}' })).toEqual([
      `.env.dev.local holds a secret (streamsConfigs.kafka.settings.sasl.password), ${EVERYBODY}: chmod o= '.env.dev.local'`,
    ]);
    expect(
      told({ 'bootstrap.servers': '${BROKERS}', 'sasl.password': '${P}' }, { env: { P: 'hunter2' } }),
    ).toEqual([]);
  });
});

describe('nothing is told of', () => {
  test.each([[0o640], [0o600], [0o660]])('a file with mode %o', (mode) => {
    write('password', 'hunter2', mode);
    expect(told({ 'sasl.password': 'hunter2' }, { mode })).toEqual([]);
    expect(told({ 'sasl.password.location': join(cwd, 'password') })).toEqual([]);
  });

  test('a buckets.json without a secret in it', () => {
    expect(told({ 'sasl.password': '${P}' }, { env: { P: 'hunter2' } })).toEqual([]);
  });
});
