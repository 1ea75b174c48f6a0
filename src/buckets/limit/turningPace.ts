// The pace of a backup's replay under whichever limit its bucket has at the time; without one it goes as fast
// as it can.
import type { Pace } from '../../streams/backup/pace.js';

export class TurningPace implements Pace {
  readonly #current: () => Pace | undefined;
  #waitingFor: Pace | undefined;
  #grantedBy: Pace | undefined;
  #turns = 0;

  constructor(current: () => Pace | undefined) {
    this.#current = current;
  }

  async next(most: number): Promise<number> {
    for (;;) {
      const turns = this.#turns;
      const pace = (this.#grantedBy = this.#waitingFor = this.#current());
      if (pace === undefined) return Infinity;
      const granted = await pace.next(most);
      this.#waitingFor = undefined;
      if (granted > 0 || turns === this.#turns) return granted;
    }
  }

  spend(granted: number, frames: number): void {
    this.#grantedBy?.spend(granted, frames);
  }

  stop(): void {
    this.#waitingFor?.stop();
  }

  /** There is another limit now, or none: who waits for room under the one before looks again. */
  turn(): void {
    this.#turns++;
    this.#waitingFor?.stop();
  }
}
