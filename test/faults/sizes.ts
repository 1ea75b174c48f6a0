// Each fault has two sizes from one code: quick, as part of `make test`, and full (`make test-faults`), with
// the counts that are to be relied on.
export const isFull = process.env['KAHE_FAULTS'] === 'full';

/** The number that goes with the size of this run. */
export function sized<T>(quick: T, full: T): T {
  return isFull ? full : quick;
}
