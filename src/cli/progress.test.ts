// How far it is: a line drawn anew on a terminal, a plain line now and then elsewhere.
import { describe, expect, test } from 'vitest';
import { FakeIo } from '../../support/cliIo.js';
import { FakeClock } from '../../support/fakeClock.js';
import { Progress } from './progress.js';

function progress(
  isTerminal: boolean,
  totalBytes = 1000,
): { io: FakeIo; clock: FakeClock; progress: Progress } {
  const [io, clock] = [new FakeIo({ cwd: '/', isTerminal }), new FakeClock()];
  return { io, clock, progress: new Progress({ io, clock, totalBytes }) };
}

describe('Progress', () => {
  test('on a terminal: percent, frames, rate, time left; lines stand above it; it goes at the end', () => {
    const { io, clock, progress: it } = progress(true);
    clock.advance(10_000);
    it.advance(250, 5000);
    expect(io.outText).toBe('\r[#####               ] 25%, 5,000 frames, 500/s, 30s left\u001b[K');
    clock.advance(50);
    it.advance(1, 1);
    expect(io.outText.match(/\r/g)).toHaveLength(1);
    it.say('something happened');
    expect(io.outText.endsWith('\r\u001b[K')).toBe(true);
    expect(io.errText).toBe('something happened\n');
    it.end();
    it.tell('done');
    expect(io.outText.endsWith('\r\u001b[Kdone\n')).toBe(true);
  });

  test('never wider than the terminal', () => {
    const { io, clock, progress: it } = progress(true);
    clock.advance(100_000_000);
    it.advance(1, 123_456_789_012);
    for (const line of io.outText.split(/\r/)) expect(line.replace('\u001b[K', '').length).toBeLessThan(80);
  });

  test('elsewhere: a plain line every few seconds', () => {
    const { io, clock, progress: it } = progress(false);
    for (let i = 0; i < 100; i++) {
      clock.advance(100);
      it.advance(10, 10);
    }
    expect(io.outText).toBe('50%, 500 frames, 100/s, 5s left\n100%, 1,000 frames, 100/s, 0s left\n');
  });

  test('of a stream without an end there is no percentage', () => {
    const { io, clock, progress: it } = progress(true, 0);
    clock.advance(1000);
    it.advance(10, 42);
    expect(io.outText).toBe('\r42 frames, 42/s\u001b[K');
  });
});
