// The partitions of a topic that can't be written while others can, each with the reason. One stays here
// until it is let in again, also when it has a leader meanwhile: what was handed back for it is somewhere on
// its way, and nothing newer may pass that.

/** So many partitions are named; of the others there is a count. */
const MOST_NAMED = 10;

export class AwayPartitions {
  readonly #topic: string;
  #reasons = new Map<number, string>();
  /** Those that were still away when it was last asked. */
  #found: ReadonlyMap<number, string> | undefined;

  constructor(topic: string) {
    this.#topic = topic;
  }

  has(partition: number): boolean {
    return this.#reasons.has(partition);
  }

  get isEmpty(): boolean {
    return this.#reasons.size === 0;
  }

  /** For people; undefined: there is none. */
  get text(): string | undefined {
    const [first, ...others] = [...this.#reasons];
    if (first === undefined) return undefined;
    if (others.length === 0) return `partition ${this.#topic}[${first[0]}] is away: ${first[1]}`;
    const numbers = [...this.#reasons.keys()].sort((a, b) => a - b);
    const more = numbers.length > MOST_NAMED ? ` and ${numbers.length - MOST_NAMED} more` : '';
    return `partitions ${this.#topic}[${numbers.slice(0, MOST_NAMED).join(', ')}]${more} are away: ${first[1]}`;
  }

  add(partition: number, reason: string): void {
    this.#reasons.set(partition, reason);
    this.#found = undefined;
  }

  /** What an answer of the cluster says of who is away now. */
  found(away: ReadonlyMap<number, string>): void {
    this.#found = away;
  }

  get hasReturned(): boolean {
    return this.#returned().length > 0;
  }

  /** Lets in those that were found back. Returns which. */
  readmit(): readonly number[] {
    const returned = this.#returned();
    for (const partition of returned) this.#reasons.delete(partition);
    this.#found = undefined;
    return returned;
  }

  /** Begins anew, with these. */
  reset(away: ReadonlyMap<number, string>): void {
    this.#reasons = new Map(away);
    this.#found = undefined;
  }

  #returned(): readonly number[] {
    const found = this.#found;
    return found === undefined ? [] : [...this.#reasons.keys()].filter((partition) => !found.has(partition));
  }
}
