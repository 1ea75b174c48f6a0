// How far a long piece of work is: on a terminal one line that is drawn anew, elsewhere a plain line every
// few seconds. Lines that are said meanwhile stand above it.
import type { Clock } from '../clock.js';
import { type Io, type Output } from './io.js';
import { countText, framesText, durationText } from './units.js';

export interface ProgressOptions {
  readonly io: Pick<Io, 'out' | 'err'>;
  readonly clock: Clock;
  /** Of all the work; 0: not known. */
  readonly totalBytes: number;
}

const REDRAW_MS = 100;
const PLAIN_MS = 5_000;
const BAR = 20;

export class Progress {
  readonly #out: Output;
  readonly #err: Output;
  readonly #clock: Clock;
  readonly #totalBytes: number;
  readonly #startMs: number;
  #bytes = 0;
  #frames = 0;
  #shownMs: number;
  #isDrawn = false;

  constructor({ io, clock, totalBytes }: ProgressOptions) {
    this.#out = io.out;
    this.#err = io.err;
    this.#clock = clock;
    this.#totalBytes = totalBytes;
    this.#startMs = clock.now();
    this.#shownMs = this.#startMs;
  }

  get frames(): number {
    return this.#frames;
  }

  /** `bytes` more of the work are done, and `frames` more are safe. */
  advance(bytes: number, frames: number): void {
    this.#bytes += bytes;
    this.#frames += frames;
    const now = this.#clock.now();
    if (now - this.#shownMs < (this.#out.isTerminal ? REDRAW_MS : PLAIN_MS)) return;
    this.#shownMs = now;
    this.#show();
  }

  /** A line for people, above the bar. */
  say(text: string): void {
    this.#clear();
    void this.#err.write(`${text}\n`);
  }

  /** A line of the result. */
  tell(text: string): void {
    this.#clear();
    void this.#out.write(`${text}\n`);
  }

  end(): void {
    this.#clear();
  }

  #show(): void {
    if (!this.#out.isTerminal) return void this.#out.write(`${this.#text()}\n`);
    const share = this.#totalBytes === 0 ? 0 : Math.min(1, this.#bytes / this.#totalBytes);
    const bar = this.#totalBytes === 0 ? '' : `[${'#'.repeat(Math.round(share * BAR)).padEnd(BAR)}] `;
    void this.#out.write(`\r${`${bar}${this.#text()}`.slice(0, Math.max(1, this.#out.columns - 1))}\u001b[K`);
    this.#isDrawn = true;
  }

  #text(): string {
    const seconds = Math.max(0.001, (this.#clock.now() - this.#startMs) / 1000);
    const rate = `${framesText(this.#frames)}, ${countText(this.#frames / seconds)}/s`;
    if (this.#totalBytes === 0) return rate;
    const share = Math.min(1, this.#bytes / this.#totalBytes);
    const left = share > 0 ? `, ${durationText((seconds * 1000 * (1 - share)) / share)} left` : '';
    return `${Math.floor(share * 100)}%, ${rate}${left}`;
  }

  #clear(): void {
    if (this.#isDrawn) void this.#out.write('\r\u001b[K');
    this.#isDrawn = false;
  }
}
