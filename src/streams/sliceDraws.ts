// Which frames of a batch a slice takes. Drawn from the batch itself, so that a batch that comes again, after
// a write in doubt or a crash, is cut in the same way: what may have arrived is sent again, and nothing else.
import type { Batch } from '../frames/batch.js';

/** Numbers from 0 to 1, one for each frame in order: splitmix32. */
export function drawsOf(batch: Batch, seed = 0): () => number {
  let state = batch.draw ^ seed;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
  };
}
