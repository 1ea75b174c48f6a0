// What a door has of the daemon behind it: where runs, bad frames and questions go, and what all doors share.
// Promise: no frame comes in uncounted.
import type { ActorRef } from '../actors/actor.js';
import type { ActorSystem } from '../actors/system.js';
import type { RouterMessage } from '../buckets/messages.js';
import type { BucketKey } from '../frames/bucketName.js';
import type { Origins } from '../frames/origins.js';
import type { Receipt } from '../intake/receipt.js';
import type { Run } from '../intake/run.js';
import type { Followed } from '../intake/ticket.js';
import { type RejectedFrames, rejectFollowed } from '../losses/rejection.js';
import type { MemoryBudget } from '../memory/memoryBudget.js';
import type { Unfinished } from '../memory/unfinished.js';
import { newDoorCounts } from './doorCounts.js';
import type { ReadPacer } from './readPacer.js';

export interface EntranceParts {
  /** Where a door's actors live; its clock and log are the daemon's. */
  readonly system: ActorSystem;
  readonly buckets: Pick<ActorRef<RouterMessage>, 'tell'>;
  readonly rejected: RejectedFrames;
  readonly origins: Origins;
  readonly budget: MemoryBudget;
  readonly unfinished: Unfinished;
  readonly pacer: ReadPacer;
}

/** A whole frame whose inside makes no sense; its bytes are borrowed until the call returns. */
export interface BadFrame {
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
  readonly reason: string;
  /** The connection that it came on: see `origins`. */
  readonly origin: number;
  /** Somebody waits to hear how it ends. */
  readonly followed?: Followed | undefined;
}

export class Entrance {
  readonly counts = newDoorCounts();
  readonly system: ActorSystem;
  /** Each connection opens its fates here: what becomes of its frames that are not delivered. */
  readonly origins: Origins;
  /** Takes what is held of input that is not whole; `isOver`: clients must not be read. */
  readonly budget: MemoryBudget;
  /** Told of each client's input that is not whole, whenever what is held of it changes. */
  readonly unfinished: Unfinished;
  /** Told of each read, of connections, and of those that wait for an answer. */
  readonly pacer: ReadPacer;
  readonly #buckets: EntranceParts['buckets'];
  readonly #rejected: RejectedFrames;

  constructor({ system, buckets, rejected, origins, budget, unfinished, pacer }: EntranceParts) {
    this.system = system;
    this.origins = origins;
    this.budget = budget;
    this.unfinished = unfinished;
    this.pacer = pacer;
    this.#buckets = buckets;
    this.#rejected = rejected;
  }

  /** Why frames to be rejected can't be kept now; who brings them is not read on meanwhile. */
  get rejectedProblem(): string | undefined {
    return this.#rejected.problem;
  }

  /** Frames come in. Its bytes are good only until this returns, which may be after much else has run. */
  run(run: Run): void {
    this.counts.received += run.frames;
    this.#buckets.tell(run);
  }

  /** It is kept among those rejected. */
  bad({ bytes, start, end, reason, origin, followed }: BadFrame): void {
    const { counts } = this;
    counts.received++;
    counts.bad++;
    counts.badByReason.set(reason, (counts.badByReason.get(reason) ?? 0) + 1);
    const rejection = { bytes, start, end, frames: 1, bucket: '', reason, from: new Map([[origin, 1]]) };
    void rejectFollowed(this.#rejected, rejection, 'BAD_FRAME', followed);
  }

  /** Answers the receipt once the runs before it are safe, or settled, in these buckets. */
  fence(receipt: Receipt, buckets: ReadonlySet<BucketKey> | 'all'): void {
    this.#buckets.tell({ kind: 'fence', receipt, buckets });
  }
}
