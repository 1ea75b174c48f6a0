// How much room the spool has: when it is full or the disk fails, reading pauses, or the oldest segments go.
// Promise: what is thrown away is asked for from those who hold it, and reported by them.
import { basename } from 'node:path';
import type { Clock, Timer } from '../clock.js';
import type { SpoolFull } from '../config/env.js';
import { isDiskFull } from '../disk/ioAdvice.js';
import type { Log } from '../log/log.js';
import type { MemoryBudget } from '../memory/memoryBudget.js';

/** A segment that may be thrown away when the spool is full. */
export interface Droppable {
  readonly path: string;
  /** Resolves when it is gone. */
  drop(): Promise<void>;
}

/** Space must have come back by so much before clients go on, or they would stop and go with each batch. */
const RESUME_SHARE = 0.95;
/** So much goes at a time, at least: room for a few batches. */
const DROP_BYTES = 4 * 1024 * 1024;
/**
 * A disk that was full is written to again after a second (diskSegment.ts): only if that did not help, more has
 * to go.
 */
const AGAIN_MS = 1_500;
export class SpoolRoom {
  readonly #settings: { readonly maxBytes: number; readonly whenFull: SpoolFull };
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #budget: MemoryBudget;
  /** Of all segments. */
  bytes = 0;
  /** Segments that the disk does not take just now. */
  failingSegments = 0;
  isFull = false;
  #hasNoSpace = false;
  /** Each says which of its segments could go first. */
  readonly #holders = new Set<() => Droppable | undefined>();
  readonly #whenFailing = new Set<() => void>();
  #dropping: Promise<void> | undefined;
  #again: Timer | undefined;

  constructor(
    settings: { readonly maxBytes: number; readonly whenFull: SpoolFull },
    parts: { readonly log: Log; readonly clock: Clock; readonly budget: MemoryBudget },
  ) {
    this.#settings = settings;
    this.#log = parts.log;
    this.#clock = parts.clock;
    this.#budget = parts.budget;
  }

  close(): void {
    this.#again?.cancel();
  }

  /** As the spool's. */
  onFull(oldest: () => Droppable | undefined): () => void {
    this.#holders.add(oldest);
    return () => this.#holders.delete(oldest);
  }

  /** As the spool's. */
  onFailing(run: () => void): () => void {
    this.#whenFailing.add(run);
    return () => this.#whenFailing.delete(run);
  }

  /** Segments have so many bytes more, or less. */
  resize(bytes: number): void {
    this.bytes += bytes;
    const { maxBytes } = this.#settings;
    if (!this.isFull && this.bytes > maxBytes) {
      this.isFull = true;
      const what = this.#mayDrop
        ? 'the oldest batches are discarded (SPOOL_FULL=drop-oldest)'
        : 'clients wait until batches are delivered';
      const advice = "see which stream doesn't deliver, or raise SPOOL_MAX";
      this.#log.warn(`the spool is full (${this.bytes} bytes, SPOOL_MAX ${maxBytes}): ${what}; ${advice}`, {
        bytes: this.bytes,
        limitBytes: maxBytes,
      });
    } else if (this.isFull && this.bytes <= maxBytes * RESUME_SHARE) {
      this.isFull = false;
      this.#log.info('the spool has room again: clients go on', { bytes: this.bytes, limitBytes: maxBytes });
    }
    if (this.isFull) this.#dropSoon();
    this.#block();
  }

  /** The disk does not take a segment, or takes it again. */
  trouble(isInTrouble: boolean): void {
    this.failingSegments += isInTrouble ? 1 : -1;
    if (this.failingSegments === 0) this.#hasNoSpace = false;
    this.#block();
    if (isInTrouble && this.failingSegments === 1) for (const run of this.#whenFailing) run();
  }

  /** Throwing away what is safe helps against a disk that is full, and against nothing else. */
  noteError(error: unknown): void {
    this.#hasNoSpace = isDiskFull(error);
    if (this.#hasNoSpace) this.#dropSoon();
  }

  get #needsRoom(): boolean {
    return this.isFull || this.#hasNoSpace;
  }

  get #mayDrop(): boolean {
    return this.#settings.whenFull === 'drop-oldest';
  }

  /**
   * Makes room for what comes. Where nothing can go, for streams have it all in their hands, clients wait.
   */
  #dropSoon(): void {
    if (!this.#mayDrop || this.#dropping !== undefined) return;
    this.#again?.cancel();
    this.#dropping = this.#dropOldest().finally(() => {
      this.#dropping = undefined;
      // What streams have in their hands now they may give back a little later.
      if (this.#needsRoom) this.#again = this.#clock.after(AGAIN_MS, () => this.#dropSoon());
    });
  }

  async #dropOldest(): Promise<void> {
    // After the code that is running, which may be just adding what is too much.
    await Promise.resolve();
    const enoughBytes = Math.min(this.#settings.maxBytes * RESUME_SHARE, this.bytes - DROP_BYTES);
    while (this.bytes > enoughBytes && this.#needsRoom) {
      const candidates = [...this.#holders].map((oldest) => oldest()).filter((found) => found !== undefined);
      candidates.sort((a, b) => (basename(a.path) < basename(b.path) ? -1 : 1));
      const before = this.bytes;
      await candidates[0]?.drop();
      if (this.bytes >= before) return;
    }
  }

  #block(): void {
    this.#budget.setBlocked(this.isFull || this.failingSegments > 0);
  }
}
