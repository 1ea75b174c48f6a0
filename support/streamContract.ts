// What every stream keeps, as tests to be run against each: `streamContract('FileStream', { make })` in the
// stream's own test file. They look at what was delivered, not at what the stream says of it.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Batch } from '../src/frames/batch.js';
import { encodeFrame } from '../src/frames/frame.js';
import { MemoryBudget } from '../src/memory/memoryBudget.js';
import { DeliveryError } from '../src/streams/stream.js';
import type { Settled, Stream } from '../src/streams/stream.js';
import { batchOf as newBatch, framesIn } from './frames.js';

/** A stream with its destination, made anew for each test. */
export interface StreamUnderTest {
  /** Not yet opened, with one partition, or order could not be asserted. */
  readonly stream: Stream;
  /** The bucket the stream was made for. */
  readonly bucket: string;
  /** All frames delivered so far, in order, each as `encodeFrame` gives it. */
  read(): Promise<Buffer[]>;
  /** From now on every write fails, until `heal`. The stream is told nothing. */
  breakIt(): Promise<void> | void;
  heal(): Promise<void> | void;
  cleanup(): Promise<void>;
}

export interface ContractOptions {
  /** The greatest message the destination surely takes. */
  readonly bigMessageBytes?: number;
  /** Longest time of a test, for a destination that is slow to fail. */
  readonly timeoutMs?: number;
  /** Longest time `close` may take with its deadline of 500 ms. */
  readonly closeMs?: number;
}

const DEADLINE_MS = 60_000;

