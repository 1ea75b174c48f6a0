// Counts the whole frames of a file by walking from prefix to prefix, without reading more than it must.
import { MIN_BODY_BYTES, PREFIX_BYTES, bodyLength } from '../../frames/frame.js';
import type { OpenFile } from '../../disk/fileSystem.js';

export interface FrameWalk {
  readonly frames: number;
  /** Where the last whole frame ends. */
  readonly wholeBytes: number;
  /** How what follows looks: nothing, the beginning of one frame (a write cut off), or no frame at all. */
  readonly tail: 'none' | 'half a frame' | 'damage';
}

const READ_BYTES = 256 * 1024;
/** Longer than any frame a client may send; a length over it is not the beginning of a frame. */
const LONGEST_BODY = 256 * 1024 * 1024;

export async function walkFrames(file: OpenFile, size: number): Promise<FrameWalk> {
  const bytes = Buffer.allocUnsafe(Math.min(READ_BYTES, size));
  let [at, frames] = [0, 0];
  while (at + PREFIX_BYTES <= size) {
    const got = await file.read(bytes, at);
    if (got < PREFIX_BYTES) break;
    let inside = 0;
    for (; inside + PREFIX_BYTES <= got; frames++) {
      const length = bodyLength(bytes, inside);
      if (length < MIN_BODY_BYTES || length > LONGEST_BODY)
        return { frames, wholeBytes: at + inside, tail: 'damage' };
      if (at + inside + PREFIX_BYTES + length > size)
        return { frames, wholeBytes: at + inside, tail: 'half a frame' };
      inside += PREFIX_BYTES + length;
    }
    at += inside;
  }
  return { frames, wholeBytes: at, tail: at < size ? 'half a frame' : 'none' };
}
