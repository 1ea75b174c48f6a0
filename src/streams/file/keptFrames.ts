// Frames of a backup that were read to be sent, and can't be just now while others can: they stay in the
// backup, in files that take the place of the one that they were read from. So the files of a backup hold the
// frames of each partition in their order, whatever was sent meanwhile.
import type { Batch } from '../../frames/batch.js';
import type { Log } from '../../log/log.js';
import type { ArrivalTimes } from './arrivalTimes.js';
import { BatchFile } from './batchFile.js';
import type { OwnFile, OwnFiles } from './ownFiles.js';

export interface KeptFramesOptions {
  readonly files: OwnFiles;
  /** Its own: those of the stream note what comes to another file at the same time. */
  readonly times: ArrivalTimes | undefined;
  readonly fsync: boolean;
  readonly rotateBytes: number;
  readonly log: Log;
}

export class KeptFrames {
  readonly #options: KeptFramesOptions;
  readonly #files = new Set<Readonly<OwnFile>>();
  #open: BatchFile | undefined;
  /** What `#open` writes, once it is made. */
  #own: OwnFile | undefined;
  /** Being written. */
  #batch: Batch | undefined;

  constructor(options: KeptFramesOptions) {
    this.#options = options;
  }

  /** Does it hold what was kept since `forget`? */
  has(file: Readonly<OwnFile>): boolean {
    return this.#files.has(file);
  }

  /** They are files like any other from now on. */
  forget(): void {
    this.#files.clear();
  }

  /**
   * Resolves when the batch is as safe as in any file of the backup.
   * @param before the file that it was read from
   * @throws Error nothing of it is kept
   */
  async keep(batch: Batch, before: OwnFile): Promise<void> {
    const file = await this.#fileBefore(before);
    this.#batch = batch;
    try {
      await file.write(batch.view());
      await file.sync();
    } catch (error) {
      if (!file.isSound) await this.finish();
      throw error;
    }
    if (file.bytes >= this.#options.rotateBytes) await this.finish();
  }

  /** Closes the file that is open. */
  async finish(): Promise<void> {
    const open = this.#open;
    this.#open = undefined;
    const { files, times, log } = this.#options;
    this.#own = undefined;
    await open
      ?.close()
      .catch((error: unknown) =>
        log.warn(
          `${String(open.path)} can't be closed: ${String(error)}; the next start checks what is in it`,
          { reason: String(error), file: open.path },
        ),
      );
    await times?.close();
    files.protect(undefined, 'kept');
  }

  async #fileBefore(before: OwnFile): Promise<BatchFile> {
    if (this.#open !== undefined && (!this.#isRightBefore(before) || (await this.#open.isGone())))
      await this.finish();
    return (this.#open ??= this.#newFile(before));
  }

  /** Whatever was between them is sent: or each file, however small, would leave one. */
  #isRightBefore(before: OwnFile): boolean {
    const { files } = this.#options.files;
    return this.#own !== undefined && files[files.indexOf(before) - 1] === this.#own;
  }

  #newFile(before: OwnFile): BatchFile {
    const { files, times, fsync, log } = this.#options;
    return new BatchFile({
      files: {
        openNext: async () => {
          const opened = await files.openNext(before);
          this.#files.add(opened.file);
          this.#own = opened.file;
          files.protect(opened.file, 'kept');
          return opened;
        },
        pathOf: (file) => files.pathOf(file),
        drop: async (file) => files.drop(file),
        save: async () => files.save(),
      },
      fsync,
      log,
      // One batch at a time.
      onSafe: (_, file) => {
        times?.note(file, file.frames, this.#batch!.arrivals);
        return this.#batch!.frames;
      },
    });
  }
}
