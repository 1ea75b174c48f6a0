// Whether what the daemon says of itself when it ends is what was found outside.
import type { TestDaemon } from '../../support/daemon.js';
import { PLACES, type Place } from './findings.js';
import type { BucketCount, Verdict } from './verdict.js';

/** The words of the printed account that stand for a place. */
const WORDS: Readonly<Record<Place, string>> = {
  kafka: 'delivered',
  backup: 'backedUp',
  spool: 'queued',
  rejected: 'rejected',
};

export interface AccountRules {
  /** The stream that every bucket has. */
  readonly stream: string;
  /**
   * Whether other lives before it have worked on the same folder; then the account of this one alone says
   * less.
   */
  readonly isFirstLife: boolean;
}

/** What does not fit, in words; empty when all does. The daemon must have ended in an orderly way. */
export function compareAccounts(daemon: TestDaemon, verdict: Verdict, rules: AccountRules): string[] {
  return [...verdict.buckets].flatMap(([bucket, found]) => {
    const name = `${bucket}/${rules.stream}`;
    const account = daemon.accounts.get(name);
    if (account === undefined) return [`the daemon has no account of ${name}`];
    return compare(account, found, rules).map((problem) => `account of ${name}: ${problem}`);
  });
}

function compare(
  account: Readonly<Record<string, number>>,
  found: BucketCount,
  { isFirstLife }: AccountRules,
): string[] {
  const { received = 0, ...fates } = account;
  const sum = Object.values(fates).reduce((a, b) => a + b, 0);
  const problems = sum === received ? [] : [`${received} received, but ${JSON.stringify(fates)} is ${sum}`];
  if (!isFirstLife) return problems;
  if (received < found.owed || received > found.begun)
    problems.push(`${received} received, but from ${found.owed} to ${found.begun} were sent`);
  for (const place of PLACES) {
    const said = fates[WORDS[place]] ?? 0;
    // What is in two places was on its way when it failed: nobody could know that it had arrived, so it is
    // said of one of the two.
    const [least, most] = [
      found[place].distinct - found[place].alsoElsewhere,
      found[place].distinct + (place === 'kafka' ? found.gone : 0),
    ];
    if (said < least || said > most)
      problems.push(
        `${WORDS[place]} is ${said}, but in ${place} there are ${least === most ? most : `${least} to ${most}`}`,
      );
  }
  return problems;
}
