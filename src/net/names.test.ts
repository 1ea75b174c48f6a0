import { expect, test } from 'vitest';
import { ConfigError } from '../errors.js';
import { groupId, groupName, userName } from './names.js';

test('a group has a number, by its name or as it is', () => {
  expect([groupId(undefined), groupId(1234), groupId('root')]).toEqual([undefined, 1234, 0]);
});

test('a group that is not there is told with what to do', () => {
  expect(() => groupId('no-such-group')).toThrow(
    new ConfigError(
      'SOCKET_GROUP: there is no group "no-such-group"; make it with groupadd, or name another',
    ),
  );
});

test('numbers have names, or stay what they are', () => {
  expect([userName(0), groupName(0), userName(4_123_456_789), groupName(4_123_456_789)]).toEqual([
    'root',
    'root',
    '4123456789',
    '4123456789',
  ]);
});
