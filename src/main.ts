#!/usr/bin/env node
// The process: command line, signals, exit codes; nothing else. Exit codes: 0 ended as asked · 1 the
// configuration can't be used, or a fault · 2 a wrong command line · 3 a daemon is running on the socket
// already.
import { readFileSync } from 'node:fs';
import { UsageError } from './cli/command.js';
import { COMMANDS, commandNamed, overview, runCommand } from './cli/commands.js';
import { processIo } from './cli/io.js';
import { run } from './daemon/run.js';
import { AlreadyRunningError, ConfigError, stackOf } from './errors.js';

async function main([name, ...rest]: readonly string[]): Promise<number> {
  switch (name) {
    case undefined:
      return run();
    case '--version': {
      const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
        version: string;
      };
      process.stdout.write(`${version}\n`);
      return 0;
    }
    case '--help':
    case '-h':
    case 'help':
      if (rest[0] !== undefined) return runCommand(commandNamed(rest[0]), ['--help'], processIo());
      process.stdout.write(overview());
      return 0;
    default:
      return runCommand(commandNamed(name), rest, processIo());
  }
}

function explain(error: unknown): number {
  if (error instanceof UsageError) {
    process.stderr.write(`kahe: ${error.message}\n\n${overview()}`);
    return 2;
  }
  const isKnown = error instanceof ConfigError || error instanceof AlreadyRunningError;
  process.stderr.write(`kahe: ${isKnown ? error.message : stackOf(error)}\n`);
  return error instanceof AlreadyRunningError ? 3 : 1;
}

// `kahe inspect … | head`: the reader has seen enough. What does more than print goes on: the daemon, too, outlives who reads its log.
const goesOn =
  process.argv[2] === undefined ||
  COMMANDS.find(({ name }) => name === process.argv[2])?.outlivesReader === true;
for (const output of [process.stdout, process.stderr]) {
  output.on('error', (error: NodeJS.ErrnoException) => {
    if (!goesOn) process.exit(error.code === 'EPIPE' ? 0 : 1);
  });
}

process.exit(await main(process.argv.slice(2)).catch(explain));
