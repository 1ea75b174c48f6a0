// Where zod meets Problems: a flat object is checked against its schema, and each issue becomes one line in
// our words.
import { z } from 'zod';
import { ConfigError } from '../errors.js';
import { didYouMean } from './didYouMean.js';
import { pathOf, type Problems } from './problems.js';
import { describeKind, describeValue, isRecord, notOneOf } from './values.js';

/**
 * A schema from one of the readers of values.ts and size.ts, which say what is wrong by throwing a
 * ConfigError.
 */
export function readBy<T>(parse: (value: unknown) => T) {
  return z.unknown().transform((value, context): T => {
    try {
      return parse(value);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      context.issues.push({ code: 'custom', message: error.message, input: value });
      return z.NEVER;
    }
  });
}

/** An object whose own fields are checked elsewhere. */
export const anyRecord = z.custom<Readonly<Record<string, unknown>>>(isRecord, {
  error: ({ input }) =>
    input === undefined ? 'missing; expected an object' : `${describeKind(input)} is not an object`,
});

/**
 * What the schema makes of `value`; undefined when something is wrong, which is then in `problems` under
 * `path`.
 */
export function checkObject<S extends z.ZodObject>(
  schema: S,
  value: unknown,
  path: string,
  problems: Problems,
): z.output<S> | undefined {
  const result = schema.safeParse(value, { error: textOf });
  if (result.success) return result.data;
  for (const issue of result.error.issues) {
    if (issue.code === 'unrecognized_keys')
      reportUnknown(issue.keys, Object.keys(schema.shape), path, problems);
    else problems.add((issue.path as (string | number)[]).reduce<string>(pathOf, path), issue.message);
  }
  return undefined;
}

function reportUnknown(
  keys: readonly string[],
  known: readonly string[],
  path: string,
  problems: Problems,
): void {
  for (const key of keys)
    problems.add(
      pathOf(path, key),
      `unknown; ${didYouMean(key, known).slice(2) || `known here: ${known.join(', ')}`}`,
    );
}

type RawIssue = Parameters<z.core.$ZodErrorMap>[0];

/** Our words for zod's own issues; undefined leaves the message that came with the issue. */
function textOf(issue: RawIssue): string | undefined {
  if (issue.code === 'invalid_type') {
    const expected = EXPECTED[issue.expected] ?? issue.expected;
    return issue.input === undefined
      ? `missing; expected ${expected}`
      : `${describeValue(issue.input)} is not ${expected}`;
  }
  if (issue.code === 'invalid_value') {
    const allowed = issue.values.map(String);
    return issue.input === undefined
      ? `missing; one of ${allowed.join(', ')}`
      : notOneOf(issue.input, allowed);
  }
  return undefined;
}

const EXPECTED: Readonly<Record<string, string>> = {
  object: 'an object',
  array: 'a list',
  string: 'a text in quotes',
};
