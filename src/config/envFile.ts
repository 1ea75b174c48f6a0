// Finds `.env.{environment}.local` and reads it, without touching process.env. Promise: one that somebody
// wants is never left out in silence.
import { plural } from '../plural.js';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError } from '../errors.js';
import { describeValue } from './values.js';

/**
 * Of these one in the real environment says that no file is needed: where buckets.json is, or where
 * applications write.
 */
const ENOUGH = ['BUCKETS_FILE', 'SOCKET'] as const;

/** Where variables come from. */
export interface EnvironmentSource {
  /** The folder that holds the `.env` file, and that relative paths start from. */
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/**
 * The file that is read. Undefined: there is none, and none is needed, because the real environment says
 * enough, as in a container.
 * @throws ConfigError when it is missing, or `environment` can't be part of a file's name.
 */
export function findEnvFile({ cwd, env }: EnvironmentSource): string | undefined {
  const file = envFileOf(cwd, env['environment']);
  if (existsSync(file)) return file;
  if (isSet(env['environment']))
    throw missing(
      file,
      ', because the environment variable "environment" names it; make it (it may be empty), start in its folder, or unset "environment"',
    );
  const others = otherEnvironments(cwd);
  // One of them is meant: to start without it would be to start with other settings than those that somebody
  // wrote.
  if (others.length > 0)
    throw missing(
      file,
      `, but ${others.map((name) => `.env.${name}.local`).join(' and ')} ${plural(others.length, 'is', 'are')} here; set the environment variable "environment" to ${others.join(' or ')}, or make this file too`,
    );
  if (ENOUGH.some((name) => isSet(env[name]))) return undefined;
  throw missing(
    file,
    '; make this file (it may be empty: every variable has a default), or start in its folder, or set the environment variable "environment" to NAME to use ' +
      `.env.NAME.local; no file is needed when ${ENOUGH.join(' or ')} is set in the environment`,
  );
}

/**
 * The file that the variable `environment` picks (default dev).
 * @throws ConfigError when it can't be part of a file's name.
 */
export function envFileOf(cwd: string, environment: string | undefined): string {
  const name = isSet(environment) ? environment : 'dev';
  if (!/^[\w.-]{1,100}$/.test(name)) {
    throw new ConfigError(
      `environment variable environment: ${describeValue(name)} can't name an environment; letters, digits, ".", "_" and "-" can`,
    );
  }
  return join(cwd, `.env.${name}.local`);
}

function isSet(value: string | undefined): value is string {
  return value !== undefined && value.trim() !== '';
}

function missing(file: string, text: string): ConfigError {
  return new ConfigError(`${file}: not found${text}`);
}

function otherEnvironments(cwd: string): string[] {
  try {
    return readdirSync(cwd)
      .flatMap((name) => /^\.env\.([\w.-]+)\.local$/.exec(name)?.[1] ?? [])
      .sort();
  } catch {
    return []; // A folder that can't be listed has none that could be read.
  }
}

/** Its text. @throws ConfigError when it can't be read. */
export function readEnvFile(file: string): string {
  try {
    return readFileSync(file, 'utf8').replace(/^\uFEFF/, '');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    throw new ConfigError(
      `${file}: can't be read (${code ?? String(error)})${code === 'EACCES' ? `; user ${process.getuid?.() ?? '?'} needs the right to read it` : ''}`,
    );
  }
}
