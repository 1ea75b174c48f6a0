// For bash, 4.2 or newer.
import type { Command } from '../command.js';
import { type Completable, completable } from './completable.js';

export function bashScript(commands: readonly Command[]): string {
  const all = commands.map(completable);
  const names = all.map(({ name }) => name).join(' ');
  return `_kahe() {
  local word="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}" options='' valued='' operand='' index operands=0
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    mapfile -t COMPREPLY < <(compgen -W '${names} help --help --version' -- "$word")
    return
  fi
  case "\${COMP_WORDS[1]}" in
${all.map(caseOf).join('\n')}
    help) operand='${names}' ;;
  esac
  for ((index = 2; index < COMP_CWORD; index++)); do
    case "$valued" in *" \${COMP_WORDS[index]} "*) ((index++)); continue ;; esac
    case "\${COMP_WORDS[index]}" in -*) ;; *) ((operands++)) ;; esac
  done
  case "$valued" in
    *" $before "*) operand=@file; if [ "$before" = --bucket ]; then operand=@bucket; fi ;;
    *)
      case "$word" in -*) operand="$options" ;; *) if [ "$operands" -gt 0 ] && [ "$operand" != @file ]; then return; fi ;; esac ;;
  esac
  case "$operand" in
    @file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    @bucket) mapfile -t COMPREPLY < <(compgen -W "$("\${COMP_WORDS[0]}" completion --buckets 2>/dev/null)" -- "$word") ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$operand" -- "$word") ;;
  esac
}
complete -F _kahe kahe
`;
}

function caseOf({ name, operand, options }: Completable): string {
  const valued = options.filter(({ value }) => value !== undefined).map((option) => `--${option.name} `);
  const set = [
    `options='${options.map((option) => `--${option.name}`).join(' ')}'`,
    ...(valued.length === 0 ? [] : [`valued=' ${valued.join('')}'`]),
    ...(operand === 'none'
      ? []
      : [`operand='${typeof operand === 'string' ? `@${operand}` : operand.join(' ')}'`]),
  ];
  return `    ${name}) ${set.join(' ')} ;;`;
}
