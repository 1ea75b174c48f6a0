import { describe, expect, test } from 'vitest';
import { FakeClock } from '../../support/fakeClock.js';
import { Log, type LogEntry } from './log.js';
import { Floods } from './floods.js';

class Bench {
  readonly clock = new FakeClock();
  readonly entries: LogEntry[] = [];
  readonly floods = new Floods({ write: (entry) => this.entries.push(entry) }, this.clock);
  readonly log = new Log('TRACE', this.floods, '', () => this.clock.now());

  get texts(): string[] {
    return this.entries.map(({ level, path, text }) => `${level} ${path} ${text}`);
  }

  get folded(): number[] {
    return this.entries.flatMap(({ folded }) => folded ?? []);
  }

  /** Lines that were said, and those that a count stands for. */
  get told(): number {
    return this.entries.reduce((sum, { folded }) => sum + (folded ?? 1), 0);
  }
}

describe('Floods', () => {
  test('ten of a kind are said, the rest becomes one line at the end of the window', () => {
    const { clock, log, ...bench } = new Bench();
    for (let i = 1; i <= 12; i++) log.at(`/socket/client.${i}`).warn(`connection closed after ${i} frames`);
    expect(bench.entries.map(({ path }) => path)).toEqual(
      Array.from({ length: 10 }, (_, i) => `/socket/client.${i + 1}`),
    );
    clock.advance(9_999);
    expect(bench.entries).toHaveLength(10);
    clock.advance(1);
    expect(bench.entries.slice(10)).toEqual([
      {
        level: 'WARN',
        timeMs: clock.now(),
        path: '/socket/client.*',
        text: '… and 2 more like this in the last 10 s: connection closed after 12 frames',
        isUnfolded: false,
        folded: 2,
      },
    ]);
  });

  test('a count has the fields of the line that it quotes', () => {
    const bench = new Bench();
    for (let i = 1; i <= 12; i++) bench.log.warn(`rejected: ${i} frames`, { frames: i });
    bench.floods.flush();
    expect(bench.entries.at(-1)).toMatchObject({ folded: 2, fields: { frames: 12 } });
  });

  test('after the window all begins anew', () => {
    const bench = new Bench();
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 25; i++) bench.log.warn(`no ${i}`);
      bench.clock.advance(10_000);
    }
    expect(bench.folded).toEqual([15, 15, 15]);
    expect(bench.entries).toHaveLength(33);
  });

  test('what was not too much leaves no line, and no timer', () => {
    const bench = new Bench();
    for (let i = 0; i < 10; i++) bench.log.warn('x');
    bench.clock.advance(10_000);
    expect(bench.entries).toHaveLength(10);
    expect(bench.clock.timers).toBe(0);
  });

  test.each([
    ['numbers', (i: number) => `got ${i} of 2${i}.5 in ${i}ms`],
    ['hex', (i: number) => `it starts with ${(i * 0x1f3d5b79).toString(16)}ab`],
    ['hex of letters', (i: number) => `it starts with ${'abcdef'.repeat(3).slice(i % 5, 12 + (i % 5))}`],
    ['paths', (i: number) => `/var/x${'y'.repeat(i)}/z can't be read`],
    ['times', (i: number) => `since 2024-01-01T00:00:${10 + i}.000Z`],
  ])('lines that differ in %s are alike', (_what, text) => {
    const bench = new Bench();
    for (let i = 0; i < 40; i++) bench.log.warn(text(i));
    bench.floods.flush();
    expect(bench.folded).toEqual([30]);
  });

  test('another level, path or text is another kind', () => {
    const bench = new Bench();
    for (let i = 0; i < 10; i++) bench.log.warn('x');
    bench.log.error('x');
    bench.log.at('/spool').warn('x');
    bench.log.warn('y');
    expect(bench.entries).toHaveLength(13);
  });

  test('each of 30 buckets says what befalls it; a thousand are too many', () => {
    const bench = new Bench();
    const say = (i: number): void =>
      bench.log.at(`/bucket.b${i}/stream.kafka`).error(`delivery stopped: ${i} frames queued`);
    for (let i = 0; i < 30; i++) say(i);
    expect(bench.entries.map(({ path }) => path)).toEqual(
      Array.from({ length: 30 }, (_, i) => `/bucket.b${i}/stream.kafka`),
    );
    for (let i = 30; i < 1000; i++) say(i);
    bench.floods.flush();
    expect(bench.folded).toEqual([900]);
    expect(bench.entries.at(-1)).toMatchObject({ path: '/bucket.*/stream.kafka', level: 'ERROR' });
  });

  test('one bucket that floods does not silence another', () => {
    const bench = new Bench();
    for (let i = 0; i < 1000; i++) bench.log.at('/bucket.a').warn('x');
    bench.log.at('/bucket.b').warn('x');
    expect(bench.texts.at(-1)).toBe('WARN /bucket.b x');
    bench.floods.flush();
    expect(bench.entries.at(-1)).toMatchObject({ path: '/bucket.a', folded: 990 });
  });

  test('names in quotes are told apart as buckets are, quotes within them too', () => {
    const bench = new Bench();
    for (let i = 0; i < 1000; i++)
      bench.log.error(`discarded: bucket ${JSON.stringify(`"\\${'n'.repeat(i % 300)}`)}: 1 frame`);
    bench.floods.flush();
    expect(bench.entries).toHaveLength(101);
    expect(bench.told).toBe(1000);
  });

  test('DEBUG and TRACE, and what must be there, are never folded', () => {
    const bench = new Bench();
    for (let i = 0; i < 50; i++) {
      bench.log.debug('x');
      bench.log.trace('x');
      bench.log.unfolded.info('x');
    }
    expect(bench.entries).toHaveLength(150);
  });

  test('a new kind of ERROR is logged at once, also in a flood of new kinds, and memory stays small', () => {
    const bench = new Bench();
    const word = (i: number): string =>
      i.toString(36).replaceAll(/./g, (digit) => String.fromCharCode(0x3b1 + Number.parseInt(digit, 36)));
    for (let i = 0; i < 20_000; i++) bench.log.warn(`kind ${word(i)}`);
    expect(bench.entries).toHaveLength(510);
    expect(bench.clock.timers).toBe(501);
    for (let i = 0; i < 20; i++) bench.log.error(`something new: ${word(i)}`);
    bench.log.fatal('something else');
    expect(bench.texts.slice(510)).toEqual([
      ...Array.from({ length: 20 }, (_, i) => `ERROR  something new: ${word(i)}`),
      'FATAL  something else',
    ]);
    bench.clock.advance(10_000);
    expect(bench.texts.at(-1)).toBe(
      `WARN  … and 19490 more of many kinds in the last 10 s: kind ${word(19_999)}`,
    );
    expect(bench.clock.timers).toBe(0);
  });

  test('flush says what is kept back, once, and how long it was', () => {
    const bench = new Bench();
    for (let i = 0; i < 11; i++) bench.log.warn('x');
    bench.clock.advance(3_000);
    bench.floods.flush();
    expect(bench.texts.at(-1)).toBe('WARN  … and 1 more like this in the last 3 s: x');
    bench.floods.flush();
    bench.clock.advance(60_000);
    expect(bench.entries).toHaveLength(11);
    expect(bench.clock.timers).toBe(0);
  });
});
