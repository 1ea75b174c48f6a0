// The segment of a batch: a file on disk that grows with it, one write for all that came since the last one,
// a checkpoint behind each. What is below `safeBytes` outlives a crash of the process, and with a sync a
// crash of the machine. It stays so whatever the disk does: after a failure all goes to a new file, and the
// old one is kept until the new one has as much. A segment is not written before the bucket's last one is, so
// that a crash costs the end of what came and never its middle.
import type { Clock, Timer } from '../clock.js';
import type { Batch } from '../frames/batch.js';
import { explained } from '../disk/ioAdvice.js';
import { SegmentFiles, type SegmentFilesParts } from './segmentFiles.js';
import type { GrowingSegment } from './spool.js';

export interface DiskSegmentOptions extends SegmentFilesParts {
  readonly batch: Batch;
  readonly clock: Clock;
  /** Writing failed (true), or goes on again (false). */
  readonly onTrouble: (isInTrouble: boolean) => void;
  /** Writing failed, this time with this. */
  readonly onError?: (error: unknown) => void;
  readonly onGone: () => void;
}

interface Waiter {
  readonly bytes: number;
  readonly run: () => void;
}

const RETRY_MS = 1_000;
/**
 * After a write the next one waits so long, unless somebody waits for it: a small write costs as much as a
 * large one.
 */
const PACE_MS = 2;

export class DiskSegment implements GrowingSegment {
  readonly isOfPreviousRun = false;
  readonly #options: DiskSegmentOptions;
  #previous: DiskSegment | undefined;
  readonly #files: SegmentFiles;
  #safeBytes = 0;
  /**
   * `quiet`: all is written. `paced`: a little later. `due`: at the end of this turn. `behind`: once the
   * previous one is written. `writing`. `failed`: tried again after a while. `complete`: the whole batch is
   * in the file and no more will come. `gone`: not wanted any more.
   */
  #state: 'quiet' | 'paced' | 'due' | 'behind' | 'writing' | 'failed' | 'complete' | 'gone' = 'quiet';
  #isSealed = false;
  #isInTrouble = false;
  #wroteAtMs = -Infinity;
  #timer: Timer | undefined;
  #work: Promise<void> | undefined;
  #waiters: Waiter[] = [];
  #whenWritten: (() => void)[] = [];
  #whenComplete: (() => void)[] = [];

  /** @param previous the bucket's segment before this one */
  constructor(options: DiskSegmentOptions, previous?: DiskSegment) {
    this.#options = options;
    this.#previous = previous;
    this.#files = new SegmentFiles(options);
  }

  get path(): string {
    return this.#files.path;
  }

  /** Bytes of the batch that are in a file, behind a checkpoint. */
  get safeBytes(): number {
    return this.#safeBytes;
  }

  get copy(): 'growing' | 'complete' {
    return this.#state === 'complete' ? 'complete' : 'growing';
  }

