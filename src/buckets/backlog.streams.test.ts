// Streams that come to a backlog, and go: who is told of what, what is noted on the disk, and when a segment
// may go.
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { turn } from '../../support/fakeClock.js';
import { batchOf, messagesIn } from '../../support/frames.js';
import { newFolder } from '../../support/newFolder.js';
import { TicketBook } from '../../support/ticketBook.js';
import { SpoolBench, notesIn, segmentsIn } from '../../support/spoolBench.js';
import type { ActorRef } from '../actors/actor.js';
import type { Batch } from '../frames/batch.js';
import { NO_SPOOL } from '../spool/noSpool.js';
import type { Spool } from '../spool/spool.js';
import { newAccount } from '../streams/account.js';
import type { StreamMessage } from '../streams/streamMessage.js';
import type { BatchSource } from '../streams/waiting.js';
import { Backlog } from './backlog.js';
import { Followers } from './followers.js';
import type { BacklogStream } from './streamCursor.js';

const BUCKET = 'orders';
let folder: string;
beforeEach(() => void (folder = newFolder()));

/** Keeps batches until the test settles them. */
class Destination implements ActorRef<StreamMessage>, BacklogStream {
  readonly path = '/stream';
  readonly state = 'running';
  readonly stopped = new Promise<void>(() => undefined);
  readonly ref = this;
  readonly account = newAccount();
  readonly told: string[] = [];
  readonly held: Batch[] = [];
  source!: BatchSource;

  constructor(readonly id: string) {}

  from(source: BatchSource): this {
    this.source = source;
    return this;
  }

  tell(message: StreamMessage): void {
    if (message.kind !== 'batch') return;
    this.told.push(...messagesIn(message.batch.view()));
    this.held.push(message.batch);
  }

  stop(): void {
    return;
  }

  settle(most = Infinity): void {
    for (const batch of this.held.splice(0, most)) {
      batch.release();
      this.source.settled(batch, undefined);
    }
  }
}

class Bench extends SpoolBench {
  readonly spool: Spool;
  readonly backlog: Backlog;
  #number = 0;

  constructor(hasSpool: boolean, streams: readonly Destination[]) {
    super();
    this.spool = hasSpool ? this.newSpool(folder) : NO_SPOOL;
    this.backlog = new Backlog({
      streams,
      spool: this.spool,
      notes: this.spool.notes(BUCKET),
      log: this.log,
      clock: this.clock,
      onSettled: () => undefined,
      onLost: () => undefined,
    });
    streams.forEach((stream, number) => stream.from(this.backlog.sourceOf(number)));
  }

  addStream(added: Destination): number {
    return this.backlog.addStream((source) => added.from(source)).number;
  }

