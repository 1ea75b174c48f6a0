// A question of a connection on its way: it waits for every bucket that the connection has touched, and then
// it is answered, once.
import type { FenceLevel } from '../frames/frame.js';

export class Receipt {
  // One for the asker, so that buckets which answer at once don't end it before all have been asked.
  #waitingFor = 1;

  /**
   * @param frames how many frames of the connection came before the question
   * @param answer called once, when all of them are safe, or settled
   */
  constructor(
    readonly frames: number,
    readonly answer: (receipt: Receipt) => void,
    readonly level: FenceLevel = 'safe',
  ) {}

  /** One more that must be done with it. */
  add(): void {
    this.#waitingFor++;
  }

  done(): void {
    if (--this.#waitingFor === 0) this.answer(this);
  }
}
