// What is to be seen of one stream of one bucket from outside, besides its account: its mode, how long it was
// in each, what went wrong, and how much was written where. Noted at each batch, retry and change of mode,
// never at a frame; it outlives the stream's actor.

export type StreamMode = 'normal' | 'backup' | 'error';

/** Where a batch was written to. */
export type WrittenTo = 'primary' | 'backup';

export interface Problem {
  readonly text: string;
  /** Milliseconds since the epoch. */
  readonly atMs: number;
}

/**
 * Batches that were written whole, and the frames and bytes that were: also those of a batch that failed for
 * the rest.
 */
export interface Written {
  batches: number;
  frames: number;
  bytes: number;
}

export type Amount = Readonly<Pick<Written, 'frames' | 'bytes'>>;

export class StreamStats {
  #mode: StreamMode = 'normal';
  #sinceMs: number;
  readonly #now: () => number;
  readonly #modeMs: Record<StreamMode, number> = { normal: 0, backup: 0, error: 0 };
  readonly written: Readonly<Record<WrittenTo, Written>> = {
    primary: { batches: 0, frames: 0, bytes: 0 },
    backup: { batches: 0, frames: 0, bytes: 0 },
  };
  #lastProblem: Problem | undefined;
  #failedBatches = 0;
  #failures = 0;
  #retries = 0;
  #isEnded = false;
  #replayedFrames = 0;
  #retimedFrames = 0;

  /** @param now milliseconds since the epoch */
  constructor(now: () => number) {
    this.#now = now;
    this.#sinceMs = now();
  }

  get mode(): StreamMode {
    return this.#mode;
  }

  /** Since when it is in this mode, ms since the epoch. */
  get sinceMs(): number {
    return this.#sinceMs;
  }

  get lastProblem(): Problem | undefined {
    return this.#lastProblem;
  }

  /** Batches of which a part, or all, was handed back. */
  get failedBatches(): number {
    return this.#failedBatches;
  }

  /** How often it has left the mode `normal`. */
  get failures(): number {
    return this.#failures;
  }

  /** How often something was sent again, or the primary was asked in vain whether it is back. */
  get retries(): number {
    return this.#retries;
  }

  /** Frames that were delivered from the backup. */
  get replayedFrames(): number {
    return this.#replayedFrames;
  }

  /** Frames that were delivered with the time of sending, because the topic refused that of their arrival. */
  get retimedFrames(): number {
    return this.#retimedFrames;
  }

  /** Milliseconds in each mode until now. A clock that was set back adds nothing. */
  get modeMs(): Readonly<Record<StreamMode, number>> {
    return { ...this.#modeMs, [this.#mode]: this.#modeMs[this.#mode] + this.#inModeMs() };
  }

  /** @param reason of any mode but `normal` it is the problem */
  enter(mode: StreamMode, reason: string): void {
    this.#modeMs[this.#mode] += this.#inModeMs();
    if (this.#mode === 'normal' && mode !== 'normal') this.#failures++;
    if (mode !== 'normal') this.#noteProblem(reason);
    this.#mode = mode;
    this.#sinceMs = this.#now();
    this.#isEnded = false;
  }

  /** The stream has ended: it is in no mode until it enters one again. */
  end(): void {
    this.enter('normal', 'it has ended');
    this.#isEnded = true;
  }

  wrote(to: WrittenTo, amount: Amount): void {
    this.written[to].batches++;
    this.#add(to, amount);
  }

  /** @param amount what of it was written all the same */
  failed(to: WrittenTo, amount: Amount, problem: string): void {
    this.#failedBatches++;
    this.#add(to, amount);
    this.#noteProblem(problem);
  }

  replayed(frames: number): void {
    this.#replayedFrames += frames;
  }

  retimed(frames: number): void {
    this.#retimedFrames += frames;
  }

  retried(problem: string): void {
    this.#retries++;
    this.#noteProblem(problem);
  }

  #add(to: WrittenTo, { frames, bytes }: Amount): void {
    this.written[to].frames += frames;
    this.written[to].bytes += bytes;
  }

  #noteProblem(text: string): void {
    this.#lastProblem = { text, atMs: this.#now() };
  }

  #inModeMs(): number {
    return this.#isEnded ? 0 : Math.max(0, this.#now() - this.#sinceMs);
  }
}
