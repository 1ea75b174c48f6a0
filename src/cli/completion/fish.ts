// For fish.
import type { Command } from '../command.js';
import { type Completable, completable } from './completable.js';

const BUCKETS = '-f -a "(kahe completion --buckets 2>/dev/null)"';

export function fishScript(commands: readonly Command[]): string {
  const all = commands.map(completable);
  const lines = [
    'complete -c kahe -f',
    ...all.map(
      ({ name, summary }) => `complete -c kahe -n __fish_use_subcommand -a ${name} -d ${quoted(summary)}`,
    ),
    `complete -c kahe -n __fish_use_subcommand -a help -d 'shows the help of a command'`,
    `complete -c kahe -n '__fish_seen_subcommand_from help' -a '${all.map(({ name }) => name).join(' ')}'`,
    ...all.flatMap(linesOf),
  ];
  return `${lines.join('\n')}\n`;
}

function linesOf({ name, operand, options }: Completable): string[] {
  const here = `complete -c kahe -n '__fish_seen_subcommand_from ${name}'`;
  return [
    ...options.map((option) => {
      const value =
        option.value === undefined ? '' : option.completes === 'bucket' ? ` -r ${BUCKETS}` : ' -r -F';
      return `${here} -l ${option.name}${value} -d ${quoted(option.help)}`;
    }),
    ...(operand === 'bucket'
      ? [`${here} ${BUCKETS}`]
      : operand === 'file'
        ? [`${here} -F`]
        : operand === 'none'
          ? []
          : [`${here} -a '${operand.join(' ')}'`]),
  ];
}

function quoted(text: string): string {
  return `'${text.replace(/['\\]/g, '\\$&')}'`;
}
