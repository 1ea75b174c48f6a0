// The whole terminal for a while: its other screen, without a cursor, keys one by one. Promise: whatever ends
// the process, but a kill that nobody can catch, the terminal is then as it was.
import { emitKeypressEvents } from 'node:readline';
import type { Io } from '../io.js';

export type Key = 'quit' | 'up' | 'down' | 'left' | 'right' | 'pageup' | 'pagedown';

const ESC = '\u001b[';
/** The other screen; no cursor; what is too wide is cut, not wrapped. */
const ENTER = `${ESC}?1049h${ESC}?25l${ESC}?7l`;
const LEAVE = `${ESC}?7h${ESC}?25h${ESC}?1049l`;
const HOME = `${ESC}H`;
const REST_OF_LINE = `${ESC}K`;
const ALL_BELOW = `${ESC}J`;
const DIM = `${ESC}2m`;
const PLAIN = `${ESC}0m`;

const KEYS: ReadonlyMap<string | undefined, Key> = new Map(
  (['up', 'down', 'left', 'right', 'pageup', 'pagedown'] as const).map((key) => [key, key]),
);

interface Pressed {
  readonly name?: string;
  readonly ctrl?: boolean;
}

export class Screen {
  readonly #io: Io;
  #endListening: (() => void) | undefined;

  constructor(io: Io) {
    this.#io = io;
  }

  open(onKey: (key: Key) => void, onResize: () => void): void {
    const { out, stdin } = this.#io;
    void out.write(ENTER);
    const leave = (): void => this.close();
    process.once('exit', leave);
    const endKeys = stdin.isTTY === true ? this.#listen(onKey) : () => undefined;
    const endResize = out.onResize(onResize);
    this.#endListening = () => {
      process.off('exit', leave);
      endKeys();
      endResize();
    };
  }

  /** @param lines none wider than the terminal; what has no room below is not shown */
  draw(lines: readonly string[], last: string): void {
    const { out } = this.#io;
    // Cleared before they are written: behind a line that fills the width the cursor is still on its last
    // character.
    const shown = lines.slice(0, Math.max(0, out.rows - 1)).map((line) => `${REST_OF_LINE}${line}\n`);
    const painted = out.hasColour ? `${DIM}${last}${PLAIN}` : last;
    void out.write(`${HOME}${shown.join('')}${ALL_BELOW}${painted}`);
  }

  close(): void {
    if (this.#endListening === undefined) return;
    this.#endListening();
    this.#endListening = undefined;
    void this.#io.out.write(LEAVE);
  }

  #listen(onKey: (key: Key) => void): () => void {
    const { stdin } = this.#io;
    const onPress = (_text: string | undefined, { name, ctrl = false }: Pressed): void => {
      const key = name === 'q' || (ctrl && name === 'c') ? 'quit' : KEYS.get(name);
      if (key !== undefined) onKey(key);
    };
    const onEnd = (): void => onKey('quit');
    emitKeypressEvents(stdin);
    stdin.setRawMode?.(true);
    stdin.on('keypress', onPress).once('end', onEnd).resume();
    return () => {
      stdin.off('keypress', onPress).off('end', onEnd).pause();
      stdin.setRawMode?.(false);
    };
  }
}
