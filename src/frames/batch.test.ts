// A batch: its bytes are the frames as they came, its times are theirs, and its memory comes back to the
// byte.
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { framesIn, framesOf, messagesIn } from '../../support/frames.js';
import { MemoryBudget } from '../memory/memoryBudget.js';
import { Batch } from './batch.js';

let budget: MemoryBudget;
beforeEach(() => void (budget = new MemoryBudget(64 * 1024 * 1024)));

function add(batch: Batch, nowMs: number, ...messages: string[]): Batch {
  const bytes = Buffer.concat([Buffer.from('xx'), framesOf('orders', messages), Buffer.from('yy')]);
  batch.append(bytes, 2, bytes.length - 2, messages.length, nowMs);
  return batch;
}

function arrivals(batch: Batch): string {
  const { until, times } = batch.arrivals;
  return until.map((end, i) => `<${end}: ${times[i]!}`).join(' ');
}

describe('Batch: frames', () => {
  test('its bytes are the frames, one after another, as they came', () => {
    const batch = add(add(new Batch('orders', budget), 1, 'a', ''), 2, 'b');
    expect(messagesIn(batch.view())).toEqual(['a', '', 'b']);
    expect(batch.view()).toEqual(framesOf('orders', ['a', '', 'b']));
    expect([batch.frames, batch.length]).toEqual([3, framesOf('orders', ['a', '', 'b']).length]);
  });

  test('it grows as needed and keeps what it holds; the budget knows each byte', () => {
    const batch = new Batch('orders', budget);
    const before = budget.heldBytes;
    expect(before).toBe(batch.bytes.length);
    const messages = Array.from({ length: 3_000 }, (_, i) => `message ${i}`);
    for (const message of messages) add(batch, 1, message);
    expect(budget.heldBytes).toBe(batch.bytes.length);
    add(batch, 1, 'x'.repeat(3_000_000));
    expect(budget.heldBytes).toBe(batch.bytes.length);
    expect(messagesIn(batch.view()).slice(0, -1)).toEqual(messages);
    batch.release();
    expect(budget.heldBytes).toBe(0);
  });

  test('memory used again holds nothing of another batch', () => {
    for (let round = 0; round < 20; round++) {
      const [one, two] = [
        add(new Batch('orders', budget), 1, `one ${round}`),
        add(new Batch('orders', budget), 1, `two ${round}`),
      ];
      add(one, 1, 'x'.repeat(5_000 + round));
      expect(messagesIn(two.view())).toEqual([`two ${round}`]);
      expect(messagesIn(one.view())[0]).toBe(`one ${round}`);
      one.release();
      two.release();
    }
    expect(budget.heldBytes).toBe(0);
  });
});

describe('Batch: arrival times', () => {
  test("runs of the same time are one; each frame has its own run's time", () => {
    const batch = add(add(add(new Batch('orders', budget), 10, 'a', 'b'), 10, 'c'), 15, 'd');
    expect(arrivals(batch)).toBe('<3: 10 <4: 15');
    expect(batch.firstArrivalMs).toBe(10);
    expect(new Batch('orders', budget).firstArrivalMs).toBe(0);
  });

  test('a clock that steps back does not show', () => {
    const batch = add(add(add(add(new Batch('orders', budget), 100, 'a'), 40, 'b'), 99, 'c'), 101, 'd');
    expect(arrivals(batch)).toBe('<3: 100 <4: 101');
  });
});

describe('Batch: origins', () => {
  const from = (batch: Batch, origin: number, ...messages: string[]): void => {
    const bytes = framesOf('orders', messages);
    batch.origin = origin;
    batch.append(bytes, 0, bytes.length, messages.length, 1);
  };

  test("each frame's connection is known, also in what is picked; nobody's are left out", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({ origin: fc.integer({ min: 0, max: 3 }), frames: fc.integer({ min: 1, max: 4 }) }),
          { maxLength: 60 },
        ),
        fc.integer({ min: 1, max: 5 }),
        (runs, every) => {
          const batch = new Batch('orders', budget);
          const origins = runs.flatMap(({ origin, frames }) => Array.from({ length: frames }, () => origin));
          for (const { origin, frames } of runs)
            from(batch, origin, ...Array.from({ length: frames }, () => 'x'));
          const count = (all: readonly number[]): Map<number, number> => {
            const counts = new Map<number, number>();
            for (const origin of all) if (origin !== 0) counts.set(origin, (counts.get(origin) ?? 0) + 1);
            return new Map([...counts].sort());
          };
          expect(origins.map((_, index) => batch.originOf(index))).toEqual(origins);
          expect(new Map([...batch.origins].sort())).toEqual(count(origins));
          const picked = batch.pick((index) => index % every === 0);
          expect(new Map([...picked.origins].sort())).toEqual(
            count(origins.filter((_, index) => index % every === 0)),
          );
          const [heard, unheard] = [batch.share(true), batch.share()];
          expect([heard.origins, unheard.origins.size]).toEqual([batch.origins, 0]);
          for (const one of [heard, unheard, picked, batch]) one.release();
        },
      ),
    );
    expect(budget.heldBytes).toBe(0);
  });
});

