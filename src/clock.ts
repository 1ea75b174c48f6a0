// Time as the actors see it, so that tests move it by hand and never sleep.

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Wall-clock time, milliseconds since the epoch. */
  now(): number;
  after(delayMs: number, run: () => void): Timer;
  every(periodMs: number, run: () => void): Timer;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  after(delayMs, run) {
    const handle = setTimeout(run, delayMs);
    return { cancel: () => clearTimeout(handle) };
  },
  every(periodMs, run) {
    const handle = setInterval(run, periodMs);
    return { cancel: () => clearInterval(handle) };
  },
};
