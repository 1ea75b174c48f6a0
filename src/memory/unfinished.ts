// Input of all doors that is not whole yet: half frames, half requests, the oldest first. Memory that is full
// of them alone would stay full for ever, for no client is read while it is: so then the oldest may go on,
// until it is whole or too old. There is one of these for all doors. With one for each, every door sees too
// little of its own to let anybody go on, and too much besides, which is the others': they lock each other.
import type { MemoryBudget } from './memoryBudget.js';

/** A client that holds such input. */
export interface UnfinishedHolder {
  /**
   * The client is read although memory is full, until the input that it holds now is whole, or too old for
   * its door. Called every second, as long as it must be.
   */
  finish(): void;
}

export class Unfinished {
  readonly #held = new Map<UnfinishedHolder, number>();
  #bytes = 0;

  /** What all of them hold. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * `holder` holds `bytes` of the budget for unfinished input now, 0 when it has none; `isNew`: for another
   * frame or request than before.
   */
  set(holder: UnfinishedHolder, bytes: number, isNew: boolean): void {
    const before = this.#held.get(holder) ?? 0;
    this.#bytes += bytes - before;
    if (isNew || bytes === 0) this.#held.delete(holder);
    if (bytes > 0) this.#held.set(holder, bytes);
  }

  /**
   * Who has to be read for memory to empty; undefined: what is held besides is enough to empty it.
   */
  blocking(budget: MemoryBudget): UnfinishedHolder | undefined {
    const isTheirs =
      this.#bytes >= budget.limitBytes / 4 && budget.heldBytes - this.#bytes <= budget.limitBytes / 2;
    return budget.isOver && isTheirs ? this.#held.keys().next().value : undefined;
  }
}
