// How `kahe top` is shown: on the screen of a terminal, which is as it was before once it ends, or as blocks
// of plain lines.
import type { Io } from '../io.js';
import { cutToWidth } from '../textWidth.js';
import { type Key, Screen } from './screen.js';
import { SORTS, type TopView } from './view.js';

export interface Face {
  /** There is something to be shown; called once. */
  open(): void;
  /** There is something new. */
  show(): Promise<void>;
  /** Harmless when it was not opened, and when called twice. */
  close(): void;
}

export class PlainFace implements Face {
  constructor(
    readonly io: Io,
    readonly view: TopView,
  ) {}

  /** The first look gives no rates, which are what it is about. */
  open(): void {
    // Nothing yet.
  }

  async show(): Promise<void> {
    const { out } = this.io;
    const lines = [
      new Date().toISOString(),
      ...this.view.head(out),
      ...(this.view.isAway ? [] : this.view.table(out)),
      '',
    ];
    await out.write(`${lines.join('\n')}\n`);
  }

  close(): void {
    // Nothing to put back.
  }
}

const KEYS = 'q quits   ↑ ↓ scroll   ← → sort by';

export class LiveFace implements Face {
  readonly #io: Io;
  readonly #view: TopView;
  readonly #quit: () => void;
  readonly #screen: Screen;
  #first = 0;

  constructor(io: Io, view: TopView, quit: () => void) {
    this.#io = io;
    this.#view = view;
    this.#quit = quit;
    this.#screen = new Screen(io);
  }

  open(): void {
    this.#screen.open(
      (key) => this.#onKey(key),
      () => this.#draw(),
    );
    this.#draw();
  }

  show(): Promise<void> {
    this.#draw();
    return Promise.resolve();
  }

  close(): void {
    this.#screen.close();
  }

  #onKey(key: Key): void {
    const { rows } = this.#io.out;
    switch (key) {
      case 'quit':
        return this.#quit();
      case 'up':
        this.#first--;
        break;
      case 'down':
        this.#first++;
        break;
      case 'pageup':
        this.#first -= rows;
        break;
      case 'pagedown':
        this.#first += rows;
        break;
      case 'left':
        this.#sortBy(-1);
        break;
      case 'right':
        this.#sortBy(1);
        break;
    }
    this.#draw();
  }

  #sortBy(step: number): void {
    this.#view.sort = SORTS[(SORTS.indexOf(this.#view.sort) + step + SORTS.length) % SORTS.length]!;
    this.#first = 0;
  }

  #draw(): void {
    const { out } = this.#io;
    const head = [...this.#view.head(out), ''];
    const [names = '', ...rows] = this.#view.table(out);
    // The line of names, and the line of keys.
    const room = Math.max(1, out.rows - head.length - 2);
    this.#first = Math.max(0, Math.min(this.#first, rows.length - room));
    const seen = rows.slice(this.#first, this.#first + room);
    const place =
      seen.length < rows.length ? `   ${this.#first + 1}–${this.#first + seen.length} of ${rows.length}` : '';
    const keys = cutToWidth(`${KEYS} ${this.#view.sort}${place}`, out.columns);
    this.#screen.draw([...head, names, ...seen], keys);
  }
}
