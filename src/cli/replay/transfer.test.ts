// Sending a file: what is on its way is bounded, what is safe is noted before more goes, and after a loss it
// goes on from there.
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FakeClock, turn } from '../../../support/fakeClock.js';
import { framesOf, messagesIn } from '../../../support/frames.js';
import { newFolder } from '../../../support/newFolder.js';
import { FileWindow } from '../../frames/fileWindow.js';
import { AwayError } from '../daemonLink.js';
import { Pace } from './pace.js';
import type { Piece } from './pieces.js';
import { StopSignal } from './stopSignal.js';
import type { Target } from './target.js';
import { type Position, Transfer } from './transfer.js';

const COUNT = 100;
const MESSAGES = Array.from({ length: COUNT }, (_, i) => String(i).padStart(2, '0'));
const FRAME_BYTES = 9;

/** Takes pieces, and confirms them when the test says so. */
class FakeTarget implements Target {
  readonly name = 'fake';
  readonly advice = 'look at the test';
  readonly pieceBytes = 1e6;
  readonly pieceFrames = 5;
  readonly maxFrameBytes = 1e6;
  readonly discarded = 0;
  readonly taken: string[] = [];
  isAway = false;
  #waiting: { readonly resolve: () => void; readonly reject: (error: Error) => void }[] = [];

  get outstanding(): number {
    return this.#waiting.length;
  }

  open(): Promise<void> {
    return this.isAway ? Promise.reject(new AwayError('nobody there')) : Promise.resolve();
  }

  send({ bytes }: Piece): Promise<void> {
    if (this.isAway) return Promise.reject(new AwayError('gone'));
    this.taken.push(...messagesIn(bytes));
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  confirm(pieces = 1): void {
    for (const { resolve } of this.#waiting.splice(0, pieces)) resolve();
  }

  leave(): void {
    this.isAway = true;
    for (const { reject } of this.#waiting.splice(0)) reject(new AwayError('gone'));
  }

  outcome(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  async close(): Promise<void> {}
}

let folder: string;
let fd: number;
let target: FakeTarget;
let clock: FakeClock;
let stop: StopSignal;
let notes: Position[];
let said: string[];
let outcome: string;
let hold: (() => void) | undefined;

beforeEach(() => {
  folder = newFolder();
  writeFileSync(join(folder, 'it'), framesOf('a', MESSAGES));
  fd = openSync(join(folder, 'it'), 'r');
  target = new FakeTarget();
  clock = new FakeClock();
  stop = new StopSignal();
  notes = [];
  said = [];
  outcome = 'running';
  hold = undefined;
});

afterEach(() => {
  closeSync(fd);
});

/** @param areNotesHeld the disk is slow: notes are written when `hold` is called */
function start(areNotesHeld = false): Transfer {
  const size = COUNT * FRAME_BYTES;
  const transfer = new Transfer({
    window: new FileWindow(fd, size),
    pieces: { to: size, skips: [], choice: { buckets: undefined, maxFrameBytes: 1e6 } },
    from: { position: 0, frames: 0 },
    target,
    limits: { bytes: 1e6, frames: 20 },
    pace: new Pace(undefined, clock),
    note: async (safe) => {
      if (areNotesHeld) await new Promise<void>((resolve) => (hold = resolve));
      notes.push(safe);
    },
    onSafe: () => undefined,
    say: (text) => said.push(text),
    stop,
    timeoutMs: 10_000,
    clock,
  });
  transfer.run().then(
    () => (outcome = 'ended'),
    (error: unknown) => (outcome = (error as Error).message),
  );
  return transfer;
}

async function turns(count = 5): Promise<void> {
  for (let i = 0; i < count; i++) await turn();
}

describe('Transfer', () => {
  test('never more on its way than the limit; in the end all is there once, in order, and noted', async () => {
    const transfer = start();
    for (let i = 0; i < COUNT; i++) {
      await turns();
      expect(target.taken.length - transfer.safe.frames).toBeLessThanOrEqual(20);
      target.confirm();
    }
    await turns();
    expect(outcome).toBe('ended');
    expect(target.taken).toEqual(MESSAGES);
    expect(notes.at(-1)).toEqual({ position: COUNT * FRAME_BYTES, frames: COUNT });
    expect(notes.every(({ position, frames }) => position === frames * FRAME_BYTES)).toBe(true);
    expect(clock.timers).toBe(0);
  });

  test('what is safe and not noted yet counts as on its way: a crash would repeat it', async () => {
    start(true);
    await turns();
    target.confirm(4);
    await turns();
    expect(target.taken).toHaveLength(20);
    hold!();
    await turns();
    expect(target.taken.length).toBeGreaterThan(20);
  });

  test('the target goes away: it goes on from the last safe place, and says it once', async () => {
    const transfer = start();
    await turns();
    target.confirm(2);
    await turns();
    const safe = transfer.safe.frames;
    expect(safe).toBe(10);
    const before = target.taken.length;
    target.leave();
    for (let i = 0; i < 5; i++) {
      await turns();
      clock.advance(1000);
    }
    target.isAway = false;
    for (let i = 0; i < COUNT; i++) {
      clock.advance(1000);
      await turns();
      target.confirm(10);
    }
    await turns();
    expect(outcome).toBe('ended');
    expect(target.taken.slice(before)).toEqual(MESSAGES.slice(safe));
    expect(said).toEqual([
      'gone; tried again for up to 10 s (--timeout), nothing is lost',
      'fake: it is back, and it goes on',
    ]);
  });

  test('gives up after the timeout, away or silent, and what is safe stays noted', async () => {
    start();
    await turns();
    target.confirm();
    for (let i = 0; i < 30; i++) {
      await turns();
      clock.advance(500);
    }
    await turns();
    expect(outcome).toBe('fake: frames were sent and not confirmed for 10 s (--timeout); look at the test');
    expect(notes.at(-1)).toEqual({ position: 5 * FRAME_BYTES, frames: 5 });
  });

  test('told to stop: what is on its way is waited for and noted, nothing more is sent', async () => {
    start();
    await turns();
    const before = target.taken.length;
    stop.stop();
    await turns();
    expect(outcome).toBe('running');
    target.confirm(10);
    await turns();
    expect(outcome).toBe('ended');
    expect(target.taken).toHaveLength(before);
    expect(notes.at(-1)?.frames).toBe(before);
  });

  test('told to stop while nobody confirms: it waits a moment, no longer', async () => {
    start();
    await turns();
    stop.stop();
    await turns();
    clock.advance(3000);
    await turns();
    expect(outcome).toBe('ended');
    expect(notes).toEqual([]);
  });
});