  grow(): void {
    if (this.#state !== 'quiet') return;
    const waitMs = this.#paceMs();
    if (waitMs === 0 || this.#waiters.length > 0) return this.#hurry();
    this.#state = 'paced';
    this.#timer = this.#options.clock.after(waitMs, () => this.#write());
  }

  seal(): void {
    this.#isSealed = true;
    if (this.#state === 'quiet' || this.#state === 'paced' || this.#state === 'due') this.#write();
    this.#tellIfWritten();
  }

  get completed(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#state === 'complete' || this.#state === 'gone') resolve();
      else this.#whenComplete.push(resolve);
    });
  }

  whenSafe(bytes: number, run: () => void): void {
    if (this.#safeBytes >= bytes || this.#state === 'gone') return run();
    this.#waiters.push({ bytes, run });
    if (this.#state === 'paced') this.#hurry();
  }

  async remove(): Promise<void> {
    this.#state = 'gone';
    this.#timer?.cancel();
    for (const { run } of this.#waiters.splice(0)) run();
    for (const run of this.#whenComplete.splice(0)) run();
    this.#tellIfWritten();
    this.#leaveTrouble();
    this.#options.onGone();
    await this.#work;
    await this.#files.removeAll();
  }

  /** At the end of this turn, so that one write takes all that comes in it. */
  #hurry(): void {
    this.#timer?.cancel();
    this.#state = 'due';
    setImmediate(() => {
      if (this.#state === 'due') this.#write();
    });
  }

  /** How long the next write waits for more to come. */
  #paceMs(): number {
    const leftMs = this.#wroteAtMs + PACE_MS - this.#options.clock.now();
    // More than that: the clock was set back.
    return leftMs > PACE_MS ? 0 : Math.max(0, leftMs);
  }

  #write(): void {
    this.#timer?.cancel();
    if (this.#previous?.isWritten === false) {
      this.#state = 'behind';
      return this.#previous.whenWritten(() => this.#state === 'behind' && this.#write());
    }
    this.#previous = undefined;
    this.#state = 'writing';
    this.#work = this.#writeMissing()
      .then(() => this.#afterWrite())
      .catch((error: unknown) => this.#fail(error));
  }

  async #writeMissing(): Promise<void> {
    const { batch } = this.#options;
    while (this.#isWanted() && batch.length > this.#files.length) {
      await this.#writePiece();
      const isAwaited = this.#isSealed || this.#waiters.length > 0 || this.#files.length < this.#safeBytes;
      if (!isAwaited) break;
    }
    if (this.#isWanted() && this.#isSealed) await this.#files.finish();
    if (this.#isWanted()) await this.#files.removeOld();
  }

  async #writePiece(): Promise<void> {
    const { batch, clock } = this.#options;
    if (!this.#files.isMade) {
      await this.#files.make();
      // Settled meanwhile, its frames are gone, and a checkpoint without them would look like damage after a
      // crash.
      if (!this.#isWanted()) return;
    }
    await this.#files.writePiece(batch);
    this.#wroteAtMs = clock.now();
    this.#safeBytes = Math.max(this.#safeBytes, this.#files.length);
    this.#tellIfSafe();
    this.#tellIfWritten();
  }

  #afterWrite(): void {
    if (!this.#isWanted()) return;
    this.#leaveTrouble();
    // It was sealed, or has grown, while the disk was at work.
    const isFinished = this.#isSealed && !this.#files.isOpen;
    if (this.#isSealed && !isFinished) return this.#write();
    this.#state = isFinished ? 'complete' : 'quiet';
    if (isFinished) for (const run of this.#whenComplete.splice(0)) run();
    else if (this.#options.batch.length > this.#files.length) this.grow();
  }

  /** Asked after every wait: other calls change it meanwhile. */
  #isWanted(): boolean {
    return this.#state !== 'gone';
  }

  /** All of the closed batch is safe in a file: the bucket's next segment may be written. */
  get isWritten(): boolean {
    return this.#state === 'gone' || (this.#isSealed && this.#safeBytes >= this.#options.batch.length);
  }

  whenWritten(run: () => void): void {
    if (this.isWritten) run();
    else this.#whenWritten.push(run);
  }

  #tellIfWritten(): void {
    if (this.isWritten) for (const run of this.#whenWritten.splice(0)) run();
  }

  #tellIfSafe(): void {
    const safe = this.#waiters.filter(({ bytes }) => bytes <= this.#safeBytes);
    if (safe.length === 0) return;
    this.#waiters = this.#waiters.filter(({ bytes }) => bytes > this.#safeBytes);
    for (const { run } of safe) run();
  }

  /** The frames are in memory still. */
  #fail(error: unknown): void {
    if (!this.#isWanted()) return;
    this.#state = 'failed';
    if (!this.#isInTrouble) {
      this.#isInTrouble = true;
      this.#options.onTrouble(true);
      const reason = explained(error);
      this.#options.log.error(
        `${this.path} can't be written: ${reason}; clients wait, nothing is lost; next try in ${RETRY_MS / 1000} s; make room on that disk, or repair it`,
        { reason, file: this.path, retryMs: RETRY_MS },
      );
    }
    this.#options.onError?.(error);
    this.#timer = this.#options.clock.after(RETRY_MS, () => this.#startAnew());
  }

  /**
   * After a failed sync the kernel may have dropped pages and say nothing at the next one, so all goes to a
   * new file.
   */
  #startAnew(): void {
    this.#state = 'writing';
    this.#work = this.#files.giveUp(this.#safeBytes).then(() => {
      if (this.#isWanted()) this.#write();
    });
  }

  #leaveTrouble(): void {
    if (!this.#isInTrouble) return;
    this.#isInTrouble = false;
    this.#options.onTrouble(false);
    this.#options.log.info(`${this.path} can be written again: clients go on`, { file: this.path });
  }
}
