// What a stream actor has given to its streams, in that order, until each outcome is known and can be acted
// on.
import { DeliveryError, type Settled } from './stream.js';
import { type Waiting, handedBack } from './waiting.js';

/** Where a batch is written. */
export type Target = 'primary' | 'backup';

/** A batch given to a stream, until its outcome is known. */
export interface Write {
  readonly what: Waiting;
  readonly target: Target;
  outcome: Settled | DeliveryError | undefined;
}

export class Outstanding {
  #writes: Write[] = [];

  get count(): number {
    return this.#writes.length;
  }

  /** No outcome is awaited any more. */
  get haveEnded(): boolean {
    return this.#writes.every(({ outcome }) => outcome !== undefined);
  }

  begin(what: Waiting, target: Target): Write {
    const write: Write = { what, target, outcome: undefined };
    this.#writes.push(write);
    return write;
  }

  /** @returns false: it is not one of these, and a hold on what it handed back is let go */
  end(write: Write, outcome: Settled | DeliveryError): boolean {
    if (!this.#writes.includes(write)) {
      if (outcome instanceof DeliveryError) outcome.undelivered.release();
      return false;
    }
    write.outcome = outcome;
    return true;
  }

  has(write: Write): boolean {
    return this.#writes.includes(write);
  }

  /**
   * Lets go what has ended, from the front on; only while none has failed. Returns, in order, the frames of
   * what is away.
   */
  releaseEnded(): readonly Waiting[] {
    const ended = this.#writes.findIndex(({ outcome }) => outcome === undefined);
    return this.#writes.splice(0, ended === -1 ? Infinity : ended).flatMap((write) => leftOf(write));
  }

  /** Takes out what must be written anew, in its order; what is settled is let go. */
  takeLeft(): readonly Waiting[] {
    return this.#writes.splice(0).flatMap((write) => leftOf(write));
  }
}

function leftOf({ what, outcome }: Write): Waiting[] {
  if (outcome === undefined) return [what];
  what.batch.release();
  return outcome instanceof DeliveryError ? [handedBack(what, outcome.undelivered)] : [];
}
