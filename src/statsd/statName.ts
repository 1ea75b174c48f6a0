// Names for statsd, from what clients and configurations chose: nothing in them ends a name, a value or a
// line, or begins a level of the tree.

/** Of one level; a name of at most four levels fits into any packet with its value. */
const LONGEST = 120;

/** The same names come again each time; so many are remembered. */
const MOST_KNOWN = 10_000;
const known = new Map<string, string>();

/**
 * One level of a name. What is no letter, digit, `_` or `-` becomes `_`; names that become the same are one.
 */
export function statLevel(text: string): string {
  let level = known.get(text);
  if (level === undefined) {
    level = text.replace(/[^A-Za-z0-9_-]/gu, '_').slice(0, LONGEST) || '_';
    if (known.size >= MOST_KNOWN) known.clear();
    known.set(text, level);
  }
  return level;
}

export function statName(prefix: string, ...levels: readonly string[]): string {
  return levels.reduce((name, level) => `${name}.${statLevel(level)}`, prefix);
}
