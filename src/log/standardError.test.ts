import { describe, expect, test } from 'vitest';
import { StandardError } from './standardError.js';

/** A pipe with so much room, its reader, and time that passes while one sleeps. */
class Pipe {
  read = '';
  room = Infinity;
  error: string | undefined;
  nowMs = 0;
  slept = 0;
  onSleep: () => void = () => undefined;
  readonly lost: number[] = [];
  readonly stderr = new StandardError({
    write: (bytes) => this.#write(bytes),
    now: () => this.nowMs,
    sleep: (ms) => {
      this.nowMs += ms;
      this.slept++;
      this.onSleep();
    },
    onLost: (lines) => {
      this.lost.push(lines);
      this.stderr.sink(`lost ${lines}\n`);
    },
  });

  #write(bytes: Buffer): number {
    if (this.error !== undefined && this.room === 0)
      throw Object.assign(new Error(this.error), { code: this.error });
    if (this.room === 0) throw Object.assign(new Error('EAGAIN'), { code: 'EAGAIN' });
    const taken = bytes.subarray(0, this.room);
    this.room -= taken.length;
    this.read += taken.toString();
    return taken.length;
  }

  say(...lines: readonly string[]): void {
    for (const line of lines) this.stderr.sink(`${line}\n`);
  }
}

describe('StandardError', () => {
  test('a line is written before the call returns', () => {
    const pipe = new Pipe();
    pipe.say('one');
    expect(pipe.read).toBe('one\n');
  });

  test('a full pipe gets what it missed, whole and in order, with the next line', () => {
    const pipe = new Pipe();
    pipe.room = 6;
    pipe.say('one', 'two', 'three');
    expect(pipe.read).toBe('one\ntw');
    pipe.room = Infinity;
    pipe.say('four');
    expect(pipe.read).toBe('one\ntwo\nthree\nfour\n');
    expect(pipe.lost).toEqual([]);
  });

  test('a full pipe gets it also without a next line', async () => {
    const pipe = new Pipe();
    pipe.room = 2;
    pipe.say('one', 'two');
    pipe.room = Infinity;
    await expect.poll(() => pipe.read).toBe('one\ntwo\n');
  });

  test('a reader that stands still: a megabyte waits, more is counted, and reported once there is room', () => {
    const pipe = new Pipe();
    pipe.room = 0;
    const line = 'x'.repeat(1023);
    for (let i = 0; i < 1500; i++) pipe.say(line);
    pipe.room = Infinity;
    pipe.say('next');
    expect(pipe.lost).toEqual([1500 - 1024]);
    expect(pipe.read).toBe(`${`${line}\n`.repeat(1024)}lost 476\nnext\n`);
  });

  test.each(['EPIPE', 'EIO', 'EBADF'])(
    '%s: nothing is thrown, nothing is kept; whoever reads later gets whole lines',
    (code) => {
      const pipe = new Pipe();
      pipe.room = 6;
      pipe.error = code;
      pipe.say('one', 'two', 'three');
      pipe.room = Infinity;
      pipe.say('four');
      expect(pipe.read).toBe('one\ntwfour\nlost 2\n');
    },
  );

  test('a full disk: the line that was begun is ended later, what came meanwhile is counted', () => {
    const pipe = new Pipe();
    pipe.room = 6;
    pipe.error = 'ENOSPC';
    pipe.say('one', 'two', 'three', 'four');
    pipe.room = Infinity;
    pipe.say('five');
    expect(pipe.read).toBe('one\ntwo\nfive\nlost 2\n');
  });

  test('a full disk that takes nothing of a line: it is counted, too', () => {
    const pipe = new Pipe();
    pipe.room = 4;
    pipe.error = 'ENOSPC';
    pipe.say('one', 'two', 'three');
    pipe.room = Infinity;
    pipe.say('four');
    expect(pipe.read).toBe('one\nfour\nlost 2\n');
  });

  test('at the end a slow reader has a second', () => {
    const pipe = new Pipe();
    pipe.room = 0;
    pipe.say('one', 'two');
    pipe.onSleep = () => (pipe.room = pipe.slept < 30 ? 0 : 5);
    pipe.stderr.close();
    expect(pipe.read).toBe('one\ntwo\n');
    expect(pipe.nowMs).toBeLessThan(1000);
  });

  test.each([
    ['EAGAIN', 1000],
    ['EPIPE', 0],
  ])('at the end one that never reads (%s) is not waited for', (code, ms) => {
    const pipe = new Pipe();
    pipe.room = 2;
    pipe.error = code;
    pipe.say('one', 'two');
    pipe.stderr.close();
    expect(pipe.nowMs).toBe(ms);
  });
});
