// One that waits until something has changed is woken, or hears that it failed.
export class ChangeSignal {
  #failure: Error | undefined;
  #wake: () => void = () => undefined;

  /** Something has changed. */
  tell(): void {
    this.#wake();
  }

  /** What waits now, or ever will, throws this; the first one counts. */
  fail(error: Error): void {
    this.#failure ??= error;
    this.#wake();
  }

  /** Resolves with the next change. @throws what `fail` was called with */
  async next(): Promise<void> {
    this.throwIfFailed();
    await new Promise<void>((resolve) => (this.#wake = resolve));
    this.throwIfFailed();
  }

  throwIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }
}
