// The gate under a limit: clients first, a replay in the room that they leave, and together never more than
// the limit.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FakeClock, turn } from '../../../support/fakeClock.js';
import type { Pace } from '../../streams/backup/pace.js';
import type { StreamMode } from '../../streams/streamStats.js';
import { Gate } from './gate.js';

class Bench {
  readonly clock = new FakeClock();
  readonly streams: { mode: StreamMode }[];
  readonly gate: Gate;
  /** When how many frames reached the primary of the first stream. */
  readonly sent: { readonly atMs: number; readonly frames: number }[] = [];

  constructor(frames = 100, streams = 1) {
    this.streams = Array.from({ length: streams }, () => ({ mode: 'normal' as const }));
    this.gate = new Gate({ frames, perMs: 1000, over: 'backup' }, this.streams, this.clock);
  }

  admit(frames: number): number {
    const admitted = this.gate.admit(frames);
    if (this.streams[0]!.mode === 'normal') this.sent.push({ atMs: this.clock.now(), frames: admitted });
    return admitted;
  }

  /** Sends so many frames of a backup, piece by piece; tells how many were sent so far. */
  replay(pace: Pace, frames: number, pieceFrames = Infinity): () => number {
    let left = frames;
    void (async () => {
      while (left > 0) {
        const granted = await pace.next(left);
        if (granted === 0) return;
        await turn();
        const piece = Math.min(granted, pieceFrames);
        pace.spend(granted, piece);
        this.sent.push({ atMs: this.clock.now(), frames: piece });
        left -= piece;
      }
    })();
    return () => frames - left;
  }

  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 10) {
      this.clock.advance(10);
      await turn();
      await turn();
    }
  }

  mostInAnyWindow(): number {
    return Math.max(
      ...this.sent.map(({ atMs: fromMs }) =>
        this.sent
          .filter(({ atMs }) => atMs >= fromMs && atMs <= fromMs + 1000)
          .reduce((sum, { frames }) => sum + frames, 0),
      ),
    );
  }
}

describe('Gate', () => {
  test('with nobody else a replay gets the whole limit, and no more', async () => {
    const bench = new Bench();
    const sent = bench.replay(bench.gate.paceOfSurplus(0), 1000);
    await bench.pass(5000);
    expect(sent()).toBeGreaterThanOrEqual(450);
    expect(sent()).toBeLessThanOrEqual(600);
    expect(bench.mostInAnyWindow()).toBeLessThanOrEqual(100);
  });

  test('what clients send steadily passes, and the replay gets the rest', async () => {
    const bench = new Bench();
    const steady = async (ms: number): Promise<number> => {
      let admitted = 0;
      for (let passed = 0; passed < ms; passed += 100) {
        admitted += bench.admit(8);
        await bench.pass(100);
      }
      return admitted;
    };
    await steady(2000);
    const sent = bench.replay(bench.gate.paceOfSurplus(0), 1000);
    expect(await steady(5000)).toBe(400);
    expect(sent()).toBeGreaterThanOrEqual(40);
    expect(sent()).toBeLessThanOrEqual(80);
    expect(bench.mostInAnyWindow()).toBeLessThanOrEqual(100);
  });

  test('while clients send more than the limit the replay waits, and goes on when they stop', async () => {
    const bench = new Bench();
    bench.admit(500);
    const sent = bench.replay(bench.gate.paceOfSurplus(0), 100);
    for (let i = 0; i < 30; i++) {
      bench.admit(50);
      await bench.pass(100);
    }
    expect(sent()).toBe(0);
    await bench.pass(4000);
    expect(sent()).toBe(100);
    expect(bench.mostInAnyWindow()).toBeLessThanOrEqual(100);
  });

  test('while the primary is away only its own backup is sent, at the limit, and what clients send takes no room there', async () => {
    const bench = new Bench();
    bench.streams[0]!.mode = 'backup';
    const surplus = bench.replay(bench.gate.paceOfSurplus(0), 100);
    const backup = bench.replay(bench.gate.paceOfBackup(0), 300);
    let admitted = 0;
    for (let i = 0; i < 40; i++) {
      admitted += bench.admit(9);
      await bench.pass(100);
    }
    expect([admitted === 360, surplus(), backup()]).toEqual([true, 0, 300]);
    expect(bench.mostInAnyWindow()).toBeLessThanOrEqual(100);
    bench.streams[0]!.mode = 'normal';
    await bench.pass(4000);
    expect(surplus()).toBe(100);
  });

  test('of several streams the one with the least room decides', async () => {
    const bench = new Bench(100, 2);
    bench.streams[1]!.mode = 'backup';
    bench.replay(bench.gate.paceOfBackup(1), 60);
    await bench.pass(20);
    bench.streams[1]!.mode = 'normal';
    expect(bench.gate.admit(100)).toBe(40);
  });

  test('who waits is let go with nothing when it is stopped', async () => {
    const bench = new Bench();
    bench.admit(100);
    const pace = bench.gate.paceOfSurplus(0);
    const waiting = pace.next(10);
    pace.stop();
    expect(await waiting).toBe(0);
    expect(bench.clock.timers).toBe(0);
  });

  test('clients and a replay together never pass the limit, whatever they send', async () => {
    const step = fc.record({
      afterMs: fc.integer({ min: 0, max: 300 }),
      frames: fc.integer({ min: 0, max: 80 }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 100 }),
        fc.array(step, { maxLength: 12 }),
        fc.integer({ min: 1, max: 50 }),
        async (frames, steps, pieceFrames) => {
          const bench = new Bench(frames);
          bench.replay(bench.gate.paceOfSurplus(0), 500, pieceFrames);
          for (const { afterMs, frames: offered } of steps) {
            await bench.pass(afterMs);
            if (offered > 0) bench.admit(offered);
          }
          await bench.pass(300);
          expect(bench.sent.length === 0 ? 0 : bench.mostInAnyWindow()).toBeLessThanOrEqual(frames);
        },
      ),
      { numRuns: 40 },
    );
  }, 60_000);
});
