// The twin of a batch on disk: a file that grows with it, one write for all that came in a turn of the event loop, a checkpoint behind each.
// What is below `safeBytes` outlives a crash of the process, and with a sync a crash of the machine.
import type { Clock } from '../clock.js';
import type { SpoolSync } from '../config/env.js';
import type { Batch } from '../frames/batch.js';
import { encodeCheckpoint } from '../frames/checkpoint.js';
import type { Log } from '../log.js';
import { FILE_MODE, type FileSystem, NEW_FILE, type OpenFile, errnoOf, syncFolder, unlinkIfThere, writeWhole } from '../streams/file/fileSystem.js';

export interface SegmentOptions {
  readonly path: string;
  readonly folder: string;
  readonly batch: Batch;
  readonly sync: SpoolSync;
  readonly fs: FileSystem;
  readonly clock: Clock;
  readonly log: Log;
  /** The file has grown, or is gone: by how many bytes. */
  readonly onSize: (bytes: number) => void;
  /** Writing failed (true), or goes on again (false). */
  readonly onTrouble: (isInTrouble: boolean) => void;
}

interface Waiter {
  readonly bytes: number;
  readonly run: () => void;
}

const RETRY_MS = 1_000;

export class Segment {
  readonly #options: SegmentOptions;
  #file: OpenFile | undefined;
  #fileBytes = 0;
  #safeBytes = 0;
  #safeFrames = 0;
  /** `quiet`: all is written. `due`: at the end of this turn. `writing`. `failed`: tried again after a while. `gone`: not wanted any more. */
  #state: 'quiet' | 'due' | 'writing' | 'failed' | 'gone' = 'quiet';
  #isSealed = false;
  #isInTrouble = false;
  #waiters: Waiter[] = [];
  #whenComplete: (() => void)[] = [];

  constructor(options: SegmentOptions) {
    this.#options = options;
  }

  get path(): string {
    return this.#options.path;
  }

  /** Bytes of the batch that are in the file, behind a checkpoint. */
  get safeBytes(): number {
    return this.#safeBytes;
  }

  /** The whole batch is in the file and no more will come: its memory can be given up. */
  get isComplete(): boolean {
    return this.#isSealed && this.#file === undefined && this.#state === 'quiet';
  }

