// What statsd is told of snapshots: names, growth, events, and packets of a size that arrives.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bucketSnapshot, snapshot, streamSnapshot } from '../../support/snapshots.js';
import type { Snapshot, StreamSnapshot } from '../stats/snapshot.js';
import { newAccount } from '../streams/account.js';
import { Changes, type Line } from './changes.js';
import { figuresOf } from './figures.js';
import { statName } from './statName.js';
import { packets } from './udpSender.js';

function telling(): (now: Snapshot, isSent?: boolean) => string[] {
  const changes = new Changes();
  return (now, isSent = true) => {
    const lines = changes.linesFor(figuresOf(now, 'kahe'));
    if (isSent) for (const { told } of lines) told();
    return lines.map(({ text }) => text);
  };
}

const withStream = (more: Partial<StreamSnapshot>, takenAtMs = 2_000): Snapshot =>
  snapshot({ takenAtMs, buckets: [bucketSnapshot('orders', [streamSnapshot(more)])] });
const about = (lines: readonly string[], name: string): string[] =>
  lines.filter((line) => line.startsWith(`kahe.${name}`));

describe('names', () => {
  test('nothing in a name ends it or begins a level, and each is cut', () => {
    expect(statName('kahe', 'a', 'b.c:d|e@f#g\nh i', 'ü☃', '')).toBe('kahe.a.b_c_d_e_f_g_h_i.__._');
    expect(statName('kahe', 'x'.repeat(500))).toBe(`kahe.${'x'.repeat(120)}`);
  });

  test('any text is one level of few characters', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(statName('p', text)).toMatch(/^p\.[A-Za-z0-9_-]{1,120}$/);
      }),
    );
  });

  test('names that become the same are added up', () => {
    const tell = telling();
    const bucket = (name: string, delivered: number) =>
      bucketSnapshot(name, [
        streamSnapshot({ account: { ...newAccount(), received: delivered, delivered } }),
      ]);
    expect(about(tell(snapshot({ buckets: [bucket('a.b', 3), bucket('a_b', 4)] })), 'stream_frames')).toEqual(
      ['kahe.stream_frames.a_b.kafka.delivered:7|c'],
    );
  });
});

describe('Changes', () => {
  test('of counters what they have grown, of those that stand still nothing', () => {
    const tell = telling();
    const account = { ...newAccount(), received: 10, delivered: 7, queued: 3 };
    expect(about(tell(withStream({ account })), 'stream_frames')).toEqual([
      'kahe.stream_frames.orders.kafka.delivered:7|c',
    ]);
    expect(about(tell(withStream({ account })), 'stream_frames')).toEqual([]);
    expect(
      about(
        tell(withStream({ account: { ...account, received: 12, delivered: 8, rejected: 1 } })),
        'stream_frames',
      ),
    ).toEqual([
      'kahe.stream_frames.orders.kafka.delivered:1|c',
      'kahe.stream_frames.orders.kafka.rejected:1|c',
    ]);
  });

  test('what was not sent is told again, with what came since', () => {
    const tell = telling();
    const delivered = (frames: number) =>
      withStream({ account: { ...newAccount(), received: frames, delivered: frames } });
    tell(delivered(5), false);
    tell(delivered(6), false);
    expect(about(tell(delivered(9)), 'stream_frames')).toEqual([
      'kahe.stream_frames.orders.kafka.delivered:9|c',
    ]);
  });

  test('of gauges how they stand; one that stays 0 once', () => {
    const tell = telling();
    const held = (queued: number) =>
      about(
        tell(withStream({ account: { ...newAccount(), received: queued, queued } })),
        'stream_held_frames.orders.kafka.queued',
      );
    expect([held(0), held(0), held(4), held(4), held(0), held(0)]).toEqual([
      ['kahe.stream_held_frames.orders.kafka.queued:0|g'],
      [],
      ['kahe.stream_held_frames.orders.kafka.queued:4|g'],
      ['kahe.stream_held_frames.orders.kafka.queued:4|g'],
      ['kahe.stream_held_frames.orders.kafka.queued:0|g'],
      [],
    ]);
  });

  test('a gauge of what is there no more is 0 once, and as it stands when it is there again', () => {
    const tell = telling();
    const held = withStream({ account: { ...newAccount(), received: 4, queued: 4 } });
    const told = (now: Snapshot, isSent = true): string[] =>
      about(tell(now, isSent), 'stream_held_frames.orders.kafka.queued');
    const without = snapshot({ buckets: [] });
    const [four, zero] = [
      ['kahe.stream_held_frames.orders.kafka.queued:4|g'],
      ['kahe.stream_held_frames.orders.kafka.queued:0|g'],
    ];
    expect([told(held), told(without, false), told(without), told(without), told(held)]).toEqual([
      four,
      zero,
      zero,
      [],
      four,
    ]);
  });

  test('fractions add up to what was counted, and none has an exponent', () => {
    const tell = telling();
    let told = 0;
    for (let ms = 0; ms <= 1000; ms += 0.7) {
      for (const line of about(
        tell(snapshot({ paused: { isForMemory: false, isForSpool: false, ms, times: 1 } })),
        'paused_seconds',
      )) {
        expect(line).toMatch(/^kahe\.paused_seconds:\d+\.\d+\|c$/);
        told += Number(/:(.*)\|/.exec(line)![1]);
      }
    }
    expect(told).toBeCloseTo(0.9996, 9);
  });

  test('moments and versions are left out', () => {
    const names = telling()(withStream({ lastProblem: { text: 'away', atMs: 5 } })).map(
      (line) => line.split(':')[0]!,
    );
    expect(names.filter((name) => /timestamp|build_info|start_time/.test(name))).toEqual([]);
    expect(names).toContain('kahe.memory_limit_bytes');
    expect(names).toContain('kahe.process_resident_memory_bytes');
  });
});

