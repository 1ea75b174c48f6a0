// Many clients that write a frame each wake the process for each frame, and the waking costs ten times what the frame does. So when frames come
// thick, reading pauses for up to a millisecond between two rounds, and the next round finds them together, as network drivers do with their
// interrupts. Measured with 50,000 frames/s from 16 connections, one a write: 12 % of a core instead of 40 %. Nobody waits longer than that
// millisecond, and while a client waits for a receipt there is no pause at all.

/** Longest pause, ms. */
const LONGEST_MS = 1;
/** A shorter one is not worth its own cost. */
const SHORTEST_MS = 0.1;
/** So many frames must be expected in a pause. */
const WORTHWHILE_FRAMES = 4;
/** With so many frames found on one connection the pause was long enough: the kernel holds 277 small ones, and then makes the writer wait. */
const MANY_FRAMES = 32;

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
  #frames = 0;
  /** Most that one connection had. */
  #most = 0;
  #isRound = false;

  /** @param isAwaited whether a client waits for an answer */
  constructor(readonly isAwaited: () => boolean, parts: PacerParts = ofThisThread) {
    this.#parts = parts;
  }

  /** Told of each read, with the whole frames that it brought. */
  read(frames: number): void {
    this.#frames += frames;
    this.#most = Math.max(this.#most, frames);
    if (this.#isRound) return;
    this.#isRound = true;
    this.#parts.afterRound(this.#endRound);
  }

  readonly #endRound = (): void => {
    const now = this.#parts.now();
    const tookMs = now - this.#endedMs;
    if (this.#most >= MANY_FRAMES) this.#pauseMs = Math.max(SHORTEST_MS / 2, this.#pauseMs / 2);
    else this.#pauseMs = Math.min(LONGEST_MS, this.#pauseMs * 1.25);
    const expected = (this.#frames * this.#pauseMs) / tookMs;
    this.#endedMs = now;
    this.#frames = 0;
    this.#most = 0;
    this.#isRound = false;
    if (this.#pauseMs >= SHORTEST_MS && expected >= WORTHWHILE_FRAMES && !this.isAwaited()) this.#parts.pause(this.#pauseMs);
  };
}

const never = new Int32Array(new SharedArrayBuffer(4));

const ofThisThread: PacerParts = {
  now: () => performance.now(),
  // Node runs these right after it has read what there was.
  afterRound: (run) => setImmediate(run),
  // What ends elsewhere meanwhile, in the kernel or on other threads, is seen right after.
  pause: (ms) => void Atomics.wait(never, 0, 0, ms),
};