  /** The batch has grown. */
  grow(): void {
    if (this.#state !== 'quiet') return;
    this.#state = 'due';
    setImmediate(() => {
      if (this.#state === 'due') void this.#write();
    });
  }

  /** The batch is closed: what is missing is written, and the file too. */
  seal(): void {
    this.#isSealed = true;
    if (this.#state === 'quiet') this.#state = 'due';
    if (this.#state === 'due') void this.#write();
  }

  /** Resolves when the whole batch is in the file, or it is not wanted any more. */
  get completed(): Promise<void> {
    return new Promise((resolve) => {
      if (this.isComplete || this.#state === 'gone') resolve();
      else this.#whenComplete.push(resolve);
    });
  }

  /** Calls once the batch's first `bytes` are safe. */
  whenSafe(bytes: number, run: () => void): void {
    if (this.#safeBytes >= bytes) run();
    else this.#waiters.push({ bytes, run });
  }

  /** Every stream has settled the batch: the file is not wanted any more, nor are those who wait for it. */
  async remove(): Promise<void> {
    const wasWriting = this.#state === 'writing';
    this.#state = 'gone';
    for (const { run } of this.#waiters.splice(0)) run();
    for (const run of this.#whenComplete.splice(0)) run();
    if (!wasWriting) await this.#drop();
  }

  async #write(): Promise<void> {
    this.#state = 'writing';
    const { batch } = this.#options;
    batch.beginRead();
    try {
      while (this.#isWanted() && batch.length > this.#safeBytes) await this.#writePiece(batch.view(), batch.frames);
      if (this.#isWanted() && this.#isSealed) await this.#finish();
      this.#leaveTrouble();
      if (this.#isWanted()) this.#state = 'quiet';
      if (this.isComplete) for (const run of this.#whenComplete.splice(0)) run();
    } catch (error) {
      this.#fail(error as Error);
    } finally {
      batch.endRead();
    }
    if (!this.#isWanted()) await this.#drop();
    // It grew while its file was closed or synced.
    else if (this.#isQuiet() && batch.length > this.#safeBytes) this.grow();
  }

  // What other calls change while this one waits is asked through these.
  #isWanted(): boolean { return this.#state !== 'gone'; }
  #isQuiet(): boolean { return this.#state === 'quiet'; }

  async #writePiece(bytes: Buffer, frames: number): Promise<void> {
    const file = (this.#file ??= await this.#create());
    const piece = bytes.subarray(this.#safeBytes);
    const checkpoint = encodeCheckpoint(piece, frames - this.#safeFrames, this.#options.clock.now());
    const both = Buffer.concat([piece, checkpoint]);
    await writeWhole(file, both);
    if (this.#options.sync === 'always') await file.datasync();
    this.#fileBytes += both.length;
    this.#options.onSize(both.length);
    this.#safeBytes = bytes.length;
    this.#safeFrames = frames;
    this.#tell();
  }

  async #create(): Promise<OpenFile> {
    const { fs, path, folder, sync } = this.#options;
    const file = await fs.open(path, NEW_FILE, FILE_MODE).catch(async (error: unknown) => {
      if (errnoOf(error) !== 'ENOENT') throw error;
      await fs.makeFolder(folder, { parents: true });
      return fs.open(path, NEW_FILE, FILE_MODE);
    });
    if (sync !== 'never') await syncFolder(fs, folder);
    return file;
  }

  async #finish(): Promise<void> {
    const file = this.#file;
    if (file === undefined) return;
    if (this.#options.sync === 'batch') await file.datasync();
    this.#file = undefined;
    await file.close();
  }

  #tell(): void {
    const safe = this.#waiters.filter(({ bytes }) => bytes <= this.#safeBytes);
    this.#waiters = this.#waiters.filter(({ bytes }) => bytes > this.#safeBytes);
    for (const { run } of safe) run();
  }

  /** The frames are in memory still. After a failed sync the kernel may have dropped pages, so all goes to a new file: never sync twice. */
  #fail(error: Error): void {
    if (!this.#isWanted()) return;
    this.#state = 'failed';
    if (!this.#isInTrouble) {
      this.#isInTrouble = true;
      this.#options.onTrouble(true);
      this.#options.log.error(`${this.path} can't be written: ${error.message}; nothing is lost, clients wait while it is tried again every ${RETRY_MS} ms; make room on the disk`);
    }
    this.#options.clock.after(RETRY_MS, () => void this.#startAnew());
  }

  async #startAnew(): Promise<void> {
    if (this.#state !== 'failed') return;
    await this.#discard();
    this.#safeBytes = 0;
    this.#safeFrames = 0;
    if (this.#isWanted()) await this.#write();
  }

  #leaveTrouble(): void {
    if (!this.#isInTrouble) return;
    this.#isInTrouble = false;
    this.#options.onTrouble(false);
    this.#options.log.info(`${this.path} can be written again`);
  }

  async #drop(): Promise<void> {
    this.#leaveTrouble();
    await this.#discard();
  }

  /** Closes and removes the file, whatever it holds. */
  async #discard(): Promise<void> {
    const { fs, path, log, onSize } = this.#options;
    const file = this.#file;
    this.#file = undefined;
    try {
      await file?.close();
      await unlinkIfThere(fs, path);
      onSize(-this.#fileBytes);
      this.#fileBytes = 0;
    } catch (error) {
      log.error(`${path} can't be removed: ${(error as Error).message}; its frames are delivered and would be sent again after a restart`);
    }
  }
}
