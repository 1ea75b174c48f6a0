// A limiter on the runs of a bucket: which frames pass, where the others go, and what is said of them.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FakeRejected } from '../../../support/fakeRejected.js';
import { Bench as CommonBench } from '../../../support/bench.js';
import { turn } from '../../../support/fakeClock.js';
import { messagesIn } from '../../../support/frames.js';
import { runOf } from '../../../support/runs.js';
import { newAccount } from '../../streams/account.js';
import { Excess } from './excess.js';
import { LimitReport } from './limitReport.js';
import { Limiter } from './limiter.js';
import { RateWindow } from './rateWindow.js';

const ZERO = newAccount();
const CONNECTION = 7;

class Bench extends CommonBench {
  readonly passed: string[] = [];
  readonly rejected: string[] = [];
  readonly reasons = new Set<string>();
  /** Frames that its connection hears of as rejected. */
  rejectedOfConnection = 0;
  readonly accounts = [newAccount(), newAccount()];
  readonly counts = { reject: 0 };
  readonly limiter: Limiter;

  constructor(frames: number, perMs = 1000) {
    super({ level: 'INFO' });
    const limit = { frames, perMs, over: 'reject' as const };
    const rejected = new FakeRejected(({ bytes, start, end, frames: count, bucket, reason, from }) => {
      const messages = messagesIn(bytes, start, end);
      expect([messages.length, bucket]).toEqual([count, 'orders']);
      this.rejected.push(...messages);
      this.reasons.add(reason);
      this.rejectedOfConnection += from?.get(CONNECTION) ?? 0;
    });
    this.limiter = new Limiter({
      frames,
      window: new RateWindow(perMs),
      excess: new Excess(limit, 'orders', this.accounts, rejected),
      report: new LimitReport(limit, this.counts, this.log, this.clock),
      clock: this.clock,
    });
  }

  run(messages: readonly string[]): void {
    const run = runOf(this, 'orders', messages, CONNECTION);
    const within = this.limiter.admit(run);
    const passed = messagesIn(run.chunk, run.start, within.end);
    expect(passed).toHaveLength(within.frames);
    this.passed.push(...passed);
  }
}

function named(from: number, count: number): string[] {
  return Array.from(
    { length: count },
    (_, index) => `message ${from + index} ${'x'.repeat((from + index) % 7)}`,
  );
}

describe('Limiter', () => {
  test('cuts the run that crosses the limit; the rest is rejected for every stream, with the limit', async () => {
    const bench = new Bench(5);
    bench.run(named(0, 3));
    bench.run(named(3, 4));
    bench.run(named(7, 2));
    expect(bench.passed).toEqual(named(0, 5));
    expect(bench.rejected).toEqual(named(5, 4));
    expect(bench.rejectedOfConnection).toBe(4);
    expect([...bench.reasons]).toEqual(['over the rate limit of the bucket: 5 frames in 1000 ms']);
    for (const account of bench.accounts) expect(account).toEqual({ ...ZERO, received: 4, queued: 4 });
    await turn();
    for (const account of bench.accounts) expect(account).toEqual({ ...ZERO, received: 4, rejected: 4 });
    expect(bench.counts).toEqual({ reject: 4 });
  });

  test('whatever the runs: the first of them pass, all others are rejected, and none is in both', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 60 }),
        fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 20 }),
        (frames, sizes) => {
          const bench = new Bench(frames);
          const total = sizes.reduce((from, size) => (bench.run(named(from, size)), from + size), 0);
          expect(bench.passed).toEqual(named(0, Math.min(frames, total)));
          expect(bench.rejected).toEqual(named(frames, Math.max(0, total - frames)));
        },
      ),
    );
  });

  test('the log has one line at once, and then one for all that came in ten seconds, none for none', () => {
    const bench = new Bench(1);
    for (let i = 0; i < 50; i++) bench.run(named(i, 1));
    expect(bench.lines).toHaveLength(1);
    expect(bench.lines[0]).toContain('WARN | ');
    expect(bench.lines[0]).toContain(
      'rate limit: 1 frame over 1 frame in 1000 ms since 2023-11-14T22:13:20.000Z, 1 in all: they are kept in REJECTED; send less, or raise rateLimit.frames',
    );
    bench.clock.advance(9_999);
    expect(bench.lines).toHaveLength(1);
    bench.clock.advance(1);
    expect(bench.lines[1]).toContain(
      'rate limit: 48 frames over 1 frame in 1000 ms since 2023-11-14T22:13:20.000Z, 49 in all',
    );
    bench.clock.advance(60_000);
    expect(bench.lines).toHaveLength(2);
    expect(bench.clock.timers).toBe(0);
  });

  test('a longer window is told once in its time, and the end tells the rest', () => {
    const bench = new Bench(1, 60_000);
    bench.run(named(0, 2));
    for (let i = 0; i < 5; i++) {
      bench.clock.advance(10_000);
      bench.run(named(2 + i, 1));
    }
    expect(bench.lines).toHaveLength(1);
    bench.limiter.close();
    expect(bench.lines).toHaveLength(2);
    expect(bench.lines[1]).toContain('rate limit: 5 frames over');
    expect(bench.clock.timers).toBe(0);
  });
});
