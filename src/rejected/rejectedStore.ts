// Frames that can never be delivered, kept in files with the reason of each, so that nothing goes without a trace. The frames stand as they
// came in `<day>-<name>.bckstm`, to be replayed once mended; beside it `<day>-<name>.reasons.jsonl` has a line for each rejection.
// What can't be kept either (over `maxBytes`, or the disk fails) is counted and reported.
import type { Clock } from '../clock.js';
import { Batch } from '../frames/batch.js';
import type { Log } from '../log.js';
import type { MemoryBudget } from '../memoryBudget.js';
import { RejectedFiles } from './rejectedFiles.js';
import type { Kept } from './rejectedFiles.js';
import { RejectedReport } from './rejectedReport.js';
import type { RejectedCount } from './rejectedReport.js';
import { nodeFileSystem } from '../disk/fileSystem.js';
import type { FileSystem } from '../disk/fileSystem.js';
import { syncing } from '../disk/syncing.js';
import type { RejectedFrames } from '../streams/stream.js';

export interface RejectedOptions {
  readonly path: string;
  /** Of all its files in the folder together; none is ever removed. */
  readonly maxBytes: number;
  /** false: what is kept is never synced to the disk. */
  readonly isSynced: boolean;
  readonly budget: MemoryBudget;
  readonly log: Log;
  readonly clock: Clock;
  readonly fs?: FileSystem;
}

type Rejection = Parameters<RejectedFrames['reject']>[0];

/** What one `Kept` costs besides its frames, about: names, numbers and its line. */
const LINE_BYTES = 256;
const LONGEST_REASON = 300;

export class RejectedStore implements RejectedFrames {
  readonly #options: RejectedOptions;
  readonly #files: RejectedFiles;
  readonly #report: RejectedReport;
  readonly #mostUnwritten: number;
  #gathered: Batch | undefined;
  #waiting: Kept[] = [];
  #unwrittenBytes = 0;
  #writing: Promise<void> | undefined;
  #isClosed = false;

  constructor(options: RejectedOptions) {
    this.#options = options;
    this.#files = new RejectedFiles({ ...options, fs: syncing(options.fs ?? nodeFileSystem, { ...options, place: options.path }) });
    this.#report = new RejectedReport(options.log, options.clock);
    // One eighth: a flood of bad frames must not stop the good ones.
    this.#mostUnwritten = Math.max(options.budget.limitBytes / 8, 1024 * 1024);
  }

  /** All rejections by reason; over the bound of reasons they are counted as `other reasons`. */
  get counts(): ReadonlyMap<string, RejectedCount> {
    return this.#report.counts;
  }

  /** Frames that were not even kept in a file. */
  get lostFrames(): number {
    return this.#report.lostFrames;
  }

  reject({ bytes, start, end, frames, bucket, reason: given }: Rejection): void {
    const reason = given.length > LONGEST_REASON ? `${given.slice(0, LONGEST_REASON)}…` : given;
    const [timeMs, size] = [this.#options.clock.now(), end - start];
    const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const sample = this.#report.count({ reason, bucket, frames, bytes: size, timeMs, first: chunk.subarray(start, Math.min(end, start + 32)) });
    const refusal = this.#refusal(size);
    if (refusal !== undefined) {
      this.#report.first({ reason, sample }, 'not kept');
      this.#report.lose(frames, refusal);
      return;
    }
    this.#gathered ??= new Batch('rejected', this.#options.budget, size);
    this.#gathered.append(chunk, start, end, frames, timeMs);
    this.#waiting.push({ end: this.#gathered.length, frames, bytes: size, bucket, reason, timeMs, sample });
    this.#options.budget.take(LINE_BYTES);
    this.#unwrittenBytes += size + LINE_BYTES;
    this.#writing ??= this.#writeAll();
  }

  /** Why `size` bytes more can't even wait; one rejection always can, however big. */
  #refusal(size: number): string | undefined {
    if (this.#isClosed) return 'Kahe is stopping';
    const isTooMuch = this.#unwrittenBytes > 0 && this.#unwrittenBytes + size + LINE_BYTES > this.#mostUnwritten;
    return isTooMuch ? `${this.#unwrittenBytes} bytes wait for the disk already` : undefined;
  }

  get keeping(): Promise<void> | undefined {
    return this.#writing;
  }

  /** Resolves when every frame rejected before is on the disk, or counted as lost. Never rejects. */
  async flush(): Promise<void> {
    while (this.#writing) await this.#writing;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.flush();
    await this.#files.close();
    this.#report.close();
  }

  /** One write at a time; what comes meanwhile gathers for the next. */
  async #writeAll(): Promise<void> {
    // What is rejected in this turn goes together.
    await Promise.resolve();
    while (this.#gathered) {
      const [gathered, waiting] = [this.#gathered, this.#waiting];
      this.#gathered = undefined;
      this.#waiting = [];
      await this.#write(gathered, waiting);
      this.#options.budget.give(waiting.length * LINE_BYTES);
      this.#unwrittenBytes -= gathered.length + waiting.length * LINE_BYTES;
      gathered.release();
    }
    this.#writing = undefined;
  }

  async #write(gathered: Batch, waiting: readonly Kept[]): Promise<void> {
    const { kept, file, problem } = await this.#files.append(gathered.view(), waiting);
    for (const rejection of waiting.slice(0, kept)) this.#report.first(rejection, `kept in ${String(file)}: kahe inspect shows it, and once the cause is mended kahe replay sends it`);
    const lost = waiting.slice(kept);
    for (const rejection of lost) this.#report.first(rejection, 'not kept');
    if (lost.length > 0) this.#report.lose(lost.reduce((sum, { frames }) => sum + frames, 0), problem ?? 'the disk failed');
  }
}
