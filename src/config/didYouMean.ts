// Finds the name that was probably meant by a misspelt one. Promise: no guess rather than a far-fetched one.
import { closest, distance } from 'fastest-levenshtein';

const LONGEST_GUESSED = 100;

/** The known name nearest to `name`, or undefined when none is near. Upper and lower case count as equal. */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  if (known.length === 0 || name.length > LONGEST_GUESSED) return undefined;
  const wanted = name.toLowerCase();
  const lowered = known.map((candidate) => candidate.toLowerCase());
  const best = closest(wanted, lowered);
  const allowed = Math.max(1, Math.floor(wanted.length / 3));
  return distance(wanted, best) <= allowed && best.length > allowed ? known[lowered.indexOf(best)] : undefined;
}

/** `; did you mean "acks"?`, or an empty text when no known name is near. */
export function didYouMean(name: string, known: readonly string[]): string {
  const near = nearestName(name, known);
  return near === undefined ? '' : `; did you mean "${near}"?`;
}
