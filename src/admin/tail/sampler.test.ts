// Which frames of a batch are shown: never more than so many a second, from all over the batch, with the key
// that was asked for.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { batchOf } from '../../../support/frames.js';
import type { Batch } from '../../frames/batch.js';
import { MemoryBudget } from '../../memory/memoryBudget.js';
import { Sampler } from './sampler.js';

function keyed(keys: readonly (string | Buffer)[]): Batch {
  return batchOf(
    'b',
    keys.map((key, number) => ({ key, message: `m${number}` })),
    new MemoryBudget(1e9),
  );
}

function unkeyed(count: number): Batch {
  return keyed(Array.from({ length: count }, () => ''));
}

/** The messages that were chosen, read from where they are said to start. */
function messagesAt(batch: Batch, chosen: readonly { readonly at: number }[]): string[] {
  return chosen.map(({ at }) => {
    const messageAt = at + 6 + batch.bytes[at + 4]! + batch.bytes[at + 5 + batch.bytes[at + 4]!]!;
    return batch.bytes.toString('latin1', messageAt, at + 4 + batch.bytes.readUInt32LE(at));
  });
}

describe('Sampler', () => {
  test('as long as there are no more than the rate, every frame is chosen, in order', () => {
    const sampler = new Sampler({ rate: 10, key: undefined }, 0);
    const batch = unkeyed(10);
    const { passed, chosen } = sampler.choose(batch, 0);
    expect(passed).toBe(10);
    expect(messagesAt(batch, chosen)).toEqual(['m0', 'm1', 'm2', 'm3', 'm4', 'm5', 'm6', 'm7', 'm8', 'm9']);
    expect(chosen.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  test('of more than that, as many as may be, from all over the batch', () => {
    const batch = unkeyed(1000);
    for (const draw of [0, 0.5, 0.999]) {
      const { passed, chosen } = new Sampler({ rate: 4, key: undefined, random: () => draw }, 0).choose(
        batch,
        0,
      );
      expect(passed).toBe(1000);
      expect(messagesAt(batch, chosen)).toEqual([0, 1, 2, 3].map((i) => `m${Math.floor((i + draw) * 250)}`));
    }
  });

  test('over any time no more than the rate, and what one second may have at once', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.1, max: 50, noNaN: true }),
        fc.array(fc.tuple(fc.nat(2_000), fc.nat(80)), { maxLength: 40 }),
        (rate, steps) => {
          const sampler = new Sampler({ rate, key: undefined }, 0);
          let [nowMs, shown] = [0, 0];
          for (const [waitMs, frames] of steps) {
            nowMs += waitMs;
            const { passed, chosen } = sampler.choose(unkeyed(frames), nowMs);
            expect(passed).toBe(frames);
            shown += chosen.length;
            expect(shown).toBeLessThanOrEqual(Math.max(1, rate) + (nowMs * rate) / 1000 + 1e-6);
          }
        },
      ),
      { numRuns: 50 },
    );
  });

  test("a quiet time saves up one second's share at most; a clock set back allows nothing", () => {
    const sampler = new Sampler({ rate: 5, key: undefined }, 0);
    const shown = (nowMs: number): number => sampler.choose(unkeyed(100), nowMs).chosen.length;
    expect([shown(0), shown(0), shown(400), shown(60_000), shown(50_000), shown(50_200)]).toEqual([
      5, 0, 2, 5, 0, 1,
    ]);
  });

  test('less than one a second', () => {
    const sampler = new Sampler({ rate: 0.5, key: undefined }, 0);
    expect(
      [0, 1_000, 2_000, 3_000, 4_000].map((nowMs) => sampler.choose(unkeyed(9), nowMs).chosen.length),
    ).toEqual([1, 0, 1, 0, 1]);
  });

  test('only frames with the key, byte for byte, and no other is counted', () => {
    const odd = Buffer.of(0xff, 0, 0x61);
    const batch = keyed(['a', 'ab', odd, '', 'a', 'b', odd]);
    const of = (key: Buffer): [number, string[]] => {
      const { passed, chosen } = new Sampler({ rate: 10, key }, 0).choose(batch, 0);
      return [passed, messagesAt(batch, chosen)];
    };
    expect([of(Buffer.from('a')), of(odd), of(Buffer.from('c'))]).toEqual([
      [2, ['m0', 'm4']],
      [2, ['m2', 'm6']],
      [0, []],
    ]);
  });
});
