// A mailbox: first in, first out. Used only while its actor is busy or not running; an idle actor gets its
// message at once.

export class Mailbox<M> {
  #messages: (M | undefined)[] = [];
  #head = 0;

  get size(): number {
    return this.#messages.length - this.#head;
  }

  push(message: M): void {
    this.#messages.push(message);
  }

  shift(): M | undefined {
    if (this.#head === this.#messages.length) return undefined;
    const message = this.#messages[this.#head];
    // Shifting an array moves all that is left; a head that walks, and a cut now and then, does not. What has
    // left is not held on to.
    this.#messages[this.#head++] = undefined;
    if (this.#head === this.#messages.length || (this.#head > 1024 && this.#head * 2 > this.#messages.length))
      this.putBack([]);
    return message;
  }

  /** Puts messages before all that wait. */
  putBack(messages: readonly M[]): void {
    this.#messages = [...messages, ...this.#messages.slice(this.#head)];
    this.#head = 0;
  }
}
