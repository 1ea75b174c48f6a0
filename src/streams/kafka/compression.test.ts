import { describe, expect, test } from 'vitest';
import { CompressionGauge } from './compression.js';

describe('CompressionGauge', () => {
  test('data that does not shrink is sent as it is, and the next 15 batches are not tried', () => {
    const gauge = new CompressionGauge();
    expect(gauge.isWorthTrying()).toBe(true);
    expect(gauge.wasWorthIt(900_000, 901_000)).toBe(false);
    expect(Array.from({ length: 17 }, () => gauge.isWorthTrying())).toEqual([...Array<boolean>(15).fill(false), true, true]);
  });

  test('data that shrinks is compressed, batch after batch', () => {
    const gauge = new CompressionGauge();
    for (let i = 0; i < 5; i++) expect([gauge.isWorthTrying(), gauge.wasWorthIt(900_000, 300_000)]).toEqual([true, true]);
  });

  test('a small batch is compressed as asked, and says nothing about others', () => {
    const gauge = new CompressionGauge();
    expect([gauge.wasWorthIt(100, 130), gauge.isWorthTrying()]).toEqual([true, true]);
  });
});
