// The half frames of all connections together, the oldest first. Memory that is full of them alone would stay
// full for ever, for no client is read while it is: so then the oldest may go on, until it is whole or too
// old.
import type { MemoryBudget } from './memoryBudget.js';

export class Unfinished<Holder> {
  readonly #held = new Map<Holder, number>();
  #bytes = 0;

  /**
   * `holder` holds `bytes` for a half frame now, 0 when it has none; `isNew`: for another one than before.
   */
  set(holder: Holder, bytes: number, isNew: boolean): void {
    const before = this.#held.get(holder) ?? 0;
    this.#bytes += bytes - before;
    if (isNew || bytes === 0) this.#held.delete(holder);
    if (bytes > 0) this.#held.set(holder, bytes);
  }

  /**
   * Who has to be read for memory to empty; undefined: what is held besides half frames is enough to empty
   * it.
   */
  blocking(budget: MemoryBudget): Holder | undefined {
    const isTheirs =
      this.#bytes >= budget.limitBytes / 4 && budget.heldBytes - this.#bytes <= budget.limitBytes / 2;
    return budget.isOver && isTheirs ? this.#held.keys().next().value : undefined;
  }
}
