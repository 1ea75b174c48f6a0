// rotating-file-stream, made to keep batches whole. It queues, counts bytes and decides when to rotate: after
// the batch with which a file reaches the size. How a file is named, opened, written, synced and closed is
// ours (BatchFile), for there it would reuse names, follow symlinks and overlook short writes.
import type { Writable } from 'node:stream';
import { RotatingFileStream } from 'rotating-file-stream';
import { errnoOf } from '../../disk/fileSystem.js';
import { BatchFile } from './batchFile.js';
import type { BatchFileOptions } from './batchFile.js';

type Done = (error?: Error) => void;

// What we use of the class, all of it private in its types. The version is pinned by the lock file and these
// parts by our tests.
interface RotatingParts extends Writable {
  file: BatchFile | undefined;
  size: number;
  readonly initPromise?: Promise<void>;
  reclose(): Promise<void>;
  rewrite(chunks: readonly { readonly chunk: Buffer }[], index: number, done: Done): Promise<void>;
}
const Rotating = RotatingFileStream as unknown as new (
  generator: () => string,
  options: { readonly path: string; readonly immutable: true; readonly size: number },
) => RotatingParts;

export interface RotatingBatchesOptions extends BatchFileOptions {
  readonly rotateBytes: number;
  /** A file to go on with, sound, from a stream that failed. */
  readonly resumed: BatchFile | undefined;
  /**
   * A batch could not be made safe: every one not told safe is to be handed back. The file comes along when
   * it is still sound.
   */
  readonly onFailure: (error: Error, path: string | undefined, sound: BatchFile | undefined) => void;
}

export class RotatingBatches extends Rotating {
  readonly #options: RotatingBatchesOptions;
  #resumed: BatchFile | undefined;
  #lastPath: string | undefined;

  constructor(options: RotatingBatchesOptions) {
    // `immutable`: no file is renamed; and with it the base waits a tick before it calls `immutate`, when
    // this object is complete.
    super(() => '', { path: '', immutable: true, size: options.rotateBytes });
    this.#options = options;
    this.#resumed = options.resumed;
    // Every failure goes to `onFailure`; the base's own event would end the process.
    this.on('error', () => undefined);
  }

  /**
   * The base's way to its first and every next file. Nothing is opened yet: BatchFile does that at its first
   * batch.
   */
  async immutate(): Promise<void> {
    this.file = this.#resumed ?? new BatchFile(this.#options);
    this.size = this.file.bytes;
    this.#resumed = undefined;
    return Promise.resolve();
  }

  /** The base hands over all batches that waited; one sync serves them all. */
  override async rewrite(
    chunks: readonly { readonly chunk: Buffer }[],
    index: number,
    done: Done,
  ): Promise<void> {
    try {
      await this.#leaveIfGone();
      await super.rewrite(chunks, index, (error) => void this.#finish(error).then(() => done(), done));
    } catch (error) {
      void this.#finish(error as Error).catch(done);
    }
  }

  override async reclose(): Promise<void> {
    this.#lastPath = this.file?.path;
    await super.reclose();
  }

  async #leaveIfGone(): Promise<void> {
    await this.initPromise;
    if (!(await this.file?.isGone())) return;
    const file = String(this.file?.path);
    this.#options.log.warn(`${file} was removed while Kahe wrote it: Kahe goes on with a new file`, { file });
    await this.reclose();
    await this.immutate();
  }

  async #finish(writeError?: Error): Promise<void> {
    try {
      if (writeError) throw writeError;
      await this.file?.sync();
    } catch (error) {
      const { file } = this;
      const path = file?.path ?? this.#lastPath;
      this.file = undefined;
      const goesOn = file?.isSound && !isAtSizeLimit(error, file);
      // Its end may fail too, and then only what was told safe is: all the same the batches go back.
      if (!goesOn)
        await file
          ?.close()
          .catch((cause: unknown) =>
            this.#options.log.warn(
              `${String(path)} can't be closed: ${String(cause)}; frames that may not be in it go to another file`,
              { reason: String(cause), file: path },
            ),
          );
      this.#options.onFailure(error as Error, path, goesOn ? file : undefined);
      throw error;
    }
  }
}

/** The file may not grow any more, but a new one may hold the batch. */
function isAtSizeLimit(error: unknown, file: BatchFile): boolean {
  return errnoOf(error) === 'EFBIG' && file.bytes > 0;
}
