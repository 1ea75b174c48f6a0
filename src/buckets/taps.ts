// Who wants to see the batches of a bucket as they are closed. Promise: a batch that nobody waits for costs
// one look into an empty map, and nothing for its frames; and whatever goes wrong in looking, the batch goes
// its way.
import type { Batch } from '../frames/batch.js';

/** Gets each closed batch before its streams do. Its bytes are good only until it returns. */
export type Look = (batch: Batch) => void;

export class Taps {
  readonly #looks = new Map<string, Set<Look>>();
  readonly #onFault: (error: unknown) => void;

  constructor(onFault: (error: unknown) => void) {
    this.#onFault = onFault;
  }

  /**
   * @param bucket its name as people read it; it need not be there yet, and may end and come again
   * @returns the way to end looking
   */
  put(bucket: string, look: Look): () => void {
    const looks = this.#looks.get(bucket) ?? new Set();
    this.#looks.set(bucket, looks.add(look));
    return () => {
      looks.delete(look);
      if (looks.size === 0 && this.#looks.get(bucket) === looks) this.#looks.delete(bucket);
    };
  }

  show(batch: Batch): void {
    const looks = this.#looks.get(batch.bucket);
    if (looks === undefined) return;
    try {
      for (const look of looks) look(batch);
    } catch (error) {
      this.#onFault(error);
    }
  }
}
