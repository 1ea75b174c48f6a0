// The limit of a bucket through the bucket's life: it may come, change and go while frames come. What is over
// a limit that ends is brought to its end first, for the next one writes the same files; what is over the
// next one waits that long.
import type { Admission, Within } from '../messages.js';
import { type Run, ownRun } from '../../intake/run.js';
import type { Receipt } from '../../intake/receipt.js';
import type { Limiter, Overflow } from './limiter.js';

export class BucketLimit implements Admission {
  #limiter: Limiter | undefined;
  /** Of limits that were: resolves when nothing is left of what was over them. */
  #ended: Promise<unknown> = Promise.resolve();
  #ending = 0;

  admit(run: Run): Within {
    return this.#limiter?.admit(run) ?? run;
  }

  fence(receipt: Receipt): void {
    this.#limiter?.fence(receipt);
    if (this.#ending === 0) return;
    receipt.hold();
    void this.#ended.then(() => receipt.letGo());
  }

  async stop(): Promise<void> {
    await this.#ended;
    await this.#limiter?.stop();
  }

  /**
   * @param make the limiter from now on, if there is one; `after`: what must have ended before it may open
   * files; undefined: nothing
   * @returns resolves when the one before has ended
   */
  async turn(make: (after: Promise<unknown> | undefined) => Limiter | undefined): Promise<void> {
    const before = this.#limiter;
    if (before !== undefined) this.#end(before.stop());
    this.#limiter = make(this.#ending > 0 ? this.#ended : undefined);
    await this.#ended;
  }

  #end(ended: Promise<void>): void {
    this.#ending++;
    this.#ended = Promise.all([this.#ended, ended]).finally(() => this.#ending--);
  }
}

/** Takes what comes until the one is there that it is for. */
export class LaterOverflow implements Overflow {
  readonly #made: Promise<Overflow>;
  #overflow: Overflow | undefined;
  #waiting: (Run | Receipt)[] = [];

  constructor(after: Promise<unknown>, make: () => Overflow) {
    this.#made = after.then(() => this.#handOver(make()));
  }

  take(run: Run): void {
    if (this.#overflow === undefined) this.#waiting.push(ownRun(run));
    else this.#overflow.take(run);
  }

  fence(receipt: Receipt): void {
    if (this.#overflow !== undefined) return this.#overflow.fence(receipt);
    receipt.hold();
    this.#waiting.push(receipt);
  }

  async stop(): Promise<void> {
    await (await this.#made).stop();
  }

  #handOver(overflow: Overflow): Overflow {
    this.#overflow = overflow;
    for (const one of this.#waiting.splice(0)) {
      if ('kind' in one) {
        overflow.take(one);
      } else {
        overflow.fence(one);
        one.letGo();
      }
    }
    return overflow;
  }
}
