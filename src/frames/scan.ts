// Walks through any file of frames (kahego's, a backup's, a segment of the spool) and says what stands where,
// and where it is torn. Of a frame only the head is looked at, so that memory stays small whatever the file
// claims. Behind damage it goes on where a whole piece of a segment can be found, as the daemon does when it
// reads its spool; plain frames have nothing by which they could be found.
import { crc32c } from '@node-rs/crc32';
import { CHECKPOINT_BYTES, type CheckpointSays, findCheckpoint, readCheckpointBehind } from './checkpoint.js';
import type { FileWindow } from './fileWindow.js';
import { type BodyKind, MIN_BODY_BYTES, PREFIX_BYTES, bodyLength, judgeBody, sameBucket } from './frame.js';

interface Place {
  /** Where in the file it starts, and how many bytes it has. */
  readonly offset: number;
  readonly bytes: number;
}

export type ScanEntry =
  | (Place & { readonly kind: 'frame'; readonly bucketBytes: number; readonly keyBytes: number })
  /** A frame of a sane length whose inner lengths make no sense. */
  | (Place & { readonly kind: 'bad'; readonly reason: string })
  /**
   * `isWhole`: what stands before it, from the last one on, is as it was written. `hasHead`: it looks like
   * one; else only its place tells.
   */
  | (Place & {
      readonly kind: 'checkpoint';
      readonly timeMs: number;
      readonly frames: number;
      readonly isWhole: boolean;
      readonly hasHead: boolean;
    })
  /** Of a segment, what is not as it was written. Frames in it may have been told already. */
  | (Place & { readonly kind: 'damage'; readonly reason: string });

export interface ScanEnd {
  /** Behind this no frame can be told from the next. */
  readonly wholeBytes: number;
  readonly tornBytes: number;
  /** What was expected where it is torn, and what is there. */
  readonly reason: string;
}

/** Longer than any frame that a client may send; a length over it is none. */
export const LONGEST_BODY = 256 * 1024 * 1024;
/** Prefix, both lengths, and the longest bucket and key. */
const HEAD_BYTES = PREFIX_BYTES + MIN_BODY_BYTES + 255 + 255;
/** A piece of a segment is a batch and one frame at most. */
const LONGEST_PIECE = 64 * 1024 * 1024;
const SEARCHED_BYTES = 512 * 1024;

export function* scanFrames(window: FileWindow): Generator<ScanEntry, ScanEnd> {
  let at = 0;
  // Of a segment: where the piece starts that is being read, and how many frames it has so far.
  let piece = 0;
  let frames = 0;
  // All frames of a piece are of the bucket that its first one has.
  let first = Buffer.alloc(0);
  /**
   * `unknown` until something speaks for the one or the other; plain frames may be bad, and of any bucket.
   */
  let nature: 'unknown' | 'segment' | 'plain' = 'unknown';
  while (at < window.size) {
    const found = lookAt(window, at);
    if (
      isOrdinary(found) &&
      (nature === 'plain' ||
        (found.kind === 'frame' && (frames === 0 || sameBucket(first, 0, window.at(at, HEAD_BYTES), 0))))
    ) {
      if (frames === 0) first = Buffer.from(window.at(at, HEAD_BYTES).subarray(0, HEAD_BYTES));
      yield found;
      frames++;
      at += found.bytes;
      continue;
    }
    const says = checkpointAt(window, piece, at, frames);
    let damage: string | undefined;
    if (says.isWhole || found.kind === 'checkpoint') {
      // Of its head only the place counts: its length may be what is damaged.
      const bytes = found.kind === 'checkpoint' && !says.isWhole ? found.bytes : CHECKPOINT_BYTES;
      yield {
        kind: 'checkpoint',
        offset: at,
        bytes,
        ...says,
        hasHead: found.kind === 'checkpoint' && found.bytes === bytes,
      };
      at += bytes;
      if (!says.isWhole) {
        damage = 'the checksum does not fit';
        at = Math.min(findWholePiece(window, piece, true) ?? at, at);
      }
    } else {
      const goesOn =
        isOrdinary(found) && nature === 'unknown'
          ? undefined
          : findWholePiece(window, piece, nature === 'segment');
      if (goesOn === undefined && !isOrdinary(found))
        return { wholeBytes: at, tornBytes: window.size - at, reason: found.reason };
      if (goesOn === undefined) {
        nature = 'plain';
        continue;
      }
      damage = `${isOrdinary(found) && found.kind === 'frame' ? 'a frame of another bucket' : found.reason} at offset ${at}`;
      at = goesOn;
    }
    if (damage !== undefined) yield { kind: 'damage', offset: piece, bytes: at - piece, reason: damage };
    nature = 'segment';
    piece = at;
    frames = 0;
  }
  return { wholeBytes: at, tornBytes: 0, reason: '' };
}

