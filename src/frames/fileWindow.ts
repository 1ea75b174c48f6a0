// A file as bytes that may be asked for anywhere, of which a piece at a time is in memory. For tools: it
// reads at once, and waits for the disk.
import { readSync } from 'node:fs';
import type { FrameSource } from './walk.js';

const BLOCK_BYTES = 1024 * 1024;

export class FileWindow implements FrameSource {
  readonly #space = Buffer.allocUnsafeSlow(BLOCK_BYTES);
  #block = this.#space.subarray(0, 0);
  #start = 0;

  /** @param size up to where the file is looked at: it may grow meanwhile */
  constructor(
    readonly fd: number,
    readonly size: number,
  ) {}

  get bytes(): Buffer {
    return this.#block;
  }

  /** The bytes from `offset` on: at least `least`, unless the file ends before. Good until the next call. */
  at(offset: number, least: number): Buffer {
    const index = this.locate(offset, least);
    return this.#block.subarray(index);
  }

  locate(offset: number, least: number): number {
    const end = this.#start + this.#block.length;
    if (offset < this.#start || Math.min(offset + least, this.size) > end) this.#read(offset, least);
    return offset - this.#start;
  }

  #read(offset: number, least: number): void {
    const length = Math.max(0, Math.min(Math.max(BLOCK_BYTES, least), this.size - offset));
    const block = length <= BLOCK_BYTES ? this.#space.subarray(0, length) : Buffer.allocUnsafeSlow(length);
    let got = 0;
    while (got < length) {
      const more = readSync(this.fd, block, got, length - got, offset + got);
      if (more === 0) break;
      got += more;
    }
    this.#block = block.subarray(0, got);
    this.#start = offset;
  }
}
