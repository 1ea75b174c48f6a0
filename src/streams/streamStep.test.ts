// The step function alone, against a model: whatever happens in whichever order, each frame ends once, each
// lane keeps its order, each batch is said to be settled or goes back once, and all memory is given back.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { turn } from '../../support/fakeClock.js';
import { FakeSource } from '../../support/fakeSource.js';
import { FakeStream } from '../../support/fakeStream.js';
import { batchOf, messagesIn } from '../../support/frames.js';
import { MemoryBudget } from '../memory/memoryBudget.js';
import { type Account, newAccount } from './account.js';
import { DeliveryError, type Settled } from './stream.js';
import type { StreamEffect, StreamEvent } from './streamEvent.js';
import { type StreamFacts, type Write, isHolding, newState } from './streamState.js';
import { step } from './streamStep.js';
import { type Target, accepted, giveBack } from './waiting.js';

/** Does what the step function says, with streams that do what the test says; no actor, no timer, no log. */
class Model {
  readonly budget = new MemoryBudget(64 * 1024 * 1024);
  readonly state = newState();
  readonly ends: string[] = [];
  readonly account: Account = newAccount();
  readonly sent: string[] = [];
  readonly source = new FakeSource(
    (message) => {
      if (message.kind === 'batch')
        this.#events.push({ kind: 'batch', what: accepted(message.batch, this.account, message.begun) });
    },
    (messages) => batchOf('orders', messages, this.budget),
  );
  streams!: Record<Target, FakeStream>;
  hasEnded = false;
  retry = false;
  readonly #events: StreamEvent[] = [];

  constructor(
    readonly depth: number,
    readonly hasBackup: boolean,
  ) {
    this.#open();
  }

  #open(): void {
    const onEnd = (text: string): void => void this.ends.push(text);
    this.streams = { primary: new FakeStream(this.depth, onEnd), backup: new FakeStream(this.depth, onEnd) };
    this.#later(Promise.resolve(), () => ({ kind: 'opened', problem: undefined }));
  }

  get facts(): StreamFacts {
    const { primary } = this.streams;
    return {
      hasBackup: this.hasBackup,
      depth: { primary: this.depth, backup: this.depth },
      away: primary.away,
      hasReturned: primary.hasReturned,
      isReplayDue: false,
      whatWasLeft: '',
    };
  }

  give(lanes: readonly number[]): void {
    const messages = lanes.map((lane, i) => `${lane}:${this.sent.length + i}`);
    this.sent.push(...messages);
    this.source.give(...messages);
    this.#work();
  }

  take(event: StreamEvent): void {
    this.#events.push(event);
    this.#work();
  }

  #work(): void {
    for (let event = this.#events.shift(); event !== undefined; event = this.#events.shift())
      for (const effect of step(this.state, event, this.facts)) this.#run(effect);
  }

  /** What an answer of these streams comes to, if they are these still. */
  #later<T>(answer: Promise<T>, event: (value: T | Error) => StreamEvent): void {
    const { streams } = this;
    const tell = (value: T | Error): void => {
      if (this.streams === streams) this.take(event(value));
    };
    answer.then(tell, (error: unknown) => tell(error as Error));
  }

  #run(effect: StreamEffect): void {
    switch (effect.kind) {
      case 'write':
        return this.#write(effect.write);
      case 'count':
        return this.#count(effect);
      case 'settled':
        effect.what.batch.release();
        return this.source.settled(effect.what.told, undefined);
      case 'letGo':
        return effect.batch.release();
      case 'giveBack':
        return giveBack(effect.what, this.account, this.source);
      case 'leaveOver': {
        const { batch, told } = effect.what;
        this.ends.push(...messagesIn(batch.view()));
        this.account.queued -= batch.frames;
        this.account.rejected += batch.frames;
        batch.release();
        this.source.settled(told, undefined);
        return void this.#events.push({ kind: 'leftOver' });
      }
      case 'retry':
        return void (this.retry = effect.as !== 'never');
      case 'ask':
        return this.#later(this.streams[effect.target].probe(), (value) => ({
          kind: 'probed',
          target: effect.target,
          problem: value instanceof Error ? value.message : undefined,
        }));
      case 'readmit':
        this.streams.primary.readmit();
        return void this.#events.push({ kind: 'readmitted', after: effect.after });
      case 'cut':
        return void this.streams[effect.target].close({ deadlineMs: 0 });
      case 'ready':
        return this.source.ready();
      case 'closeToChange':
        for (const stream of Object.values(this.streams)) void stream.close({ deadlineMs: 0 });
        // It comes before the outcomes of what was cut off.
        return this.#later(Promise.resolve(), () => ({ kind: 'closed' }));
      case 'takeParts':
        return this.#open();
      case 'end':
        return void (this.hasEnded = true);
      case 'show':
      case 'notBack':
      case 'replay':
      case 'stopReplay':
      case 'notSent':
      case 'forgetNotSent':
      case 'watch':
      case 'stuck':
      case 'aside':
        return;
    }
  }

  #write(write: Write): void {
    const written = (outcome: Settled | DeliveryError): void =>
      this.take({ kind: 'written', write, outcome });
    this.streams[write.target].write(write.what.batch).then(written, written);
  }

  #count({ write, outcome }: Extract<StreamEffect, { readonly kind: 'count' }>): void {
    const { delivered, rejected } = outcome instanceof DeliveryError ? outcome.settled : outcome;
    this.account.queued -= delivered + rejected;
    this.account.rejected += rejected;
    this.account[write.target === 'primary' ? 'delivered' : 'backedUp'] += delivered;
  }

  expectBalance(): void {
    const { received, ...ends } = this.account;
    expect(Object.values(ends).reduce((sum, frames) => sum + frames, 0)).toBe(received);
    expect(received + this.source.waiting.flat().length).toBe(this.sent.length);
  }
}