export function streamContract(
  name: string,
  { make }: { readonly make: () => Promise<StreamUnderTest> },
  options: ContractOptions = {},
): void {
  const { bigMessageBytes = 600_000, timeoutMs = 30_000, closeMs = 5000 } = options;

  describe(`${name}: the contract of a stream`, { timeout: timeoutMs }, () => {
    let it_: StreamUnderTest;
    let budget: MemoryBudget;

    beforeEach(async () => {
      budget = new MemoryBudget(64 * 1024 * 1024);
      it_ = await make();
      await it_.stream.open();
    });

    afterEach(async () => {
      await it_.heal();
      await it_.stream.close({ deadlineMs: DEADLINE_MS });
      await it_.cleanup();
    });

    /** A batch of these messages; one with a `|` has what stands before it as its key. */
    function batchOf(...messages: string[]): Batch {
      return newBatch(it_.bucket, framesOf(messages), budget, Date.now());
    }

    function framesOf(messages: readonly string[]): Buffer[] {
      return messages.map((text) => {
        const [message = '', key] = text.split('|').reverse();
        return encodeFrame(it_.bucket, key ?? null, message);
      });
    }

    /** Writes and lets go, as an actor does: the batch may be used again as soon as the write has settled. */
    async function write(batch: Batch): Promise<Outcome> {
      try {
        return { settled: await it_.stream.write(batch), undelivered: [], error: undefined };
      } catch (error) {
        if (!(error instanceof DeliveryError)) throw error;
        const undelivered = framesIn(error.undelivered.view()).map(text);
        expect(undelivered).toHaveLength(error.undelivered.frames);
        expect(error.settled.delivered + error.settled.rejected + undelivered.length).toBe(batch.frames);
        error.undelivered.release();
        return { settled: error.settled, undelivered, error };
      } finally {
        batch.release();
      }
    }

    async function delivered(): Promise<string[]> {
      return (await it_.read()).map(text);
    }

    it('delivers every frame as it is, in order', async () => {
      const messages = ['first', 'k1|with a key', '', 'k2|', 'bytes \u0000\u0001\n é', 'last'];
      expect((await write(batchOf(...messages))).settled).toEqual({ delivered: 6, rejected: 0 });
      expect(await delivered()).toEqual(framesOf(messages).map(text));
    });

    it('delivers a big frame between small ones', async () => {
      const messages = [
        'small',
        Array.from({ length: bigMessageBytes }, (_, i) => String.fromCharCode(97 + ((i * 7919) % 26))).join(
          '',
        ),
        'small too',
      ];
      expect((await write(batchOf(...messages))).settled.delivered).toBe(3);
      expect(await delivered()).toEqual(framesOf(messages).map(text));
    });

    it('delivers an empty batch at once', async () => {
      expect((await write(batchOf())).settled).toEqual({ delivered: 0, rejected: 0 });
      expect(await delivered()).toEqual([]);
      expect(budget.heldBytes).toBe(0);
    });

    it('settles overlapping writes in the order of the calls', async () => {
      const groups = numbered(50, 20);
      const ended: number[] = [];
      const outcomes = await Promise.all(
        groups.map(async (group, i) => {
          const outcome = await write(batchOf(...group));
          ended.push(i);
          return outcome;
        }),
      );
      expect(ended).toEqual(groups.map((_, i) => i));
      expect(outcomes.every(({ settled }) => settled.delivered === 20)).toBe(true);
      expect(await delivered()).toEqual(framesOf(groups.flat()).map(text));
      expect(budget.heldBytes).toBe(0);
    });

    it('hands back every undelivered frame, in order, and fails what follows until a probe', async () => {
      const before = ['before 1', 'before 2'];
      await write(batchOf(...before));
      await it_.breakIt();
      const groups = numbered(5, 10);
      const ended: number[] = [];
      const outcomes = await Promise.all(
        groups.map(async (group, i) => {
          const outcome = await write(batchOf(...group));
          ended.push(i);
          return outcome;
        }),
      );
      expect(outcomes.map(({ error }) => error?.code)).not.toContain(undefined);
      expect(ended).toEqual([0, 1, 2, 3, 4]);
      expectNothingLost(framesOf([...before, ...groups.flat()]), await delivered(), outcomes);

      await it_.heal();
      // Healed, but not probed: this one must not overtake those handed back.
      const early = await write(batchOf('too early'));
      expect(early.undelivered).toEqual(framesOf(['too early']).map(text));
      expect(await delivered()).not.toContain(text(framesOf(['too early'])[0]!));
      expect(budget.heldBytes).toBe(0);
    });

    it('goes on after a probe, with nothing lost and the order kept', async () => {
      await it_.breakIt();
      const groups = numbered(3, 10);
      const failures = await Promise.all(groups.map((group) => write(batchOf(...group))));
      expect(failures.every(({ error }) => error !== undefined)).toBe(true);
      await expect(it_.stream.probe()).rejects.toThrow(Error);

      await it_.heal();
      await it_.stream.probe();
      const again = await Promise.all(failures.map(({ undelivered }) => write(rebatched(undelivered))));
      expect(again.map(({ error }) => error)).toEqual([undefined, undefined, undefined]);
      expect((await write(batchOf('after'))).settled.delivered).toBe(1);
      expect(unique(await delivered())).toEqual(framesOf([...groups.flat(), 'after']).map(text));
      expect(budget.heldBytes).toBe(0);
    });

    it('closes with writes outstanding: each is settled or handed back', async () => {
      const groups = numbered(5, 100);
      const writing = Promise.all(groups.map((group) => write(batchOf(...group))));
      await it_.stream.close({ deadlineMs: DEADLINE_MS });
      const outcomes = await writing;
      for (const { error } of outcomes) expect(error?.code ?? 'CLOSED').toBe('CLOSED');
      expectNothingLost(framesOf(groups.flat()), await delivered(), outcomes);

      const late = await write(batchOf('late'));
      expect(late.error?.code).toBe('CLOSED');
      expect(late.undelivered).toEqual(framesOf(['late']).map(text));
      expect(budget.heldBytes).toBe(0);
    });

    it('closes in time when the destination is away', async () => {
      await it_.breakIt();
      const groups = numbered(3, 5);
      const writing = Promise.all(groups.map((group) => write(batchOf(...group))));
      const started = performance.now();
      await it_.stream.close({ deadlineMs: 500 });
      expect(performance.now() - started).toBeLessThan(closeMs);
      const outcomes = await writing;
      expect(outcomes.flatMap(({ undelivered }) => undelivered)).toEqual(framesOf(groups.flat()).map(text));
      expect(budget.heldBytes).toBe(0);
    });

    it('closes twice, and unused', async () => {
      await it_.stream.close({ deadlineMs: DEADLINE_MS });
      await it_.stream.close({ deadlineMs: DEADLINE_MS });
      expect(await delivered()).toEqual([]);
    });

    function rebatched(frames: readonly string[]): Batch {
      return newBatch(
        it_.bucket,
        frames.map((frame) => Buffer.from(frame, 'latin1')),
        budget,
        Date.now(),
      );
    }
  });
}

interface Outcome {
  readonly settled: Settled;
  readonly undelivered: readonly string[];
  readonly error: DeliveryError | undefined;
}

/** Frames compare as latin1 text: one character a byte, and a failing test prints what differs. */
function text(frame: Buffer): string {
  return frame.toString('latin1');
}

/** `groups` lists of `size` messages, each message another. */
function numbered(groups: number, size: number): string[][] {
  return Array.from({ length: groups }, (_, g) =>
    Array.from({ length: size }, (_x, i) => `message ${g * size + i}`),
  );
}

function unique(frames: readonly string[]): string[] {
  return [...new Set(frames)];
}

/**
 * What was handed back stands in the order of writing, and is, with what was delivered, all there was. A
 * frame may be both (an answer that got lost).
 */
function expectNothingLost(
  written: readonly Buffer[],
  delivered: readonly string[],
  outcomes: readonly Outcome[],
): void {
  const all = written.map(text);
  const undelivered = outcomes.flatMap((outcome) => outcome.undelivered);
  expect(undelivered).toEqual(all.filter((frame) => undelivered.includes(frame)));
  expect(unique(delivered)).toEqual(all.filter((frame) => delivered.includes(frame)));
  expect(all.filter((frame) => !delivered.includes(frame) && !undelivered.includes(frame))).toEqual([]);
  expect(outcomes.reduce((sum, { settled }) => sum + settled.delivered, 0)).toBeLessThanOrEqual(
    delivered.length,
  );
}
