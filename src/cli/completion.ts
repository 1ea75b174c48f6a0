// `kahe completion bash|zsh|fish`: prints what the shell needs to complete commands and their options, made from the table of commands.
import type { Command } from './command.js';
import { HELP_OPTION, UsageError } from './command.js';

const SHELLS = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof SHELLS)[number];

/** @param commands asked for when it runs: this command is one of them */
export function completionCommand(commands: () => readonly Command[]): Command {
  return {
    name: 'completion',
    summary: 'prints what a shell needs to complete commands and options',
    operands: SHELLS.join('|'),
    options: {},
    examples: ['kahe completion bash > /etc/bash_completion.d/kahe', 'kahe completion fish > ~/.config/fish/completions/kahe.fish'],
    exitCodes: { 0: 'it is printed', 2: 'a wrong command line' },
    run: async ({ operands }, io) => {
      const shell = SHELLS.find((name) => name === operands[0]);
      if (shell === undefined || operands.length > 1) throw new UsageError(`name one shell of ${SHELLS.join(', ')}`);
      await io.out.write(scriptFor(shell, commands()));
      return 0;
    },
  };
}

function scriptFor(shell: Shell, commands: readonly Command[]): string {
  switch (shell) {
    case 'bash': return bash(commands);
    case 'zsh': return `#compdef kahe\nautoload -U +X bashcompinit && bashcompinit\n${bash(commands)}`;
    case 'fish': return fish(commands);
  }
}

function optionsOf({ options }: Command): [name: string, isSwitch: boolean, help: string][] {
  return Object.entries({ ...options, ...HELP_OPTION }).map(([name, { value, help }]) => [name, value === undefined, help]);
}

function bash(commands: readonly Command[]): string {
  const cases = commands.map((command) => `    ${command.name}) words='${optionsOf(command).map(([name]) => `--${name}`).join(' ')}' ;;`);
  return `_kahe() {
  local word="\${COMP_WORDS[COMP_CWORD]}" words=''
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '${commands.map(({ name }) => name).join(' ')} help --help --version' -- "$word"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
  esac
  case "$word" in
    -*) COMPREPLY=($(compgen -W "$words" -- "$word")) ;;
    *) COMPREPLY=($(compgen -f -- "$word")) ;;
  esac
}
complete -o filenames -F _kahe kahe
`;
}

function fish(commands: readonly Command[]): string {
  const first = commands.map(({ name, summary }) => `complete -c kahe -n __fish_use_subcommand -f -a ${name} -d ${fishQuoted(summary)}`);
  const options = commands.flatMap((command) => optionsOf(command).map(([name, isSwitch, help]) => {
    return `complete -c kahe -n '__fish_seen_subcommand_from ${command.name}' -l ${name}${isSwitch ? '' : ' -r'} -d ${fishQuoted(help)}`;
  }));
  return `${[...first, ...options].join('\n')}\n`;
}

function fishQuoted(text: string): string {
  return `'${text.replace(/['\\]/g, '\\$&')}'`;
}
