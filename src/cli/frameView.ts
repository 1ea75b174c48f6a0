// The parts of a frame in a file, read when they are asked for. And a file opened for looking: what is no
// plain file is refused, for a pipe would wait for ever.
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { FileWindow } from '../frames/fileWindow.js';
import { bucketOf, isFull, plainKeyAt } from '../frames/frame.js';
import { type FrameParts, partsOf } from '../frames/frameParts.js';
import type { ScanEntry } from '../frames/scan.js';
import { HEAD_BYTES } from '../frames/walk.js';

export type FrameEntry = Extract<ScanEntry, { kind: 'frame' }>;

/** Calls `look` with the file as long as it is now. @throws Error it can't be read, or is no plain file */
export async function withFile<T>(path: string, look: (window: FileWindow) => Promise<T>): Promise<T> {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const facts = fstatSync(fd);
    if (!facts.isFile())
      throw new Error(facts.isDirectory() ? 'no .bckstm file is in this folder' : 'it is no plain file');
    return await look(new FileWindow(fd, facts.size));
  } finally {
    closeSync(fd);
  }
}

export class FrameView {
  #headBytes: Buffer | undefined;
  #parts: FrameParts | undefined;

  constructor(
    readonly window: FileWindow,
    readonly frame: FrameEntry,
  ) {}

  /** 0 for a tombstone, too. */
  get messageBytes(): number {
    return this.#full === undefined ? this.frame.bytes - this.#messageAt : (this.#full.message?.length ?? 0);
  }

  bucket(): Buffer {
    return Buffer.from(bucketOf(this.#head, 0));
  }

  /** Null: the frame has none. */
  key(): Buffer | null {
    if (this.#full !== undefined) return this.#full.key;
    const keyAt = plainKeyAt(this.#head, 0);
    return this.#messageAt === keyAt ? null : Buffer.from(this.#head.subarray(keyAt, this.#messageAt));
  }

  /** The message, or its first bytes; null: a tombstone. */
  message(most = Infinity): Buffer | null {
    if (this.#full !== undefined) return this.#full.message?.subarray(0, most) ?? null;
    return this.#read(this.#messageAt, Math.min(most, this.messageBytes));
  }

  /** What only a full frame has. */
  get full(): FrameParts['full'] {
    return this.#full?.full;
  }

  /** The first bytes of the frame, with its bucket, and the key of a plain one. */
  get #head(): Buffer {
    return (this.#headBytes ??= this.#read(0, Math.min(HEAD_BYTES, this.frame.bytes)));
  }

  /** All of a full frame. */
  get #full(): FrameParts | undefined {
    if (!isFull(this.#head, 0)) return undefined;
    return (this.#parts ??= partsOf(this.#read(0, this.frame.bytes)));
  }

  /** Of a plain frame. */
  get #messageAt(): number {
    const keyAt = plainKeyAt(this.#head, 0);
    return keyAt + this.#head[keyAt - 1]!;
  }

  #read(at: number, bytes: number): Buffer {
    return Buffer.from(this.window.at(this.frame.offset + at, bytes).subarray(0, bytes));
  }
}
