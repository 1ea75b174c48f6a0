// When reading pauses between two rounds, for how long, and when not.
import { beforeEach, describe, expect, test } from 'vitest';
import { ReadPacer } from './readPacer.js';

const FRAME_BYTES = 120;
let nowMs = 0;
let pauses: number[] = [];
let isAwaited = false;
let pacer: ReadPacer;
let endRound: (() => void) | undefined;

beforeEach(() => {
  nowMs = 1000;
  pauses = [];
  isAwaited = false;
  endRound = undefined;
  const pause = (ms: number): void => {
    pauses.push(ms);
    nowMs += ms;
  };
  pacer = new ReadPacer(() => isAwaited, {
    now: () => nowMs,
    afterRound: (run) => {
      expect(endRound, 'asked for twice in a round').toBeUndefined();
      endRound = run;
    },
    pause,
  });
});

/**
 * A round of reading that begins so long after the one before, and finds these frames on as many connections.
 * @returns the pause after it
 */
function round(afterMs: number, ...frames: number[]): number {
  nowMs += afterMs;
  for (const count of frames) pacer.read(count, count * FRAME_BYTES);
  return endOfRound();
}

function endOfRound(): number {
  const before = pauses.length;
  const run = endRound!;
  endRound = undefined;
  run();
  return pauses.slice(before).reduce((sum, ms) => sum + ms, 0);
}

describe('ReadPacer', () => {
  test('frames that come one by one, thick, are waited for together; the first one is not', () => {
    expect(round(0, 1)).toBe(0);
    expect(round(0.1, 1)).toBe(1);
    expect(round(0.1, 5, 4, 6)).toBe(1);
  });

  test('who writes now and then is read at once, every time', () => {
    for (const afterMs of [50, 1, 0.4, 7, 0.3]) expect(round(afterMs, 1)).toBe(0);
  });

  test('while clients connect there is none, for each round takes one of them', () => {
    round(0, 1);
    for (let i = 0; i < 5; i++) {
      pacer.accepted();
      expect(round(0.05, 8)).toBe(0);
    }
    expect(round(0.05, 8)).toBe(1);
  });

  test('when it gets quiet the pauses end', () => {
    round(0, 1);
    for (let i = 0; i < 10; i++) expect(round(0.05, 8)).toBe(1);
    expect(round(0.05, 2)).toBe(0);
    expect(round(0.5, 1)).toBe(0);
  });

  test('where one connection has many frames the pauses get shorter and stop; they come back', () => {
    round(0, 1);
    const shrinking = Array.from({ length: 6 }, () => round(0.05, 3, 200));
    expect(shrinking).toEqual([0.5, 0.25, 0.125, 0, 0, 0]);
    const growing = Array.from({ length: 20 }, () => round(0.05, 3, 15));
    expect(growing).toEqual(growing.toSorted((a, b) => a - b));
    expect(growing.at(-1)).toBe(1);
  });

  test('a few large frames are many too, and so are bytes of one that is not whole', () => {
    round(0, 1);
    const large = (frames: number, bytes: number): number => {
      nowMs += 0.05;
      pacer.read(15, 1800);
      pacer.read(frames, bytes);
      return endOfRound();
    };
    expect([large(7, 16_384), large(0, 65_536), large(7, 16_384), large(7, 16_384)]).toEqual([
      0.5, 0.25, 0.125, 0,
    ]);
  });

  test('while a client waits for a receipt that may come soon there is none', () => {
    round(0, 1);
    pacer.asked();
    isAwaited = true;
    expect(round(0.05, 9)).toBe(0);
    isAwaited = false;
    expect(round(0.05, 9)).toBe(1);
  });

  test('a receipt that waits for its batch does not hold the pauses back; a new question does', () => {
    round(0, 1);
    pacer.asked();
    isAwaited = true;
    for (let ms = 0; ms < 19.9; ms += 0.1) expect(round(0.1, 9)).toBe(0);
    nowMs += 0.1;
    expect(round(0.1, 9)).toBe(1);
    pacer.asked();
    expect(round(0.05, 9)).toBe(0);
  });

  test('bytes without a whole frame ask for no pause', () => {
    round(0, 1);
    for (let i = 0; i < 5; i++) {
      nowMs += 0.01;
      pacer.read(0, 500);
      expect(endOfRound()).toBe(0);
    }
  });
});
