// The word behind a number, in texts for people: 1 frame, 2 frames.

/** @param many where it is not one "s" more, as in `plural(n, 'batch is', 'batches are')` */
export function plural(count: number, one: string, many = `${one}s`): string {
  return count === 1 ? one : many;
}
