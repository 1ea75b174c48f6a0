// How fast a replay may go, when something bounds what the primary gets: see src/buckets/limit/.

export interface Pace {
  /**
   * Waits until some frames may be sent.
   * @param most no more are of use
   * @returns how many may be, to be told back with `spend`; 0: none any more, for it was stopped
   */
  next(most: number): Promise<number>;

  /** Of what `next` has granted, so much is sent now, or is on its way. */
  spend(granted: number, frames: number): void;

  /** Lets go who waits. The next `next` waits anew. */
  stop(): void;
}
