// How the speed of a run is taken, in several processes at once.

/**
 * The share after which a receipt is asked for a first time. Kahe's last batch is not full and waits for its
 * batchTimeout, which says nothing about its speed, so the speed is taken here.
 */
export const MOST = 0.9;

/** The same in every process of the machine. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