/** A frame, sound or not: behind it stands the next one. */
function isOrdinary(found: Found): found is Extract<ScanEntry, { kind: 'frame' | 'bad' }> {
  return found.kind === 'frame' || found.kind === 'bad';
}

const NOTHING_SAID: CheckpointSays = { timeMs: 0, frames: 0, isWhole: false };

type Found =
  | Extract<ScanEntry, { kind: 'frame' | 'bad' }>
  | { readonly kind: 'checkpoint'; readonly bytes: number }
  | { readonly kind: 'lost'; readonly reason: string };

function lookAt(window: FileWindow, offset: number): Found {
  const left = window.size - offset;
  if (left < PREFIX_BYTES)
    return { kind: 'lost', reason: `expected a frame's length (4 bytes), the file has ${left} more` };
  const head = window.at(offset, HEAD_BYTES);
  if (head.length < Math.min(HEAD_BYTES, left))
    return { kind: 'lost', reason: 'the file became shorter while it was read' };
  const length = bodyLength(head, 0);
  const bytes = PREFIX_BYTES + length;
  if (length < MIN_BODY_BYTES || length > LONGEST_BODY)
    return {
      kind: 'lost',
      reason: `expected a frame's length from ${MIN_BODY_BYTES} to ${LONGEST_BODY}, found ${length}`,
    };
  if (bytes > left)
    return { kind: 'lost', reason: `expected a frame of ${bytes} bytes, the file has ${left} more` };
  const kind: BodyKind = judgeBody(head, 0, length);
  switch (kind) {
    case 'frame':
      return { kind, offset, bytes, bucketBytes: head[4]!, keyBytes: head[5 + head[4]!]! };
    case 'checkpoint':
      return { kind, bytes };
    case 'no bucket':
    case 'lengths pass the end of the frame':
      return { kind: 'bad', offset, bytes, reason: kind };
  }
}

/** What the checkpoint at `at` says of the piece from `start` on; of its head only the place counts. */
function checkpointAt(window: FileWindow, start: number, at: number, frames: number): CheckpointSays {
  if (at - start > LONGEST_PIECE || window.size - at < CHECKPOINT_BYTES) return NOTHING_SAID;
  const crc = crcOf(window, start, at);
  const says = readCheckpointBehind(
    crc,
    Buffer.from(window.at(at, CHECKPOINT_BYTES).subarray(0, CHECKPOINT_BYTES)),
  );
  return { ...says, isWhole: says.isWhole && says.frames === frames };
}

function crcOf(window: FileWindow, start: number, end: number): number {
  let crc = crc32c(Buffer.alloc(0));
  for (let at = start; at < end;) {
    const bytes = window.at(at, 1);
    if (bytes.length === 0) return -1;
    const part = bytes.subarray(0, end - at);
    crc = crc32c(part, crc);
    at += part.length;
  }
  return crc;
}

/**
 * Where the next whole piece of a segment starts, behind `from`; in what is surely a segment, else where the
 * last checkpoint ends: anywhere else that may stand in a message.
 */
function findWholePiece(window: FileWindow, from: number, isSegment: boolean): number | undefined {
  let last: number | undefined;
  for (let at = nextCheckpoint(window, from); at !== undefined; at = nextCheckpoint(window, at + 1)) {
    last = at + CHECKPOINT_BYTES;
    if (isWholePiece(window, last)) return last;
  }
  return isSegment ? last : undefined;
}

function nextCheckpoint(window: FileWindow, from: number): number | undefined {
  for (let at = from; at < window.size;) {
    const bytes = window.at(at, SEARCHED_BYTES);
    const found = findCheckpoint(bytes, 0);
    if (found >= 0) return at + found;
    if (bytes.length < CHECKPOINT_BYTES || at + bytes.length >= window.size) return undefined;
    at += bytes.length - CHECKPOINT_BYTES + 1;
  }
  return undefined;
}

function isWholePiece(window: FileWindow, start: number): boolean {
  let frames = 0;
  let at = start;
  const first = Buffer.from(window.at(start, HEAD_BYTES).subarray(0, HEAD_BYTES));
  for (let found = next(); found !== undefined && at - start <= LONGEST_PIECE; found = next()) {
    frames++;
    at = found;
  }
  return frames > 0 && checkpointAt(window, start, at, frames).isWhole;

  function next(): number | undefined {
    if (at >= window.size) return undefined;
    const found = lookAt(window, at);
    return found.kind === 'frame' && sameBucket(first, 0, window.at(at, HEAD_BYTES), 0)
      ? at + found.bytes
      : undefined;
  }
}
