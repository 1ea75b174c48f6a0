// The one bound on memory (MAXMEMORY): every byte of a frame that is held, in any form, is taken from here
// and given back. Taking never fails, for what is already read must be kept; over the mark the sockets are
// paused until enough is given back.

import { BufferPool } from './bufferPool.js';

export type Pressure = 'over' | 'under';

export class MemoryBudget {
  #heldBytes = 0;
  #encodedBytes = 0;
  #over = false;
  #isBlocked = false;
  /** By `now`, while sockets are not read. */
  #pausedSinceMs: number | undefined;
  #pausedMs = 0;
  #pauses = 0;
  readonly #listeners = new Set<(pressure: Pressure) => void>();
  readonly #squeezed = new Set<() => void>();
  readonly #waitingForRoom: { readonly bytes: number; readonly run: () => void }[] = [];
  readonly #pauseAt: number;
  readonly #resumeAt: number;
  readonly #encodedLimit: number;
  readonly #pool: BufferPool;

  /**
   * @param limitBytes MAXMEMORY. A quarter is kept for encoded requests, so that what is held can always be
   * sent, and an eighth for buffers of sizes that nobody asks for just now.
   * @param now milliseconds that never go back, for the time that sockets were not read
   */
  constructor(
    readonly limitBytes: number,
    readonly now: () => number = () => performance.now(),
  ) {
    this.#encodedLimit = Math.floor(limitBytes / 4);
    this.#pauseAt = Math.floor((limitBytes * 5) / 8);
    this.#resumeAt = Math.floor(this.#pauseAt * 0.9);
    this.#pool = new BufferPool(Math.floor(limitBytes / 8));
  }

  /** Bytes held now, encoded requests among them. */
  get heldBytes(): number {
    return this.#heldBytes + this.#encodedBytes;
  }

  /** Of these, bytes of requests that are encoded. */
  get encodedBytes(): number {
    return this.#encodedBytes;
  }

  /** For how long, how often, and why now, sockets have not been read. */
  get paused(): {
    readonly ms: number;
    readonly times: number;
    readonly isForMemory: boolean;
    readonly isForSpool: boolean;
  } {
    const sinceMs = this.#pausedSinceMs === undefined ? 0 : this.now() - this.#pausedSinceMs;
    return {
      ms: this.#pausedMs + sinceMs,
      times: this.#pauses,
      isForMemory: this.#over,
      isForSpool: this.#isBlocked,
    };
  }

  /** More than half is held: what could wait on a disk should. */
  get isTight(): boolean {
    return this.heldBytes > this.limitBytes / 2;
  }

  /** True while sockets must not be read. */
  get isOver(): boolean {
    return this.#over || this.#isBlocked;
  }

  /** Sockets must not be read for another reason than memory: the spool has no room. */
  setBlocked(isBlocked: boolean): void {
    const wasOver = this.isOver;
    this.#isBlocked = isBlocked;
    this.#tellIfTurned(wasOver);
  }

  /** A buffer of at least `bytes` for frames; all its bytes are taken. */
  allocate(bytes: number): Buffer {
    const buffer = this.#pool.acquire(bytes);
    this.take(buffer.length);
    return buffer;
  }

  /** Gives back what `allocate` gave, to be used again: nothing may touch it any more. */
  free(buffer: Buffer): void {
    this.give(buffer.length);
    this.#pool.recycle(buffer);
  }

  /**
   * A buffer for an encoded request, for which `takeEncoded` has made room. `recycle` it once the kernel is
   * done with it, or just drop it.
   */
  scratch(bytes: number): Buffer {
    return this.#pool.acquire(bytes);
  }

  recycle(buffer: Buffer): void {
    this.#pool.recycle(buffer);
  }

  /** Called now and then: gives memory back to the system that has not been needed lately. */
  trim(): void {
    this.#pool.trim();
  }

  take(bytes: number): void {
    this.#heldBytes += bytes;
    if (!this.#over && this.#heldBytes > this.#pauseAt) this.#turn(true);
  }

  give(bytes: number): void {
    this.#heldBytes -= bytes;
    if (this.#over && this.#heldBytes <= this.#resumeAt) this.#turn(false);
  }

  /**
   * Room for an encoded request, at once: false while the reserve is used up, or others wait for it. One
   * request always fits, or nothing would move.
   */
  takeEncoded(bytes: number): boolean {
    if (this.#waitingForRoom.length > 0 || !this.#fitsEncoded(bytes)) return false;
    this.#encodedBytes += bytes;
    return true;
  }

  /**
   * Room for an encoded request, in turn: taken when this resolves. A large one is not passed over by small
   * ones.
   */
  awaitEncoded(bytes: number): Promise<void> {
    if (this.takeEncoded(bytes)) return Promise.resolve();
    return new Promise((run) => this.#waitingForRoom.push({ bytes, run }));
  }

  giveEncoded(bytes: number): void {
    this.#encodedBytes -= bytes;
    for (
      let next = this.#waitingForRoom[0];
      next !== undefined && this.#fitsEncoded(next.bytes);
      next = this.#waitingForRoom[0]
    ) {
      this.#waitingForRoom.shift();
      this.#encodedBytes += next.bytes;
      next.run();
    }
  }

  #fitsEncoded(bytes: number): boolean {
    return this.#encodedBytes === 0 || this.#encodedBytes + bytes <= this.#encodedLimit;
  }

  /**
   * Calls with `over` when sockets must pause, with `under` when they may be read again. Returns the way to
   * end it.
   */
  onPressure(listener: (pressure: Pressure) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Calls when somebody waits for room: who holds what lies on a disk as well lets go of it. Returns the way
   * to end it.
   */
  onSqueeze(listener: () => void): () => void {
    this.#squeezed.add(listener);
    return () => this.#squeezed.delete(listener);
  }

  squeeze(): void {
    for (const listener of this.#squeezed) listener();
  }

  #turn(over: boolean): void {
    const wasOver = this.isOver;
    this.#over = over;
    this.#tellIfTurned(wasOver);
  }

  #tellIfTurned(wasOver: boolean): void {
    if (this.isOver === wasOver) return;
    this.#clockPause();
    for (const listener of this.#listeners) listener(this.isOver ? 'over' : 'under');
  }

  #clockPause(): void {
    const nowMs = this.now();
    if (this.#pausedSinceMs === undefined) this.#pauses++;
    else this.#pausedMs += nowMs - this.#pausedSinceMs;
    this.#pausedSinceMs = this.isOver ? nowMs : undefined;
  }
}
