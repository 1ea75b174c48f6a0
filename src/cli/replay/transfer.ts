// Sends what a survey found in one file: in order, never more than the flight's limits unconfirmed, and what
// is safe is noted. When the target goes away it is waited for, and all goes on from the last safe place.
import { type Clock, doneWithin } from '../../clock.js';
import { errorOf } from '../../errors.js';
import { AwayError } from '../daemonLink.js';
import { Flight, type FlightLimits } from './flight.js';
import type { Pace } from './pace.js';
import { type Piece, PieceReader, type PieceOptions } from './pieces.js';
import type { StopSignal } from './stopSignal.js';
import type { Target } from './target.js';
import type { FileWindow } from '../../frames/fileWindow.js';

export interface Position {
  readonly position: number;
  readonly frames: number;
  /** Of these, frames that the target has taken and nothing keeps. */
  readonly discarded?: number;
}

export interface TransferOptions {
  readonly window: FileWindow;
  readonly pieces: Omit<PieceOptions, 'maxBytes' | 'maxFrames' | 'from'>;
  /** Safe already. */
  readonly from: Position;
  readonly target: Target;
  readonly limits: FlightLimits;
  readonly pace: Pace;
  /** Notes how far all is safe. @throws Error */
  readonly note: (safe: Position) => Promise<void>;
  readonly onSafe: (bytes: number, frames: number) => void;
  readonly say: (text: string) => void;
  readonly stop: StopSignal;
  readonly timeoutMs: number;
  readonly clock: Clock;
}

/** It took too long: a person has to look. */
export class GaveUpError extends Error {
  override readonly name = 'GaveUpError';
  readonly code = 'GAVE_UP';
}

const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 5_000;
const LOOK_MS = 250;
/** When it is to stop, what is on its way is waited for so long. */
const GRACE_MS = 3_000;

export class Transfer {
  readonly #options: TransferOptions;
  #safe: Position;
  /** What the target had discarded before: of other files. */
  readonly #discardedBefore: number;
  /** Since when nothing has moved although something should. */
  #sinceMs: number;
  #tries = 0;

  constructor(options: TransferOptions) {
    this.#options = options;
    this.#safe = options.from;
    this.#discardedBefore = options.target.discarded;
    this.#sinceMs = options.clock.now();
  }

  get safe(): Position {
    return this.#safe;
  }

  get #discarded(): number {
    const { from, target } = this.#options;
    return (from.discarded ?? 0) + target.discarded - this.#discardedBefore;
  }

  /**
   * Resolves when all is safe, or it was told to stop.
   * @throws {GaveUpError} nothing moved for the time given; Error the file can't be read, or the note not
   * written
   */
  async run(): Promise<void> {
    const { stop, target } = this.#options;
    for (;;) {
      try {
        await target.open();
        await this.#send();
        return;
      } catch (error) {
        if (!(error instanceof AwayError)) throw error;
        if (stop.hasStopped()) return;
        await this.#wait(error);
        if (stop.hasStopped()) return;
      }
    }
  }

  async #send(): Promise<void> {
    const { window, pieces, target, limits, pace, stop, clock } = this.#options;
    const flight = new Flight(limits, stop);
    const reader = new PieceReader(window, {
      ...pieces,
      from: this.#safe.position,
      maxBytes: Math.min(target.pieceBytes, limits.bytes),
      maxFrames: Math.min(target.pieceFrames, limits.frames, pace.pieceFrames),
    });
    const watch = clock.every(LOOK_MS, () => this.#look(flight));
    try {
      for (let piece = reader.next(); piece !== undefined && !stop.hasStopped(); piece = reader.next()) {
        await flight.room(piece);
        if (piece.frames > 0) await pace.wait(piece.frames, stop);
        // Its turn may have come long after the last one.
        if (stop.hasStopped()) break;
        if (flight.isEmpty) this.#sinceMs = clock.now();
        this.#launch(flight, piece);
      }
      await (stop.hasStopped() ? doneWithin(clock, GRACE_MS, flight.empty()) : this.#emptied(flight));
    } finally {
      watch.cancel();
      flight.end();
    }
  }

  /** All that was sent is safe; told to stop meanwhile, it waits no longer than that allows. */
  async #emptied(flight: Flight): Promise<void> {
    const done = flight.empty();
    const stopped = new Promise<void>((resolve) => void this.#options.stop.onStop(resolve));
    await Promise.race([done, stopped]);
    if (this.#options.stop.hasStopped()) await doneWithin(this.#options.clock, GRACE_MS, done);
    else await done;
  }

  #launch(flight: Flight, piece: Piece): void {
    flight.add(piece);
    const sending = piece.frames === 0 ? Promise.resolve() : this.#options.target.send(piece);
    sending.then(() => this.#onSafe(flight, piece)).catch((error: unknown) => flight.fail(errorOf(error)));
  }

  async #onSafe(flight: Flight, piece: Piece): Promise<void> {
    const landed = flight.safe(piece);
    const last = landed.at(-1);
    if (last === undefined) return;
    const [bytes, frames] = [
      last.end - this.#safe.position,
      landed.reduce((sum, each) => sum + each.frames, 0),
    ];
    const discarded = this.#discarded;
    this.#safe = {
      position: last.end,
      frames: this.#safe.frames + frames,
      ...(discarded === 0 ? {} : { discarded }),
    };
    this.#sinceMs = this.#options.clock.now();
    if (this.#tries > 0) this.#options.say(`${this.#options.target.name}: it is back, and it goes on`);
    this.#tries = 0;
    this.#options.onSafe(bytes, frames);
    await this.#options.note(this.#safe);
    flight.landed(landed);
  }

  #look(flight: Flight): void {
    if (flight.isEmpty || !this.#isLate()) return;
    const { target, timeoutMs } = this.#options;
    flight.fail(
      new GaveUpError(
        `${target.name}: frames were sent and not confirmed for ${timeoutMs / 1000} s (--timeout); ${target.advice}`,
      ),
    );
  }

  #isLate(): boolean {
    return this.#options.clock.now() - this.#sinceMs >= this.#options.timeoutMs;
  }

  /** Said once, then tried again and again. */
  async #wait(away: AwayError): Promise<void> {
    const { say, stop, clock, timeoutMs } = this.#options;
    if (this.#isLate()) throw new GaveUpError(`${away.message}; tried for ${timeoutMs / 1000} s (--timeout)`);
    if (this.#tries === 0)
      say(`${away.message}; tried again for up to ${timeoutMs / 1000} s (--timeout), nothing is lost`);
    await stop.orAfter(Math.min(FIRST_WAIT_MS * 2 ** this.#tries++, LONGEST_WAIT_MS), clock);
  }
}