  /** So many batches of one frame, with the next numbers. */
  add(count: number, followers?: Followers): void {
    for (let i = 0; i < count; i++) {
      const batch = batchOf(BUCKET, [String(this.#number++)], this.budget, this.clock.now());
      const segment = this.spool.newSegment(batch);
      segment.seal();
      this.backlog.add(batch, segment, followers);
    }
  }

  get segments(): string[] {
    return segmentsIn(join(folder, BUCKET));
  }

  get notes(): Record<string, string> {
    return notesIn(join(folder, BUCKET)) ?? {};
  }

  /** All is settled, and the disk is empty. */
  async settleAll(...streams: Destination[]): Promise<void> {
    await this.until('an empty backlog', () => {
      for (const stream of streams) stream.settle();
      return this.backlog.isEmpty;
    });
    await this.backlog.end();
    expect(this.budget.heldBytes).toBe(0);
    expect(this.segments).toEqual([]);
  }
}

const numbers = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, i) => String(from + i));

describe.each([
  ['without a spool', false],
  ['with a spool', true],
])('Backlog, %s', (_what, hasSpool) => {
  test('a stream that comes gets what is added from then on', async () => {
    const [first, second] = [new Destination('first'), new Destination('second')];
    const bench = new Bench(hasSpool, [first]);
    bench.add(5);
    await bench.until('the first has them', () => first.told.length === 5);
    const number = bench.addStream(second);
    expect([number, bench.backlog.waiting.map(({ frames }) => frames)]).toEqual([1, [0, 0]]);
    bench.add(5);
    await bench.settleAll(first, second);
    expect([first.told, second.told]).toEqual([numbers(0, 10), numbers(5, 10)]);
  });

  test('a stream that ends gets what there was, holds back nothing new, and its place is used again', async () => {
    const [first, second, third] = [
      new Destination('first'),
      new Destination('second'),
      new Destination('third'),
    ];
    const bench = new Bench(hasSpool, [first, second]);
    bench.add(40);
    bench.backlog.endStream(1);
    let isToldAll: boolean | undefined;
    void bench.backlog.toldAll(1).then((is) => (isToldAll = is));
    bench.add(10);
    await turn();
    expect(isToldAll).toBe(hasSpool ? undefined : true);
    await bench.until('it is told all', () => {
      second.settle(1);
      return isToldAll === true;
    });
    second.settle();
    bench.backlog.removeStream(1);
    expect(second.told).toEqual(numbers(0, 40));
    expect(bench.addStream(third)).toBe(1);
    bench.add(3);
    await bench.settleAll(first, third);
    expect([first.told, second.told, third.told]).toEqual([numbers(0, 53), numbers(0, 40), numbers(50, 53)]);
  });

  test('what nothing keeps of a stream that has ended holds back neither batches nor who waits for them', async () => {
    const [gone, other] = [new Destination('gone'), new Destination('other')];
    const bench = new Bench(hasSpool, [gone, other]);
    const ticket = new TicketBook();
    const followers = new Followers(bench.budget);
    followers.add(0, 1, { ticket, first: 0 });
    bench.add(1, followers);
    bench.backlog.endStream(0);
    await bench.until('both have it', () => gone.held.length === 1 && other.held.length === 1);
    const held = gone.held.splice(0);
    for (const batch of held) batch.release();
    bench.backlog.removeStream(0);
    for (const batch of held) gone.source.settled(batch, undefined);
    expect(ticket.kindOf(0)).toBe('unknown');
    bench.add(2);
    await bench.settleAll(other);
    expect([bench.backlog.settled, other.told]).toEqual([3, numbers(0, 3)]);
  });

  test('the open batch, which was begun after it was taken out, is not counted for it', () => {
    const [first, second] = [new Destination('first'), new Destination('second')];
    const bench = new Bench(hasSpool, [first, second]);
    bench.backlog.endStream(1);
    const open = batchOf(BUCKET, ['x'], bench.budget);
    bench.backlog.open = open;
    expect(bench.backlog.waiting.map(({ frames }) => frames)).toEqual([1, 0]);
    open.release();
  });
});

describe('Backlog, with a spool: what is noted', () => {
  test('that a stream which comes has nothing to do with what is there', async () => {
    const [first, second] = [new Destination('first'), new Destination('second')];
    const bench = new Bench(true, [first]);
    bench.add(5);
    await bench.until('five segments', () => bench.segments.length === 5);
    bench.addStream(second);
    await bench.until(
      'a note of all, once the last of them is on disk',
      () => bench.notes['second'] === bench.segments[4]!.slice(0, 22),
    );
    expect(Object.keys(bench.notes)).toEqual(['second']);
    await bench.settleAll(first, second);
  });

  test('of one that is there again before it has ended: only what both of them have settled', async () => {
    const [other, old, again] = [
      new Destination('other'),
      new Destination('twice'),
      new Destination('twice'),
    ];
    const bench = new Bench(true, [other, old]);
    bench.add(10);
    await bench.until('ten segments', () => bench.segments.length === 10);
    old.settle(3);
    await bench.until('a note', () => bench.notes['twice'] === bench.segments[2]!.slice(0, 22));
    bench.backlog.endStream(1);
    bench.addStream(again);
    bench.add(2);
    await bench.until('it has both', () => again.held.length === 2);
    again.settle();
    old.settle(1);
    await bench.until('another note', () => bench.notes['twice'] === bench.segments[3]!.slice(0, 22));
    old.settle();
    bench.backlog.removeStream(1);
    await bench.until(
      'a note of the last one',
      () => bench.notes['twice'] === bench.segments[11]!.slice(0, 22),
    );
    await bench.settleAll(other, again);
  });

  test('an end before a stream that was taken out has had all is told', async () => {
    const [first, gone] = [new Destination('first'), new Destination('gone')];
    const bench = new Bench(true, [first, gone]);
    bench.add(30);
    bench.backlog.endStream(1);
    await bench.until('both have a window', () => first.held.length === 16 && gone.held.length === 16);
    first.settle();
    const toldAll = bench.backlog.toldAll(1);
    await bench.backlog.handedOver(0);
    expect(await toldAll).toBe(false);
    await bench.until('the end', () => {
      void bench.backlog.end();
      return bench.lines.some((line) =>
        line.includes(
          'stream gone was taken out of the configuration, and the daemon stopped too soon: the stream misses 14 batches',
        ),
      );
    });
    for (const stream of [first, gone]) stream.settle();
  });
});
