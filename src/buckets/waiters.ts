// Promises of a state: each resolves when what it waits for is so, which is looked at when there is a reason
// to; or when nothing is waited for any more.
interface Awaited {
  readonly isSo: () => boolean;
  readonly resolve: () => void;
}

export class Waiters {
  #awaited: Awaited[] = [];
  #isOver = false;

  async when(isSo: () => boolean): Promise<void> {
    if (isSo() || this.#isOver) return;
    await new Promise<void>((resolve) => this.#awaited.push({ isSo, resolve }));
  }

  look(): void {
    if (this.#awaited.length === 0) return;
    const isDue = ({ isSo }: Awaited): boolean => this.#isOver || isSo();
    const due = this.#awaited.filter(isDue);
    this.#awaited = this.#awaited.filter((one) => !due.includes(one));
    for (const { resolve } of due) resolve();
  }

  /** Nothing is waited for any more. */
  end(): void {
    this.#isOver = true;
    this.look();
  }
}
