// Cuts what is to be sent of a file into pieces: whole frames, just as they lie there, in their order.
import type { FileWindow } from '../../frames/fileWindow.js';
import { MIN_BODY_BYTES, PREFIX_BYTES, bodyLength, bucketOf, judgeBody } from '../../frames/frame.js';
import { LONGEST_BODY } from '../../frames/scan.js';
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
  #at: number;

  constructor(window: FileWindow, options: PieceOptions) {
    this.#window = window;
    this.#options = options;
    this.#skips = options.skips.filter(({ end }) => end > options.from);
    this.#at = options.from;
  }

  /** @throws Error the file is not as it was a moment ago */
  next(): Piece | undefined {
    const { to, maxBytes, maxFrames } = this.#options;
    const start = this.#at;
    if (start >= to) return undefined;
    const frames: Buffer[] = [];
    let bytes = 0;
    while (this.#at < to && frames.length < maxFrames && this.#at - start < LONGEST_WAY) {
      if (this.#skip()) continue;
      const length = this.#frameBytes();
      if (frames.length > 0 && bytes + length > maxBytes) break;
      const frame = this.#take(length);
      this.#at += length;
      if (frame === undefined) continue;
      frames.push(frame);
      bytes += length;
    }
    return { bytes: Buffer.concat(frames, bytes), frames: frames.length, end: this.#at };
  }

  #skip(): boolean {
    const skip = this.#skips[0];
    if (skip === undefined || this.#at < skip.start) return false;
    this.#skips.shift();
    this.#at = Math.max(this.#at, skip.end);
    return true;
  }

  #frameBytes(): number {
    const head = this.#window.at(this.#at, PREFIX_BYTES);
    const length = head.length < PREFIX_BYTES ? 0 : bodyLength(head, 0);
    if (
      length < MIN_BODY_BYTES ||
      length > LONGEST_BODY ||
      this.#at + PREFIX_BYTES + length > this.#options.to
    ) {
      throw new Error(`it changed while it was read: there is no frame at offset ${this.#at} any more`);
    }
    return PREFIX_BYTES + length;
  }

  /** A copy of the frame, if it is one to send. */
  #take(length: number): Buffer | undefined {
    const bytes = this.#window.at(this.#at, length).subarray(0, length);
    if (bytes.length < length) throw new Error(`it became shorter while it was read, at offset ${this.#at}`);
    const { choice } = this.#options;
    if (
      judgeBody(bytes, 0, length - PREFIX_BYTES) !== 'frame' ||
      length - PREFIX_BYTES > choice.maxFrameBytes
    )
      return undefined;
    return isChosen(choice, bucketOf(bytes, 0).toString('latin1')) ? Buffer.from(bytes) : undefined;
  }
}
