// Which name was meant: the one that a person would think of, or none.
import { expect, test } from 'vitest';
import { didYouMean, nearestName } from './didYouMean.js';

const COMMANDS = [
  'send',
  'inspect',
  'replay',
  'check',
  'status',
  'top',
  'tail',
  'completion',
  '--help',
  '--version',
];

test.each([
  ['sned', 'send'],
  ['tial', 'tail'],
  ['tpo', 'top'],
  ['chekc', 'check'],
  ['stauts', 'status'],
  ['inspet', 'inspect'],
  ['CHECK', 'check'],
  ['comp', 'completion'],
  ['stat', 'status'],
  ['--verison', '--version'],
  ['--hlep', '--help'],
])('%s: %s', (name, meant) => {
  expect(nearestName(name, COMMANDS)).toBe(meant);
});

test.each(['', 's', 'xyz', 'start', 'delete', 'x'.repeat(101)])('%j: none', (name) => {
  expect(nearestName(name, COMMANDS)).toBeUndefined();
  expect(didYouMean(name, COMMANDS)).toBe('');
});

test('what begins several names is none of them', () => {
  expect(nearestName('sasl', ['sasl.username', 'sasl.password'])).toBeUndefined();
});
