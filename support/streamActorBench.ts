// A stream actor with its primary, its backup and a replay that do what the test says, and all that becomes
// of the frames.
import { expect } from 'vitest';
import type { ActorRef } from '../src/actors/actor.js';
import { Batch } from '../src/frames/batch.js';
import { NOBODY } from '../src/frames/origins.js';
import { type Account, newAccount } from '../src/streams/account.js';
import { StreamActor } from '../src/streams/streamActor.js';
import type { StreamMessage } from '../src/streams/streamMessage.js';
import type { LeftOverEnd, StreamActorOptions } from '../src/streams/streamOptions.js';
import { StreamStats } from '../src/streams/streamStats.js';
import { ActorBench } from './bench.js';
import { FakeReplay } from './fakeReplay.js';
import { FakeSource } from './fakeSource.js';
import { turn } from './fakeClock.js';
import { FakeStream } from './fakeStream.js';
import { framesOf, messagesIn } from './frames.js';

export interface StreamActorChoice extends Partial<
  Pick<StreamActorOptions, 'slice' | 'random' | 'origins' | 'endReason'>
> {
  readonly depth?: number;
  readonly hasBackup?: boolean;
  /** How the primary is opened. */
  readonly open?: () => Promise<void>;
  readonly leftOverEnd?: LeftOverEnd;
  /** Of the frames it is told. */
  readonly origin?: number;
  /** With a replay: what the backup holds from a previous run. */
  readonly found?: readonly string[];
}

export class StreamActorBench extends ActorBench {
  /** Every end of a frame, in order: where, and which. */
  readonly ends: string[] = [];
  readonly reasons: string[] = [];
  readonly account: Account = newAccount();
  readonly stats = new StreamStats(() => 0);
  /** Those that there were, the present ones last. */
  readonly primaries: FakeStream[] = [];
  readonly backups: FakeStream[] = [];
  readonly replay: FakeReplay;
  readonly source: FakeSource;
  readonly ref: ActorRef<StreamMessage>;
  stopAtMs = Infinity;
  /** How often other streams have come, and what new ones have to wait for. */
  taken = 0;
  gate: Promise<void> = Promise.resolve();
  /** The living one: a failed one is replaced. */
  actor!: StreamActor;

  constructor(readonly choice: StreamActorChoice = {}) {
    super({ level: 'INFO' });
    const { found = [], open } = choice;
    this.#newStreams();
    if (open !== undefined) this.primary.open = open;
    this.backup.delivered.push(...found);
    this.account.received = this.account.backedUp = found.length;
    this.replay = new FakeReplay(this.backup, this.account, this.primary, (text) =>
      this.ends.push(`primary ${text}`),
    );
    this.source = new FakeSource(
      (message) => this.ref.tell(message),
      (messages) => this.#shareOf(messages),
      choice.found === undefined,
    );
    this.ref = this.system.spawn<StreamMessage>(
      'stream',
      (context) => (this.actor = new StreamActor(context, this.options())),
    );
  }

  static async opened(choice: StreamActorChoice = {}): Promise<StreamActorBench> {
    const bench = new StreamActorBench(choice);
    await turn();
    return bench;
  }

  /** With the replay of a backup that holds these; what it gives back does not come again. */
  static withReplay(found: readonly string[] = [], hasBackup = true): Promise<StreamActorBench> {
    return StreamActorBench.opened({ found, hasBackup });
  }

  options(): StreamActorOptions {
    const { gate, primary, backup, account, stats, source } = this;
    const {
      hasBackup = true,
      slice = 1,
      leftOverEnd = 'rejected',
      origins,
      found,
      random,
      endReason,
    } = this.choice;
    return {
      beforeOpen: () => gate,
      primary,
      backup: hasBackup ? backup : undefined,
      replay: hasBackup && found !== undefined ? this.replay : undefined,
      slice,
      retryMs: 10_000,
      errorRetryMs: 1_000,
      stopTimeoutMs: () => this.stopAtMs - this.clock.now(),
      onLeftOver: (batch, reason) => {
        this.reasons.push(reason);
        for (const text of messagesIn(batch.view())) this.ends.push(`left over ${text}`);
        return Promise.resolve(leftOverEnd);
      },
      source,
      account,
      stats,
      origins,
      ...(random === undefined ? {} : { random }),
      ...(endReason === undefined ? {} : { endReason }),
    };
  }

