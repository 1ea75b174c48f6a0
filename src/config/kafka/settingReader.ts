// Reads one stream's librdkafka settings by name or alias. Promise: every name given is either read, noted,
// or a problem, and what is wrong stands under the spelling that the user chose. Secrets are never shown.
import { didYouMean } from '../didYouMean.js';
import type { Problems } from '../problems.js';
import { parseBoolean, parseChoice, parseInteger, parseText } from '../values.js';
import { LIBRDKAFKA_NAMES, meaningOf, spellingsOf } from './librdkafkaNames.js';
import { readSecretFile } from './namedFile.js';

export class SettingReader {
  /** Lines for the log, each opening with the path of its setting. */
  readonly notes: string[] = [];
  readonly #settings: Readonly<Record<string, unknown>>;
  readonly #path: string;
  readonly #problems: Problems;

  constructor(settings: Readonly<Record<string, unknown>>, path: string, problems: Problems) {
    this.#settings = settings;
    this.#path = path;
    this.#problems = problems;
    this.#checkNames();
  }

  has(name: string): boolean {
    return this.#spelling(name) !== undefined;
  }

  integer(name: string, min: number, max: number, fallback: number): number {
    return this.read(name, (value) => parseInteger(value, min, max)) ?? fallback;
  }

  boolean(name: string, fallback: boolean): boolean {
    return this.read(name, parseBoolean) ?? fallback;
  }

  choice<T extends string>(name: string, allowed: readonly T[], fallback: T): T {
    return this.read(name, (value) => parseChoice(value, allowed)) ?? fallback;
  }

  text(name: string): string | undefined {
    return this.read(name, parseText);
  }

  /**
   * A text that stands here, or alone in the file that `name.location` names, which librdkafka does not know.
   */
  secret(name: string): string | undefined {
    const location = `${name}.location`;
    if (!this.has(location)) return this.text(name);
    if (this.has(name)) this.problem(location, `${name} is set too; keep one`);
    return this.read(location, (value) => readSecretFile(parseText(value)));
  }

  /**
   * What `parse` makes of the value; undefined when it is not given, or not right, which is then a problem.
   */
  read<T>(name: string, parse: (value: unknown) => T): T | undefined {
    const spelling = this.#spelling(name);
    if (spelling === undefined) return undefined;
    return this.#problems.attempt(this.#where(spelling), () => parse(this.#settings[spelling]));
  }

  note(name: string, text: string): void {
    this.notes.push(`${this.#where(this.#spelling(name) ?? name)}: ${text}`);
  }

  problem(name: string, text: string): void {
    this.#problems.add(this.#where(this.#spelling(name) ?? name), text);
  }

  #where(spelling: string): string {
    return `${this.#path}.${spelling}`;
  }

  #spelling(name: string): string | undefined {
    return spellingsOf(name).find((spelling) => Object.hasOwn(this.#settings, spelling));
  }

  #checkNames(): void {
    for (const name of Object.keys(this.#settings)) {
      const meaning = meaningOf(name);
      if (meaning?.kind === 'alias') this.#checkAlias(name, meaning.of);
      const own = meaning?.kind === 'alias' ? meaningOf(meaning.of) : meaning;
      if (own === undefined)
        this.#problems.add(
          this.#where(name),
          `librdkafka has no such setting${didYouMean(name, LIBRDKAFKA_NAMES)}`,
        );
      else if (own.kind === 'noted') this.notes.push(`${this.#where(name)}: ${own.note}`);
      else if (own.kind === 'refused') this.#problems.add(this.#where(name), own.reason);
    }
  }

  /**
   * librdkafka lets the last one win, but its Go client hands them over in a random order: so two values are
   * a mistake.
   */
  #checkAlias(alias: string, of: string): void {
    if (!Object.hasOwn(this.#settings, of)) return;
    if (String(this.#settings[of]) === String(this.#settings[alias])) return;
    this.#problems.add(this.#where(alias), `the same setting as ${of}, with another value; keep one`);
  }
}
