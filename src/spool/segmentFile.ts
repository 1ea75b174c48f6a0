// One file of a segment: pieces of the batch from its first byte on, a checkpoint behind each. It is new, so
// it is nobody else's.
import { dirname } from 'node:path';
import type { Batch } from '../frames/batch.js';
import { CHECKPOINT_BYTES, encodeCheckpoint } from '../frames/checkpoint.js';
import { endOfFrames } from '../frames/frame.js';
import { refuseLink } from '../disk/folders.js';
import {
  FILE_MODE,
  type FileSystem,
  NEW_FILE,
  type OpenFile,
  errnoOf,
  unlinkIfThere,
  writeAll,
} from '../disk/fileSystem.js';

/** Frames of one piece have one time of arrival; those that came so much later get a piece of their own. */
const SPREAD_MS = 10;

export class SegmentFile {
  /** Of the batch, what is in the file behind a checkpoint. */
  length = 0;
  frames = 0;
  /** Of the file, checkpoints and all. */
  bytes = 0;
  readonly #checkpoint = Buffer.allocUnsafe(CHECKPOINT_BYTES);
  #file: OpenFile | undefined;

  private constructor(
    readonly fs: FileSystem,
    readonly path: string,
    file: OpenFile,
  ) {
    this.#file = file;
  }

  /**
   * @param folder is made when it is not there, and lasts as the file system's rule says
   * @throws Error the folder is a symlink: who led it away decides what becomes of frames, and the next start
   * would not look there
   */
  static async create(fs: FileSystem, path: string, folder: string): Promise<SegmentFile> {
    await refuseLink(fs, folder);
    const file = await fs.open(path, NEW_FILE, FILE_MODE).catch(async (error: unknown) => {
      if (errnoOf(error) !== 'ENOENT') throw error;
      await fs.makeFolder(folder, { parents: true });
      await fs.syncFolder(dirname(folder));
      return fs.open(path, NEW_FILE, FILE_MODE);
    });
    return new SegmentFile(fs, path, file);
  }

  get isOpen(): boolean {
    return this.#file !== undefined;
  }

  /** Writes what the batch has and the file has not, or the part of it that came at about the same time. */
  async writePiece(batch: Batch): Promise<void> {
    const { until, length, timeMs } = this.#nextPiece(batch);
    const piece = batch.bytes.subarray(this.length, length);
    const checkpoint = encodeCheckpoint(piece, until - this.frames, timeMs, this.#checkpoint);
    // The kernel reads them where they are, while more may be added behind them.
    batch.beginRead();
    try {
      await writeAll(this.#file!, [piece, checkpoint]);
    } finally {
      batch.endRead();
    }
    this.length = length;
    this.frames = until;
    this.bytes += piece.length + CHECKPOINT_BYTES;
  }

  /** Up to which frame and byte the next piece goes, and when its frames came. */
  #nextPiece(batch: Batch): { readonly until: number; readonly length: number; readonly timeMs: number } {
    const { until, times } = batch.arrivals;
    const last = until.length - 1;
    let mark = last;
    while (mark > 0 && until[mark - 1]! > this.frames) mark--;
    const timeMs = times[mark]!;
    if (times[last]! - timeMs <= SPREAD_MS) return { until: batch.frames, length: batch.length, timeMs };
    while (times[mark + 1]! - timeMs <= SPREAD_MS) mark++;
    const length = endOfFrames(batch.bytes, this.length, until[mark]! - this.frames);
    return { until: until[mark]!, length, timeMs };
  }

  async datasync(): Promise<void> {
    await this.#file!.datasync();
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  /** Closes and removes it, whatever it holds. */
  async remove(): Promise<void> {
    try {
      await this.close();
    } finally {
      await unlinkIfThere(this.fs, this.path);
    }
  }
}
