// For zsh: as a file _kahe in its path of functions, or sourced once compinit has run.
import type { Command } from '../command.js';
import { type Completable, type CompletableOption, completable } from './completable.js';

export function zshScript(commands: readonly Command[]): string {
  const all = commands.map(completable);
  return `#compdef kahe

_kahe_buckets() {
  local -a names
  names=(\${(f)"$("$kahe" completion --buckets 2>/dev/null)"})
  compadd -a names
}

_kahe() {
  local kahe=$words[1]
  local -a commands
  commands=(
${all.map(({ name, summary }) => `    ${quoted(`${name}:${summary}`)}`).join('\n')}
    'help:shows the help of a command'
  )
  if (( CURRENT == 2 )); then
    if [[ $PREFIX == -* ]]; then compadd -- --help --version; else _describe command commands; fi
    return
  fi
  shift words
  (( CURRENT-- ))
  case $words[1] in
${all.map(caseOf).join('\n')}
    help) _describe command commands ;;
  esac
}

if [[ $funcstack[1] == _kahe ]]; then _kahe "$@"; else compdef _kahe kahe; fi
`;
}

function caseOf({ name, operand, options }: Completable): string {
  return `    ${name}) _arguments ${[...options.map(argument), ...operandsOf(operand)].join(' ')} ;;`;
}

function argument({ name, help, value, completes, isRepeatable }: CompletableOption): string {
  const values =
    value === undefined ? '' : `:${value}:${completes === 'bucket' ? '_kahe_buckets' : '_files'}`;
  return quoted(`${isRepeatable ? '*' : ''}--${name}[${help.replace(/[[\]\\]/g, '\\$&')}]${values}`);
}

function operandsOf(operand: Completable['operand']): readonly string[] {
  if (operand === 'none') return [];
  if (operand === 'bucket') return [quoted('1:bucket:_kahe_buckets')];
  return operand === 'file' ? [quoted('*:file:_files')] : [quoted(`1:word:(${operand.join(' ')})`)];
}

function quoted(text: string): string {
  return `'${text.replace(/'/g, "'\\''")}'`;
}
