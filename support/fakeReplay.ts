// The replay of a backup that does what the test says. Each frame counts as half a megabyte.
import { type Account, move } from '../src/streams/account.js';
import type { BackupReplay } from '../src/streams/stream.js';
import { MB } from './bench.js';
import { type FakeStream, laneOf } from './fakeStream.js';

interface Run {
  readonly enough: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Sends what the backup has taken when the test says so. */
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
