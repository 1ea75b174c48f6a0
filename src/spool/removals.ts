// Files whose frames are settled and that could not be removed: tried again and again, for after a restart
// their frames would be sent once more.
import type { Clock, Timer } from '../clock.js';
import { type FileSystem, unlinkIfThere } from '../disk/fileSystem.js';
import { explained } from '../disk/ioAdvice.js';
import type { Log } from '../log/log.js';

export interface RemovalsParts {
  readonly fs: FileSystem;
  readonly clock: Clock;
  readonly log: Log;
  /** A file is gone at last. */
  readonly onGone: (bytes: number) => void;
}

const RETRY_MS = 10_000;

export class Removals {
  readonly #parts: RemovalsParts;
  /** Path and bytes. */
  readonly #left = new Map<string, number>();
  #timer: Timer | undefined;

  constructor(parts: RemovalsParts) {
    this.#parts = parts;
  }

  /** A file could not be removed. */
  failed(path: string, bytes: number, error: unknown): void {
    const reason = explained(error);
    this.#parts.log.error(
      `${path} can't be removed: ${reason}; next try in ${RETRY_MS / 1000} s; until it is gone, a restart sends its frames again`,
      { reason, file: path, retryMs: RETRY_MS },
    );
    this.#left.set(path, bytes);
    this.#timer ??= this.#parts.clock.after(RETRY_MS, () => void this.#retry());
  }

  close(): void {
    this.#timer?.cancel();
  }

  async #retry(): Promise<void> {
    const { fs, log, onGone, clock } = this.#parts;
    for (const [path, bytes] of [...this.#left]) {
      try {
        await unlinkIfThere(fs, path);
        this.#left.delete(path);
        onGone(bytes);
        log.info(`${path} is removed now`, { file: path });
      } catch {
        // It was said already.
      }
    }
    this.#timer = this.#left.size === 0 ? undefined : clock.after(RETRY_MS, () => void this.#retry());
  }
}
