// A command of the table as shells complete it: which options it has, which of them take a value, and what
// its operands are.
import { type Command, HELP_OPTION } from '../command.js';

/** `bucket`: the first operand is one, and the others are not completed. */
export type Operand = 'bucket' | 'file' | 'none' | readonly string[];

export interface CompletableOption {
  readonly name: string;
  readonly help: string;
  /** Undefined: a switch. */
  readonly value: string | undefined;
  readonly completes: 'bucket' | 'file';
  readonly isRepeatable: boolean;
}

export interface Completable {
  readonly name: string;
  readonly summary: string;
  readonly operand: Operand;
  readonly options: readonly CompletableOption[];
}

export function completable({ name, summary, operands, options }: Command): Completable {
  return {
    name,
    summary,
    operand: operandOf(operands),
    options: Object.entries({ ...options, ...HELP_OPTION }).map(
      ([option, { help, value, isRepeatable = false }]) => {
        return {
          name: option,
          help,
          value,
          completes: option === 'bucket' ? 'bucket' : 'file',
          isRepeatable,
        };
      },
    ),
  };
}

function operandOf(operands: string | undefined): Operand {
  if (operands === undefined) return 'none';
  if (operands.startsWith('BUCKET')) return 'bucket';
  return operands.startsWith('FILE') ? 'file' : operands.split('|');
}
