// Collects everything that is wrong with a configuration, so that one start shows every mistake, each with its place.
import { ConfigError } from '../errors.js';

const MOST_LINES = 50;

export class Problems {
  readonly #prefix: string;
  readonly #lines: string[] = [];

  /** @param prefix stands before every line: the name of the file, or nothing. */
  constructor(prefix = '') {
    this.#prefix = prefix;
  }

  get lines(): readonly string[] {
    return this.#lines;
  }

  add(where: string, text: string): void {
    this.#lines.push([this.#prefix, where, text].filter((part) => part !== '').join(': '));
  }

  /** What `read` returns, or undefined when it threw a ConfigError, which is then noted under `where`. */
  attempt<T>(where: string, read: () => T): T | undefined {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      this.add(where, error.message);
      return undefined;
    }
  }

  /** @throws ConfigError with one line for each problem. */
  throwIfAny(): void {
    if (this.#lines.length === 0) return;
    const shown = this.#lines.slice(0, MOST_LINES);
    const hidden = this.#lines.length - shown.length;
    throw new ConfigError([...shown, ...(hidden > 0 ? [`… and ${hidden} more`] : [])].join('\n'));
  }
}

/** The path of `key` inside `path`, as in `streamsConfigs.kafka_01` or `streamsConfigs["a b"]`; a number is an index. */
export function pathOf(path: string, key: string | number): string {
  if (typeof key === 'number') return `${path}[${key}]`;
  if (!/^[\w.-]+$/.test(key)) return `${path}[${JSON.stringify(key)}]`;
  return path === '' ? key : `${path}.${key}`;
}
