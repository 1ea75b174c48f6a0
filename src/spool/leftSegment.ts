// A segment that a previous run has left. It is whole: what was being written when that run died is torn, and
// was never said to be safe.
import { type FileSystem, unlinkIfThere } from '../disk/fileSystem.js';
import type { Segment } from './spool.js';

export interface LeftSegmentParts {
  readonly fs: FileSystem;
  /** By how many bytes segments have grown: fewer than none when its file is gone. */
  readonly onSize: (bytes: number) => void;
  /** Its file is not wanted any more and could not be removed. */
  readonly onStuck: (path: string, bytes: number, error: unknown) => void;
}

export class LeftSegment implements Segment {
  readonly isOfPreviousRun = true;
  readonly copy = 'complete';
  readonly isWritten = true;
  readonly completed = Promise.resolve();
  readonly #parts: LeftSegmentParts;

  constructor(
    readonly path: string,
    /** Of the file. */
    readonly safeBytes: number,
    parts: LeftSegmentParts,
  ) {
    this.#parts = parts;
  }

  whenSafe(_bytes: number, run: () => void): void {
    run();
  }

  async remove(): Promise<void> {
    const { fs, onSize, onStuck } = this.#parts;
    try {
      await unlinkIfThere(fs, this.path);
      onSize(-this.safeBytes);
    } catch (error) {
      onStuck(this.path, this.safeBytes, error);
    }
  }
}
