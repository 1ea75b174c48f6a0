// Lines to stderr, written before the call returns. Promise: it never throws, never makes the daemon wait for
// the reader of its log; lines that could not be written are counted, and the count is logged later. Only a
// pipe that doesn't block, as Node makes it, keeps the part about waiting; a terminal may block.
//
// Not pino's own destination: with a full pipe that waits on the spot, and stops the event loop for as long
// as the reader stands still; and at the end, with a reader that is gone, it tries for ever.
import { writeSync } from 'node:fs';
import type { LogSink } from './log.js';

export interface StandardErrorOptions {
  /** Writes some of the bytes. @returns how many @throws with an errno, as fs.writeSync */
  readonly write?: (bytes: Buffer) => number;
  readonly now?: () => number;
  readonly sleep?: (ms: number) => void;
  /** Lines could not be written before; this one could. */
  readonly onLost: (lines: number) => void;
}

const STDERR = 2;
/** A reader that lags gets so much later; what comes beyond it is lost. */
const MOST_WAITING_BYTES = 1024 * 1024;
const RETRY_MS = 100;
/** At the end of the process. */
const LAST_TRY_MS = 1000;
const LAST_RETRY_MS = 10;

export class StandardError {
  readonly #options: Required<StandardErrorOptions>;
  /** What a full pipe has not taken; of the first line perhaps only the rest. */
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  /** Has the reader seen the beginning of the first one? */
  #isTorn = false;
  #lost = 0;
  #retry: NodeJS.Timeout | undefined;

  constructor(options: StandardErrorOptions) {
    this.#options = {
      write: (bytes) => writeSync(STDERR, bytes),
      now: () => performance.now(),
      sleep: sleepSync,
      ...options,
    };
  }

  readonly sink: LogSink = (line) => {
    const bytes = Buffer.from(line);
    if (!this.#hasRoom(bytes)) this.#write();
    if (this.#hasRoom(bytes)) this.#add(bytes);
    else this.#lost++;
  };

  /** The last chance: gives a slow reader a second. */
  close(): void {
    const untilMs = this.#options.now() + LAST_TRY_MS;
    this.#write();
    while (this.#waiting.length > 0 && this.#options.now() < untilMs) {
      this.#options.sleep(LAST_RETRY_MS);
      this.#write();
    }
    clearTimeout(this.#retry);
  }

  #hasRoom(bytes: Buffer): boolean {
    return this.#waitingBytes + bytes.length <= MOST_WAITING_BYTES;
  }

  #add(bytes: Buffer): void {
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    this.#write();
  }

  #write(): void {
    clearTimeout(this.#retry);
    try {
      while (this.#waiting.length > 0) this.#writeFirst();
    } catch (error) {
      return this.#onError((error as NodeJS.ErrnoException).code);
    }
    this.#tellLost();
  }

  #writeFirst(): void {
    const first = this.#waiting[0]!;
    const written = this.#options.write(first);
    this.#waitingBytes -= written;
    this.#isTorn = written < first.length;
    if (this.#isTorn) this.#waiting[0] = first.subarray(written);
    else this.#waiting.shift();
  }

  /**
   * A full pipe has room again some time. A reader that is gone, or a full disk, doesn't get what was missed.
   */
  #onError(code: string | undefined): void {
    if (code !== 'EAGAIN') this.#loseWaiting(code === 'ENOSPC' || code === 'EDQUOT');
    if (this.#waiting.length > 0) this.#retry = setTimeout(() => this.#write(), RETRY_MS).unref();
  }

  /**
   * @param endsLine a line whose beginning is there gets its end, so that the next one stands on a line of
   * its own
   */
  #loseWaiting(endsLine: boolean): void {
    this.#isTorn &&= endsLine;
    const kept = this.#isTorn ? 1 : 0;
    this.#lost += this.#waiting.length - kept;
    this.#waiting = this.#waiting.slice(0, kept);
    this.#waitingBytes = this.#waiting[0]?.length ?? 0;
  }

  #tellLost(): void {
    const lost = this.#lost;
    this.#lost = 0;
    if (lost > 0) this.#options.onLost(lost);
  }
}

/** The event loop has ended: nothing else can wait. */
function sleepSync(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
