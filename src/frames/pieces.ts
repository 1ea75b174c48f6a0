// The pieces of a segment: frames of one bucket and the checkpoint behind them. The rule of damage, beside
// that of walk.ts:
//
//   A piece is as it was written when its frames are whole and of one bucket, and its checkpoint's count and
//   checksum fit. Otherwise it is damaged, from its start to where the next whole piece starts (of the bucket that
//   the segment's first whole piece has), or else to where the last checkpoint ends. What is behind the last
//   checkpoint is torn: nobody was told that it is safe.
//
// A length may be what is damaged, so checkpoints are looked for byte by byte. Frames are looked into, so
// that a message, which may hold anything, is not taken for a piece of a segment of another bucket.
import { crc32c } from '@node-rs/crc32';
import {
  CHECKPOINT_BYTES,
  type CheckpointSays,
  NOTHING_SAID,
  findCheckpoint,
  readCheckpointBehind,
} from './checkpoint.js';
import { sameBucket } from './frame.js';
import { FrameWalk, type FrameSource, HEAD_BYTES, LONGEST_BODY, isFrame } from './walk.js';

/** Frames from `start` to `end`, where their checkpoint stands. */
export interface Piece {
  readonly start: number;
  readonly end: number;
  readonly timeMs: number;
  readonly frames: number;
  /** There are full frames among them. */
  readonly hasFull: boolean;
}

/** A piece of a segment is a batch and one frame at most. */
const LONGEST_PIECE = LONGEST_BODY + 64 * 1024 * 1024;
const SEARCHED_BYTES = 512 * 1024;
const NO_FRAME = Buffer.alloc(0);

/**
 * The piece that starts at `start`; undefined: what stands there is not as it was written.
 * @param like the head of a frame of the bucket that it must be of; undefined: of any
 */
export function wholePiece(source: FrameSource, start: number, like?: Buffer): Piece | undefined {
  const walk = new PieceWalk(source, start, like);
  let hasFull = false;
  while (isFrame(walk.look()) && walk.isOfBucket && walk.at - start <= LONGEST_PIECE) {
    hasFull ||= walk.found === 'full frame';
    walk.pass();
  }
  if (walk.frames === 0) return undefined;
  const { isWhole, timeMs } = walk.checkpoint();
  return isWhole ? { start, end: walk.at, frames: walk.frames, hasFull, timeMs } : undefined;
}

/** Walks over the frames of a piece. */
export class PieceWalk extends FrameWalk {
  #like: Buffer | undefined;

  constructor(
    source: FrameSource,
    readonly start: number,
    like?: Buffer,
  ) {
    super(source, start);
    this.#like = like;
  }

  /** The head of the frame that says what the bucket is. */
  get like(): Buffer | undefined {
    return this.#like;
  }

  /** Is the frame that `look` found of the piece's bucket? */
  get isOfBucket(): boolean {
    return this.#like === undefined || sameBucket(this.#like, 0, this.source.bytes, this.index);
  }

  override pass(): void {
    this.#like ??= Buffer.from(this.source.bytes.subarray(this.index, this.index + HEAD_BYTES));
    super.pass();
  }

  /**
   * What the checkpoint says that ends the piece here. Of its head only the place counts.
   */
  checkpoint(): CheckpointSays {
    const { source, start, at, frames } = this;
    if (at - start > LONGEST_PIECE || source.size - at < CHECKPOINT_BYTES) return NOTHING_SAID;
    const crc = crcOf(source, start, at);
    const index = source.locate(at, CHECKPOINT_BYTES);
    const says = readCheckpointBehind(crc, source.bytes.subarray(index, index + CHECKPOINT_BYTES));
    return { ...says, isWhole: says.isWhole && says.frames === frames };
  }
}

function crcOf(source: FrameSource, start: number, end: number): number {
  let crc = crc32c(NO_FRAME);
  for (let at = start; at < end;) {
    const index = source.locate(at, 1);
    const part = source.bytes.subarray(index, index + end - at);
    if (part.length === 0) return -1;
    crc = crc32c(part, crc);
    at += part.length;
  }
  return crc;
}

/**
 * Where the damage ends that begins at `start`.
 * @param like as for wholePiece
 */
export function endOfDamage(
  source: FrameSource,
  start: number,
  like?: Buffer,
): { readonly at: number; readonly isWholePiece: boolean } {
  let last = start;
  for (let at = nextCheckpoint(source, start); at !== undefined; at = nextCheckpoint(source, at + 1)) {
    last = at + CHECKPOINT_BYTES;
    if (wholePiece(source, last, like) !== undefined) return { at: last, isWholePiece: true };
  }
  return { at: last, isWholePiece: false };
}

function nextCheckpoint(source: FrameSource, from: number): number | undefined {
  for (let at = from; at < source.size;) {
    const index = source.locate(at, SEARCHED_BYTES);
    const found = findCheckpoint(source.bytes, index);
    if (found >= 0) return at + found - index;
    const seen = source.bytes.length - index;
    if (seen < CHECKPOINT_BYTES || at + seen >= source.size) return undefined;
    at += seen - CHECKPOINT_BYTES + 1;
  }
  return undefined;
}