describe('Batch: pick', () => {
  test('of a batch that wants outcomes, it is known where each frame was, also when it is picked again', () => {
    const batch = add(new Batch('orders', budget), 10, 'a', 'b', 'c', 'd', 'e', 'f');
    batch.wantsOutcomes = true;
    const share = batch.share(true);
    const once = share.pick((index) => index !== 1);
    const again = once.share(true);
    const twice = again.pick((index) => index % 2 === 0);
    expect(messagesIn(twice.view())).toEqual(['a', 'd', 'f']);
    expect([0, 1, 2].map((index) => twice.placeOf(index))).toEqual([0, 3, 5]);
    expect(twice.wantsOutcomes).toBe(true);
    const unheard = batch.share();
    expect(unheard.wantsOutcomes).toBe(false);
    for (const one of [unheard, twice, again, once, share, batch]) one.release();
  });

  test('takes the frames that are wanted, with their times, and says where each starts', () => {
    const batch = add(add(add(new Batch('orders', budget), 10, 'a', 'bb'), 20, 'ccc'), 30, 'd', 'e');
    const seen: [number, string][] = [];
    const frames = framesIn(batch.view());
    const picked = batch.pick((index, at) => {
      seen.push([index, batch.bytes.subarray(at, at + frames[index]!.length).toString('hex')]);
      return index !== 0 && index !== 3;
    });
    expect(seen).toEqual(frames.map((frame, i) => [i, frame.toString('hex')]));
    expect(messagesIn(picked.view())).toEqual(['bb', 'ccc', 'e']);
    expect(arrivals(picked)).toBe('<1: 10 <2: 20 <3: 30');
    expect([picked.bucket, picked.frames]).toEqual(['orders', 3]);
  });

  test('what was picked is its own: it outlives the memory it came from', () => {
    const batch = add(new Batch('orders', budget), 1, 'a', 'b');
    const picked = batch.pick((index) => index === 1);
    batch.release();
    add(new Batch('orders', budget), 1, 'overwrites', 'what', 'was', 'there');
    expect(messagesIn(picked.view())).toEqual(['b']);
  });

  test('none, and all', () => {
    const batch = add(new Batch('orders', budget), 1, 'a', 'b');
    expect(batch.pick(() => false).frames).toBe(0);
    expect(batch.pick(() => true).view()).toEqual(batch.view());
    expect(new Batch('orders', budget).pick(() => expect.unreachable()).frames).toBe(0);
  });
});

describe('Batch: holders', () => {
  test('the memory comes back with the last of them', () => {
    const batch = add(new Batch('orders', budget), 1, 'a');
    batch.retain().retain();
    batch.release();
    batch.release();
    expect(budget.heldBytes).toBeGreaterThan(0);
    batch.release();
    expect(budget.heldBytes).toBe(0);
  });

  test('one release too many is an error, and gives nothing back twice', () => {
    const batch = add(new Batch('orders', budget), 1, 'a');
    batch.release();
    expect(() => batch.release()).toThrow('released more often than retained');
    expect(budget.heldBytes).toBe(0);
  });

  test('what all have released is not to be had again', () => {
    const batch = add(new Batch('orders', budget), 1, 'a');
    batch.release();
    expect(() => batch.retain()).toThrow('batch of orders retained after all have released it');
    expect(budget.heldBytes).toBe(0);
  });

  test('those picked, and those picked from these, have memory of their own', () => {
    const batch = add(new Batch('orders', budget), 1, 'a', 'b', 'c');
    const picked = batch.pick((index) => index > 0);
    const again = picked.pick((index) => index > 0);
    batch.release();
    expect(budget.heldBytes).toBe(picked.bytes.length + again.bytes.length);
    picked.release();
    expect(budget.heldBytes).toBe(again.bytes.length);
    again.release();
    expect(budget.heldBytes).toBe(0);
  });
});

describe('Batch: where frames without a key go', () => {
  test('the draw of a batch stays the same in its share, its rest, and when it is read back', () => {
    const batch = add(new Batch('orders', budget), 5, 'a', 'b', 'c');
    const share = batch.share();
    const rest = share.pick((index) => index > 0);
    const again = add(new Batch('orders', budget), 5, 'a', 'b', 'c');
    expect(new Set([batch, share, rest, rest.share(), again].map(({ draw }) => draw)).size).toBe(1);
    expect(add(new Batch('orders', budget), 6, 'a', 'b', 'c').draw).not.toBe(batch.draw);
    expect(add(new Batch('orders', budget), 5, 'a', 'b', 'd').draw).not.toBe(batch.draw);
  });

  test('spreads over the partitions', () => {
    const counts = new Array<number>(6).fill(0);
    for (let i = 0; i < 6000; i++)
      counts[add(new Batch('orders', budget), 1_700_000_000_000 + i * 1000, 'the same text').draw % 6]!++;
    for (const count of counts) expect(count).toBeGreaterThan(800);
  });
});
