// Holds what was found against what was sent. Pure: it knows neither daemon nor Kafka, so that it can be
// shown to see every kind of damage.
import type { Frame } from '../../support/daemonFrames.js';
import { PLACES, type FoundList, type Place } from './findings.js';
import type { SentBy } from './workload.js';

export interface Rules {
  /**
   * How many copies beyond the first there may be, everywhere together: what was in flight, for each fault.
   */
  readonly duplicatesAtMost: number;
  /**
   * How many frames without a key may stand behind later ones. After an answer that never came, a batch may
   * be in Kafka and yet be sent again, and its keyless frames then go to any partition. Default 0; frames
   * with a key never may.
   */
  readonly keylessDisorderedAtMost?: number;
  /**
   * Frames that must be in REJECTED and nowhere else (true), must not be there (false), or may be
   * (undefined: not for the test to say). Default: none must.
   */
  readonly mustBeRejected?: (frame: Frame) => boolean | undefined;
  /** Frames that may be missing, for the test itself destroyed them (a topic was deleted). Default: none. */
  readonly mayBeGone?: (sender: string, number: number, bucket: string) => boolean;
}

/** Frames of one bucket in one place. */
export interface PlaceCount {
  /** Each counted once. */
  distinct: number;
  /** Of these, how many are in another place too. */
  alsoElsewhere: number;
}

export interface BucketCount extends Record<Place, PlaceCount> {
  /** Of the frames that senders were owed. */
  owed: number;
  /** Of the frames that may have come to the daemon. */
  begun: number;
  /** Missing, and excused. */
  gone: number;
}

export interface Verdict {
  readonly sent: number;
  readonly owed: number;
  /** Owed, and found nowhere, though no rule excuses it. */
  readonly lost: number;
  readonly gone: number;
  /** From nobody, or with a number that was never sent. */
  readonly invented: number;
  /** Another message, key or bucket than was sent. */
  readonly corrupt: number;
  readonly duplicated: number;
  /**
   * First times that stand behind a later number of the same sender in the same partition or file; in Kafka,
   * of those that no backup has.
   */
  readonly disordered: number;
  /** The same for frames without a key. */
  readonly keylessDisordered: number;
  /** Rejected against the rules, or not rejected. */
  readonly misjudged: number;
  readonly buckets: ReadonlyMap<string, BucketCount>;
  /** What is wrong, in words with examples; empty when all is well. */
  readonly problems: readonly string[];
}

const SHOWN = 5;

export function reachVerdict(senders: readonly SentBy[], found: readonly FoundList[], rules: Rules): Verdict {
  return new Comparison(senders, rules).over(found);
}

