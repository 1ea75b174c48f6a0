// One who looks at frames as they pass: what he reads, and that he costs nothing when he doesn't.
import { Writable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { frame } from '../../../support/daemonFrames.js';
import { FakeClock } from '../../../support/fakeClock.js';
import { batchOf } from '../../../support/frames.js';
import type { Batch } from '../../frames/batch.js';
import { MemoryBudget } from '../../memory/memoryBudget.js';
import { Tail, type FrameLine, type TailLine } from './tail.js';

/** A reader that takes what is written only when it is told to. */
class Reader extends Writable {
  text = '';
  readonly #waiting: (() => void)[] = [];
  isReading = true;

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    if (this.isReading) done();
    else this.#waiting.push(done);
  }

  read(): void {
    this.isReading = true;
    for (const done of this.#waiting.splice(0)) done();
  }

  get lines(): TailLine[] {
    return this.text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as TailLine);
  }

  get frames(): FrameLine[] {
    return this.lines.filter((line) => line.kind === 'frame');
  }

  get unseen(): number {
    return this.lines.reduce((sum, line) => (line.kind === 'unseen' ? sum + line.frames : sum), 0);
  }
}

function arrived(...frames: readonly { readonly bytes: Buffer; readonly atMs?: number }[]): Batch {
  return batchOf(
    'b',
    frames.map(({ bytes }) => bytes),
    new MemoryBudget(1e9),
    (index) => frames[index]!.atMs ?? 0,
  );
}

function numbered(count: number, bytes = 10): Batch {
  return arrived(
    ...Array.from({ length: count }, (_, number) => ({
      bytes: frame('b', String(number).padEnd(bytes, '.')),
    })),
  );
}

function setUp(rate = 1000): { clock: FakeClock; reader: Reader; tail: Tail } {
  const [clock, reader] = [new FakeClock(), new Reader()];
  return { clock, reader, tail: new Tail(reader, { rate, key: undefined }, clock) };
}

describe('Tail', () => {
  test('each frame is a line: its time, key and message; what is no text is base64', () => {
    const { clock, reader, tail } = setUp();
    tail.look(
      arrived(
        { bytes: frame('b', 'hello\n\u001b[2J', 'k'), atMs: 1_000 },
        { bytes: frame('b', Buffer.of(0xff, 0), Buffer.of(0xfe)), atMs: 2_000 },
        { bytes: frame('b', ''), atMs: 2_000 },
      ),
    );
    expect(reader.text).toBe('');
    clock.advance(100);
    expect(reader.lines).toEqual([
      {
        kind: 'frame',
        time: '1970-01-01T00:00:01.000Z',
        bucket: 'b',
        key: 'k',
        size: 10,
        message: 'hello\n\u001b[2J',
      },
      {
        kind: 'frame',
        time: '1970-01-01T00:00:02.000Z',
        bucket: 'b',
        key: '/g==',
        size: 2,
        message: '/wA=',
        base64: ['key', 'message'],
      },
      { kind: 'frame', time: '1970-01-01T00:00:02.000Z', bucket: 'b', key: null, size: 0, message: '' },
    ]);
  });

  test('a message over 64 KB is cut where a character ends, and its size is told', () => {
    const { clock, reader, tail } = setUp();
    tail.look(
      arrived(
        { bytes: frame('b', 'é'.repeat(40_000).replace('é', 'x')) },
        { bytes: frame('b', 'y'.repeat(64 * 1024)) },
      ),
    );
    clock.advance(100);
    const [cut, whole] = reader.frames;
    expect(cut).toMatchObject({ size: 79_999, isCut: true, message: `x${'é'.repeat(32_767)}` });
    expect(cut!.base64).toBeUndefined();
    expect(whole).toEqual({
      kind: 'frame',
      time: expect.any(String) as string,
      bucket: 'b',
      key: null,
      size: 65_536,
      message: 'y'.repeat(65_536),
    });
  });

  test('what was not chosen is counted, and told once a second', () => {
    const { clock, reader, tail } = setUp(2);
    for (let tenth = 0; tenth < 25; tenth++) {
      tail.look(numbered(10));
      clock.advance(100);
    }
    expect(reader.lines.flatMap((line) => (line.kind === 'unseen' ? [line.frames] : []))).toEqual([97, 98]);
    tail.end();
    expect(reader.frames.length + reader.unseen).toBe(250);
  });

  test('who does not read makes nothing pile up; when he reads again, what he missed is counted', () => {
    const { clock, reader, tail } = setUp(1000);
    reader.isReading = false;
    let passed = 0;
    for (let tenth = 0; tenth < 60; tenth++) {
      tail.look(numbered(100, 20_000));
      passed += 100;
      clock.advance(100);
    }
    expect(reader.writableLength).toBeLessThan(1024 ** 2);
    reader.read();
    clock.advance(1_000);
    expect(reader.frames.length + reader.unseen).toBe(passed);
    expect(reader.unseen).toBeGreaterThan(passed - 100);
    tail.look(numbered(3));
    clock.advance(100);
    expect(reader.frames.slice(-3).map(({ message }) => message![0])).toEqual(['0', '1', '2']);
  });

  test('at the end what has come is written, with the count, and no timer is left', () => {
    const { clock, reader, tail } = setUp(1);
    tail.look(numbered(3));
    tail.end();
    expect([reader.frames.length, reader.unseen, reader.writableEnded, clock.timers]).toEqual([
      1,
      2,
      true,
      0,
    ]);
  });
});
