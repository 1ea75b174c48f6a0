// Who writes while things fail, and what is asked of what arrived. Promise of `judge`: each sender has no
// hole and keeps its order, has all that a receipt confirmed and nothing that it did not send.
import { expect } from 'vitest';
import { appendRecord } from './record.js';
import { isFull } from './sizes.js';
import {
  numberedFrames,
  numbersBySender,
  range,
  type DaemonClient,
  type Frame,
  type TestDaemon,
} from '../../support/daemon.js';

export const BUCKET = 'orders';
/** Frames in a batch. */
export const BATCH = 50;
/** How many batches a stream may have at a time: what may come twice after a crash. */
export const WINDOW = 16;

/** Small numbers, the same for the same seed. */
export function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % below;
  };
}

/** What is known of a sender when all is over. */
export interface Sent {
  readonly name: string;
  /** Handed to the kernel, or about to be. */
  readonly sent: number;
  readonly receipted: number;
}

/** Writes as fast as it is taken, some frames at a time, and asks now and then, until the daemon is gone. */
export class Sender implements Sent {
  sent = 0;
  /** What the kernel has taken whole. */
  taken = 0;
  receipted = 0;
  readonly ended: Promise<void>;
  #isStopped = false;

  /** @param keys how many different ones its frames have; 0: none */
  constructor(
    readonly client: DaemonClient,
    readonly name: string,
    random: (below: number) => number,
    readonly bucket = BUCKET,
    readonly keys = 0,
  ) {
    this.ended = this.#send(random).catch(() => undefined);
  }

  /** It writes no more. */
  stop(): void {
    this.#isStopped = true;
  }

  async #send(random: (below: number) => number): Promise<void> {
    while (!this.#isStopped) {
      const count = 1 + random(BATCH);
      const bytes = numberedFrames(this.bucket, this.name, {
        from: this.sent,
        count,
        bytes: 30 + random(300),
        key: (number) => (this.keys === 0 ? '' : `${this.name}-${number % this.keys}`),
      });
      this.sent += count;
      // In two pieces, so that the end may well be half a frame.
      const cut = random(bytes.length);
      await this.client.send(bytes.subarray(0, cut));
      await this.client.send(bytes.subarray(cut));
      this.taken = this.sent;
      if (random(4) === 0) this.receipted = await this.client.receipt();
    }
  }
}

/** Some senders at once; none, when the daemon is gone already. */
export async function senders(
  daemon: TestDaemon,
  name: string,
  random: (below: number) => number,
  { count = 3, bucket = BUCKET, keys = 0 } = {},
): Promise<Sender[]> {
  const clients = await Promise.all(range(0, count).map(() => daemon.connect().catch(() => undefined)));
  return clients.flatMap((client, i) =>
    client === undefined ? [] : [new Sender(client, `${name}c${i}`, random, bucket, keys)],
  );
}

/** All a test's senders against what was delivered. @returns how many frames came more than once */
export function judge(
  all: readonly Sent[],
  delivered: ReadonlyMap<string, readonly number[]>,
  what: string,
): number {
  const known = new Set(all.map(({ name }) => name));
  expect(
    [...delivered.keys()].filter((name) => !known.has(name)),
    what,
  ).toEqual([]);
  let repeated = 0;
  for (const { name, sent, receipted } of all) {
    const numbers = delivered.get(name) ?? [];
    const firstTimes = [...new Set(numbers)];
    expect(firstTimes, `${what}: ${name} has no hole and keeps its order`).toEqual(
      range(0, firstTimes.length),
    );
    expect(firstTimes.length, `${what}: ${name} has all that was receipted`).toBeGreaterThanOrEqual(
      receipted,
    );
    expect(firstTimes.length, `${what}: ${name} has nothing that was not sent`).toBeLessThanOrEqual(sent);
    repeated += numbers.length - firstTimes.length;
  }
  return repeated;
}

/**
 * As judge, of senders whose frames were spread over partitions: each partition keeps their order, and all
 * partitions together have no hole.
 */
export function judgeSpread(
  all: readonly Sent[],
  partitions: readonly ReadonlyMap<string, readonly number[]>[],
  what: string,
): number {
  const together = new Map(all.map(({ name }): [string, number[]] => [name, []]));
  for (const partition of partitions) {
    for (const [name, numbers] of partition) {
      const firstTimes = [...new Set(numbers)];
      expect(firstTimes, `${what}: ${name} keeps its order in each partition`).toEqual(
        firstTimes.toSorted((a, b) => a - b),
      );
      together.set(name, [...(together.get(name) ?? []), ...numbers]);
    }
  }
  return judge(
    all,
    new Map([...together].map(([name, numbers]) => [name, numbers.toSorted((a, b) => a - b)])),
    what,
  );
}

export function bySender(frames: readonly Frame[]): Map<string, number[]> {
  return numbersBySender(frames.map(({ message }) => message));
}

/** Figures of a run, for whoever reads its output. */
export function note(what: string, figures: Readonly<Record<string, number | string>>): void {
  console.log(
    `${what}: ${Object.entries(figures)
      .map(([name, figure]) => `${name} ${figure}`)
      .join(', ')}`,
  );
}

/** A fault that was judged, so that nothing was lost, for the table of all faults. */
export function record(
  fault: string,
  arrangement: string,
  figures: {
    readonly runs: number;
    readonly sent: number;
    readonly duplicated: number;
    readonly recoverMs?: number;
  },
): void {
  appendRecord({
    fault,
    arrangement,
    size: isFull ? 'full' : 'quick',
    lost: 0,
    keylessDisordered: 0,
    peakRssMb: undefined,
    recoverMs: undefined,
    ...figures,
  });
}

export function sentBy(all: readonly Sent[]): number {
  return sum(all.map(({ sent }) => sent));
}

export function sum(numbers: readonly number[]): number {
  return numbers.reduce((a, b) => a + b, 0);
}
