// The entries of a backlog, in their order. Each has a place, a number that it keeps when those before it
// have left.
import type { Entry } from './entry.js';

export class Entries {
  readonly #all: Entry[] = [];
  #first = 0;

  /** The place of the first that is here: so many have left. */
  get first(): number {
    return this.#first;
  }

  /** The place behind the last: so many were added in all. */
  get end(): number {
    return this.#first + this.#all.length;
  }

  /** Bytes of their batches, in memory, and in the spool; most are in both. */
  get heldBytes(): { readonly memory: number; readonly disk: number } {
    return {
      memory: this.#all.reduce((sum, { batch }) => sum + (batch?.length ?? 0), 0),
      disk: this.#all.reduce((sum, { segment }) => sum + segment.safeBytes, 0),
    };
  }

  get all(): readonly Entry[] {
    return this.#all;
  }

  /** Undefined: it has left, or is not added yet. */
  at(place: number): Entry | undefined {
    return this.#all[place - this.#first];
  }

  placeOf(entry: Entry): number {
    return this.#first + this.#all.indexOf(entry);
  }

  push(entry: Entry): void {
    this.#all.push(entry);
  }

  shift(): Entry | undefined {
    if (this.#all.length > 0) this.#first++;
    return this.#all.shift();
  }
}
