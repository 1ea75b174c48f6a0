// A command of `kahe`: what its help, the completion of shells and docs/commands.md are made from, and how
// its command line is read.
import { parseArgs } from 'node:util';
import { didYouMean } from '../config/didYouMean.js';
import type { Io } from './io.js';

export interface OptionSpec {
  /** How a value is called in the help, as N; undefined: the option is a switch. */
  readonly value?: string;
  readonly short?: string;
  readonly isRepeatable?: boolean;
  readonly help: string;
}

export interface Command {
  /** The word on the command line. */
  readonly name: string;
  /** One line, for the list of commands. */
  readonly summary: string;
  /** What stands behind the name, as FILE…; undefined: nothing. */
  readonly operands?: string;
  readonly options: Readonly<Record<string, OptionSpec>>;
  readonly examples: readonly string[];
  readonly exitCodes: Readonly<Record<number, string>>;
  /** Goes on when nobody reads its output any more: what it does is not what it prints. */
  readonly outlivesReader?: boolean;
  /** @returns the exit code */
  readonly run: (line: CommandLine, io: Io) => Promise<number>;
}

/** A command line that can't be used: exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  readonly code = 'USAGE';
}

/** It failed, and the message says it all: exit code 1. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly code = 'FAILED';
}

/** Options and operands of one call, checked against the command's table. */
export class CommandLine {
  readonly operands: readonly string[];
  readonly #values: ReadonlyMap<string, readonly string[]>;

  /** @throws {UsageError} an unknown option, one without its value, or a switch with one */
  constructor(command: Command, args: readonly string[]) {
    const known: Record<string, OptionSpec> = { ...command.options, ...HELP_OPTION };
    const { tokens, positionals } = parseArgs({
      args: [...args],
      options: optionsFor(known),
      strict: false,
      allowPositionals: true,
      tokens: true,
    });
    const values = new Map<string, string[]>();
    for (const token of tokens) {
      if (token.kind !== 'option') continue;
      const { name, rawName, value } = token;
      checkOption(known, { name, rawName, value });
      values.set(name, [...(values.get(name) ?? []), value ?? '']);
      if (
        values.get(name)!.length > 1 &&
        known[name]!.isRepeatable !== true &&
        known[name]!.value !== undefined
      )
        throw new UsageError(`${rawName} is given twice`);
    }
    this.operands = positionals;
    this.#values = values;
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }

  text(name: string): string | undefined {
    return this.#values.get(name)?.[0];
  }

  texts(name: string): readonly string[] {
    return this.#values.get(name) ?? [];
  }

  /**
   * @throws {UsageError} unless it is a number greater than 0; `k` and `m` behind it are thousands and
   * millions
   */
  number(name: string): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const [, digits, unit] = /^(\d+(?:\.\d+)?)([km]?)(?:\/s)?$/i.exec(text) ?? [];
    const number = Number(digits) * ({ k: 1000, m: 1_000_000 }[(unit ?? '').toLowerCase()] ?? 1);
    if (number > 0 && number <= Number.MAX_SAFE_INTEGER) return number;
    throw new UsageError(`--${name} ${JSON.stringify(text)} is not a number greater than 0, as 500 or 2k`);
  }

  /** @throws {UsageError} as `number`, and for a part of one */
  wholeNumber(name: string): number | undefined {
    const number = this.number(name);
    if (number === undefined || Number.isInteger(number)) return number;
    throw new UsageError(`--${name} ${this.text(name)!} is not a whole number`);
  }
}

export const HELP_OPTION: Readonly<Record<string, OptionSpec>> = { help: { short: 'h', help: 'shows this' } };

function optionsFor(
  known: Readonly<Record<string, OptionSpec>>,
): Record<string, { type: 'string' | 'boolean'; short?: string; multiple: boolean }> {
  return Object.fromEntries(
    Object.entries(known).map(([name, { value, short }]) => {
      return [
        name,
        {
          type: value === undefined ? 'boolean' : 'string',
          multiple: true,
          ...(short === undefined ? {} : { short }),
        },
      ];
    }),
  );
}

function checkOption(
  known: Readonly<Record<string, OptionSpec>>,
  { name, rawName, value }: { name: string; rawName: string; value: string | undefined },
): void {
  const spec = Object.hasOwn(known, name) ? known[name] : undefined;
  if (spec === undefined) {
    const near = didYouMean(name, Object.keys(known)).replace(/"(.*)"/, '"--$1"');
    throw new UsageError(
      `no option "${rawName}"${near}${near === '' ? '; what starts with "-" and is no option stands behind "--"' : ''}`,
    );
  }
  if (spec.value !== undefined && (value === undefined || value === ''))
    throw new UsageError(`${rawName} needs a value: ${rawName} ${spec.value}`);
  if (spec.value === undefined && value !== undefined)
    throw new UsageError(`${rawName} is a switch, and takes no value`);
}

/** The page that `kahe NAME --help` shows. */
export function helpOf(command: Command): string {
  const options = Object.entries({ ...command.options, ...HELP_OPTION }).map(
    ([name, spec]) => [optionHead(name, spec), spec.help] as const,
  );
  const codes = Object.entries(command.exitCodes);
  return (
    [
      `kahe ${command.name}: ${command.summary}`,
      `usage\n  kahe ${command.name}${command.operands === undefined ? '' : ` ${command.operands}`}${Object.keys(command.options).length > 0 ? ' [options]' : ''}`,
      `options\n${columns(options)}`,
      `examples\n${command.examples.map((example) => `  ${example}`).join('\n')}`,
      `exit codes\n${columns(codes)}`,
    ].join('\n\n') + '\n'
  );
}

/** How an option is written, as `--rate N`. */
export function optionHead(name: string, { value, short }: OptionSpec): string {
  return `${short === undefined ? '' : `-${short}, `}--${name}${value === undefined ? '' : ` ${value}`}`;
}

/** Two columns, the second one aligned. */
export function columns(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([head]) => head.length));
  return rows.map(([head, text]) => `  ${head.padEnd(width)}  ${text}`).join('\n');
}