describe('events', () => {
  const events = (lines: readonly string[]): string[] => about(lines, 'stream.');

  test('down when it fails, up with the time between when it is back, and what was replayed', () => {
    const tell = telling();
    expect(events(tell(withStream({})))).toEqual([]);
    const down: Partial<StreamSnapshot> = {
      mode: 'backup',
      failures: 1,
      modeSinceMs: 2_000,
      modeMs: { normal: 1_000, backup: 500, error: 0 },
    };
    expect(events(tell(withStream(down, 2_500)))).toEqual(['kahe.stream.orders.kafka.down:1|c']);
    expect(
      events(tell(withStream({ ...down, modeMs: { normal: 1_000, backup: 900, error: 0 } }, 2_900))),
    ).toEqual([]);
    const up: Partial<StreamSnapshot> = {
      failures: 1,
      modeSinceMs: 3_200,
      modeMs: { normal: 1_100, backup: 1_000, error: 200 },
      replayedFrames: 42,
    };
    expect(events(tell(withStream(up, 3_300)))).toEqual([
      'kahe.stream.orders.kafka.up:1|c',
      'kahe.stream.orders.kafka.replayed:42|c',
      'kahe.stream.orders.kafka.downtime:1200|ms',
    ]);
    expect(events(tell(withStream(up, 3_400)))).toEqual([]);
  });

  test('what came and went between two looks is told too, and the outage that lasts counts when it ends', () => {
    const tell = telling();
    const flapping: Partial<StreamSnapshot> = {
      mode: 'error',
      failures: 3,
      modeSinceMs: 9_000,
      modeMs: { normal: 1_000, backup: 600, error: 1_000 },
    };
    expect(events(tell(withStream(flapping, 10_000)))).toEqual([
      'kahe.stream.orders.kafka.down:3|c',
      'kahe.stream.orders.kafka.up:2|c',
      'kahe.stream.orders.kafka.downtime:300|ms',
      'kahe.stream.orders.kafka.downtime:300|ms',
    ]);
    expect(
      events(tell(withStream({ failures: 3, modeMs: { normal: 1_500, backup: 600, error: 3_000 } }, 12_500))),
    ).toEqual(['kahe.stream.orders.kafka.up:1|c', 'kahe.stream.orders.kafka.downtime:3000|ms']);
  });
});

describe('packets', () => {
  const lineOf = (text: string): Line => ({ text, told: () => undefined });

  test('a packet has 1432 bytes and not one more', () => {
    const sizes = (lengths: readonly number[]) =>
      [...packets(lengths.map((length) => lineOf('x'.repeat(length))))].map((packet) => packet.length);
    expect(sizes([716, 715])).toEqual([2]);
    expect(sizes([716, 716])).toEqual([1, 1]);
    expect(sizes([1432, 1])).toEqual([1, 1]);
  });

  test('hold every line once, in order and whole, and are as full as they may be', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 700 }), { maxLength: 60 }), (lengths) => {
        const lines = lengths.map((length) => lineOf('x'.repeat(length)));
        const made = [...packets(lines)];
        expect(made.flat()).toEqual(lines);
        const sizes = made.map((packet) => packet.map(({ text }) => text).join('\n').length);
        for (const [index, size] of sizes.entries()) {
          expect(size).toBeLessThanOrEqual(1432);
          const next = made[index + 1]?.[0]?.text.length ?? Infinity;
          expect(size + 1 + next).toBeGreaterThan(1432);
        }
      }),
    );
  });
});