  get primary(): FakeStream {
    return this.primaries.at(-1)!;
  }

  /** It has none of the actor's frames where the test wants no backup. */
  get backup(): FakeStream {
    return this.backups.at(-1)!;
  }

  tell(...messages: string[]): void {
    this.source.give(...messages);
  }

  get settled(): readonly string[] {
    return this.source.settledBatches;
  }

  /** The backlog has them, and the stream has not. */
  get givenBack(): readonly string[] {
    return this.source.waiting.flat();
  }

  /** What the primary has had, in order, by whichever way. */
  get atPrimary(): readonly string[] {
    return this.#endedAt('primary');
  }

  get leftOver(): readonly string[] {
    return this.#endedAt('left over');
  }

  /** Other streams, as a reload makes them. */
  change(withinMs = 5_000): void {
    this.#newStreams();
    this.configure(withinMs);
  }

  configure(withinMs = 5_000): void {
    this.ref.tell({ kind: 'configure', options: this.options(), withinMs, onTaken: () => this.taken++ });
  }

  stop(inMs = 20_000): void {
    this.stopAtMs = this.clock.now() + inMs;
    this.ref.stop();
  }

  /** Stopped, and all the time for that is over. */
  async stopped(): Promise<void> {
    this.stop();
    for (let second = 0; second < 25; second++) await this.advance(1_000);
  }

  /** In backup mode, with these in the backup. */
  async backedUp(...messages: string[]): Promise<this> {
    for (const message of messages) this.tell(message);
    this.primary.fail();
    await turn();
    for (let i = 0; i <= messages.length; i++) {
      this.backup.deliver();
      await turn();
    }
    expect(this.backup.delivered).toEqual(messages);
    return this;
  }

  async primaryIsBack(afterMs = 10_000): Promise<void> {
    await this.advance(afterMs);
    this.primary.answerProbe();
    await turn();
  }

  get ended(): number {
    const { received, ...ends } = this.account;
    expect(received).toBeGreaterThanOrEqual(0);
    return Object.values(ends).reduce((sum, count) => sum + count, 0);
  }

  /** Every frame is in the account, and what it calls backed up lies in the backup. */
  expectBalance(): void {
    expect(this.ended).toBe(this.account.received);
    if (this.choice.found !== undefined) expect(this.account.backedUp).toBe(this.replay.left.length);
  }

  /** Stopped, with nothing held, no timer, and every frame in the account. */
  expectClean(): void {
    expect(this.ref.state).toBe('stopped');
    this.expectBalance();
    expect([this.budget.heldBytes, this.clock.timers]).toEqual([0, 0]);
  }

  #newStreams(): void {
    const { depth = 4 } = this.choice;
    const onEnd = (place: string) => (text: string, end: string) =>
      void this.ends.push(`${end === 'rejected' ? end : place} ${text}`);
    this.primaries.push(new FakeStream(depth, onEnd('primary')));
    this.backups.push(new FakeStream(depth, onEnd('backup')));
  }

  /** As the backlog does. */
  #shareOf(messages: readonly string[]): Batch {
    const batch = new Batch('orders', this.budget);
    batch.origin = this.choice.origin ?? NOBODY;
    const frames = framesOf('orders', messages);
    batch.append(frames, 0, frames.length, messages.length, 0);
    const share = batch.share(true);
    batch.release();
    return share;
  }

  #endedAt(place: string): readonly string[] {
    return this.ends.filter((end) => end.startsWith(`${place} `)).map((end) => end.slice(place.length + 1));
  }
}
