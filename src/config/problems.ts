// Collects everything that is wrong with a configuration, so that one start shows every mistake, each with
// its place.
import { ConfigError } from '../errors.js';

const MOST_LINES = 50;

/** A text that was put together from variables, which may be secrets. */
export interface Concealed {
  /** As it stands in the file, and may be shown. */
  readonly written: string;
  /**
   * What it became; undefined: that is a problem already, and what else is wrong with it follows from that.
   */
  readonly text: string | undefined;
}

export class Problems {
  readonly #prefix: string;
  readonly #lines: string[] = [];
  readonly #concealed = new Map<string, Concealed>();

  /** @param prefix stands before every line: the name of the file, or nothing. */
  constructor(prefix = '') {
    this.#prefix = prefix;
  }

  get lines(): readonly string[] {
    return this.#lines;
  }

  /** From now on no line about `where` shows what stands there, only how it is written. */
  conceal(where: string, text: Concealed): void {
    this.#concealed.set(where, text);
  }

  add(where: string, text: string): void {
    const concealed = this.#concealed.get(where);
    if (concealed !== undefined && concealed.text === undefined) return;
    this.#lines.push(
      [this.#prefix, where, concealed === undefined ? text : withoutText(text, concealed)]
        .filter((part) => part !== '')
        .join(': '),
    );
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

/** Texts are shown in quotes, whole, cut (…), or a part of them. */
function withoutText(line: string, { written, text = '' }: Concealed): string {
  return line.replace(/"(?:[^"\\]|\\.)*"/g, (quoted) =>
    text.includes(unquoted(quoted)) ? JSON.stringify(written) : quoted,
  );
}

function unquoted(quoted: string): string {
  try {
    return (JSON.parse(quoted) as string).replace(/…$/, '');
  } catch {
    return quoted; // Words of the message, and no value.
  }
}

/**
 * The path of `key` inside `path`, as in `streamsConfigs.kafka_01` or `streamsConfigs["a b"]`; a number is an
 * index.
 */
export function pathOf(path: string, key: string | number): string {
  if (typeof key === 'number') return `${path}[${key}]`;
  if (!/^[\w.-]+$/.test(key)) return `${path}[${JSON.stringify(key)}]`;
  return path === '' ? key : `${path}.${key}`;
}
