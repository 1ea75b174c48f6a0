// Random runs with tickets through a bucket, its backlog and a stream actor, while the stream fails, parts of
// it go away, memory is given up, and actors fail. Each ticket hears of each of its records once, in
// agreement with where the frame is found.
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { MB } from '../../support/bench.js';
import { FakeRejected } from '../../support/fakeRejected.js';
import { FakeStream, laneOf } from '../../support/fakeStream.js';
import { turn } from '../../support/fakeClock.js';
import { messagesIn } from '../../support/frames.js';
import { newFolder } from '../../support/newFolder.js';
import { lend, runOf } from '../../support/runs.js';
import { SpoolBench } from '../../support/spoolBench.js';
import { TicketBook } from '../../support/ticketBook.js';
import type { ActorRef } from '../actors/actor.js';
import { ActorSystem } from '../actors/system.js';
import { NO_NOTES, NO_SPOOL } from '../spool/noSpool.js';
import { newAccount } from '../streams/account.js';
import { StreamActor } from '../streams/streamActor.js';
import type { StreamMessage } from '../streams/streamMessage.js';
import { StreamStats } from '../streams/streamStats.js';
import { Backlog } from './backlog.js';
import { Bucket } from './bucket.js';
import { Excess } from './limit/excess.js';
import { LimitReport } from './limit/limitReport.js';
import { Limiter } from './limit/limiter.js';
import { RateWindow } from './limit/rateWindow.js';
import type { BucketMessage } from './messages.js';

const BUCKET = 'orders';
const TICKETS = 3;
const LANES = 3;

type Step =
  /** Frames with a ticket; the last number: nobody follows them. */
  | { readonly kind: 'run'; readonly ticket: number; readonly lanes: readonly number[] }
  | { readonly kind: 'deliver' | 'refuse' | 'goAway' | 'comeBack'; readonly lane: number }
  | { readonly kind: 'fail' | 'answer' | 'wait' | 'squeeze' | 'breakBucket' | 'breakStream' };

const lane = fc.nat(LANES - 1);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('run' as const),
      ticket: fc.nat(TICKETS),
      lanes: fc.array(lane, { minLength: 1, maxLength: 12 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        'deliver' as const,
        'deliver' as const,
        'refuse' as const,
        'goAway' as const,
        'comeBack' as const,
      ),
      lane,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        'fail' as const,
        'answer' as const,
        'wait' as const,
        'wait' as const,
        'squeeze' as const,
        'breakBucket' as const,
        'breakStream' as const,
      ),
    }),
  },
);

let folder: string;
beforeEach(() => void (folder = newFolder()));
let run = 0;

class TicketBench extends SpoolBench {
  readonly system = new ActorSystem(this.clock, this.log);
  readonly primary = new FakeStream();
  readonly backup = new FakeStream();
  readonly tickets = Array.from({ length: TICKETS }, () => new TicketBook());
  /** By ticket: the text of each record. */
  readonly records: string[][] = this.tickets.map(() => []);
  readonly limited: string[] = [];
  readonly bucket: ActorRef<BucketMessage>;
  readonly stream: ActorRef<StreamMessage>;
  readonly backlog: Backlog;
  #number = 0;
  #isSqueezed = false;

  constructor(
    readonly hasSpool: boolean,
    readonly hasBackup: boolean,
  ) {
    super();
    const spool = hasSpool ? this.newSpool(`${folder}/${run++}`) : NO_SPOOL;
    const { clock, log, budget } = this;
    const account = newAccount();
    this.backlog = new Backlog({
      streams: [],
      spool,
      notes: hasSpool ? spool.notes(BUCKET) : NO_NOTES,
      log,
      clock,
      onLost: ({ reason }) => expect.unreachable(reason),
      onSettled: () => this.bucket.state !== 'stopped' && this.bucket.tell({ kind: 'settled' }),
    });
    const { stream } = this.backlog.addStream((source) => ({
      id: 'kafka',
      type: 'kafka',
      account,
      ref: this.system.spawn<StreamMessage>(
        'stream',
        (context) =>
          new StreamActor(context, {
            primary: this.primary,
            backup: hasBackup ? this.backup : undefined,
            slice: 1,
            retryMs: 10_000,
            errorRetryMs: 1_000,
            stopTimeoutMs: () => Infinity,
            onLeftOver: () => expect.unreachable(),
            source,
            account,
            stats: new StreamStats(() => 0),
          }),
      ),
    }));
    this.stream = stream.ref;
    const rejected = new FakeRejected(
      ({ bytes, start, end }) => void this.limited.push(...messagesIn(bytes, start, end)),
    );
    const limit = { frames: 100, perMs: 1_000 };
    const limiter = new Limiter({
      frames: limit.frames,
      window: new RateWindow(limit.perMs),
      excess: new Excess({ ...limit, over: 'reject' }, BUCKET, [account], rejected),
      report: new LimitReport({ ...limit, over: 'reject' }, { reject: 0 }, log, clock),
      clock,
    });
    this.bucket = this.system.spawn<BucketMessage>(
      'bucket',
      (context) =>
        new Bucket(
          context,
          {
            key: BUCKET,
            name: BUCKET,
            batchFrames: 10,
            batchBytes: 1_000,
            batchTimeoutMs: 500,
            budget,
            spool,
            rejected,
            router: { tell: () => undefined },
          },
          {
            streams: { reconfigure: async () => undefined, end: async () => undefined },
            backlog: this.backlog,
            limiter,
          },
        ),
    );
  }

