// What is in a frame, plain or full, as views: for tools and those who look at a few frames, never on the hot
// path.
import { bucketOf, endOfFrame, isFull, plainKeyAt } from './frame.js';
import { type FullFrameParts, readFullFrame } from './fullFrame.js';

export interface FrameParts {
  readonly bucket: Buffer;
  /** Null: the frame has none. A full frame may have an empty one. */
  readonly key: Buffer | null;
  /** Null: a tombstone. */
  readonly message: Buffer | null;
  /** Undefined: it is a plain frame. */
  readonly full?: Pick<FullFrameParts, 'partition' | 'timestampMs' | 'headers'>;
}

/** Of the sound frame at `at`. */
export function partsOf(bytes: Buffer, at = 0): FrameParts {
  if (isFull(bytes, at)) {
    const { bucket, key, value, ...full } = readFullFrame(bytes, at);
    return { bucket, key, message: value, full };
  }
  const keyAt = plainKeyAt(bytes, at);
  const messageAt = keyAt + bytes[keyAt - 1]!;
  return {
    bucket: bucketOf(bytes, at),
    key: messageAt > keyAt ? bytes.subarray(keyAt, messageAt) : null,
    message: bytes.subarray(messageAt, endOfFrame(bytes, at)),
  };
}