type Act =
  | { readonly kind: 'give'; readonly lanes: readonly number[] }
  | { readonly kind: 'deliver'; readonly to: Target; readonly lane: number; readonly most: number }
  | { readonly kind: 'refuse' | 'fail'; readonly to: Target }
  | { readonly kind: 'rejectedFull' }
  | { readonly kind: 'away' | 'back'; readonly lane: number }
  | { readonly kind: 'answer'; readonly to: Target; readonly isBack: boolean }
  | { readonly kind: 'tick' | 'giveBack' | 'change' | 'giveUpPrimary' | 'drain' };

const to = fc.constantFrom<Target>('primary', 'backup');
const lane = fc.nat(2);
const one = <K extends string>(...kinds: K[]): fc.Arbitrary<K> => fc.constantFrom(...kinds);
const act: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: one('give'), lanes: fc.array(lane, { minLength: 1, maxLength: 4 }) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ kind: one('deliver'), to, lane, most: fc.integer({ min: 1, max: 4 }) }),
  },
  { weight: 3, arbitrary: fc.record({ kind: one('refuse', 'fail'), to }) },
  { weight: 1, arbitrary: fc.record({ kind: one('rejectedFull') }) },
  { weight: 2, arbitrary: fc.record({ kind: one('away', 'back'), lane }) },
  { weight: 4, arbitrary: fc.record({ kind: one('answer'), to, isBack: fc.boolean() }) },
  { weight: 5, arbitrary: fc.record({ kind: one('tick', 'tick', 'giveBack', 'change') }) },
  { weight: 1, arbitrary: fc.record({ kind: one('giveUpPrimary', 'drain') }) },
);

function perform(model: Model, now: Act): void {
  const { streams } = model;
  switch (now.kind) {
    case 'give':
      return model.give(now.lanes);
    case 'deliver':
      return streams[now.to].deliver(now.lane, now.most);
    case 'refuse':
      return streams[now.to].refuse();
    case 'fail':
      return streams[now.to].fail();
    case 'rejectedFull':
      return streams.primary.fail('REJECTED has no room', 'REJECTED');
    case 'away':
      return streams.primary.goAway(now.lane);
    case 'back':
      return streams.primary.comeBack(now.lane);
    case 'answer':
      return streams[now.to].answerProbe(now.isBack ? undefined : 'away');
    case 'tick':
      if (model.retry) model.take({ kind: 'retry' });
      return;
    case 'giveBack':
    case 'change':
    case 'giveUpPrimary':
    case 'drain':
      return model.take({ kind: now.kind });
  }
}

/** Everything works again for a while, and then the time is over, for the primary and for the backup. */
async function end(model: Model): Promise<void> {
  model.take({ kind: 'drain' });
  for (let i = 0; i < 60 && !model.hasEnded; i++) {
    for (const stream of Object.values(model.streams)) stream.deliver();
    if (i === 40 || i === 50) model.take({ kind: 'deadline' });
    await turn();
  }
}

test('any history: each frame ends once, lanes keep their order, batches are settled once, counts add up', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(act, { minLength: 1, maxLength: 60 }),
      fc.constantFrom(1, 2, 8),
      fc.boolean(),
      async (acts, depth, hasBackup) => {
        const model = new Model(depth, hasBackup);
        for (const now of acts) {
          perform(model, now);
          await turn();
          model.expectBalance();
        }
        await end(model);
        // Only what went back before the end is not here any more: the source has it, and gives it to nobody.
        const left = model.source.waiting.flat();
        expect([model.hasEnded, isHolding(model.state), model.account.queued]).toEqual([true, false, 0]);
        expect([...model.ends, ...left].sort()).toEqual([...model.sent].sort());
        for (const prefix of ['0:', '1:', '2:'])
          expect([...model.ends, ...left].filter((text) => text.startsWith(prefix))).toEqual(
            model.sent.filter((text) => text.startsWith(prefix)),
          );
        expect(model.source.settledBatches.length).toBe(new Set(model.source.settledBatches).size);
        if (left.length === 0) expect(model.budget.heldBytes).toBe(0);
      },
    ),
    { numRuns: 1_000 },
  );
}, 60_000);

test('its streams are closed before the last write has ended: it takes its new parts once that has', () => {
  const [state, account] = [newState(), newAccount()];
  const budget = new MemoryBudget(64 * 1024 * 1024);
  const facts: StreamFacts = {
    hasBackup: false,
    depth: { primary: 1, backup: 1 },
    away: undefined,
    hasReturned: false,
    isReplayDue: false,
    whatWasLeft: '',
  };
  const does = (event: StreamEvent): readonly StreamEffect['kind'][] =>
    step(state, event, facts).map(({ kind }) => kind);
  does({ kind: 'opened', problem: undefined });
  does({ kind: 'batch', what: accepted(batchOf('orders', ['a'], budget), account) });
  const write = state.writes[0]!;
  expect(does({ kind: 'change' })).toEqual(['retry', 'closeToChange']);
  expect(does({ kind: 'closed' })).toEqual([]);
  expect(does({ kind: 'written', write, outcome: { delivered: 1, rejected: 0 } })).toEqual([
    'count',
    'settled',
    'takeParts',
    'ready',
  ]);
});
