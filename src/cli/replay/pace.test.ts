import { describe, expect, test } from 'vitest';
import { FakeClock, turn } from '../../../support/fakeClock.js';
import { Pace } from './pace.js';
import { StopSignal } from './stopSignal.js';

/** Sends pieces as fast as the pace lets it; returns how many frames went so far. */
function sender(
  pace: Pace,
  pieceFrames: number,
  stop = new StopSignal(),
): { frames: number; isDone: boolean } {
  const sent = { frames: 0, isDone: false };
  void (async () => {
    while (!stop.hasStopped()) {
      await pace.wait(pieceFrames, stop);
      if (!stop.hasStopped()) sent.frames += pieceFrames;
    }
    sent.isDone = true;
  })();
  return sent;
}

async function pass(clock: FakeClock, ms: number, stepMs: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += stepMs) {
    await turn();
    clock.advance(stepMs);
    await turn();
  }
}

describe('Pace', () => {
  test('lets so many frames go in a second, evenly', async () => {
    const clock = new FakeClock();
    const pace = new Pace(2000, clock);
    expect(pace.pieceFrames).toBe(200);
    const sent = sender(pace, 200);
    for (let second = 1; second <= 10; second++) {
      for (let tenth = 1; tenth <= 10; tenth++) {
        await pass(clock, 100, 10);
        expect(Math.abs(sent.frames - ((second - 1) * 2000 + tenth * 200))).toBeLessThanOrEqual(200);
      }
    }
  });

  test('what was not sent in its time is not made up for', async () => {
    const clock = new FakeClock();
    const pace = new Pace(100, clock);
    const stop = new StopSignal();
    await pace.wait(10, stop);
    clock.advance(60_000);
    const sent = sender(pace, 10, stop);
    await pass(clock, 1000, 10);
    expect(sent.frames).toBeLessThanOrEqual(120);
    expect(sent.frames).toBeGreaterThanOrEqual(90);
  });

  test("a clock that was set back costs one piece's time at most", async () => {
    let shift = 0;
    const clock = new FakeClock();
    const shifted = {
      now: () => clock.now() + shift,
      after: clock.after.bind(clock),
      every: clock.every.bind(clock),
    };
    const sent = sender(new Pace(100, shifted), 10);
    await pass(clock, 1000, 10);
    const before = sent.frames;
    shift = -3_600_000;
    await pass(clock, 1000, 10);
    expect(sent.frames - before).toBeGreaterThanOrEqual(80);
  });

  test('stopping wakes who waits; without a rate nobody waits', async () => {
    const clock = new FakeClock();
    const stop = new StopSignal();
    const sent = sender(new Pace(0.001, clock), 1, stop);
    await turn();
    expect(sent).toEqual({ frames: 1, isDone: false });
    stop.stop();
    await turn();
    expect(sent).toEqual({ frames: 1, isDone: true });
    expect(clock.timers).toBe(0);
    const free = new Pace(undefined, clock);
    for (let i = 0; i < 1000; i++) await free.wait(1_000_000, new StopSignal());
    expect(free.pieceFrames).toBe(Infinity);
  });
});
