// Frames on their way to the daemon, in pieces of which a few are unconfirmed at a time. A daemon that goes
// away is waited for, and what it has not confirmed is sent again: it may arrive twice, and is not lost.
import type { Clock, Timer } from '../clock.js';
import { ChangeSignal } from './changeSignal.js';
import { AwayError, DaemonLink } from './daemonLink.js';
import { type Report, withEarlier } from './outcomes.js';
import type { Progress } from './progress.js';

export interface DeliveryOptions {
  /** Of the daemon's socket. */
  readonly path: string;
  readonly progress: Progress;
  readonly clock: Clock;
  /** How long a daemon that went away is waited for. */
  readonly timeoutMs: number;
}

interface Piece {
  readonly bytes: Buffer;
  readonly frames: number;
  readonly inputBytes: number;
}

/** So much is on its way unconfirmed. */
const PIECE_BYTES = 256 * 1024;
const PIECE_FRAMES = 2_500;
const MOST_PIECES = 4;
/** Frames that have come go out when so long none followed. */
const SILENCE_MS = 100;
const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 2_000;

export class Delivery {
  readonly #options: DeliveryOptions;
  #link: DaemonLink | undefined;
  /** Sent, or to be sent again; in their order. */
  #pieces: Piece[] = [];
  #gathered: Buffer[] = [];
  #gatheredBytes = 0;
  #inputBytes = 0;
  #silence: Timer | undefined;
  /** Confirmed on connections that are gone, and of these discarded. */
  #earlier = { frames: 0, discarded: 0 };
  /** The daemon went away then, and has confirmed nothing since. */
  #awaySinceMs: number | undefined;
  readonly #changed = new ChangeSignal();

  constructor(options: DeliveryOptions) {
    this.#options = options;
  }

  /** @throws {AwayError} nobody is there; {CommandError} this user is not let in */
  async open(): Promise<void> {
    this.#link = await DaemonLink.connect(this.#options.path);
  }

  /**
   * Resolves when there is room for more.
   * @throws {AwayError} the daemon went away, and did not come back in time
   */
  async add(frame: Buffer, inputBytes: number): Promise<void> {
    this.#gathered.push(frame);
    this.#gatheredBytes += frame.length;
    this.#inputBytes += inputBytes;
    this.#silence ??= this.#options.clock.after(SILENCE_MS, () => this.#flush());
    if (this.#gatheredBytes >= PIECE_BYTES || this.#gathered.length >= PIECE_FRAMES) this.#flush();
    while (this.#pieces.length >= MOST_PIECES) await this.#changed.next();
    this.#changed.throwIfFailed();
  }

  /** Resolves when all is confirmed. @throws as `add` */
  async end(): Promise<void> {
    this.#flush();
    while (this.#pieces.length > 0) await this.#changed.next();
    this.#changed.throwIfFailed();
  }

  /** What became of all that is confirmed. @returns undefined: the daemon is too old to say */
  async outcome(waitMs: number): Promise<Report | undefined> {
    const report = await this.#link?.outcome(waitMs, this.#options.clock);
    return report && withEarlier(report, this.#earlier.frames);
  }

  /** Frames that the daemon has discarded, as far as receipts say. */
  get discarded(): number {
    return this.#earlier.discarded + (this.#link?.discarded ?? 0);
  }

  close(): void {
    this.#silence?.cancel();
    this.#link?.destroy();
  }

  #flush(): void {
    this.#silence?.cancel();
    this.#silence = undefined;
    if (this.#gathered.length === 0) return;
    const piece = {
      bytes: Buffer.concat(this.#gathered),
      frames: this.#gathered.length,
      inputBytes: this.#inputBytes,
    };
    [this.#gathered, this.#gatheredBytes, this.#inputBytes] = [[], 0, 0];
    this.#pieces.push(piece);
    if (this.#link !== undefined) this.#send(this.#link, piece);
  }

  #send(link: DaemonLink, piece: Piece): void {
    link.send(piece.bytes, piece.frames).then(
      () => this.#onConfirmed(piece),
      (error: unknown) => this.#onGone(link, error as Error),
    );
  }

  #onConfirmed(piece: Piece): void {
    this.#awaySinceMs = undefined;
    this.#pieces = this.#pieces.filter((other) => other !== piece);
    this.#options.progress.advance(piece.inputBytes, piece.frames);
    this.#changed.tell();
  }

  /** Told by each piece of a connection that is gone; the first one is enough. */
  #onGone(link: DaemonLink, error: Error): void {
    if (this.#link !== link) return;
    this.#link = undefined;
    this.#earlier = {
      frames: this.#earlier.frames + link.confirmed,
      discarded: this.#earlier.discarded + link.discarded,
    };
    if (error instanceof AwayError)
      this.#reopen(error).catch((failure: unknown) => this.#changed.fail(failure as Error));
    else this.#changed.fail(error);
  }

  async #reopen(away: AwayError): Promise<void> {
    const { clock, progress, timeoutMs } = this.#options;
    const unconfirmed = this.#pieces.reduce((sum, { frames }) => sum + frames, 0);
    const isNew = this.#awaySinceMs === undefined;
    const sinceMs = (this.#awaySinceMs ??= clock.now());
    if (isNew)
      progress.say(
        `${away.message}; it is waited for, up to ${timeoutMs / 1000} s (--timeout); then what it has not confirmed (${unconfirmed}) is sent again and may arrive twice`,
      );
    for (
      let waitMs = FIRST_WAIT_MS;
      this.#link === undefined;
      waitMs = Math.min(waitMs * 2, LONGEST_WAIT_MS)
    ) {
      if (clock.now() - sinceMs >= timeoutMs)
        throw new AwayError(`${away.message}; tried for ${timeoutMs / 1000} s (--timeout)`);
      await new Promise<void>((resolve) => clock.after(waitMs, resolve));
      await this.open().catch((error: unknown) => {
        if (!(error instanceof AwayError)) throw error;
      });
    }
    if (isNew) progress.say(`${this.#options.path}: the daemon is back, and it goes on`);
    for (const piece of this.#pieces) this.#send(this.#link, piece);
  }
}
