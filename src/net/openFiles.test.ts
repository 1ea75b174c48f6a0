import { expect, test } from 'vitest';
import { mostConnections } from './openFiles.js';

const limits = (soft: string): string =>
  `Limit                     Soft Limit           Hard Limit           Units     \nMax processes             95                   95                   processes \nMax open files            ${soft}                 524288               files     \n`;

test.each([
  ['128', 96],
  ['1024', 768],
  ['20000', 18_976],
  ['40', 8],
  ['10', 1],
])('of %s open files %i are for clients', (soft, most) => {
  expect(mostConnections(limits(soft))).toBe(most);
});

test('without a limit, or where none is said, there is no bound', () => {
  expect([mostConnections(limits('unlimited')), mostConnections('')]).toEqual([Infinity, Infinity]);
  expect(mostConnections()).toBeGreaterThan(0);
});
