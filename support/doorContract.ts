// What every door keeps, as tests to be run against each: `doorContract('SocketDoor', make)` in the door's own
// test file. They look at what came out behind it, and at what its clients see.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Door } from '../src/doors/door.js';
import { MB } from './bench.js';
import { DoorsBench } from './doorsBench.js';
import { LineDoor } from './lineDoor.js';

/** A door with its clients, made anew for each test. */
export interface DoorUnderTest {
  /** Not yet open. */
  readonly door: Door;
  /** A client that the door has taken. */
  connect(): Promise<DoorClient>;
  /** Nobody can connect any more. */
  isShut(): Promise<boolean>;
  cleanup(): Promise<void>;
}

export interface DoorClient {
  /** Writes records; what the door does not read waits. */
  send(bucket: string, messages: readonly string[]): void;
  /** Writes a record whose end is held back, and then this end. */
  sendHalf(bucket: string, message: string): void;
  sendRest(): void;
  /** Writes what is no record, and leaves the connection sound. */
  sendBad(): void;
  /** Asks how many of its records are safe. */
  ask(): void;
  readonly answers: readonly number[];
  readonly isGone: boolean;
  leave(): void;
}

/** With these, so many halves fill the memory of the bench and none does alone. */
const MEMORY_BYTES = 8 * MB;
const STUCK_BYTES = 2_200 * 1024;
/** Of each of two doors: under a quarter of the memory, in buffers that double. */
const HALVES = 3;
const HALF_BYTES = 500 * 1024;

export function doorContract(name: string, make: () => Promise<DoorUnderTest>): void {
  describe(`${name}: the contract of a door`, () => {
    let it: DoorUnderTest;
    let other: LineDoor;
    let bench: DoorsBench;

    beforeEach(async () => {
      it = await make();
      other = new LineDoor('other');
      bench = new DoorsBench([it.door, other], MEMORY_BYTES);
    });

    afterEach(async () => {
      await bench.end();
      await it.cleanup();
      expect(bench.budget.heldBytes).toBe(0);
      expect(bench.clock.timers).toBe(0);
    });

    const arrived = (bucket: string, count: number): Promise<void> =>
      bench.until(`${count} of ${bucket}`, () => bench.messages(bucket).length === count);

    test('records come out whole and in order, counted for this door alone', async () => {
      const client = await it.connect();
      client.send('a', ['1', '2', '3']);
      await arrived('a', 3);
      client.sendHalf('a', 'in two pieces');
      client.sendRest();
      await arrived('a', 4);
      expect(bench.messages('a')).toEqual(['1', '2', '3', 'in two pieces']);
      expect([bench.received(it.door), bench.received(other)]).toEqual([4, 0]);
      expect(bench.doors.received).toEqual({ frames: 4, bad: 0 });
    });

    test('what is no record is rejected and counted, and its client goes on', async () => {
      const client = await it.connect();
      client.sendBad();
      client.send('a', ['behind it']);
      await arrived('a', 1);
      expect(bench.rejected.kept).toHaveLength(1);
      expect(bench.doors.received).toEqual({ frames: 2, bad: 1 });
      expect([...bench.doors.counts.get(it.door.name)!.badByReason.values()]).toEqual([1]);
    });

    test('paused it reads nobody, who comes then too, and answers all the same; then nothing is missing', async () => {
      const client = await it.connect();
      client.send('a', ['1']);
      client.ask();
      await bench.until('the question', () => bench.receipts.length === 1);
      bench.budget.take(MEMORY_BYTES);
      client.send('a', ['2', '3']);
      const late = await it.connect();
      late.send('late', ['1']);
      bench.receipts[0]!.done();
      await bench.until('the answer', () => client.answers.length === 1);
      await bench.quiet();
      expect([client.answers, bench.messages('a'), bench.messages('late')]).toEqual([[1], ['1'], []]);
      bench.budget.give(MEMORY_BYTES);
      await arrived('late', 1);
      await arrived('a', 3);
      expect(bench.messages('a')).toEqual(['1', '2', '3']);
    });

    test('a client that leaves in the middle of a record leaves nothing behind', async () => {
      const client = await it.connect();
      client.sendHalf('a', 'x'.repeat(1_000));
      await bench.until('it is held', () => bench.budget.heldBytes > 0);
      client.leave();
      await bench.until('it is gone', () => bench.budget.heldBytes === 0);
      expect(bench.runs).toEqual([]);
    });

    test('memory full of what two doors have not whole: one after another is finished, nobody is locked', async () => {
      const text = 'x'.repeat(HALF_BYTES + 50 * 1024);
      bench.budget.take(STUCK_BYTES);
      const clients: DoorClient[] = [];
      for (let i = 0; i < HALVES; i++) {
        const otherClient = other.connect();
        otherClient.write(`o ${text.slice(0, HALF_BYTES)}`);
        const client = await it.connect();
        const before = bench.budget.heldBytes;
        client.sendHalf('i', text);
        const isHeld = (): boolean => bench.budget.heldBytes >= before + HALF_BYTES;
        await bench.until('it is held', () => isHeld() || bench.budget.isOver);
        clients.push(client);
      }
      expect(bench.budget.isOver).toBe(true);
      for (const client of clients) client.sendRest();
      for (const client of other.clients) client.write(`${text.slice(HALF_BYTES)}\n`);
      await bench.quiet();
      expect(bench.runs).toEqual([]);
      await bench.until('all are whole', () => bench.runs.length === 2 * HALVES);
      expect([...bench.messages('i'), ...bench.messages('o')]).toEqual(Array(2 * HALVES).fill(text));
      bench.budget.give(STUCK_BYTES);
    });

    test('quiesced it hands on what was sent, then nothing; clients stay for their answers, then go', async () => {
      const client = await it.connect();
      client.send('a', ['1']);
      client.ask();
      let isQuiet = false;
      void bench.doors.quiesce(5_000).then(() => (isQuiet = true));
      await bench.until('it is quiet', () => isQuiet);
      expect(await it.isShut()).toBe(true);
      client.send('a', ['too late']);
      await bench.quiet();
      expect(bench.messages('a')).toEqual(['1']);
      bench.receipts[0]!.done();
      await bench.until('the answer', () => client.answers.length === 1);
      expect([client.answers, client.isGone]).toEqual([[1], false]);
      let hasGone = false;
      void bench.doors.release().then(() => (hasGone = true));
      await bench.until('it has gone', () => hasGone && client.isGone);
    });

    test('while memory stays full it is quiet when its time is over', async () => {
      const client = await it.connect();
      bench.budget.take(MEMORY_BYTES);
      client.send('a', ['not read']);
      const beganMs = bench.clock.now();
      let quietMs = 0;
      void bench.doors.quiesce(5_000).then(() => (quietMs = bench.clock.now()));
      await bench.until('it is quiet', () => quietMs > 0);
      expect(quietMs - beganMs).toBeLessThan(5_100);
      expect(bench.runs).toEqual([]);
      bench.budget.give(MEMORY_BYTES);
    });
  });
}
