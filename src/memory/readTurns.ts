// Reads of what lies safe on a disk and could wait there: one after another, and while memory is short each
// waits for room. One goes on in any case now and then, or what holds the memory and never lets go would stop
// all others.
import type { Clock } from '../clock.js';
import type { MemoryBudget } from './memoryBudget.js';

/** How often it is looked whether there is room. */
const LOOK_MS = 20;
const LONGEST_WAIT_MS = 240;
/** A batch with its checkpoints, as a segment holds it. */
const SPACE_BYTES = 1.25 * 1024 * 1024;

export class ReadTurns {
  #last: Promise<unknown> = Promise.resolve();
  #space: Buffer | undefined;

  constructor(
    readonly budget: MemoryBudget,
    readonly clock: Clock,
  ) {}

  /**
   * Runs `read` when its turn comes.
   * @param read gets a space to read to, which is its own until it is done
   */
  read<T>(read: (space: Buffer) => Promise<T>): Promise<T> {
    const reading = this.#last
      .then(() => this.#room())
      .then(() => read((this.#space ??= Buffer.allocUnsafeSlow(SPACE_BYTES))));
    this.#last = reading.catch(() => undefined);
    return reading;
  }

  async #room(): Promise<void> {
    for (let waitedMs = 0; this.budget.isTight && waitedMs < LONGEST_WAIT_MS; waitedMs += LOOK_MS) {
      this.budget.squeeze();
      await new Promise<void>((resolve) => this.clock.after(LOOK_MS, resolve));
    }
  }
}
