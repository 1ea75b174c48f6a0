// The files of one segment: the one that is written, and after a failure those that were given up. Promise: a
// file that holds what was safe is kept until a newer one holds as much.
import type { SpoolSync } from '../config/env.js';
import type { FileSystem } from '../disk/fileSystem.js';
import { explained } from '../disk/ioAdvice.js';
import type { Batch } from '../frames/batch.js';
import type { Log } from '../log/log.js';
import { SegmentFile } from './segmentFile.js';

export interface SegmentFilesParts {
  readonly folder: string;
  /** The path of its file; after a failure that of the next one: a number from 1 on. */
  readonly pathOf: (attempt: number) => string;
  readonly sync: SpoolSync;
  readonly fs: FileSystem;
  readonly log: Log;
  /** Files have grown, or are gone: by how many bytes. */
  readonly onSize: (bytes: number) => void;
  /** A file that is not wanted any more could not be removed. */
  readonly onStuck: (path: string, bytes: number, error: unknown) => void;
}

export class SegmentFiles {
  readonly #parts: SegmentFilesParts;
  #file: SegmentFile | undefined;
  /** Given up, and the only ones that hold what was safe. */
  #old: SegmentFile[] = [];
  #attempt = 0;

  constructor(parts: SegmentFilesParts) {
    this.#parts = parts;
  }

  /** Of the file that is written now, or was last. */
  get path(): string {
    return this.#parts.pathOf(this.#attempt);
  }

  /** Is there one that is written? */
  get isMade(): boolean {
    return this.#file !== undefined;
  }

  get isOpen(): boolean {
    return this.#file?.isOpen === true;
  }

  /** Of the batch, what is in the file that is written, behind a checkpoint. */
  get length(): number {
    return this.#file?.length ?? 0;
  }

  async make(): Promise<void> {
    const { fs, folder, sync } = this.#parts;
    this.#file = await SegmentFile.create(fs, this.path, folder);
    if (sync === 'always') await fs.syncFolder(folder);
  }

  /** Writes what the batch has and the file has not, or a part of it. */
  async writePiece(batch: Batch): Promise<void> {
    const { sync, onSize } = this.#parts;
    const file = this.#file!;
    const bytesBefore = file.bytes;
    await file.writePiece(batch);
    onSize(file.bytes - bytesBefore);
    if (sync === 'always') await file.datasync();
  }

  /** Nothing more comes. */
  async finish(): Promise<void> {
    const { fs, folder, sync } = this.#parts;
    if (!this.isOpen) return;
    if (sync === 'batch') {
      await this.#file!.datasync();
      await fs.syncFolder(folder);
    }
    await this.#file!.close();
  }

  /** Writing failed: the next one begins from the batch's first byte. */
  async giveUp(safeBytes: number): Promise<void> {
    if (this.length === 0 || this.length < safeBytes) await this.#removeCurrent();
    else await this.#putAside(this.#file!);
    this.#attempt++;
  }

  async #putAside(file: SegmentFile): Promise<void> {
    this.#file = undefined;
    this.#old.push(file);
    await file
      .close()
      .catch((error: unknown) =>
        this.#parts.log.warn(
          `${file.path} can't be closed: ${explained(error)}; its safe frames stay safe, the rest goes to a new file`,
          { reason: explained(error), file: file.path },
        ),
      );
  }

  /** The file that is written holds as much as they. */
  async removeOld(): Promise<void> {
    for (const old of this.#old.splice(0)) await this.#remove(old);
  }

  async removeAll(): Promise<void> {
    await this.removeOld();
    await this.#removeCurrent();
  }

  async #removeCurrent(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    if (file !== undefined) await this.#remove(file);
  }

  async #remove(file: SegmentFile): Promise<void> {
    const { onSize, onStuck } = this.#parts;
    try {
      await file.remove();
      onSize(-file.bytes);
    } catch (error) {
      onStuck(file.path, file.bytes, error);
    }
  }
}
