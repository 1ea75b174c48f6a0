// The streams of a backlog, each with a number. One that has gone leaves its number to the next that comes.
import { type BacklogStream, StreamCursor } from './streamCursor.js';

export class StreamCursors {
  readonly #all: StreamCursor[];

  constructor(streams: readonly BacklogStream[]) {
    this.#all = streams.map((stream) => new StreamCursor(stream, 0));
  }

  get all(): readonly StreamCursor[] {
    return this.#all;
  }

  at(number: number): StreamCursor {
    return this.#all[number]!;
  }

  /**
   * The number of the stream whose outcomes are heard, of what is added now: the first that feeds Kafka, or
   * else the first; -1: there is none.
   */
  get reporter(): number {
    const kafka = this.#all.findIndex(({ takesMore, stream: { type } }) => takesMore && type === 'kafka');
    return kafka === -1 ? this.#all.findIndex(({ takesMore }) => takesMore) : kafka;
  }

  /** The number of the next one that comes. */
  get freeNumber(): number {
    const left = this.#all.findIndex(({ isGone, held }) => isGone && held === 0);
    return left === -1 ? this.#all.length : left;
  }

  /** @param next the place from which on entries are for it */
  set(number: number, stream: BacklogStream, next: number): void {
    this.#all[number] = new StreamCursor(stream, next);
  }

  /** Those that can't write give back what they hold. */
  recall(): void {
    for (const cursor of this.#all) cursor.giveBack();
  }
}
