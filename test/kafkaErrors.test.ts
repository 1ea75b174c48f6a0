// The table of Kafka's error codes holds all that Kafka has, and docs/kafka-errors.md shows what the code
// does with each.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { ERROR_CODES, errorName, actionFor, type ErrorAction } from '../src/kafka/errorCodes.js';
import { firstTable, quoted, section } from './docs/markdown.js';
import { KAFKA_CLASSES, fetchKafka } from '../support/kafkaNode.js';

const WORDS: Readonly<Record<ErrorAction, string>> = {
  delivered: 'delivered',
  retry: 'again',
  retryLater: 'later',
  waitForTopic: 'by a person',
  split: 'never',
};
const page = readFileSync(path.resolve(import.meta.dirname, '../docs/kafka-errors.md'), 'utf8');

test('every error of the Kafka that the tests run is in the table, under its code and name, and no other', async () => {
  fetchKafka();
  // It prints its errors as the table of Kafka's documentation.
  const { stdout } = await promisify(execFile)('java', [
    '-cp',
    KAFKA_CLASSES,
    'org.apache.kafka.common.protocol.Errors',
  ]);
  const real = [...stdout.matchAll(/<tr><td>(\w+)<\/td><td>(-?\d+)<\/td>/g)].map(([, name, code]) => [
    Number(code),
    name,
  ]);
  expect(real.length).toBeGreaterThan(130);
  expect(ERROR_CODES.map(({ code, name }) => [code, name])).toEqual(real);
});

test('the page has a row for each code, with what becomes of it and what a person can do', () => {
  const rows = firstTable(section(page, '## All codes')).map(([code, name, what, advice]) => [
    Number(quoted(code!)[0]),
    quoted(name!)[0],
    what,
    advice,
  ]);
  expect(rows).toEqual(
    ERROR_CODES.map(({ code, name, action, advice }) => [
      code,
      name,
      WORDS[action],
      advice === '' ? '–' : advice,
    ]),
  );
});

test('what a person can do stands beside what waits for a person, and what was rejected, alone', () => {
  for (const { name, action, advice } of ERROR_CODES)
    expect([name, advice !== '']).toEqual([name, action === 'waitForTopic' || action === 'split']);
});

test('a code that Kafka did not have yet is tried again', () => {
  const unknown = Math.max(...ERROR_CODES.map(({ code }) => code)) + 1;
  expect([actionFor(unknown), errorName(unknown)]).toEqual(['retry', `error code ${unknown}`]);
});
