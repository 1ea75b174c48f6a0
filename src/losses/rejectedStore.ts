// Frames that can never be delivered move here: into files, with the reason of each. The frames stand as they
// came in `<day>-<name>.bckstm`, to be replayed once the cause is fixed; beside it
// `<day>-<name>.reasons.jsonl` has a line for each rejection. Promise: what can't be kept now (over
// `maxBytes`, or the disk fails) is not lost: it waits, or stays with its giver, and it is tried again until
// there is room.
import type { Clock, Timer } from '../clock.js';
import type { RejectedFull } from '../config/env.js';
import type { Log } from '../log/log.js';
import type { MemoryBudget } from '../memory/memoryBudget.js';
import type { Origins } from '../frames/origins.js';
import { RejectedFiles, type Unkept } from './rejectedFiles.js';
import { RejectedReport } from './rejectedReport.js';
import type { RejectedCount } from './rejectedReport.js';
import { explained } from '../disk/ioAdvice.js';
import { tryFolder } from '../disk/trial.js';
import { nodeFileSystem } from '../disk/fileSystem.js';
import type { FileSystem } from '../disk/fileSystem.js';
import { syncing } from '../disk/syncing.js';
import type { RejectedEnd, RejectedFrames, Rejection } from './rejection.js';

export interface RejectedOptions {
  readonly path: string;
  /** Of all its files in the folder together; none is ever removed. */
  readonly maxBytes: number;
  /** false: what is kept is never synced to the disk. */
  readonly isSynced: boolean;
  /** REJECTED_FULL: what can't be kept waits, or is discarded. */
  readonly whenFull: RejectedFull;
  readonly budget: MemoryBudget;
  readonly log: Log;
  readonly clock: Clock;
  readonly fs?: FileSystem;
  /** Connections, to be told what became of the frames that came on them. */
  readonly origins?: Origins;
  /** Frames that nothing keeps, by bucket. */
  readonly onDiscarded?: (discarded: {
    readonly bucket: string;
    readonly frames: number;
    readonly bytes: number;
    readonly reason: string;
  }) => void;
}

interface Waiting extends Unkept, Rejection {
  /** Its bytes are the store's own, so it waits for room. Otherwise the giver has them, and it is refused. */
  readonly mayWait: boolean;
  readonly resolve: (end: RejectedEnd) => void;
}

/** What a rejection that waits costs besides its frames, about: names and numbers. */
const LINE_BYTES = 256;
const LONGEST_REASON = 300;
/** Frames of one write, unless the first rejection has more. */
const WRITE_BYTES = 1024 * 1024;
const RETRY_MS = 1_000;

export class RejectedStore implements RejectedFrames {
  readonly #options: RejectedOptions;
  readonly #fs: FileSystem;
  readonly #files: RejectedFiles;
  readonly #report: RejectedReport;
  #waiting: Waiting[] = [];
  #writing: Promise<void> | undefined;
  /** Why nothing can be kept just now, and the rejection that could not be. */
  #blocked: { readonly problem: string; readonly first: Unkept } | undefined;
  #retry: Timer | undefined;
  #isClosed = false;

  constructor(options: RejectedOptions) {
    this.#options = options;
    this.#fs = syncing(options.fs ?? nodeFileSystem, { ...options, place: options.path });
    this.#files = new RejectedFiles({ ...options, fs: this.#fs });
    this.#report = new RejectedReport(options.log, options.clock);
  }

  /** All that was kept, by reason; over the bound of reasons it is counted as `other reasons`. */
  get counts(): ReadonlyMap<string, RejectedCount> {
    return this.#report.counts;
  }

  /** Frames that nothing keeps: with REJECTED_FULL=drop, or when the process ended first. */
  get lostFrames(): number {
    return this.#report.lostFrames;
  }

  get problem(): string | undefined {
    return this.#options.whenFull === 'hold' ? this.#blocked?.problem : undefined;
  }

