// What a command has to do with the world besides files and sockets: where its lines go, and what it was
// called with. Tests give others.
import type { Readable } from 'node:stream';

export interface Io {
  readonly out: Output;
  readonly err: Output;
  readonly stdin: Readable & { readonly isTTY?: boolean; setRawMode?: (isRaw: boolean) => void };
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /**
   * Calls back at the first SIGINT or SIGTERM; the second one ends the process. Returns the way to end
   * listening.
   */
  readonly onStop: (stop: (signal: string) => void) => () => void;
}

export interface Output {
  readonly isTerminal: boolean;
  /** A terminal, and NO_COLOR is not set. */
  readonly hasColour: boolean;
  /** Of the terminal as it is now; 80 elsewhere. */
  readonly columns: number;
  /** As `columns`; 24 elsewhere. */
  readonly rows: number;
  /** Resolves when the reader has taken it, or nobody reads any more: who writes much waits for that. */
  write(text: string): Promise<void>;
  /** Calls back when the terminal has got another size. Returns the way to end listening. */
  readonly onResize: (resized: () => void) => () => void;
}

export function processIo(): Io {
  return {
    out: outputOf(process.stdout),
    err: outputOf(process.stderr),
    stdin: process.stdin,
    cwd: process.cwd(),
    env: process.env,
    onStop,
  };
}

function outputOf(stream: NodeJS.WriteStream): Output {
  const isTerminal = stream.isTTY;
  return {
    isTerminal,
    hasColour: isTerminal && (process.env['NO_COLOR'] ?? '') === '' && process.env['TERM'] !== 'dumb',
    get columns() {
      // Some terminals say 0, or nothing.
      return isTerminal && stream.columns > 0 ? stream.columns : 80;
    },
    get rows() {
      return isTerminal && stream.rows > 0 ? stream.rows : 24;
    },
    onResize(resized) {
      stream.on('resize', resized);
      return () => stream.off('resize', resized);
    },
    write: (text) => new Promise((resolve) => stream.write(text, () => resolve())),
  };
}

function onStop(stop: (signal: string) => void): () => void {
  let seen = 0;
  const listener = (signal: NodeJS.Signals): void => {
    if (++seen > 1) process.exit(1);
    stop(signal);
  };
  const signals = ['SIGINT', 'SIGTERM'] as const;
  for (const signal of signals) process.on(signal, listener);
  return () => signals.forEach((signal) => process.off(signal, listener));
}

const COLOURS = { red: 31, yellow: 33, green: 32, dim: 2 } as const;

export function painted(output: Output, colour: keyof typeof COLOURS, text: string): string {
  return output.hasColour ? `\u001b[${COLOURS[colour]}m${text}\u001b[0m` : text;
}

/** Gathers lines, for a write for each of them costs more than making it. */
export class Lines {
  #text = '';

  constructor(readonly output: Output) {}

  async add(line: string): Promise<void> {
    this.#text += `${line}\n`;
    if (this.#text.length >= GATHERED) await this.flush();
  }

  async flush(): Promise<void> {
    const text = this.#text;
    this.#text = '';
    if (text !== '') await this.output.write(text);
  }
}

const GATHERED = 32 * 1024;
