// Many clients that write a frame each wake the process for each frame, and the waking costs ten times what
// the frame does. So when frames come thick, reading pauses for up to a millisecond between two rounds, and
// the next round finds them together, as network drivers do with their interrupts. Measured with 50,000
// frames/s from 16 connections, one a write: 14 % of a core instead of 40 %. It is the whole thread that
// pauses, so its other work waits too, a millisecond at most each turn. There is no pause while a client
// waits for a quick receipt, nor while new ones connect: Node takes one connection a round, and those that
// come faster than that would soon be refused.

/** Longest pause, ms. */
const LONGEST_MS = 1;
/** A shorter one is not worth its own cost. */
const SHORTEST_MS = 0.1;
/** So many frames must be expected in a pause. */
const WORTHWHILE_FRAMES = 4;
/**
 * With so many frames, or bytes, found in one read the pause was long enough. The kernel holds some 200 KB of
 * a connection, and for it each write is 700 bytes longer (277 small frames, 49 of 2 KiB); then it makes the
 * writer wait.
 */
const MANY_FRAMES = 16;
const MANY_BYTES = 16 * 1024;
/** A receipt that has not come by then waits for a batch and its delivery: a millisecond is nothing to it. */
const QUICK_RECEIPT_MS = 20;

export interface PacerParts {
  /** Milliseconds, with fractions, of a clock that never steps. */
  readonly now: () => number;
  /** Runs once this round of reading is over: when each connection that had something was read. */
  readonly afterRound: (run: () => void) => void;
  /** Stands still for so many milliseconds. */
  readonly pause: (ms: number) => void;
}

export class ReadPacer {
  readonly #parts: PacerParts;
  #pauseMs = LONGEST_MS;
  #endedMs = -Infinity;
  #askedMs = -Infinity;
  #frames = 0;
  #hasMany = false;
  #hasNewcomer = false;
  #isRound = false;

  /** @param isAwaited whether a client waits for an answer */
  constructor(
    readonly isAwaited: () => boolean,
    parts: PacerParts = ofThisThread,
  ) {
    this.#parts = parts;
  }

  /** Told of each read: its bytes, and the whole frames in them. */
  read(frames: number, bytes: number): void {
    this.#frames += frames;
    if (frames >= MANY_FRAMES || bytes >= MANY_BYTES) this.#hasMany = true;
    if (this.#isRound) return;
    this.#isRound = true;
    this.#parts.afterRound(this.#endRound);
  }

  /** A client has connected. */
  accepted(): void {
    this.#hasNewcomer = true;
  }

  /** A client has asked for a receipt. */
  asked(): void {
    this.#askedMs = this.#parts.now();
  }

  readonly #endRound = (): void => {
    const now = this.#parts.now();
    const tookMs = now - this.#endedMs;
    if (this.#hasMany) this.#pauseMs = Math.max(SHORTEST_MS / 2, this.#pauseMs / 2);
    else this.#pauseMs = Math.min(LONGEST_MS, this.#pauseMs * 1.25);
    const expected = (this.#frames * this.#pauseMs) / tookMs;
    const mayPause = !this.#hasNewcomer && !this.#isReceiptDue(now);
    this.#endedMs = now;
    this.#frames = 0;
    this.#hasMany = false;
    this.#hasNewcomer = false;
    this.#isRound = false;
    if (mayPause && this.#pauseMs >= SHORTEST_MS && expected >= WORTHWHILE_FRAMES)
      this.#parts.pause(this.#pauseMs);
  };

  #isReceiptDue(now: number): boolean {
    return now - this.#askedMs < QUICK_RECEIPT_MS && this.isAwaited();
  }
}

const never = new Int32Array(new SharedArrayBuffer(4));

const ofThisThread: PacerParts = {
  now: () => performance.now(),
  // Node runs these right after it has read what there was.
  afterRound: (run) => setImmediate(run),
  // What ends elsewhere meanwhile, in the kernel or on other threads, is seen right after.
  pause: (ms) => void Atomics.wait(never, 0, 0, ms),
};
