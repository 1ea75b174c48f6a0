// Finds the name that was probably meant by a misspelt one. Promise: no guess rather than a far-fetched one.
import { closest, distance } from 'fastest-levenshtein';

const LONGEST_GUESSED = 100;
/** What begins one name alone is short for it. */
const SHORTEST_BEGINNING = 3;

/** The known name nearest to `name`, or undefined when none is near. Upper and lower case count as equal. */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  if (known.length === 0 || name.length > LONGEST_GUESSED) return undefined;
  const wanted = name.toLowerCase();
  const lowered = known.map((candidate) => candidate.toLowerCase());
  const swapped = lowered.findIndex((candidate) => areSwapped(wanted, candidate));
  if (swapped >= 0) return known[swapped];
  const best = closest(wanted, lowered);
  const allowed = Math.max(1, Math.floor(wanted.length / 3));
  if (distance(wanted, best) <= allowed && best.length > allowed) return known[lowered.indexOf(best)];
  const begun =
    wanted.length < SHORTEST_BEGINNING ? [] : known.filter((_, i) => lowered[i]!.startsWith(wanted));
  return begun.length === 1 ? begun[0] : undefined;
}

/** Two neighbours have changed places, as fingers do it; counted as changes of letters these are two. */
function areSwapped(one: string, other: string): boolean {
  let at = 0;
  while (at < one.length && one[at] === other[at]) at++;
  return (
    at < one.length &&
    one.length === other.length &&
    one === `${other.slice(0, at)}${other[at + 1] ?? ''}${other[at] ?? ''}${other.slice(at + 2)}`
  );
}

/** `; did you mean "acks"?`, or an empty text when no known name is near. */
export function didYouMean(name: string, known: readonly string[]): string {
  const near = nearestName(name, known);
  return near === undefined ? '' : `; did you mean "${near}"?`;
}
