// The parts of a frame in a file, read when they are asked for. And a file opened for looking: what is no
// plain file is refused, for a pipe would wait for ever.
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { FileWindow } from '../frames/fileWindow.js';
import type { ScanEntry } from '../frames/scan.js';

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
  constructor(
    readonly window: FileWindow,
    readonly frame: FrameEntry,
  ) {}

  get messageBytes(): number {
    return this.frame.bytes - 6 - this.frame.bucketBytes - this.frame.keyBytes;
  }

  bucket(): Buffer {
    return this.#part(5, this.frame.bucketBytes);
  }

  /** Null: the frame has none. */
  key(): Buffer | null {
    return this.frame.keyBytes === 0 ? null : this.#part(6 + this.frame.bucketBytes, this.frame.keyBytes);
  }

  /** The message, or its first bytes. */
  message(most = Infinity): Buffer {
    return this.#part(6 + this.frame.bucketBytes + this.frame.keyBytes, Math.min(most, this.messageBytes));
  }

  #part(at: number, bytes: number): Buffer {
    return Buffer.from(this.window.at(this.frame.offset + at, bytes).subarray(0, bytes));
  }
}
