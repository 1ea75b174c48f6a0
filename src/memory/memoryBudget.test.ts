// The one bound on memory: when it tells sockets to wait, and when to go on.
import { describe, expect, test } from 'vitest';
import { MemoryBudget, type Pressure } from './memoryBudget.js';

describe('MemoryBudget', () => {
  test('tells once when five eighths are passed, and once when it has fallen well below', () => {
    const budget = new MemoryBudget(1_000);
    const told: Pressure[] = [];
    budget.onPressure((pressure) => void told.push(pressure));
    budget.take(625);
    expect([told, budget.isOver]).toEqual([[], false]);
    budget.take(1);
    budget.take(500);
    expect([told, budget.isOver, budget.heldBytes]).toEqual([['over'], true, 1_126]);
    budget.give(563);
    expect(told).toEqual(['over']);
    budget.give(1);
    expect([told, budget.isOver]).toEqual([['over', 'under'], false]);
    budget.give(562);
    expect(budget.heldBytes).toBe(0);
  });

  test('counts how often and how long sockets were not read, and says why they are not now', () => {
    let nowMs = 100;
    const budget = new MemoryBudget(1_000, () => nowMs);
    expect(budget.paused).toEqual({ ms: 0, times: 0, isForMemory: false, isForSpool: false });
    budget.take(626);
    nowMs += 5;
    budget.setBlocked(true);
    expect(budget.paused).toEqual({ ms: 5, times: 1, isForMemory: true, isForSpool: true });
    budget.give(626);
    nowMs += 5;
    expect(budget.paused).toEqual({ ms: 10, times: 1, isForMemory: false, isForSpool: true });
    budget.setBlocked(false);
    nowMs += 50;
    expect(budget.paused).toEqual({ ms: 10, times: 1, isForMemory: false, isForSpool: false });
    budget.setBlocked(true);
    nowMs += 2;
    expect(budget.paused).toEqual({ ms: 12, times: 2, isForMemory: false, isForSpool: true });
  });

  test('who has ended is told no more', () => {
    const budget = new MemoryBudget(1_000);
    const end = budget.onPressure(() => expect.unreachable());
    end();
    budget.take(2_000);
  });

  test('a quarter is kept for requests: one always fits, more only while there is room', () => {
    const budget = new MemoryBudget(1_000);
    expect([budget.takeEncoded(5_000), budget.takeEncoded(1)]).toEqual([true, false]);
    budget.giveEncoded(5_000);
    expect([budget.takeEncoded(200), budget.takeEncoded(50), budget.takeEncoded(1)]).toEqual([
      true,
      true,
      false,
    ]);
    expect(budget.heldBytes).toBe(250);
  });

  test('who waits for room for a request gets it in turn: a large one is not passed over by small ones', async () => {
    const budget = new MemoryBudget(1_000);
    budget.takeEncoded(100);
    const turns: string[] = [];
    const large = budget.awaitEncoded(240).then(() => turns.push('large'));
    const small = budget.awaitEncoded(10).then(() => turns.push('small'));
    expect(budget.takeEncoded(10)).toBe(false);
    budget.giveEncoded(100);
    await Promise.all([large, small]);
    expect(turns).toEqual(['large', 'small']);
    expect(budget.heldBytes).toBe(250);
  });

  test("requests do not count for the sockets' mark, or nothing that is held could be sent", () => {
    const budget = new MemoryBudget(1_000);
    budget.take(600);
    budget.takeEncoded(250);
    expect(budget.isOver).toBe(false);
  });
});
