// Who waits for the frames of one batch: which frame is which record of which ticket. Of a batch that nobody
// follows there is none. Promise: each record is told once, however its frames were scattered.
import type { SettledRange } from '../intake/outcome.js';
import type { Followed, RecordOutcome } from '../intake/ticket.js';
import type { MemoryBudget } from '../memory/memoryBudget.js';

/** Frames of the batch from `at` on, followed by one ticket. */
interface Span extends Followed {
  readonly at: number;
  readonly frames: number;
}

/** Of memory, about. */
const SPAN_BYTES = 64;

export class Followers {
  readonly #budget: MemoryBudget;
  /** In the order of the batch. */
  readonly #spans: Span[] = [];

  constructor(budget: MemoryBudget) {
    this.#budget = budget;
  }

  /** Frames from `at` on were appended to the batch. */
  add(at: number, frames: number, { ticket, first }: Followed): void {
    this.#spans.push({ at, frames, ticket, first });
    this.#budget.take(SPAN_BYTES);
  }

  /** The batch is settled: each of its frames is in one range. */
  settled(ranges: readonly SettledRange[], stream: string): void {
    const last = this.#spans.at(-1)!;
    const told = new Uint8Array(last.at + last.frames);
    for (const range of ranges) this.#tellRange(range, stream, told);
    // There are none, unless a stream has broken its word.
    for (const span of this.#spans)
      for (let at = span.at; at < span.at + span.frames; at++)
        if (told[at] === 0) tell(span, at, 1, { kind: 'unknown' });
    this.#forget();
  }

  /** All of it ended in this way. */
  ended(outcome: RecordOutcome): void {
    for (const span of this.#spans) tell(span, span.at, span.frames, outcome);
    this.#forget();
  }

  /** As few calls as there are stretches of frames that are one behind the other, in the range and here. */
  #tellRange(range: SettledRange, stream: string, told: Uint8Array): void {
    const { first, frames, indexes } = range;
    for (let i = first, length = 1; i < first + frames; i += length) {
      const at = indexes === undefined ? i : indexes[i]!;
      const span = this.#spanAt(at);
      length = 1;
      if (span === undefined) continue;
      // A stream that breaks its word, and tells of one twice, is believed once.
      if (told[at] === 1) continue;
      const most = Math.min(first + frames - i, span.at + span.frames - at);
      while (
        length < most &&
        told[at + length] === 0 &&
        (indexes?.[i + length] ?? at + length) === at + length
      )
        length++;
      told.fill(1, at, at + length);
      tell(span, at, length, outcomeFrom(range, i, stream));
    }
  }

  #spanAt(at: number): Span | undefined {
    let [low, high] = [0, this.#spans.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#spans[middle]!.at <= at) low = middle + 1;
      else high = middle;
    }
    const span = this.#spans[low - 1];
    return span !== undefined && at < span.at + span.frames ? span : undefined;
  }

  #forget(): void {
    this.#budget.give(this.#spans.length * SPAN_BYTES);
    this.#spans.length = 0;
  }
}

function tell({ ticket, first, at: start }: Span, at: number, frames: number, outcome: RecordOutcome): void {
  ticket.ended(first + at - start, frames, outcome);
}

/** As the range says it, from its frame `i` on. */
function outcomeFrom({ first, outcome }: SettledRange, i: number, stream: string): RecordOutcome {
  if (outcome.kind !== 'delivered' || outcome.baseOffset === undefined) return { ...outcome, stream };
  return { ...outcome, stream, baseOffset: outcome.baseOffset + BigInt(i - first) };
}
