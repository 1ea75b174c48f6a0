#!/usr/bin/env node
// The process: command line, signals, exit codes; nothing else.
// Exit codes: 0 ended as asked · 1 the configuration can't be used, or a fault · 2 a wrong command line · 3 a daemon is running on the socket already.
import { readFileSync } from 'node:fs';
import { inspect } from './cli/inspect.js';
import { send } from './cli/send.js';
import { run } from './cli/run.js';
import { ConfigError } from './errors.js';
import { AlreadyRunningError } from './socket/bind.js';

const HELP = `kahe: a local batching sidecar for Apache Kafka

usage
  kahe                          starts the daemon; reads .env.{environment}.local in this folder
  kahe send BUCKET MESSAGE [KEY]  sends one frame to the running daemon, and waits until it is safe
  kahe inspect FILE...          shows what is in .bckstm files
  kahe --help | --version

example
  environment=prod kahe
`;

async function main(args: readonly string[]): Promise<number> {
  const [command, ...rest] = args;
  switch (command) {
    case undefined: return run();
    case 'send': return send(rest);
    case 'inspect': return inspect(rest);
    case '--help': case '-h': case 'help':
      process.stdout.write(HELP);
      return 0;
    case '--version': {
      const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };
      process.stdout.write(`${version}\n`);
      return 0;
    }
    default:
      process.stderr.write(`kahe: no command "${command}"\n\n${HELP}`);
      return 2;
  }
}

function explain(error: unknown): number {
  const isKnown = error instanceof ConfigError || error instanceof AlreadyRunningError;
  process.stderr.write(`kahe: ${isKnown ? error.message : error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  return error instanceof AlreadyRunningError ? 3 : 1;
}

// `kahe inspect … | head`: the reader has seen enough.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

process.exit(await main(process.argv.slice(2)).catch(explain));
