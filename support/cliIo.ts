// What a command has to do with the world, for tests: what it prints is gathered, and it is told to stop by
// hand.
import { Readable } from 'node:stream';
import { commandNamed, runCommand } from '../src/cli/commands.js';
import type { Io, Output } from '../src/cli/io.js';

export interface FakeIoOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string | Buffer;
  /** Of stdin too. */
  readonly isTerminal?: boolean;
  readonly hasColour?: boolean;
  /** Of the terminal; 80 without it. */
  readonly columns?: number;
}

export class FakeIo implements Io {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: Io['stdin'];
  readonly out: Output;
  readonly err: Output;
  outText = '';
  errText = '';
  readonly #stops = new Set<(signal: string) => void>();

  constructor({
    cwd,
    env = {},
    stdin = '',
    isTerminal = false,
    hasColour = false,
    columns = 80,
  }: FakeIoOptions) {
    this.cwd = cwd;
    this.env = env;
    this.stdin = Object.assign(Readable.from([Buffer.from(stdin)]), { isTTY: isTerminal });
    const shape = { isTerminal, hasColour, columns, rows: 24, onResize: () => () => undefined };
    this.out = { ...shape, write: async (text) => void (this.outText += text) };
    this.err = { ...shape, write: async (text) => void (this.errText += text) };
  }

  readonly onStop: Io['onStop'] = (stop) => {
    this.#stops.add(stop);
    return () => this.#stops.delete(stop);
  };

  /** As a signal would. */
  stop(): void {
    for (const stop of this.#stops) stop('SIGINT');
  }
}

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** A command as it is typed, in this process. */
export async function runHere(args: readonly string[], options: FakeIoOptions): Promise<Ran> {
  const io = new FakeIo(options);
  const code = await runCommand(commandNamed(args[0]!), args.slice(1), io);
  return { code, out: io.outText, err: io.errText };
}
