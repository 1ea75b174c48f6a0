// A command of kahe on a real terminal of its own, and what is to be seen there. Promise: none is left after
// the test.
import { type ChildProcess, spawn } from 'node:child_process';
import path from 'node:path';
import headless from '@xterm/headless';
import { onTestFinished } from 'vitest';
import { builtDaemon } from './daemonBuild.js';

const PTY = path.join(import.meta.dirname, 'terminal.py');
const DEADLINE_MS = 75_000;
const POLL_MS = 10;

export interface TerminalOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly rows?: number;
  readonly columns?: number;
}

export interface TerminalEnd {
  /** Minus the signal that ended it. */
  readonly code: number;
  /** The terminal echoes, and gathers lines, as it did before. */
  readonly isRestored: boolean;
}

export class TestTerminal {
  readonly #child: ChildProcess;
  readonly #screen: headless.Terminal;
  /** Everything that was printed. */
  output = '';
  readonly ended: Promise<TerminalEnd>;

  /** Use openTerminal. */
  constructor(child: ChildProcess, rows: number, columns: number) {
    this.#child = child;
    this.#screen = new headless.Terminal({ rows, cols: columns, allowProposedApi: true });
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.output += text;
      this.#screen.write(text);
    });
    let end = '';
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (end += text));
    this.ended = new Promise((resolve, reject) => {
      child.once('close', () => {
        try {
          const ended = JSON.parse(end) as TerminalEnd;
          // Once all that was printed is seen.
          this.#screen.write('', () => resolve(ended));
        } catch {
          reject(new Error(`the terminal failed: ${end}`));
        }
      });
    });
    this.ended.catch(() => undefined);
  }

  /** The rows as they are seen, without what is blank at their ends. */
  get rows(): string[] {
    const { active } = this.#screen.buffer;
    return Array.from(
      { length: this.#screen.rows },
      (_, row) => active.getLine(active.viewportY + row)?.translateToString(true, 0, this.#screen.cols) ?? '',
    );
  }

  /** The other screen, which vanishes when the program ends. */
  get isOtherScreen(): boolean {
    return this.#screen.buffer.active.type === 'alternate';
  }

  type(keys: string): void {
    this.#child.stdin!.write(keys);
  }

  resize(rows: number, columns: number): void {
    this.#screen.resize(columns, rows);
    this.#child.stdin!.write(`\n\0${rows} ${columns}\n`);
  }

  /** SIGTERM for the command. */
  terminate(): void {
    this.#child.kill('SIGTERM');
  }

  /** Asks until what is seen is so. @throws Error at the deadline, with what is seen */
  async until(what: string, isSo: (rows: readonly string[]) => boolean): Promise<void> {
    for (const deadline = Date.now() + DEADLINE_MS; !isSo(this.rows);) {
      if (Date.now() > deadline)
        throw new Error(`after ${DEADLINE_MS} ms ${what} is not to be seen:\n${this.rows.join('\n')}`);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }
}

/** @param args as they are typed behind `kahe` */
export async function openTerminal(args: readonly string[], options: TerminalOptions): Promise<TestTerminal> {
  return openTerminalFor([process.execPath, await builtDaemon(), ...args], options);
}

/** @param command any program */
export function openTerminalFor(
  command: readonly string[],
  { cwd, env = {}, rows = 24, columns = 100 }: TerminalOptions,
): TestTerminal {
  const child = spawn('python3', [PTY, String(rows), String(columns), ...command], {
    cwd,
    env: { PATH: process.env['PATH'], TERM: 'xterm-256color', ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const terminal = new TestTerminal(child, rows, columns);
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await terminal.ended.catch(() => undefined);
  });
  return terminal;
}
