// The window of a rate limit: exactly how many frames pass, whatever the runs and wherever the time begins.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RateWindow } from './rateWindow.js';

const START_MS = 1_700_000_000_000;

/** That lets the same number through all the time. */
function windowOf(
  frames: number,
  perMs: number,
): { readonly take: (wanted: number, nowMs: number) => number } {
  const window = new RateWindow(perMs);
  return { take: (wanted, nowMs) => window.take(wanted, frames, nowMs) };
}

describe('RateWindow', () => {
  test('lets exactly as many through as it is told, in one run or in many', () => {
    expect(windowOf(100, 1000).take(250, START_MS)).toBe(100);
    const window = windowOf(100, 1000);
    expect([60, 30, 30, 1].map((frames) => window.take(frames, START_MS))).toEqual([60, 30, 10, 0]);
  });

  test('what has passed makes room again when it is as old as the window, a 60th later at most', () => {
    const window = windowOf(100, 6000);
    window.take(70, START_MS);
    window.take(30, START_MS + 3000);
    expect(window.take(1, START_MS + 6000)).toBe(0);
    expect(window.take(100, START_MS + 6100)).toBe(70);
    expect(window.take(100, START_MS + 9000)).toBe(0);
    expect(window.take(100, START_MS + 9100)).toBe(30);
  });

  test('two bursts where windows of the clock would meet are still one too many', () => {
    const window = windowOf(100, 1000);
    expect(window.take(100, START_MS + 990)).toBe(100);
    expect(window.take(100, START_MS + 1010)).toBe(0);
  });

  test('after a long silence there is room for all, and for no more', () => {
    const window = windowOf(100, 1000);
    window.take(100, START_MS);
    expect(window.take(300, START_MS + 3_600_000)).toBe(100);
  });

  test('a clock that is set back neither opens it nor keeps it closed', () => {
    const window = windowOf(100, 1000);
    window.take(100, START_MS);
    expect(window.take(1, START_MS - 3_600_000)).toBe(0);
    expect(window.take(100, START_MS - 3_600_000 + 1020)).toBe(100);
  });

  test('a smaller number: what was let through before counts, and there is no room below none', () => {
    const window = new RateWindow(1000);
    expect(window.take(25, 30, START_MS)).toBe(25);
    expect([window.take(1, 10, START_MS), window.take(9, 30, START_MS)]).toEqual([0, 5]);
    expect(window.take(50, 10, START_MS + 1020)).toBe(10);
  });

  test('in no interval of its length do more pass; and what it refuses, it has to', () => {
    const run = fc.record({
      afterMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 400 })),
      frames: fc.integer({ min: 1, max: 60 }),
    });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 100 }),
        fc.integer({ min: 1, max: 1000 }),
        fc.array(run, { maxLength: 80 }),
        (frames, perMs, runs) => {
          const window = windowOf(frames, perMs);
          const passed: { atMs: number; frames: number }[] = [];
          let nowMs = START_MS;
          for (const { afterMs, frames: wanted } of runs) {
            nowMs += afterMs;
            const taken = window.take(wanted, nowMs);
            // Of what passed longer ago than the window and one step nothing may count any more.
            const sure = frames - sumSince(passed, nowMs - perMs - perMs / 60);
            expect(taken).toBeGreaterThanOrEqual(Math.min(wanted, sure));
            passed.push({ atMs: nowMs, frames: taken });
            expect(sumSince(passed, nowMs - perMs)).toBeLessThanOrEqual(frames);
          }
        },
      ),
    );
  });
});

/** At `sinceMs` and later. */
function sumSince(
  passed: readonly { readonly atMs: number; readonly frames: number }[],
  sinceMs: number,
): number {
  return passed.filter(({ atMs }) => atMs >= sinceMs).reduce((sum, { frames }) => sum + frames, 0);
}