  async do(what: Step): Promise<void> {
    switch (what.kind) {
      case 'run':
        this.#run(what.ticket, what.lanes);
        break;
      case 'deliver':
        this.primary.deliver(what.lane, 2);
        this.backup.deliver(what.lane, 2);
        break;
      case 'refuse':
        this.primary.refuse(what.lane);
        break;
      case 'goAway':
        this.primary.goAway(what.lane);
        break;
      case 'comeBack':
        this.primary.comeBack(what.lane);
        break;
      case 'fail':
        this.primary.fail();
        break;
      case 'answer':
        this.primary.answerProbe();
        break;
      case 'wait':
        this.clock.advance(1_000);
        break;
      case 'squeeze':
        this.isSqueezed = !this.isSqueezed;
        break;
      case 'breakBucket':
        this.bucket.tell(BREAKS_BUCKET);
        break;
      case 'breakStream':
        this.stream.tell(BREAKS_STREAM);
        break;
    }
    await turn();
  }

  get isSqueezed(): boolean {
    return this.#isSqueezed;
  }

  /** Memory is short, until it is not. */
  set isSqueezed(is: boolean) {
    if (is && !this.#isSqueezed) this.budget.take(63 * MB);
    if (!is && this.#isSqueezed) this.budget.give(63 * MB);
    this.#isSqueezed = is;
  }

  #run(ticket: number, lanes: readonly number[]): void {
    const texts = lanes.map((each) => `${each}:${this.#number++}`);
    const records = this.records[ticket];
    const followed = records && { ticket: this.tickets[ticket]!, first: records.length };
    records?.push(...texts);
    lend({ ...runOf(this, BUCKET, texts), followed }, (whole) => this.bucket.tell(whole));
  }

  /** Everything is well again, and all is delivered. */
  async heal(): Promise<void> {
    for (let i = 0; i < LANES; i++) this.primary.comeBack(i);
    this.isSqueezed = false;
    await this.until('all is settled', () => {
      this.primary.answerProbe();
      this.primary.deliver();
      this.backup.deliver();
      return this.backlog.isEmpty && this.backlog.open === undefined && this.budget.heldBytes === 0;
    });
  }

  check(): void {
    const { primary, backup, limited } = this;
    this.records.forEach((texts, ticket) => {
      const book = this.tickets[ticket]!;
      expect(book.records).toBe(texts.length);
      texts.forEach((text, record) => {
        const found = {
          delivered: primary.delivered,
          stored: backup.delivered,
          rejected: [...primary.rejected, ...limited],
        };
        const kind = book.kindOf(record);
        expect([text, kind]).toEqual([text, expect.stringMatching(/^(delivered|stored|rejected)$/)]);
        expect([text, found[kind as keyof typeof found].includes(text)]).toEqual([text, true]);
        if (kind === 'delivered') {
          const inLane = primary.delivered.filter((each) => laneOf(each) === laneOf(text));
          // More than once when an actor failed meanwhile.
          const [partition, offset] = book.deliveredAt(record)!;
          expect([partition, inLane[Number(offset)]]).toEqual([laneOf(text), text]);
        }
        const code = limited.includes(text) ? 'RATE_LIMIT' : 'INVALID_RECORD';
        if (kind === 'rejected') expect(book.outcomeOf(record)).toMatchObject({ code });
      });
    });
  }
}

const BREAKS_BUCKET: BucketMessage = {
  kind: 'fence',
  get receipt(): never {
    throw new Error('a bug of our own');
  },
};

const BREAKS_STREAM: StreamMessage = {
  kind: 'inherit',
  get waiting(): never {
    throw new Error('a bug of our own');
  },
};

describe.each([
  ['in memory', false, false],
  ['in memory, with a backup', false, true],
  ['with a spool', true, false],
  ['with a spool and a backup', true, true],
])('tickets: %s', (_where, hasSpool, hasBackup) => {
  test('each record is told once, and as it was found', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const bench = new TicketBench(hasSpool, hasBackup);
        await turn();
        for (const each of steps) await bench.do(each);
        await bench.heal();
        bench.check();
      }),
      { numRuns: 60 },
    );
  });
});

test('tickets: a batch whose memory was given up, and that is read back, is told of as well', async () => {
  const bench = new TicketBench(true, false);
  await turn();
  bench.isSqueezed = true;
  for (let i = 0; i < 8; i++) await bench.do({ kind: 'run', ticket: 0, lanes: Array(10).fill(i % LANES) });
  await bench.until('all but what the stream has is on disk alone', () =>
    bench.backlog.entries.slice(1).every(({ batch }) => batch === undefined),
  );
  await bench.heal();
  bench.check();
});
