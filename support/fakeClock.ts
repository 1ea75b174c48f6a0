// Time that stands still until a test moves it.
import type { Clock, Timer } from '../src/clock.js';

interface Due {
  atMs: number;
  readonly everyMs: number | undefined;
  readonly run: () => void;
}

export class FakeClock implements Clock {
  #nowMs: number;
  readonly #due = new Set<Due>();

  constructor(nowMs = 1_700_000_000_000) {
    this.#nowMs = nowMs;
  }

  /** Timers that have not run out. */
  get timers(): number {
    return this.#due.size;
  }

  now(): number {
    return this.#nowMs;
  }

  after(delayMs: number, run: () => void): Timer {
    if (!(delayMs >= 0 && delayMs <= 2 ** 31 - 1)) throw new RangeError(`no timer can wait ${delayMs} ms`);
    return this.#add({ atMs: this.#nowMs + delayMs, everyMs: undefined, run });
  }

  every(periodMs: number, run: () => void): Timer {
    return this.#add({ atMs: this.#nowMs + periodMs, everyMs: periodMs, run });
  }

  /** Lets time pass: what falls due meanwhile runs, in its order. */
  advance(ms: number): void {
    const untilMs = this.#nowMs + ms;
    for (let next = this.#next(untilMs); next !== undefined; next = this.#next(untilMs)) {
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      if (next.everyMs === undefined) this.#due.delete(next);
      else next.atMs += next.everyMs;
      next.run();
    }
    this.#nowMs = untilMs;
  }

  #add(due: Due): Timer {
    this.#due.add(due);
    return { cancel: () => this.#due.delete(due) };
  }

  #next(untilMs: number): Due | undefined {
    let first: Due | undefined;
    for (const due of this.#due)
      if (due.atMs <= untilMs && (first === undefined || due.atMs < first.atMs)) first = due;
    return first;
  }
}

/** Lets everything run that waits for nothing but its turn. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** So much real time what a test waits for may take: a busy machine is no failure, and a test has 60 s. */
export const PATIENCE_MS = 150_000;

/**
 * Real work is waited for while the clock runs on.
 * @param told what an error shows besides
 * @throws after PATIENCE_MS of real time
 */
export async function untilSo(
  clock: FakeClock,
  what: string,
  isSo: () => boolean,
  told: () => string,
  stepMs = 10,
): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS;
  while (!isSo()) {
    if (Date.now() > deadline) throw new Error(`never: ${what}\n${told()}`);
    await turn();
    clock.advance(stepMs);
  }
}
