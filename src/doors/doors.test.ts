// All doors together, with doors in memory: what each hears, how they share the memory, and their end.
import { afterEach, describe, expect, test } from 'vitest';
import { MB } from '../../support/bench.js';
import { DoorsBench } from '../../support/doorsBench.js';
import { LineDoor } from '../../support/lineDoor.js';

const KB = 1024;
let bench: DoorsBench;
afterEach(() => expect(bench.budget.heldBytes).toBe(0));

describe('Doors: unfinished input', () => {
  /** A client of each door, with half a line of so many bytes; the rest of it waits in the pipe. */
  function halves(doors: readonly LineDoor[], bytes: number): void {
    const clients = doors.map((door) => door.connect());
    for (const client of clients) client.write(`a ${'x'.repeat(bytes - 2)}`);
    expect(bench.budget.isOver).toBe(true);
    for (const client of clients) client.write('\n');
    expect(bench.runs).toEqual([]);
  }

  test('of three doors fills the memory, and none has much of it: they are read one after another', async () => {
    const doors = ['x', 'y', 'z'].map((name) => new LineDoor(name));
    bench = new DoorsBench(doors, 16 * MB);
    halves(doors, 3_450 * KB);
    await bench.advance(1_000);
    // The first has left room for the others.
    expect(bench.messages('a').map(({ length }) => length)).toEqual(Array(3).fill(3_450 * KB - 2));
  });

  test('of two doors, and what a stream can not deliver: they lock neither each other nor themselves', async () => {
    const doors = [new LineDoor('x'), new LineDoor('y')];
    bench = new DoorsBench(doors, 16 * MB);
    bench.budget.take(3_200 * KB);
    halves(doors, 3_600 * KB);
    await bench.advance(1_000);
    expect(bench.runs).toHaveLength(2);
    bench.budget.give(3_200 * KB);
  });

  test('one client goes on at a time, the oldest of all doors, until it is whole', async () => {
    const doors = [new LineDoor('x'), new LineDoor('y')];
    bench = new DoorsBench(doors, 16 * MB);
    const [x, y] = doors.map((door) => door.connect());
    x!.write(`a ${'x'.repeat(5 * MB)}`);
    y!.write(`a ${'y'.repeat(5_300 * KB)}`);
    expect(bench.budget.isOver).toBe(true);
    x!.write('x'.repeat(MB));
    y!.write('\n');
    const before = y!.unread;
    await bench.advance(5_000);
    // It is let on, as far as it has something; the younger one waits.
    expect([x!.unread, y!.unread - before]).toEqual([0, 0]);
    x!.write('\n');
    expect([x!.unread, y!.unread, bench.runs.length]).toEqual([0, 0, 2]);
  });

  test('does not go on when other things fill the memory: these will empty it', async () => {
    const door = new LineDoor();
    bench = new DoorsBench([door], 16 * MB);
    bench.budget.take(9 * MB);
    halves([door], 4 * MB);
    await bench.advance(5_000);
    expect(bench.runs).toEqual([]);
    bench.budget.give(9 * MB);
    expect(bench.runs).toHaveLength(1);
  });
});

describe('Doors: memory', () => {
  test('all are paused and read again; a bug of one is neither the others nor of who takes memory', () => {
    const doors = [new LineDoor('x'), new LineDoor('broken'), new LineDoor('z')] as const;
    bench = new DoorsBench(doors, 16 * MB);
    doors[1].pause = () => {
      throw new Error('a fault of our own');
    };
    const clients = doors.map((door) => door.connect());
    bench.budget.take(16 * MB);
    for (const client of clients) client.write(`a 1\n`);
    expect(doors.map((door) => bench.received(door))).toEqual([0, 1, 0]);
    bench.budget.give(16 * MB);
    expect(doors.map((door) => bench.received(door))).toEqual([1, 1, 1]);
    expect(bench.logged('ERROR')).toEqual([
      expect.stringMatching(/^\/doors door broken failed: Error: a fault .*this is a bug in Kahe/),
    ]);
  });

  test('that it is full is said once in ten seconds, however many doors there are', async () => {
    bench = new DoorsBench([new LineDoor('x'), new LineDoor('y')], 16 * MB);
    for (let i = 0; i < 3; i++) {
      bench.budget.take(16 * MB);
      bench.budget.give(16 * MB);
    }
    await bench.advance(10_000);
    bench.budget.take(16 * MB);
    expect(bench.logged('WARN').map((line) => line.match(/\d+ times? so far/)?.[0])).toEqual([
      '1 time so far',
      '4 times so far',
    ]);
    bench.budget.give(16 * MB);
  });
});

describe('Doors: the end', () => {
  test('one that is stuck is passed over when its time is over, and one that fails at once', async () => {
    const doors = [new LineDoor('stuck'), new LineDoor('broken'), new LineDoor('sound')] as const;
    bench = new DoorsBench(doors);
    doors[0].quiesce = () => new Promise(() => undefined);
    doors[1].quiesce = () => Promise.reject(new Error('a fault of our own'));
    doors[1].release = () => {
      throw new Error('a fault of our own');
    };
    doors[2].connect().write('a sent before the end\n');
    await bench.end();
    expect(bench.messages('a')).toEqual(['sent before the end']);
    expect(doors.map(({ state }) => state)).toEqual(['gone', 'reading', 'gone']);
    expect(bench.logged('ERROR')).toEqual([
      expect.stringMatching(/^\/doors door broken failed as it ended: Error: a fault/),
      '/doors door stuck did not end within 2000 ms: it is passed over',
      expect.stringMatching(/^\/doors door broken failed as it ended: Error: a fault/),
    ]);
    expect(bench.clock.timers).toBe(0);
  });

  test('all are quiesced at once; one that is quiet hears of memory no more, the others do', async () => {
    const doors = [new LineDoor('idle'), new LineDoor('busy')] as const;
    bench = new DoorsBench(doors, 16 * MB);
    const client = doors[1].connect();
    bench.budget.take(16 * MB);
    client.write('a waits for memory\n');
    void bench.doors.quiesce(5_000);
    await bench.quiet();
    expect(doors.map(({ state, isPaused }) => [state, isPaused])).toEqual([
      ['quiet', true],
      ['quiescing', true],
    ]);
    bench.budget.give(16 * MB);
    await bench.quiet();
    expect(doors.map(({ state, isPaused }) => [state, isPaused])).toEqual([
      ['quiet', true],
      ['quiet', false],
    ]);
    expect(bench.messages('a')).toEqual(['waits for memory']);
    expect(bench.clock.timers).toBe(0);
  });
});

test('Doors: those by which nobody can come in are told, each with its reason', () => {
  const [x, y] = [new LineDoor('x'), new LineDoor('y')];
  bench = new DoorsBench([x, y]);
  expect(bench.doors.problems).toEqual([]);
  Object.defineProperty(y, 'problem', { value: 'Y: the port is taken' });
  expect(bench.doors.problems).toEqual(['Y: the port is taken']);
});
