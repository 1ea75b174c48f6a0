// `kahe completion bash|zsh|fish`: prints what the shell needs to complete commands, their options, and buckets of the running daemon; made from the
// table of commands. The scripts ask `kahe completion --buckets`, which says only names that mean nothing to
// any shell.
import { ADMIN_OPTION, AdminLink } from './adminLink.js';
import type { Command, CommandLine } from './command.js';
import { UsageError } from './command.js';
import { bashScript } from './completion/bash.js';
import { fishScript } from './completion/fish.js';
import { zshScript } from './completion/zsh.js';
import type { Io } from './io.js';

const SCRIPTS = { bash: bashScript, zsh: zshScript, fish: fishScript } as const;
const SHELLS = Object.keys(SCRIPTS) as (keyof typeof SCRIPTS)[];

/** A person who presses a key does not wait longer. */
const DEADLINE_MS = 1_000;

/** @param commands asked for when it runs: this command is one of them */
export function completionCommand(commands: () => readonly Command[]): Command {
  return {
    name: 'completion',
    summary: 'prints what a shell needs to complete commands, options and buckets',
    operands: SHELLS.join('|'),
    options: {
      buckets: {
        help: "instead, the names of the running daemon's buckets, a line each: the completions ask for them",
      },
      admin: ADMIN_OPTION,
    },
    examples: [
      'source <(kahe completion bash)',
      'kahe completion fish > ~/.config/fish/completions/kahe.fish',
    ],
    exitCodes: {
      0: 'it is printed',
      2: 'a wrong command line',
      3: 'with --buckets: no daemon answers, or nothing says where it is',
    },
    run: async (line, io) => {
      await io.out.write(line.has('buckets') ? await bucketNames(line, io) : scriptFor(line, commands()));
      return 0;
    },
  };
}

function scriptFor({ operands }: CommandLine, commands: readonly Command[]): string {
  const shell = SHELLS.find((name) => name === operands[0]);
  if (shell === undefined || operands.length > 1)
    throw new UsageError(`name one shell of ${SHELLS.join(', ')}`);
  return SCRIPTS[shell](commands);
}

/**
 * A client names buckets as it likes, and shells expand what they are given: what is more than letters,
 * digits and `._-` is left out.
 */
async function bucketNames(line: CommandLine, io: Io): Promise<string> {
  if (line.operands.length > 0) throw new UsageError('--buckets stands alone, without a shell');
  const shown = await AdminLink.of(line, io).look(AbortSignal.timeout(DEADLINE_MS));
  const names = shown?.snapshot.buckets.map(({ name }) => name) ?? [];
  return names
    .filter((name) => /^[A-Za-z0-9._][A-Za-z0-9._-]*$/.test(name))
    .map((name) => `${name}\n`)
    .join('');
}