  /** At the start: says now what would otherwise be seen with the first frame that is rejected. */
  async prove(): Promise<void> {
    const { path, log, whenFull } = this.#options;
    try {
      await tryFolder(this.#fs, path);
    } catch (error) {
      const fate =
        whenFull === 'hold'
          ? 'connections that send frames to be rejected wait'
          : 'frames to be rejected are discarded (REJECTED_FULL=drop)';
      const reason = explained(error);
      log.error(`${path} (REJECTED) can't be written: ${reason}; until it can, ${fate}`, {
        reason,
        file: path,
      });
    }
  }

  async reject(rejection: Rejection): Promise<'kept' | 'discarded'> {
    const { budget, origins } = this.#options;
    const bytes = Buffer.from(rejection.bytes.subarray(rejection.start, rejection.end));
    const held = bytes.length + LINE_BYTES;
    budget.take(held);
    origins?.hold(rejection.from, bytes.length);
    const end = await this.#add({ ...rejection, bytes, start: 0, end: bytes.length }, true);
    budget.give(held);
    origins?.letGo(rejection.from, bytes.length);
    return end === 'kept' ? 'kept' : 'discarded';
  }

  offer(rejection: Rejection): Promise<RejectedEnd> {
    return this.#add(rejection, false);
  }

  /** Resolves when every frame rejected before is on the disk, or waits for room there. Never rejects. */
  async flush(): Promise<void> {
    while (this.#writing) await this.#writing;
  }

  /** Tries a last time; what can't be kept then is lost. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#retry?.cancel();
    await this.flush();
    this.#blocked = undefined;
    await this.#writeAll();
    await this.#files.close();
    this.#report.close();
  }

  #add(rejection: Rejection, mayWait: boolean): Promise<RejectedEnd> {
    const { reason: given } = rejection;
    const reason = given.length > LONGEST_REASON ? `${given.slice(0, LONGEST_REASON)}…` : given;
    return new Promise((resolve) => {
      const waiting: Waiting = { ...rejection, reason, mayWait, resolve, timeMs: this.#options.clock.now() };
      if (this.#blocked !== undefined || this.#isClosed) return this.#putOff([waiting]);
      this.#waiting.push(waiting);
      this.#writing ??= this.#writeAll();
    });
  }

  /** One write at a time; what comes meanwhile gathers for the next. */
  async #writeAll(): Promise<void> {
    // What is rejected in this turn goes together.
    await Promise.resolve();
    while (this.#waiting.length > 0 && this.#blocked === undefined) {
      const group = this.#waiting.splice(0, groupOf(this.#waiting));
      const { kept, file, problem } = await this.#files.append(group);
      for (const waiting of group.slice(0, kept)) this.#keep(waiting, file);
      if (problem !== undefined) this.#block(problem, group.slice(kept));
    }
    this.#writing = undefined;
  }

  #keep(waiting: Waiting, file: string): void {
    this.#report.kept(waiting, file);
    this.#options.origins?.ended(waiting.from, 'rejected', waiting.reason);
    waiting.resolve('kept');
  }

  #block(problem: string, rest: readonly Waiting[]): void {
    this.#blocked = { problem, first: rest[0]! };
    if (this.#options.whenFull === 'hold' && !this.#isClosed)
      this.#options.log.error(
        `rejected frames can't be kept: ${problem}; connections and streams that have such frames wait, nothing is lost; next try in ${RETRY_MS / 1000} s`,
        { reason: problem, retryMs: RETRY_MS },
      );
    this.#putOff([...rest, ...this.#waiting.splice(0)]);
    if (!this.#isClosed) this.#retry = this.#options.clock.after(RETRY_MS, () => void this.#tryAgain());
  }

  #putOff(rejections: readonly Waiting[]): void {
    const isGivenUp = this.#isClosed || this.#options.whenFull === 'drop';
    for (const waiting of rejections) {
      if (!isGivenUp && waiting.mayWait) this.#waiting.push(waiting);
      else if (isGivenUp && (waiting.mayWait || !this.#isClosed)) this.#discard(waiting);
      else waiting.resolve('refused');
    }
    this.#options.origins?.changed(rejections.map(({ from }) => from));
  }

  #discard(waiting: Waiting): void {
    const { bucket, frames, start, end, reason, from } = waiting;
    this.#report.lost(frames, this.#blocked?.problem ?? 'the daemon stopped');
    this.#options.onDiscarded?.({
      bucket,
      frames,
      bytes: end - start,
      reason: `rejected (${reason}), and REJECTED can't keep more`,
    });
    this.#options.origins?.ended(from, 'discarded', reason);
    waiting.resolve('discarded');
  }

  async #tryAgain(): Promise<void> {
    const problem = await this.#files.check(this.#blocked!.first);
    if (this.#isClosed) return;
    if (problem !== undefined) {
      this.#blocked = { problem, first: this.#blocked!.first };
      this.#retry = this.#options.clock.after(RETRY_MS, () => void this.#tryAgain());
      return;
    }
    this.#blocked = undefined;
    if (this.#options.whenFull === 'hold')
      this.#options.log.info('rejected frames can be kept again: connections and streams go on');
    if (this.#waiting.length > 0) this.#writing ??= this.#writeAll();
  }
}

/** How many of the first rejections go into one write. */
function groupOf(waiting: readonly Waiting[]): number {
  let bytes = 0;
  const over = waiting.findIndex(({ start, end }, i) => (bytes += end - start) > WRITE_BYTES && i > 0);
  return over === -1 ? waiting.length : over;
}
