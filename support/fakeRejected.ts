// For tests: keeps what is rejected in memory, or refuses it as long as the test says so.
import type { Origins } from '../src/frames/origins.js';
import type { RejectedEnd, RejectedFrames, Rejection } from '../src/losses/rejection.js';

export class FakeRejected implements RejectedFrames {
  /** Why nothing is kept now. */
  problem: string | undefined;
  /** What was kept. */
  readonly kept: Rejection[] = [];
  /** Rejections that wait until there is room. */
  readonly #waiting: (() => void)[] = [];
  readonly #onKept: (rejection: Rejection) => void;
  readonly #origins: Origins | undefined;

  /**
   * @param onKept called with each rejection that is kept, before its giver hears of it
   * @param origins told as the real store does
   */
  constructor(onKept: (rejection: Rejection) => void = () => undefined, origins?: Origins) {
    this.#onKept = onKept;
    this.#origins = origins;
  }

  reject(rejection: Rejection): Promise<'kept' | 'discarded'> {
    const own = {
      ...rejection,
      bytes: Buffer.from(rejection.bytes.subarray(rejection.start, rejection.end)),
      start: 0,
      end: rejection.end - rejection.start,
    };
    this.#origins?.hold(own.from, own.end);
    return new Promise((resolve) => {
      const keep = (): void => {
        this.#keep(own);
        resolve('kept');
        this.#origins?.letGo(own.from, own.end);
      };
      if (this.problem === undefined) keep();
      else this.#waiting.push(keep);
      if (this.problem !== undefined) this.#origins?.changed([own.from]);
    });
  }

  offer(rejection: Rejection): Promise<RejectedEnd> {
    if (this.problem !== undefined) return Promise.resolve('refused');
    this.#keep(rejection);
    return Promise.resolve('kept');
  }

  /** There is room again. */
  heal(): void {
    this.problem = undefined;
    for (const keep of this.#waiting.splice(0)) keep();
  }

  #keep(rejection: Rejection): void {
    this.kept.push(rejection);
    this.#origins?.ended(rejection.from, 'rejected', rejection.reason);
    this.#onKept(rejection);
  }
}
