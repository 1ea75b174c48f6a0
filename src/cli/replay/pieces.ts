// Cuts what is to be sent of a file into pieces: whole frames, just as they lie there, in their order.
import type { FileWindow } from '../../frames/fileWindow.js';
import { PREFIX_BYTES, bucketOf } from '../../frames/frame.js';
import { FrameWalk, isFrame, isWhole } from '../../frames/walk.js';
import { type Choice, type Extent, isChosen } from './survey.js';

export interface Piece {
  /** Frames to send, one behind the other. */
  readonly bytes: Buffer;
  readonly frames: number;
  /** Where in the file the next piece starts: what is left out on the way is behind us too. */
  readonly end: number;
}

export interface PieceOptions {
  readonly from: number;
  /** Up to where the file holds whole frames. */
  readonly to: number;
  /** What no frame can be read from, in order. */
  readonly skips: readonly Extent[];
  readonly choice: Choice;
  /** A piece is no larger than this, or it is one frame. */
  readonly maxBytes: number;
  readonly maxFrames: number;
}

/** What is left out may be much: a piece ends after so much of the file. */
const LONGEST_WAY = 16 * 1024 * 1024;

export class PieceReader {
  readonly #window: FileWindow;
  readonly #options: PieceOptions;
  readonly #skips: Extent[];
  readonly #walk: FrameWalk;

  constructor(window: FileWindow, options: PieceOptions) {
    this.#window = window;
    this.#options = options;
    this.#skips = options.skips.filter(({ end }) => end > options.from);
    this.#walk = new FrameWalk(window, options.from);
  }

  /** @throws Error the file is not as it was a moment ago */
  next(): Piece | undefined {
    const { to, maxBytes, maxFrames } = this.#options;
    const walk = this.#walk;
    const start = walk.at;
    if (start >= to) return undefined;
    const frames: Buffer[] = [];
    let bytes = 0;
    while (walk.at < to && frames.length < maxFrames && walk.at - start < LONGEST_WAY) {
      if (this.#skip()) continue;
      const length = this.#frameBytes();
      if (frames.length > 0 && bytes + length > maxBytes) break;
      const frame = this.#read(length);
      walk.pass();
      if (frame === undefined) continue;
      frames.push(frame);
      bytes += length;
    }
    return { bytes: Buffer.concat(frames, bytes), frames: frames.length, end: walk.at };
  }

  #skip(): boolean {
    const skip = this.#skips[0];
    if (skip === undefined || this.#walk.at < skip.start) return false;
    this.#skips.shift();
    this.#walk.at = Math.max(this.#walk.at, skip.end);
    return true;
  }

  #frameBytes(): number {
    const walk = this.#walk;
    if (isWhole(walk.look()) && walk.end <= this.#options.to) return walk.end - walk.at;
    throw new Error(`it changed while it was read: there is no frame at offset ${walk.at} any more`);
  }

  /** A copy of the frame, if it is one to send. */
  #read(length: number): Buffer | undefined {
    const { at, found } = this.#walk;
    const bytes = this.#window.at(at, length).subarray(0, length);
    if (bytes.length < length) throw new Error(`it became shorter while it was read, at offset ${at}`);
    const { choice } = this.#options;
    if (!isFrame(found) || length - PREFIX_BYTES > choice.maxFrameBytes) return undefined;
    return isChosen(choice, bucketOf(bytes, 0).toString('latin1')) ? Buffer.from(bytes) : undefined;
  }
}
