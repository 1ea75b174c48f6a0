// Reads `.env.{environment}.local` without touching process.env. Promise: no line of it is passed over in silence, as dotenv would.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'dotenv';
import { ConfigError } from '../errors.js';
import { didYouMean } from './didYouMean.js';
import type { Problems } from './problems.js';
import { describeValue } from './values.js';

/** The file that the variable `environment` picks (default dev). @throws ConfigError when it can't be part of a file's name. */
export function envFileOf(cwd: string, environment: string | undefined): string {
  const name = environment === undefined || environment === '' ? 'dev' : environment;
  if (!/^[\w.-]{1,100}$/.test(name)) {
    throw new ConfigError(`environment variable environment: ${describeValue(name)} can't name an environment; letters, digits, ".", "_" and "-" can`);
  }
  return join(cwd, `.env.${name}.local`);
}

/**
 * Name and value of each variable in the file. Names outside `known` and lines that set nothing become problems.
 * @throws ConfigError when the file can't be read.
 */
export function readEnvFile(file: string, known: readonly string[], problems: Problems): ReadonlyMap<string, string> {
  const text = readText(file);
  checkLines(text, file, known, problems);
  return new Map(Object.entries(parse(text)));
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8').replace(/^\uFEFF/, '');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const why = code === 'ENOENT' ? 'not found' : `can't be read (${code ?? String(error)})`;
    throw new ConfigError(
      `${file}: ${why}; make this file (it may be empty: every variable has a default), or start in its folder, ` +
      'or set the environment variable "environment" to NAME to use .env.NAME.local',
    );
  }
}

function checkLines(text: string, file: string, known: readonly string[], problems: Problems): void {
  text.split(/\r\n?|\n/).forEach((line, index) => {
    if (/^\s*(#|$)/.test(line)) return;
    const name = /^\s*(?:export\s+)?([\w.-]+)(?:\s*=|:\s)/.exec(line)?.[1];
    const where = `${file}: line ${index + 1}`;
    if (name === undefined) problems.add(where, `${describeValue(line)} sets nothing; write NAME=value, or "#" before a comment`);
    else if (name === 'environment') problems.add(where, 'environment picks this file, so it means nothing in it; set it as an environment variable');
    else if (!known.includes(name)) problems.add(where, `unknown variable ${describeValue(name)}${didYouMean(name, known)}`);
  });
}
