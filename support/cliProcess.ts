// A command of kahe as a real process, as it is typed in a shell. Promise: none is left after the test.
import { type ChildProcess, spawn } from 'node:child_process';
import { onTestFinished } from 'vitest';
import { builtDaemon } from './daemonBuild.js';

export interface CliExit {
  /** null: a signal killed it. */
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export interface CliOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
}

export class CliProcess {
  out = '';
  err = '';
  readonly exited: Promise<CliExit>;
  readonly #child: ChildProcess;

  /** Use startCli. */
  constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout!.setEncoding('utf8').on('data', (text: string) => (this.out += text));
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.err += text));
    this.exited = new Promise((resolve) =>
      child.once('close', (code) => resolve({ code, out: this.out, err: this.err })),
    );
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }
}

/** Its stdin is empty. */
export async function startCli(args: readonly string[], { cwd, env = {} }: CliOptions): Promise<CliProcess> {
  const child = spawn(process.execPath, [await builtDaemon(), ...args], {
    cwd,
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const cli = new CliProcess(child);
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await cli.exited;
  });
  return cli;
}

export async function runCli(args: readonly string[], options: CliOptions): Promise<CliExit> {
  return (await startCli(args, options)).exited;
}
