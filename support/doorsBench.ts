// Doors with what stands behind them, for tests: buckets that keep what they are told, and memory to fill.
import type { RouterMessage } from '../src/buckets/messages.js';
import type { Door } from '../src/doors/door.js';
import { Doors } from '../src/doors/doors.js';
import type { BucketKey } from '../src/frames/bucketName.js';
import { Origins } from '../src/frames/origins.js';
import type { Receipt } from '../src/intake/receipt.js';
import { ActorBench } from './bench.js';
import { FakeRejected } from './fakeRejected.js';
import { turn } from './fakeClock.js';
import { messagesIn } from './frames.js';

export class DoorsBench extends ActorBench {
  readonly rejected = new FakeRejected();
  readonly doors: Doors;
  /** Runs that came, in their order. */
  readonly runs: { readonly bucket: BucketKey; readonly messages: readonly string[] }[] = [];
  /** Questions that wait: answered by the test. */
  readonly receipts: Receipt[] = [];
  readonly #doors: readonly Door[];

  constructor(doors: readonly Door[], memoryBytes?: number) {
    super(memoryBytes === undefined ? {} : { memoryBytes });
    this.#doors = doors;
    const buckets = { tell: (message: RouterMessage) => this.#take(message) };
    const { system, budget, rejected } = this;
    this.doors = new Doors({ system, buckets, rejected, origins: new Origins(), budget }, doors);
    this.doors.open();
  }

  /** Messages of one bucket. */
  messages(bucket: BucketKey): readonly string[] {
    return this.runs.flatMap((run) => (run.bucket === bucket ? run.messages : []));
  }

  received(door: Door): number {
    return this.doors.counts.get(door.name)!.received;
  }

  /** What was to happen at once has happened. */
  async quiet(): Promise<void> {
    for (let i = 0; i < 30; i++) await turn();
  }

  /** As the daemon does it. */
  async end(): Promise<void> {
    let hasEnded = false;
    void this.doors
      .quiesce(1_000)
      .then(() => this.doors.release())
      .then(() => (hasEnded = true));
    await this.until(`the end of ${this.#doors.map(({ name }) => name).join()}`, () => hasEnded);
  }

  #take(message: RouterMessage): void {
    if (message.kind === 'fence') this.receipts.push(message.receipt);
    if (message.kind !== 'run') return;
    const { bucket, chunk, start, end } = message;
    this.runs.push({ bucket, messages: messagesIn(chunk, start, end) });
  }
}
