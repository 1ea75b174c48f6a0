// One file of whole batches. It is opened at its first batch, so none is ever left empty; a batch that can't
// be written whole is cut off again; and after a failed sync nothing more is believed of it.
import type { Log } from '../../log/log.js';
import { writeWhole } from '../../disk/fileSystem.js';
import type { OpenFile } from '../../disk/fileSystem.js';
import type { OwnFile, OwnFiles } from './ownFiles.js';

export interface BatchFileOptions {
  readonly files: Pick<OwnFiles, 'openNext' | 'pathOf' | 'drop' | 'save'>;
  readonly fsync: boolean;
  readonly log: Log;
  /**
   * The oldest `batches` that were written and not yet told of are safe, in this file; returns how many
   * frames they hold.
   */
  readonly onSafe: (batches: number, file: Readonly<OwnFile>) => number;
}

/** `suspect`: what the disk holds of it is not known (a sync or a cut failed), so nothing may follow. */
type State = 'not opened' | 'open' | 'suspect' | 'closed';

export class BatchFile {
  readonly #options: BatchFileOptions;
  #state: State = 'not opened';
  #opened: { readonly file: OwnFile; readonly handle: OpenFile } | undefined;
  /** Bytes of whole batches, and of those that are safe. */
  #bytes = 0;
  #safeBytes = 0;
  #unsafeBatches = 0;

  constructor(options: BatchFileOptions) {
    this.#options = options;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Can it take batches, also after one failed? */
  get isSound(): boolean {
    return this.#state === 'open';
  }

  /** The whole path, once opened. */
  get path(): string | undefined {
    return this.#opened && this.#options.files.pathOf(this.#opened.file);
  }

  /** Has somebody removed it while it is open? What is written to it then is gone at its close. */
  async isGone(): Promise<boolean> {
    return this.#opened !== undefined && this.isSound && (await this.#opened.handle.facts()).names === 0;
  }

  /**
   * Writes a batch, in one system call when the disk goes along. When it throws, nothing of the batch is in
   * the file.
   */
  async write(batch: Uint8Array): Promise<void> {
    const { handle } = await this.#open();
    try {
      await writeWhole(handle, batch);
    } catch (error) {
      await this.#cutBack(handle);
      // The batches before this one are whole: perhaps they can still be made safe.
      await this.sync().catch(() => undefined);
      throw error;
    }
    this.#bytes += batch.length;
    this.#unsafeBatches++;
    if (!this.#options.fsync) this.#told();
  }

  async #open(): Promise<{ readonly handle: OpenFile }> {
    if (this.#opened === undefined) {
      this.#opened = await this.#options.files.openNext();
      this.#state = 'open';
      this.#options.log.debug(`opened ${String(this.path)}`);
    }
    return this.#opened;
  }

  async #cutBack(handle: OpenFile): Promise<void> {
    try {
      await handle.truncate(this.#bytes);
    } catch (error) {
      this.#state = 'suspect';
      this.#options.log.error(
        `${String(this.path)} may end in half a batch behind byte ${this.#bytes}: it could not be cut (${String(error)}); the batch goes to another file; kahe inspect shows where this one is torn`,
        { reason: String(error), file: this.path, offset: this.#bytes },
      );
    }
  }

  /**
   * Makes safe what was written. Asked once only: Linux drops what it could not write, and says yes the
   * second time.
   */
  async sync(): Promise<void> {
    if (this.#opened === undefined || this.#unsafeBatches === 0) return;
    const { handle } = this.#opened;
    try {
      await handle.datasync();
    } catch (error) {
      this.#state = 'suspect';
      // Those batches are handed back and come again in another file: here they would be twice.
      await handle.truncate(this.#safeBytes).catch((cause: unknown) => {
        this.#options.log.error(
          `${String(this.path)} may hold frames twice behind byte ${this.#safeBytes}: it could not be cut (${String(cause)}); they go to another file; a reader of this one must stop there`,
          { reason: String(cause), file: this.path, offset: this.#safeBytes },
        );
      });
      throw error;
    }
    this.#told();
  }

  #told(): void {
    const batches = this.#unsafeBatches;
    this.#unsafeBatches = 0;
    this.#safeBytes = this.#bytes;
    const { file } = this.#opened!;
    file.frames += this.#options.onSafe(batches, file);
    file.bytes = this.#bytes;
  }

  /** Syncs (throws when that fails, closed all the same) and closes; a file without a batch goes. */
  async close(): Promise<void> {
    if (this.#opened === undefined || this.#state === 'closed') return;
    try {
      if (this.isSound) await this.sync();
    } finally {
      await this.#shut(this.#opened);
    }
  }

  async #shut({ file, handle }: { readonly file: OwnFile; readonly handle: OpenFile }): Promise<void> {
    const { files, log } = this.#options;
    // A suspect stays `open` in the journal: its frames are counted when it matters, and a cut-off end is
    // fixed at the next start.
    file.open = !this.isSound;
    const isEmpty = this.isSound && this.#safeBytes === 0;
    this.#state = 'closed';
    try {
      await handle.close();
      await (isEmpty ? files.drop(file) : files.save());
    } catch (error) {
      // The frames are safe, or handed back; the next start checks what is in the file.
      log.warn(
        `${files.pathOf(file)} can't be closed: ${String(error)}; the next start checks what is in it`,
        { reason: String(error), file: files.pathOf(file) },
      );
    }
  }
}
