// Reads the next piece of a backup's file: about a megabyte of whole frames, which is a batch just as it lies
// there, with the times at which its frames came. A file of frames has no checksums, so each frame is looked
// into: one that can't be as it was written goes no further.
import { type OpenFile, readFully } from '../../disk/fileSystem.js';
import { Batch } from '../../frames/batch.js';
import { PREFIX_BYTES, endOfFrame } from '../../frames/frame.js';
import { type Found, FrameWalk, LONGEST_BODY, inMemory, isFrame, isWhole } from '../../frames/walk.js';
import type { MemoryBudget } from '../../memory/memoryBudget.js';
import type { ArrivalReader } from '../file/arrivalTimes.js';

export interface Piece {
  /** Undefined: no frame of it can be sent. */
  readonly batch: Batch | undefined;
  /** Of the file, with what can't be sent: where the next piece starts. */
  readonly bytes: number;
  readonly frames: number;
  /** Frames that are not as they were written. */
  readonly bad: readonly Buffer[];
  /** What follows has no sound length: no frame of it can be told from the next. */
  readonly isDamagedBehind: boolean;
}

export interface PieceSource {
  readonly file: OpenFile;
  /** Where the file is read to, if it is large enough. */
  readonly space: Buffer;
  readonly bucket: string;
  readonly budget: MemoryBudget;
  readonly times: ArrivalReader | undefined;
  /** For frames of which no time is known. */
  readonly fallbackMs: number;
}

export const PIECE_BYTES = 1024 * 1024;

/**
 * @param at where it starts in the file, and behind how many frames
 * @param end up to where the file holds whole frames
 */
export async function readPiece(
  source: PieceSource,
  at: { readonly bytes: number; readonly frames: number },
  end: number,
): Promise<Piece> {
  const bytes = await readWhole(source, at.bytes, end);
  const piece = new PieceMaker(source, bytes, at.frames);
  await piece.take();
  return piece.end();
}

/** At least one whole frame, if there is one. */
async function readWhole(source: PieceSource, from: number, end: number): Promise<Buffer> {
  const bytes = await readBytes(source, from, Math.min(PIECE_BYTES, end - from));
  const needed = bytes.length >= PREFIX_BYTES ? endOfFrame(bytes, 0) : 0;
  if (needed <= bytes.length || needed > LONGEST_BODY || from + needed > end) return bytes;
  return readBytes(source, from, needed);
}

async function readBytes({ file, space }: PieceSource, from: number, length: number): Promise<Buffer> {
  const bytes = length <= space.length ? space.subarray(0, length) : Buffer.allocUnsafeSlow(length);
  return bytes.subarray(0, await readFully(file, bytes, from));
}

class PieceMaker {
  readonly #source: PieceSource;
  readonly #bytes: Buffer;
  readonly #walk: FrameWalk;
  readonly #firstFrame: number;
  readonly #bad: Buffer[] = [];
  #batch: Batch | undefined;

  constructor(source: PieceSource, bytes: Buffer, firstFrame: number) {
    this.#source = source;
    this.#bytes = bytes;
    this.#walk = new FrameWalk(inMemory(bytes));
    this.#firstFrame = firstFrame;
  }

  /** Takes runs of sound frames that came at the same time, to the last whole one. */
  async take(): Promise<void> {
    for (;;) {
      const untilFrame = await this.#sameTimeUntil();
      const found = this.#takeRun(untilFrame - this.#firstFrame);
      if (!isWhole(found)) return;
      if (!isFrame(found)) this.#takeBad();
    }
  }

  end(): Piece {
    return {
      batch: this.#batch,
      bytes: this.#walk.at,
      frames: this.#walk.frames,
      bad: this.#bad,
      isDamagedBehind: this.#walk.found === 'no length',
    };
  }

  /** Up to which frame of the file the time of the next one holds. */
  async #sameTimeUntil(): Promise<number> {
    const { times } = this.#source;
    if (times === undefined) return Infinity;
    await times.skipTo(this.#firstFrame + this.#walk.frames);
    return times.until;
  }

  /** Returns what stands behind the run, or its last frame where it ends because it has `most`. */
  #takeRun(most: number): Found {
    const walk = this.#walk;
    const [start, before] = [walk.at, walk.frames];
    let hasFull = false;
    while (walk.frames < most && isFrame(walk.look())) {
      hasFull ||= walk.found === 'full frame';
      walk.pass();
    }
    if (walk.frames > before) this.#append(start, walk.frames - before, hasFull);
    return walk.found;
  }

  /** A checkpoint is no frame that Kahe writes to a backup. */
  #takeBad(): void {
    const start = this.#walk.at;
    this.#walk.pass();
    this.#bad.push(Buffer.from(this.#bytes.subarray(start, this.#walk.at)));
  }

  #append(start: number, frames: number, hasFull: boolean): void {
    const { bucket, budget, times, fallbackMs } = this.#source;
    this.#batch ??= new Batch(bucket, budget, this.#bytes.length - start);
    this.#batch.append(this.#bytes, start, this.#walk.at, frames, times?.timeMs ?? fallbackMs);
    if (hasFull) this.#batch.hasFull = true;
  }
}
