// How each of a connection's frames has ended, between two questions for that. Promise: every frame that came
// is in it once, in order; it is bounded, whatever a client sends and never asks for.
import type { Followed, RecordOutcome, Ticket } from '../../intake/ticket.js';
import type { MemoryBudget } from '../../memory/memoryBudget.js';

/** Frames from `first` on, counted from 0 since the question before. */
interface OutcomeRange {
  readonly first: number;
  frames: number;
  readonly outcome: RecordOutcome;
}

/** What comes behind so many without a question is not followed, and said to be not known. */
const MOST_FOLLOWED = 100_000;
/** Of memory, about, for each range that is told. */
const RANGE_BYTES = 160;

export class OutcomeList implements Ticket {
  readonly #budget: MemoryBudget;
  /** Somebody waits for all of it. */
  #onComplete: (() => void) | undefined;
  #isDropped = false;
  #ranges: OutcomeRange[] = [];
  #followed = 0;
  #told = 0;
  /** All that came. */
  #frames = 0;

  constructor(budget: MemoryBudget) {
    this.#budget = budget;
  }

  /** The next frames. Undefined: there are too many to follow. */
  follow(frames: number): Followed | undefined {
    const first = this.#frames;
    this.#frames += frames;
    if (this.#frames > MOST_FOLLOWED) return undefined;
    this.#followed = this.#frames;
    return { ticket: this, first };
  }

  ended(first: number, frames: number, outcome: RecordOutcome): void {
    if (this.#isDropped) return;
    this.#ranges.push({ first, frames, outcome });
    this.#budget.take(RANGE_BYTES);
    this.#told += frames;
    if (this.isComplete) this.#onComplete?.();
  }

  get frames(): number {
    return this.#frames;
  }

  /** It was asked for. @param onComplete called when all that it follows has ended, unless it has already */
  ask(onComplete: () => void): void {
    this.#onComplete = onComplete;
  }

  /** All that it follows has ended. */
  get isComplete(): boolean {
    return this.#told === this.#followed;
  }

  /** In order; neighbours that ended in the same way are one. The list is empty afterwards. */
  take(): readonly Readonly<OutcomeRange>[] {
    const rest = { first: this.#followed, frames: this.#frames - this.#followed };
    if (rest.frames > 0) this.ended(rest.first, rest.frames, { kind: 'unknown' });
    const sorted = this.#ranges.sort((a, b) => a.first - b.first);
    const together: OutcomeRange[] = [];
    for (const range of sorted) {
      const last = together.at(-1);
      if (last !== undefined && follows(last, range)) last.frames += range.frames;
      else together.push({ ...range });
    }
    this.drop();
    return together;
  }

  /** Nobody wants to know. */
  drop(): void {
    this.#isDropped = true;
    this.#budget.give(this.#ranges.length * RANGE_BYTES);
    this.#ranges = [];
  }
}

function follows(before: OutcomeRange, range: OutcomeRange): boolean {
  const [a, b] = [before.outcome, range.outcome];
  if (a.kind === 'delivered' && b.kind === 'delivered')
    return (
      a.stream === b.stream &&
      a.partition === b.partition &&
      (a.baseOffset === undefined
        ? b.baseOffset === undefined
        : a.baseOffset + BigInt(before.frames) === b.baseOffset)
    );
  if (a.kind === 'rejected' && b.kind === 'rejected') return a.code === b.code && a.reason === b.reason;
  if (a.kind === 'discarded' && b.kind === 'discarded') return a.reason === b.reason;
  return a.kind === b.kind;
}
