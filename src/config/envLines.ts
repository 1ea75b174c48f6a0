// The lines of an .env file. Promise: none is passed over in silence, as dotenv would, and none is shown,
// because it may be a part of a secret.
import { readFileSync } from 'node:fs';
import { didYouMean } from './didYouMean.js';
import { referencesIn } from './interpolation.js';
import type { Problems } from './problems.js';
import { describeValue } from './values.js';

/**
 * Lines that set nothing, set less than what stands there, or set what neither Kahe nor buckets.json knows
 * become problems.
 */
export function checkEnvLines(
  text: string,
  { file, known, bucketsFile }: EnvLinesContext,
  problems: Problems,
): void {
  const assignments = [...assignmentsIn(text)];
  const used = assignments.every(({ name }) => name === undefined || known.includes(name))
    ? NOTHING
    : variablesUsedIn(bucketsFile);
  for (const { number, name, value } of assignments) {
    const where = `${file}: line ${number}`;
    if (name === undefined)
      problems.add(
        where,
        'sets nothing; write NAME=value, or "#" before a comment; a value of several lines stands in quotes',
      );
    else if (name === 'environment')
      problems.add(
        where,
        'environment picks this file, so it means nothing in it; set it as an environment variable',
      );
    else if (!known.includes(name) && !used.has(name))
      problems.add(
        where,
        `unknown variable ${describeValue(name)}${didYouMean(name, [...known, ...used]) || ', which buckets.json does not use either'}`,
      );
    else if (/^(?!['"`])[^#]*[^\s#]#/.test(value))
      problems.add(
        where,
        `the value of ${name} ends before "#", because what follows is a comment; write the value in quotes`,
      );
  }
}

/** What is known of the file's place. */
export interface EnvLinesContext {
  readonly file: string;
  /** Names of Kahe's own variables. */
  readonly known: readonly string[];
  /** Names that this file uses as `${NAME}` are right too. */
  readonly bucketsFile: string;
}

const NOTHING: ReadonlySet<string> = new Set();

interface Assignment {
  /** Of its first line. */
  readonly number: number;
  /** Undefined: the line sets nothing. */
  readonly name: string | undefined;
  readonly value: string;
}

/** As dotenv reads them: a value in quotes may have several lines. */
function* assignmentsIn(text: string): Generator<Assignment> {
  const lines = text.split(/\r\n?|\n/);
  for (let index = 0; index < lines.length; index++) {
    const line = lines[index]!;
    if (/^\s*(#|$)/.test(line)) continue;
    const [, name, value = ''] = /^\s*(?:export\s+)?([\w.-]+)(?:\s*=|:\s)\s*(.*)$/.exec(line) ?? [];
    yield { number: index + 1, name, value };
    const [, quote, rest = ''] = /^(['"`])(.*)$/.exec(value) ?? [];
    if (quote === undefined || hasEnd(rest, quote)) continue;
    const end = lines.findIndex((each, i) => i > index && hasEnd(each, quote));
    if (end !== -1) index = end;
  }
}

function hasEnd(text: string, quote: string): boolean {
  return text.replaceAll(`\\${quote}`, '').includes(quote);
}

function variablesUsedIn(bucketsFile: string): ReadonlySet<string> {
  try {
    return new Set(referencesIn(readFileSync(bucketsFile, 'utf8')));
  } catch {
    return NOTHING; // Whoever reads that file says what is wrong with it.
  }
}
