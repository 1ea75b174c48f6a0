// A receipt question on its way: it waits for every bucket that its connection has touched, and then it is answered, once.

export class Receipt {
  // One for the asker, so that buckets which answer at once don't end it before all have been asked.
  #waitingFor = 1;

  /**
   * @param frames how many frames of the connection came before the question
   * @param answer called once, when all of them are safe
   */
  constructor(readonly frames: number, readonly answer: (receipt: Receipt) => void) {}

  /** One more that has to let go. */
  hold(): void {
    this.#waitingFor++;
  }

  letGo(): void {
    if (--this.#waitingFor === 0) this.answer(this);
  }
}
