// The segment of a batch: a file on disk that grows with it, one write for all that came since the last one,
// a checkpoint behind each. What is below `safeBytes` outlives a crash of the process, and with a sync a
// crash of the machine. It stays so whatever the disk does: after a failure all goes to a new file, and the
// old one is kept until the new one has as much. A segment is not written before the bucket's last one is, so
// that a crash costs the end of what came and never its middle.
import type { Clock, Timer } from '../clock.js';
import type { SpoolSync } from '../config/env.js';
import type { Batch } from '../frames/batch.js';
import type { Log } from '../log/log.js';
import type { FileSystem } from '../disk/fileSystem.js';
import { explained } from '../disk/ioAdvice.js';
import { SegmentFile } from './segmentFile.js';
import type { GrowingSegment } from './spool.js';

export interface DiskSegmentOptions {
  readonly folder: string;
  /** The path of its file; after a failure that of the next one: a number from 1 on. */
  readonly pathOf: (attempt: number) => string;
  readonly batch: Batch;
  readonly sync: SpoolSync;
  readonly fs: FileSystem;
  readonly clock: Clock;
  readonly log: Log;
  /** Files have grown, or are gone: by how many bytes. */
  readonly onSize: (bytes: number) => void;
  /** Writing failed (true), or goes on again (false). */
  readonly onTrouble: (isInTrouble: boolean) => void;
  /** Writing failed, this time with this. */
  readonly onError?: (error: unknown) => void;
  /** A file that is not wanted any more could not be removed. */
  readonly onStuck: (path: string, bytes: number, error: unknown) => void;
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
  #file: SegmentFile | undefined;
  /** Files given up on that hold what was safe: they go when a new one has as much. */
  #old: SegmentFile[] = [];
  #attempt = 0;
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
  }

  get path(): string {
    return this.#options.pathOf(this.#attempt);
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
    await this.#discardOld();
    await this.#discardFile();
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
    while (this.#isWanted() && batch.length > this.#fileLength) {
      await this.#writePiece();
      const isAwaited = this.#isSealed || this.#waiters.length > 0 || this.#fileLength < this.#safeBytes;
      if (!isAwaited) break;
    }
    if (this.#isWanted() && this.#isSealed) await this.#finish();
    if (this.#isWanted()) await this.#discardOld();
  }

  async #writePiece(): Promise<void> {
    const { fs, folder, batch, sync, onSize, clock } = this.#options;
    if (this.#file === undefined) {
      this.#file = await SegmentFile.create(fs, this.path, folder);
      if (sync === 'always') await fs.syncFolder(folder);
      // Settled meanwhile, its frames are gone, and a checkpoint without them would look like damage after a
      // crash.
      if (!this.#isWanted()) return;
    }
    const file = this.#file;
    const bytesBefore = file.bytes;
    await file.writePiece(batch);
    onSize(file.bytes - bytesBefore);
    if (sync === 'always') await file.datasync();
    this.#wroteAtMs = clock.now();
    this.#safeBytes = Math.max(this.#safeBytes, file.length);
    this.#tellIfSafe();
    this.#tellIfWritten();
  }

  async #finish(): Promise<void> {
    const { fs, folder, sync } = this.#options;
    if (this.#file?.isOpen !== true) return;
    if (sync === 'batch') {
      await this.#file.datasync();
      await fs.syncFolder(folder);
    }
    await this.#file.close();
  }

  #afterWrite(): void {
    if (!this.#isWanted()) return;
    this.#leaveTrouble();
    // It was sealed, or has grown, while the disk was at work.
    const isFinished = this.#isSealed && this.#file?.isOpen !== true;
    if (this.#isSealed && !isFinished) return this.#write();
    this.#state = isFinished ? 'complete' : 'quiet';
    if (isFinished) for (const run of this.#whenComplete.splice(0)) run();
    else if (this.#options.batch.length > this.#fileLength) this.grow();
  }

  // What other calls change while this one waits is asked through these.
  #isWanted(): boolean {
    return this.#state !== 'gone';
  }
  get #fileLength(): number {
    return this.#file?.length ?? 0;
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
    this.#work = this.#retireFile().then(() => {
      if (this.#isWanted()) this.#write();
    });
  }

  /** What is safe stays so: a file that holds it is kept. */
  async #retireFile(): Promise<void> {
    if (this.#fileLength === 0 || this.#fileLength < this.#safeBytes) {
      await this.#discardFile();
    } else {
      const old = this.#file!;
      this.#file = undefined;
      this.#old.push(old);
      await old
        .close()
        .catch((error: unknown) =>
          this.#options.log.warn(
            `${old.path} can't be closed: ${explained(error)}; its safe frames stay safe, the rest goes to a new file`,
            { reason: explained(error), file: old.path },
          ),
        );
    }
    this.#attempt++;
  }

  #leaveTrouble(): void {
    if (!this.#isInTrouble) return;
    this.#isInTrouble = false;
    this.#options.onTrouble(false);
    this.#options.log.info(`${this.path} can be written again: clients go on`, { file: this.path });
  }

  async #discardOld(): Promise<void> {
    for (const old of this.#old.splice(0)) await this.#discard(old);
  }

  async #discardFile(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    if (file !== undefined) await this.#discard(file);
  }

  async #discard(file: SegmentFile): Promise<void> {
    const { onSize, onStuck } = this.#options;
    try {
      await file.remove();
      onSize(-file.bytes);
    } catch (error) {
      onStuck(file.path, file.bytes, error);
    }
  }
}
