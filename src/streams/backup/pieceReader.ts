// Reads the next piece of a backup's file: about a megabyte of whole frames, which is a batch just as it lies
// there, with the times at which its frames came. A file of frames has no checksums, so each frame is looked
// into: one that can't be as it was written goes no further.
import { type OpenFile, readFully } from '../../disk/fileSystem.js';
import { Batch } from '../../frames/batch.js';
import { PREFIX_BYTES, bodyLength, judgeBody, MIN_BODY_BYTES } from '../../frames/frame.js';
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
  /** The piece ends behind so many, at least one. */
  readonly mostFrames: number;
}

export const PIECE_BYTES = 1024 * 1024;
/** Longer than any frame that a client may send. */
const LONGEST_BODY = 256 * 1024 * 1024;

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
  const needed = bytes.length >= PREFIX_BYTES ? PREFIX_BYTES + bodyLength(bytes, 0) : 0;
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
  readonly #firstFrame: number;
  readonly #bad: Buffer[] = [];
  #batch: Batch | undefined;
  #frames = 0;
  #at = 0;
  #isDamagedBehind = false;

  constructor(source: PieceSource, bytes: Buffer, firstFrame: number) {
    this.#source = source;
    this.#bytes = bytes;
    this.#firstFrame = firstFrame;
  }

  /** Takes runs of sound frames that came at the same time, to the last whole one. */
  async take(): Promise<void> {
    for (;;) {
      const { start, frames, untilFrame } = {
        start: this.#at,
        frames: this.#frames,
        untilFrame: await this.#sameTimeUntil(),
      };
      let kind = this.#look();
      while (kind === 'sound' && this.#firstFrame + this.#frames < untilFrame) {
        this.#pass();
        kind = this.#look();
      }
      this.#append(start, this.#frames - frames);
      if (kind === 'end') return;
      if (kind === 'bad') this.#passBad();
    }
  }

  end(): Piece {
    return {
      batch: this.#batch,
      bytes: this.#at,
      frames: this.#frames,
      bad: this.#bad,
      isDamagedBehind: this.#isDamagedBehind,
    };
  }

  /** Up to which frame of the file the time of the next one holds. */
  async #sameTimeUntil(): Promise<number> {
    const { times } = this.#source;
    if (times === undefined) return Infinity;
    await times.skipTo(this.#firstFrame + this.#frames);
    return times.until;
  }

  /** What stands next. */
  #look(): 'sound' | 'bad' | 'end' {
    if (this.#at + PREFIX_BYTES > this.#bytes.length || this.#frames >= this.#source.mostFrames) return 'end';
    const length = bodyLength(this.#bytes, this.#at);
    this.#isDamagedBehind = length < MIN_BODY_BYTES || length > LONGEST_BODY;
    if (this.#isDamagedBehind || this.#at + PREFIX_BYTES + length > this.#bytes.length) return 'end';
    return judgeBody(this.#bytes, this.#at, length) === 'frame' ? 'sound' : 'bad';
  }

  #pass(): void {
    this.#at += PREFIX_BYTES + bodyLength(this.#bytes, this.#at);
    this.#frames++;
  }

  #passBad(): void {
    const start = this.#at;
    this.#pass();
    this.#bad.push(Buffer.from(this.#bytes.subarray(start, this.#at)));
  }

  #append(start: number, frames: number): void {
    if (frames === 0) return;
    const { bucket, budget, times, fallbackMs } = this.#source;
    this.#batch ??= new Batch(bucket, budget, this.#bytes.length - start);
    this.#batch.append(this.#bytes, start, this.#at, frames, times?.timeMs ?? fallbackMs);
  }
}
