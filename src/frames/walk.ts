// The one walker of frames that lie in files (a stream's, a backup's, a segment of the spool, any .bckstm
// file), and the one rule of damage. What stands at a place of a file is one of these:
//
//   frame            it is whole and names a bucket; the next one stands behind it. A full frame is one too.
//   bad              it is whole (its length is sane), but its inner lengths pass its end, or it names no bucket,
//                    or a full frame says what can't be: it alone goes no further, because the next one stands
//                    behind it. A checkpoint counts as bad where frames are read.
//   half a frame     its length is sane, and the file ends before it does. The write was cut off, so nobody was
//                    told that the frame is safe: a file's owner cuts it off, and a reader leaves it out.
//   no length        under 2, or over LONGEST_BODY. The framing is lost: no frame behind it can be told from the
//                    next. What stands before it counts; nothing is cut, because a person may save what follows.
//
// Segments can do more, because checkpoints divide them into pieces: pieces.ts says it.
import { type OpenFile, readFully } from '../disk/fileSystem.js';
import {
  BAD_REASONS,
  type BadReason,
  type BodyKind,
  MIN_BODY_BYTES,
  PREFIX_BYTES,
  bodyLength,
  judgeBody,
} from './frame.js';
import { judgeFull } from './fullFrame.js';

/** A length over it is none. MAXFRAME may not be more, so no client may send a longer frame. */
export const LONGEST_BODY = 256 * 1024 * 1024;
/** Prefix, both lengths, and the longest bucket and key: the rule looks no further into a plain frame. */
export const HEAD_BYTES = PREFIX_BYTES + MIN_BODY_BYTES + 255 + 255;
const BLOCK_BYTES = 256 * 1024;

/** Frames that are walked over, of which some bytes are in memory at a time. */
export interface FrameSource {
  /** Up to where frames may reach. */
  readonly size: number;
  /** What is in memory; good until the next `locate`. */
  readonly bytes: Buffer;
  /**
   * Where in `bytes` the byte at `offset` is. `least` bytes from there on are in memory, unless the source
   * has fewer.
   */
  locate(offset: number, least: number): number;
}

/** Bytes that are in memory, the first ones of `size`. */
export function inMemory(bytes: Buffer, size = bytes.length): FrameSource {
  return { size, bytes, locate: (offset) => offset };
}

/** `end`: nothing. `not read`: the bytes that would tell are not in memory, or the file became shorter. */
export type Found = BodyKind | 'half a frame' | 'no length' | 'end' | 'not read';

/** The frame that stands there is whole, sound or not, so the next one stands behind it. */
export function isWhole(found: Found): found is BodyKind {
  return isFrame(found) || found === 'checkpoint' || isBad(found);
}

/** A sound one, plain or full. */
export function isFrame(found: Found): found is 'frame' | 'full frame' {
  return found === 'frame' || found === 'full frame';
}

export function isBad(found: Found): found is BadReason {
  return (BAD_REASONS as readonly string[]).includes(found);
}

/** Stands on one frame at a time, and makes no object per frame. */
export class FrameWalk {
  /** Where it stands, and how many frames it has passed. */
  at: number;
  frames = 0;
  /** What `look` found, where in the source's `bytes` that starts, and where it ends (of a whole frame). */
  found: Found = 'end';
  index = 0;
  end = 0;

  /** @param depth `whole`: full frames are looked into, for which all of one is in memory at a time */
  constructor(
    readonly source: FrameSource,
    from = 0,
    readonly depth: 'whole' | 'heads' = 'whole',
  ) {
    this.at = from;
  }

  look(): Found {
    return (this.found = this.#look());
  }

  #look(): Found {
    const { source, at } = this;
    const left = source.size - at;
    if (left <= 0) return 'end';
    if (left < PREFIX_BYTES) return 'half a frame';
    const needed = left < HEAD_BYTES ? left : HEAD_BYTES;
    const index = (this.index = source.locate(at, needed));
    const got = source.bytes.length - index;
    if (got < PREFIX_BYTES) return 'not read';
    const length = bodyLength(source.bytes, index);
    this.end = at + PREFIX_BYTES + length;
    if (length < MIN_BODY_BYTES || length > LONGEST_BODY) return 'no length';
    if (this.end > source.size) return 'half a frame';
    if (got < needed && got < PREFIX_BYTES + length) return 'not read';
    const kind = judgeBody(source.bytes, index, length);
    return kind === 'full frame' && this.depth === 'whole' ? this.#lookInto(length) : kind;
  }

  #lookInto(length: number): Found {
    const { source, at } = this;
    const index = (this.index = source.locate(at, PREFIX_BYTES + length));
    if (source.bytes.length - index < PREFIX_BYTES + length) return 'not read';
    return judgeFull(source.bytes, index, length) ?? 'full frame';
  }

  /** Goes on behind the whole frame that `look` found. */
  pass(): void {
    this.at = this.end;
    this.frames++;
  }
}

export interface WholeFrames {
  readonly frames: number;
  /** Where the last whole frame ends. */
  readonly bytes: number;
  /** What follows. */
  readonly tail: 'end' | 'half a frame' | 'no length';
}

/** Counts the whole frames of a file, sound or not. It reads of long ones no more than it must. */
export async function countWhole(file: OpenFile, size: number): Promise<WholeFrames> {
  const block = Buffer.allocUnsafe(Math.min(BLOCK_BYTES, size));
  for (let [at, frames] = [0, 0]; ;) {
    const got = await readFully(file, block, at);
    const walk = new FrameWalk(inMemory(block.subarray(0, got), size - at), 0, 'heads');
    while (isWhole(walk.look())) walk.pass();
    [at, frames] = [at + walk.at, frames + walk.frames];
    const { found } = walk;
    if (found === 'end' || found === 'no length') return { frames, bytes: at, tail: found };
    // A file that became shorter gives no more bytes.
    if (found === 'half a frame' || walk.at === 0) return { frames, bytes: at, tail: 'half a frame' };
  }
}
