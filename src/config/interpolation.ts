// `${NAME}` in the strings of buckets.json. Promise: what NAME holds is put in once the JSON5 was read, so it
// can't become anything but a part of that string; and no problem that is found with it shows it.
import { ConfigError } from '../errors.js';
import { pathOf, type Problems } from './problems.js';
import type { VariableSource } from './variableSource.js';
import { isRecord } from './values.js';

/** `$${` is a literal `${`. */
const REFERENCE = /\$\$\{|\$\{([^}]*)(\}?)/g;
const NAME = /^[A-Za-z_]\w*$/;
const LITERAL = 'for a literal ${ write $${';

/** Nothing that Kahe knows lies deeper; what does is left as it is, and is a problem for whoever reads it. */
const DEEPEST = 20;

/** `raw` with every `${NAME}` in it replaced. What can't be is a problem, and stays as it is. */
export function interpolate(raw: unknown, variables: VariableSource, problems: Problems): unknown {
  const at = (value: unknown, path: string, depth: number): unknown => {
    if (typeof value === 'string')
      return value.includes('${') ? interpolateText(value, variables, problems, path) : value;
    if (depth === DEEPEST) return value;
    if (Array.isArray(value)) return value.map((part, index) => at(part, pathOf(path, index), depth + 1));
    if (!isRecord(value)) return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, part]) => [key, at(part, pathOf(path, key), depth + 1)]),
    );
  };
  return at(raw, '', 0);
}

/** Names that a text refers to, also those that are none. */
export function referencesIn(text: string): string[] {
  return [...text.matchAll(REFERENCE)].flatMap(([, name]) => name ?? []);
}

/** A text without its references: what of it stands in the file itself. */
export function literalPartOf(text: string): string {
  return text.replace(REFERENCE, (whole) => (whole === '$${' ? whole : ''));
}

function interpolateText(
  written: string,
  variables: VariableSource,
  problems: Problems,
  path: string,
): string {
  const text = problems.attempt(path, () =>
    written.replace(REFERENCE, (whole, name: string | undefined, end: string) => {
      if (name === undefined) return '${';
      return valueOf(name, end === '}', variables);
    }),
  );
  problems.conceal(path, { written, text });
  return text ?? written;
}

function valueOf(name: string, isClosed: boolean, variables: VariableSource): string {
  if (!isClosed) throw new ConfigError(`"\${" without its "}"; ${LITERAL}`);
  if (!NAME.test(name))
    throw new ConfigError(`"\${${name}}" names no variable: letters, digits and "_" can; ${LITERAL}`);
  const value = variables.get(name);
  if (value !== undefined) return value;
  if (name === 'CREDENTIALS_DIRECTORY')
    throw new ConfigError(
      '${CREDENTIALS_DIRECTORY} is not set; systemd sets it for a service with LoadCredential=. By hand, as root: CREDENTIALS_DIRECTORY=/run/credentials/kahe.service',
    );
  throw new ConfigError(
    `\${${name}} is not set; set ${name} in the environment or in the .env file, or ${LITERAL}`,
  );
}