class Comparison {
  readonly #senders: ReadonlyMap<string, SentBy>;
  readonly #rules: Rules;
  /** By sender: the numbers found, by place. */
  readonly #found = new Map<string, Record<Place, Set<number>>>();
  readonly #examples = new Map<string, string[]>();
  readonly #counts = {
    invented: 0,
    corrupt: 0,
    disordered: 0,
    keylessDisordered: 0,
    misjudged: 0,
    copies: 0,
  };

  constructor(senders: readonly SentBy[], rules: Rules) {
    this.#senders = new Map(senders.map((sender) => [sender.name, sender]));
    this.#rules = rules;
    for (const { name } of senders)
      this.#found.set(name, { kafka: new Set(), backup: new Set(), spool: new Set(), rejected: new Set() });
  }

  over(lists: readonly FoundList[]): Verdict {
    // Those in a backup are known first: see isLateCopy.
    for (const list of lists.toSorted((a, b) => Number(b.place === 'backup') - Number(a.place === 'backup')))
      this.#walk(list);
    const buckets = new Map<string, BucketCount>();
    let [sent, owed, lost, gone, distinct] = [0, 0, 0, 0, 0];
    for (const sender of this.#senders.values()) {
      const places = this.#found.get(sender.name)!;
      sent += sender.sent;
      owed += sender.owed;
      for (let number = 0; number < sender.begun; number++) {
        const { bucket } = sender.frameOf(number);
        const count = countOf(buckets, bucket);
        count.begun++;
        if (number < sender.owed) count.owed++;
        const where = PLACES.filter((place) => places[place].has(number));
        for (const place of where) add(count[place], where.length > 1);
        if (where.length > 0) distinct++;
        else if (number < sender.owed && (this.#rules.mayBeGone?.(sender.name, number, bucket) ?? false))
          [gone, count.gone] = [gone + 1, count.gone + 1];
        else if (number < sender.owed) lost += this.#note('missing', `${sender.name}:${number} (${bucket})`);
      }
    }
    const { copies, ...counts } = this.#counts;
    const duplicated = copies - distinct;
    if (duplicated > this.#rules.duplicatesAtMost)
      this.#note('more copies than were in flight', `${duplicated}, at most ${this.#rules.duplicatesAtMost}`);
    return { sent, owed, lost, gone, duplicated, ...counts, buckets, problems: this.#problems() };
  }

  #walk(list: FoundList): void {
    const last = new Map<string, number>();
    const seen = new Map<string, Set<number>>();
    for (const found of list.frames) {
      const number = this.#recognise(found, list);
      if (number === undefined) continue;
      const name = found.message.slice(0, found.message.indexOf(':'));
      this.#checkRejection(found, list.place);
      this.#counts.copies++;
      this.#found.get(name)![list.place].add(number);
      const own = seen.get(name) ?? new Set();
      seen.set(name, own);
      if (own.has(number)) continue;
      own.add(number);
      const before = last.get(name) ?? -1;
      if (number > before) last.set(name, number);
      else if (!this.#isLateCopy(name, number, list.place))
        this.#noteDisorder(found, `${name}:${number} behind ${before} in ${placeOf(list)}`);
    }
  }

  /**
   * A broker that hung may write, once it goes on, what it was sent on a connection that was given up: what
   * went to the backup instead is in its place there.
   */
  #isLateCopy(name: string, number: number, place: Place): boolean {
    return place === 'kafka' && this.#found.get(name)!.backup.has(number);
  }

  #noteDisorder({ key }: Frame, example: string): void {
    if (key !== undefined) this.#counts.disordered += this.#note('out of order', example);
    else if (++this.#counts.keylessDisordered > (this.#rules.keylessDisorderedAtMost ?? 0))
      this.#note('without a key and out of order', example);
  }

  /** The number of a frame that is exactly as it was sent. */
  #recognise(found: Frame, list: FoundList): number | undefined {
    const [name, digits] = found.message.slice(0, 200).split(':', 2) as [string, string?];
    const sender = this.#senders.get(name);
    const number = Number(digits);
    if (sender === undefined || !Number.isInteger(number) || number < 0 || number >= sender.begun) {
      this.#counts.invented += this.#note(
        'from nobody',
        `${JSON.stringify(found.message.slice(0, 60))} in ${placeOf(list)}`,
      );
      return undefined;
    }
    const expected = sender.frameOf(number);
    if (found.message === expected.message && found.key === expected.key && found.bucket === expected.bucket)
      return number;
    this.#counts.corrupt += this.#note('not as it was sent', `${name}:${number} in ${placeOf(list)}`);
    return undefined;
  }

  #checkRejection(found: Frame, place: Place): void {
    const isRejected = place === 'rejected';
    const { mustBeRejected = () => false } = this.#rules;
    const must = mustBeRejected(found);
    if (must === undefined || must === isRejected) return;
    this.#counts.misjudged += this.#note(
      isRejected ? 'rejected for no reason' : 'not rejected',
      found.message.slice(0, 40),
    );
  }

  #note(what: string, example: string): 1 {
    const examples = this.#examples.get(what) ?? [];
    this.#examples.set(what, examples);
    examples.push(example);
    return 1;
  }

  #problems(): string[] {
    return [...this.#examples].map(
      ([what, all]) =>
        `${all.length}× ${what}: ${all.slice(0, SHOWN).join(', ')}${all.length > SHOWN ? ', …' : ''}`,
    );
  }
}

function placeOf({ place, bucket, partition }: FoundList): string {
  return `${place} ${bucket}${partition === undefined ? '' : `-${partition}`}`;
}

function add(count: PlaceCount, isElsewhereToo: boolean): void {
  count.distinct++;
  if (isElsewhereToo) count.alsoElsewhere++;
}

function countOf(buckets: Map<string, BucketCount>, bucket: string): BucketCount {
  const none = () => ({ distinct: 0, alsoElsewhere: 0 });
  const count = buckets.get(bucket) ?? {
    kafka: none(),
    backup: none(),
    spool: none(),
    rejected: none(),
    owed: 0,
    begun: 0,
    gone: 0,
  };
  buckets.set(bucket, count);
  return count;
}
