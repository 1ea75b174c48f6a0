// The pieces that are on their way: sent, and not noted as safe yet. So much is repeated at most, whatever
// happens to this process.
import { ChangeSignal } from '../changeSignal.js';
import type { Piece } from './pieces.js';
import type { StopSignal } from './stopSignal.js';

export interface FlightLimits {
  readonly bytes: number;
  readonly frames: number;
}

interface Flying {
  readonly piece: Piece;
  isSafe: boolean;
}

export class Flight {
  readonly #limits: FlightLimits;
  readonly #stop: StopSignal;
  readonly #forget: () => void;
  #flying: Flying[] = [];
  #bytes = 0;
  #frames = 0;
  readonly #changed = new ChangeSignal();

  constructor(limits: FlightLimits, stop: StopSignal) {
    this.#limits = limits;
    this.#stop = stop;
    this.#forget = stop.onStop(() => this.#changed.tell());
  }

  get isEmpty(): boolean {
    return this.#flying.length === 0 && this.#bytes === 0;
  }

  /**
   * Resolves when the piece may go too, or it is to stop. One piece always may.
   * @throws what `fail` was called with
   */
  async room({ bytes, frames }: Piece): Promise<void> {
    const isTooMuch = (): boolean =>
      this.#bytes > 0 &&
      (this.#bytes + bytes.length > this.#limits.bytes || this.#frames + frames > this.#limits.frames);
    while (isTooMuch() && !this.#stop.hasStopped()) await this.#changed.next();
    this.#changed.throwIfFailed();
  }

  /** Resolves when all is safe and noted. @throws what `fail` was called with */
  async empty(): Promise<void> {
    while (!this.isEmpty) await this.#changed.next();
    this.#changed.throwIfFailed();
  }

  add(piece: Piece): void {
    this.#flying.push({ piece, isSafe: false });
    this.#bytes += piece.bytes.length;
    this.#frames += piece.frames;
  }

  /**
   * The piece is safe. Returns the pieces that are so with all before them, in their order; they stay here
   * until they are `landed`.
   */
  safe(piece: Piece): Piece[] {
    const found = this.#flying.find((flying) => flying.piece === piece);
    if (found !== undefined) found.isSafe = true;
    const firstUnsafe = this.#flying.findIndex(({ isSafe }) => !isSafe);
    return this.#flying
      .splice(0, firstUnsafe === -1 ? this.#flying.length : firstUnsafe)
      .map((flying) => flying.piece);
  }

  /** They are noted: nothing repeats them. */
  landed(pieces: readonly Piece[]): void {
    for (const { bytes, frames } of pieces) {
      this.#bytes -= bytes.length;
      this.#frames -= frames;
    }
    this.#changed.tell();
  }

  fail(error: Error): void {
    this.#changed.fail(error);
  }

  /** Ends listening for the stop. */
  end(): void {
    this.#forget();
  }
}
