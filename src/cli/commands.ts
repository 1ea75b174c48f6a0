// The commands of `kahe`, in the order of the help. A new one is a file of its own and a line here.
import { didYouMean } from '../config/didYouMean.js';
import { errnoOf } from '../disk/fileSystem.js';
import { explained } from '../disk/ioAdvice.js';
import { NoDaemonError } from './adminLink.js';
import { type Command, CommandError, CommandLine, UsageError, columns, helpOf } from './command.js';
import { checkCommand } from './check.js';
import { completionCommand } from './completion.js';
import { AwayError } from './daemonLink.js';
import { inspectCommand } from './inspect.js';
import type { Io } from './io.js';
import { replayCommand } from './replay.js';
import { sendCommand } from './send.js';
import { statusCommand } from './status.js';
import { tailCommand } from './tail.js';
import { topCommand } from './top.js';

export const COMMANDS: readonly Command[] = [
  sendCommand,
  inspectCommand,
  replayCommand,
  checkCommand,
  statusCommand,
  topCommand,
  tailCommand,
  completionCommand(() => COMMANDS),
];

/** @throws {UsageError} */
export function commandNamed(name: string): Command {
  const found = COMMANDS.find((command) => command.name === name);
  if (found === undefined)
    throw new UsageError(
      `no ${name.startsWith('-') ? 'option' : 'command'} "${name}"${didYouMean(name, [...COMMANDS.map((command) => command.name), '--help', '--version'])}`,
    );
  return found;
}

/** @returns the exit code; a wrong command line is told, with the way to the help */
export async function runCommand(command: Command, args: readonly string[], io: Io): Promise<number> {
  try {
    const line = new CommandLine(command, args);
    if (!line.has('help')) return await command.run(line, io);
    await io.out.write(helpOf(command));
    return 0;
  } catch (error) {
    if (error instanceof UsageError) {
      await io.err.write(
        `kahe ${command.name}: ${error.message}\n(kahe ${command.name} --help shows how it is used)\n`,
      );
      return 2;
    }
    if (error instanceof NoDaemonError) {
      await io.err.write(`kahe ${command.name}: ${error.message}\n`);
      return 3;
    }
    const isExplained = error instanceof CommandError || error instanceof AwayError || isSystemError(error);
    if (!isExplained) throw error;
    await io.err.write(`kahe ${command.name}: ${explained(error)}\n`);
    return 1;
  }
}

/** The kernel said no to something: no fault of ours, so no stack. */
function isSystemError(error: unknown): boolean {
  return errnoOf(error) !== undefined && error instanceof Error && 'syscall' in error;
}

export function overview(): string {
  const rows = COMMANDS.map(
    ({ name, operands, summary }) =>
      [`kahe ${name}${operands === undefined ? '' : ` ${operands}`}`, summary] as const,
  );
  return `kahe: a local batching sidecar for Apache Kafka

usage
${columns([['kahe', 'starts the daemon; reads .env.{environment}.local in this folder'], ...rows, ['kahe COMMAND --help', 'more of a command'], ['kahe --help | --version', 'this page; the version']])}

example
  environment=prod kahe
`;
}
