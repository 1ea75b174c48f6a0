// A stream actor with its primary, its backup and a replay that do what the test says, and all that becomes
// of the frames.
import { expect } from 'vitest';
import type { ActorRef } from '../src/actors/actor.js';
import { ActorSystem } from '../src/actors/system.js';
import { Log } from '../src/log/log.js';
import { MemoryBudget } from '../src/memory/memoryBudget.js';
import { type Account, move, newAccount } from '../src/streams/account.js';
import type { BackupReplay } from '../src/streams/stream.js';
import { StreamActor } from '../src/streams/streamActor.js';
import type { StreamMessage } from '../src/streams/streamMessage.js';
import { StreamStats } from '../src/streams/streamStats.js';
import { FakeSource } from './fakeSource.js';
import { FakeClock, turn } from './fakeClock.js';
import { FakeStream, laneOf } from './fakeStream.js';
import { batchOf, messagesIn } from './frames.js';

export const MB = 1024 * 1024;

interface Run {
  readonly enough: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Sends what the backup has taken when the test says so. Each frame counts as half a megabyte. */
export class FakeReplay implements BackupReplay {
  calls: number[] = [];
  isKnown = true;
  /** Passed over, for their lane is away. */
  #kept: string[] = [];
  #before: string[] = [];
  #taken = 0;
  #run: Run | undefined;

  constructor(
    readonly backup: FakeStream,
    readonly account: Account,
    readonly primary: FakeStream,
    readonly deliver: (text: string) => void,
  ) {}

  get left(): readonly string[] {
    return [...this.#kept, ...this.#toSend];
  }

  get #toSend(): readonly string[] {
    return [...this.#before, ...this.backup.delivered.slice(this.#taken)];
  }

  get leftFrames(): number {
    return this.left.length;
  }

  get leftBytes(): number {
    return this.left.length * (MB / 2);
  }

  get isRunning(): boolean {
    return this.#run !== undefined;
  }

  send(enough: number): Promise<void> {
    if (enough === 0 && this.backup.outstanding > 0)
      throw new Error('something is being written to the backup still');
    this.calls.push(enough);
    return new Promise((resolve, reject) => (this.#run = { enough, resolve, reject }));
  }

  rewind(): void {
    this.#before = [...this.left];
    [this.#kept, this.#taken] = [[], this.backup.delivered.length];
  }

  async stop(): Promise<void> {
    this.#end((run) => run.resolve());
  }

  /** So many frames go to the primary, or stay. */
  go(frames: number): void {
    if (this.#run === undefined) return;
    for (let i = 0; i < frames && this.#toSend.length > 0; i++) this.#pass();
    if (this.#toSend.length * (MB / 2) <= this.#run.enough) this.#end((run) => run.resolve());
  }

  #pass(): void {
    const text = this.#toSend[0]!;
    if (this.#before.length > 0) this.#before.shift();
    else this.#taken++;
    if (this.primary.isAway(laneOf(text))) return void this.#kept.push(text);
    this.deliver(text);
    move(this.account, 1, 'backedUp', 'delivered');
  }

  fail(): void {
    this.#end((run) => run.reject(new Error('nothing answers')));
  }

  #end(how: (run: Run) => void): void {
    const run = this.#run;
    this.#run = undefined;
    if (run !== undefined) how(run);
  }
}

export class StreamActorBench {
  readonly clock = new FakeClock();
  readonly budget = new MemoryBudget(64 * MB);
  readonly lines: string[] = [];
  /** What the primary has had, in order, by whichever way. */
  readonly atPrimary: string[] = [];
  readonly rejected: string[] = [];
  readonly leftOver: string[] = [];
  readonly account: Account = newAccount();
  readonly stats = new StreamStats(() => 0);
  readonly primary = new FakeStream(4, (text, end) => {
    (end === 'delivered' ? this.atPrimary : this.rejected).push(text);
  });
  readonly backup = new FakeStream(4, (text, end) => {
    if (end === 'rejected') this.rejected.push(text);
  });
  readonly replay = new FakeReplay(this.backup, this.account, this.primary, (text) =>
    this.atPrimary.push(text),
  );
  readonly ref: ActorRef<StreamMessage>;
  readonly source = new FakeSource(
    (message) => this.ref.tell(message),
    (messages) => batchOf('orders', messages, this.budget),
    false,
  );
  stopAtMs = Infinity;
  actor!: StreamActor;

  private constructor(found: readonly string[], hasBackup: boolean) {
    for (const text of found) this.backup.delivered.push(text);
    this.account.received = this.account.backedUp = found.length;
    const log = new Log('INFO', (line) => this.lines.push(line));
    this.ref = new ActorSystem(this.clock, log).spawn<StreamMessage>(
      'stream',
      (context) =>
        (this.actor = new StreamActor(context, {
          primary: this.primary,
          backup: hasBackup ? this.backup : undefined,
          replay: hasBackup ? this.replay : undefined,
          slice: 1,
          retryMs: 10_000,
          errorRetryMs: 1_000,
          stopTimeoutMs: () => this.stopAtMs - this.clock.now(),
          onLeftOver: (batch) => {
            this.leftOver.push(...messagesIn(batch.view()));
            return Promise.resolve('queued');
          },
          source: this.source,
          account: this.account,
          stats: this.stats,
        })),
    );
  }

  static async opened(found: readonly string[] = [], hasBackup = true): Promise<StreamActorBench> {
    const bench = new StreamActorBench(found, hasBackup);
    await turn();
    return bench;
  }

  tell(...messages: string[]): void {
    this.source.give(...messages);
  }

  get settled(): readonly string[] {
    return this.source.settledBatches;
  }

  async advance(ms: number): Promise<void> {
    this.clock.advance(ms);
    await turn();
  }

  async stop(): Promise<void> {
    this.stopAtMs = this.clock.now() + 20_000;
    this.ref.stop();
    await turn();
  }

  /** In backup mode, with these in the backup. */
  async backedUp(...messages: string[]): Promise<this> {
    for (const message of messages) this.tell(message);
    this.primary.fail();
    await turn();
    this.backup.deliver();
    await turn();
    for (let i = 0; i < messages.length; i++) {
      this.backup.deliver();
      await turn();
    }
    expect(this.backup.delivered).toEqual(messages);
    return this;
  }

  async primaryIsBack(): Promise<void> {
    await this.advance(10_000);
    this.primary.answerProbe();
    await turn();
  }

  expectBalance(): void {
    const { received, ...ends } = this.account;
    expect(Object.values(ends).reduce((a, b) => a + b, 0)).toBe(received);
    expect(this.account.backedUp).toBe(this.replay.left.length);
  }
}
