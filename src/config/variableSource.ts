// What `${NAME}` in buckets.json stands for: a real environment variable, or else one of the .env file, as
// that is now.
import { readFileSync } from 'node:fs';
import { parse } from 'dotenv';
import { type EnvironmentSource, envFileOf } from './envFile.js';

export class VariableSource {
  readonly #source: EnvironmentSource;
  #fromFile: ReadonlyMap<string, string> | undefined;

  constructor(source: EnvironmentSource) {
    this.#source = source;
  }

  get(name: string): string | undefined {
    return this.#ofEnvironment(name) ?? this.#ofFile().get(name);
  }

  /** The file that `name` comes from; undefined: it is a real environment variable, or none. */
  fileOf(name: string): string | undefined {
    if (this.#ofEnvironment(name) !== undefined || !this.#ofFile().has(name)) return undefined;
    return envFileOf(this.#source.cwd, this.#source.env['environment']);
  }

  #ofEnvironment(name: string): string | undefined {
    return Object.hasOwn(this.#source.env, name) ? this.#source.env[name] : undefined;
  }

  #ofFile(): ReadonlyMap<string, string> {
    return (this.#fromFile ??= readFile(this.#source));
  }
}

/**
 * A file that is missing or can't be read has nothing: whoever reads the environment says what is wrong with
 * it.
 */
function readFile({ cwd, env }: EnvironmentSource): ReadonlyMap<string, string> {
  try {
    return new Map(Object.entries(parse(readFileSync(envFileOf(cwd, env['environment'])))));
  } catch {
    return new Map();
  }
}
