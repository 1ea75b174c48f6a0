// Where a stream actor's batches come from, as the backlog does it: what goes back comes again in its order,
// whole or the rest, once the stream is ready; what comes meanwhile waits behind it.
import type { Batch } from '../src/frames/batch.js';
import type { SettledRange } from '../src/intake/outcome.js';
import type { StreamMessage } from '../src/streams/streamMessage.js';
import type { BatchSource, Rest } from '../src/streams/waiting.js';
import { messagesIn } from './frames.js';

interface Item {
  readonly number: number;
  readonly messages: readonly string[];
  rest?: Rest | undefined;
}

export class FakeSource implements BatchSource {
  /** Batches by their messages, in the order in which they were said to be settled, or went back. */
  readonly settledBatches: string[] = [];
  readonly returnedBatches: string[] = [];
  readonly outcomes: (readonly SettledRange[] | undefined)[] = [];
  readies = 0;
  stucks = 0;
  /** What it was told of batches that are aside. */
  readonly asides: number[] = [];
  #number = 0;
  readonly #told = new Map<Batch, Item>();
  #waiting: Item[] = [];

  constructor(
    readonly tell: (message: StreamMessage) => void,
    readonly make: (messages: readonly string[]) => Batch,
    readonly givesAgain = true,
  ) {}

  give(...messages: string[]): void {
    const item: Item = { number: this.#number++, messages };
    if (this.#waiting.length > 0) this.#waiting.push(item);
    else this.#tell(item);
  }

  /** What went back and did not come again, as messages of each batch. */
  get waiting(): readonly (readonly string[])[] {
    return this.#waiting.map(({ messages, rest }) =>
      rest === undefined ? messages : messagesIn(rest.batch.view()),
    );
  }

  settled(batch: Batch, ranges: readonly SettledRange[] | undefined): void {
    this.settledBatches.push(this.#take(batch).messages.join());
    this.outcomes.push(ranges);
  }

  returned(batch: Batch, rest?: Rest): void {
    const item = this.#take(batch);
    item.rest = rest;
    this.returnedBatches.push(item.messages.join());
    this.#waiting = [...this.#waiting, item].sort((a, b) => a.number - b.number);
  }

  ready(): void {
    this.readies++;
    if (this.givesAgain) for (const item of this.#waiting.splice(0)) this.#tell(item);
  }

  stuck(): void {
    this.stucks++;
  }

  aside(batches: number): void {
    this.asides.push(batches);
  }

  #take(batch: Batch): Item {
    const item = this.#told.get(batch);
    if (item === undefined) throw new Error('said of a batch that it has not, or was said before');
    this.#told.delete(batch);
    return item;
  }

  #tell(item: Item): void {
    const { rest } = item;
    const batch = rest?.batch ?? this.make(item.messages);
    item.rest = undefined;
    this.#told.set(batch, item);
    this.tell({ kind: 'batch', batch, ...(rest === undefined ? {} : { begun: rest.begun }) });
  }
}
