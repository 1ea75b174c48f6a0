// kahe(1), the manual page: made from the table of commands, as their help is, so that the two can't differ.
import { type Command, type OptionSpec, HELP_OPTION, optionHead } from './command.js';
import { COMMANDS } from './commands.js';

const FILES: readonly (readonly [string, string])[] = [
  [
    '.env.{environment}.local',
    'Where the daemon listens and what it may use, in the folder in which it is started; environment is dev unless set.',
  ],
  ['buckets.json', 'The buckets and streams.'],
  ['/etc/kahe', 'Where both are for the service kahe, whose environment is prod.'],
];

/** @param version of the program. In roff, with the macros of man(7) */
export function manPage(version: string): string {
  const lines = [
    `.TH KAHE 1 "" "kahe ${text(version)}" "Kahe"`,
    '.SH NAME',
    'kahe \\- a local batching sidecar for Apache Kafka',
    '.SH SYNOPSIS',
    ...['kahe', ...COMMANDS.map(synopsis)].flatMap((line, index) => [
      ...(index === 0 ? [] : ['.br']),
      `.B ${text(line)}`,
    ]),
    '.SH DESCRIPTION',
    'Applications write small frames to a Unix socket and go on. Kahe batches them per bucket and delivers them to Kafka or to files, and when Kafka is away it keeps them in backup files.',
    '.PP',
    'Without a command it is the daemon, which stays in the foreground until SIGTERM or SIGINT; SIGHUP takes on a changed',
    '.IR buckets.json .',
    'The commands work beside it.',
    '.SH COMMANDS',
    ...COMMANDS.flatMap(sectionOf),
    '.SH EXIT STATUS',
    'Of the daemon:',
    ...listed([
      ['0', 'It ended as asked.'],
      ['1', "A fault, or a configuration that can't be used."],
      ['2', 'A wrong command line.'],
      ['3', 'A daemon is running on the socket already.'],
    ]),
    '.SH FILES',
    ...listed(FILES),
    '.SH SEE ALSO',
    'The documentation that comes with Kahe: README.md, and docs/configuration.md for every setting.',
  ];
  return `${lines.join('\n')}\n`;
}

function synopsis({ name, operands, options }: Command): string {
  return `kahe ${name}${operands === undefined ? '' : ` ${operands}`}${Object.keys(options).length > 0 ? ' [options]' : ''}`;
}

function sectionOf(command: Command): string[] {
  const options: readonly [string, OptionSpec][] = Object.entries({ ...command.options, ...HELP_OPTION });
  return [
    `.SS ${text(synopsis(command))}`,
    text(sentence(command.summary)),
    ...listed(options.map(([name, spec]) => [optionHead(name, spec), sentence(spec.help)])),
    '.PP',
    'Examples:',
    '.PP',
    '.EX',
    ...command.examples.map((example) => text(`    ${example}`)),
    '.EE',
    '.PP',
    'Exit status:',
    ...listed(Object.entries(command.exitCodes).map(([code, what]) => [code, sentence(what)])),
  ];
}

function listed(rows: readonly (readonly [string, string])[]): string[] {
  return rows.flatMap(([head, what]) => ['.TP', `.B ${text(head)}`, text(what)]);
}

function sentence(words: string): string {
  return `${words[0]!.toUpperCase()}${words.slice(1)}.`;
}

/** Nothing in it is a request or an escape to roff, and what is typed can be copied from the page. */
function text(words: string): string {
  return words
    .replace(/\\/g, '\\e')
    .replace(/-/g, '\\-')
    .replace(/"/g, '\\(dq')
    .replace(/'/g, '\\(aq')
    .replace(/`/g, '\\(ga')
    .replace(/\^/g, '\\(ha')
    .replace(/~/g, '\\(ti')
    .replace(/^\./, '\\&.');
}
