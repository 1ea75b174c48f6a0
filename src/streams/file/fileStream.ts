// A stream that ends in files below `path`. A write is settled when its batch is whole on the disk; files
// hold whole batches only, never get the name of another, and only the stream's own are ever removed.
import { ConfigError } from '../../errors.js';
import type { Batch } from '../../frames/batch.js';
import { type Clock, doneWithin } from '../../clock.js';
import type { Log } from '../../log/log.js';
import { DeliveryError } from '../stream.js';
import type { DeliveryErrorCode, Settled, Stream } from '../stream.js';
import type { BatchFile } from './batchFile.js';
import { checkTemplate } from './fileName.js';
import { nodeFileSystem } from '../../disk/fileSystem.js';
import type { FileSystem } from '../../disk/fileSystem.js';
import { syncing } from '../../disk/syncing.js';
import { explained, needsOperator } from '../../disk/ioAdvice.js';
import { FilesInUse, OwnFiles } from './ownFiles.js';
import type { DiscardedFile, OwnFile } from './ownFiles.js';
import { KeptFrames } from './keptFrames.js';
import { proveWritable } from '../../disk/proof.js';
import { plural } from '../../plural.js';
import { RotatingBatches } from './rotatingBatches.js';
import { ArrivalTimes } from './arrivalTimes.js';

export interface FileStreamSettings {
  readonly path: string;
  readonly fileNameTemplate: string;
  /** A file is closed after the batch with which it reaches this: it holds up to one batch more. */
  readonly sizeRotateBytes: number;
  /** At most so many files exist, the open one included: the oldest goes before a new one is opened. */
  readonly maxFiles: number;
  /** false: a write is settled when the kernel has the bytes, which a power cut may lose. */
  readonly fsync: boolean;
}

export interface FileStreamOptions {
  readonly settings: FileStreamSettings;
  readonly bucket: string;
  readonly streamId: string;
  readonly log: Log;
  readonly clock: Clock;
  /** Told of each file that went to keep within `maxFiles`: its frames count as discarded. */
  readonly onDiscard: (discarded: DiscardedFile) => void;
  /**
   * It is a backup that a replay will send: when its frames came is kept, and this is told how many earlier
   * lives have left.
   */
  readonly onFound?: (frames: number) => void;
  readonly fs?: FileSystem;
}

interface Outstanding {
  readonly batch: Batch;
  readonly resolve: (settled: Settled) => void;
  readonly reject: (error: DeliveryError) => void;
}

interface Failure {
  readonly message: string;
  /** What the next probe must be able to write. */
  readonly bytes: number;
}

export class FileStream implements Stream {
  /** One batch is being written, or synced with its like, while the others gather for the next sync. */
  readonly depth = 8;
  readonly #options: FileStreamOptions;
  readonly #fs: FileSystem;
  readonly #files: OwnFiles;
  readonly #times: ArrivalTimes | undefined;
  /** In the order of the calls; the safe ones leave at the front. */
  readonly #outstanding: Outstanding[] = [];
  #rotating: RotatingBatches | undefined;
  #resumed: BatchFile | undefined;
  #failure: Failure | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: FileStreamOptions) {
    const { settings, onFound, log } = options;
    checkTemplate(settings.fileNameTemplate);
    this.#options = options;
    const fs = (this.#fs = syncing(options.fs ?? nodeFileSystem, {
      place: settings.path,
      isSynced: settings.fsync,
      log,
    }));
    this.#times = onFound === undefined ? undefined : new ArrivalTimes({ path: settings.path, fs, log });
    this.#files = new OwnFiles({ ...settings, ...options, fs, times: this.#times });
  }

  /** Where frames stay that were read to be sent and can't be yet. */
  newKeptFrames(): KeptFrames {
    const {
      settings: { path, fsync, sizeRotateBytes },
      log,
    } = this.#options;
    const times = this.#times && new ArrivalTimes({ path, fs: this.#fs, log });
    return new KeptFrames({ files: this.#files, times, fsync, rotateBytes: sizeRotateBytes, log });
  }

  /** The stream's own files, oldest first, the open one last; a view to read at once, not to keep. */
  get files(): readonly Readonly<OwnFile>[] {
    return this.#files.files;
  }

  /** For who sends them: the files themselves, and when their frames came. */
  get own(): OwnFiles {
    return this.#files;
  }

  get times(): ArrivalTimes | undefined {
    return this.#times;
  }

  /** Is there a file that batches go to? */
  get isWriting(): boolean {
    return this.#rotating !== undefined || this.#resumed !== undefined;
  }

  /** Closes the file that is open, if nothing is outstanding; the next batch begins another. */
  async finishFile(): Promise<void> {
    if (this.#outstanding.length > 0) return;
    const { rotating, resumed } = { rotating: this.#rotating, resumed: this.#resumed };
    [this.#rotating, this.#resumed] = [undefined, undefined];
    await ended(rotating);
    await resumed?.close();
  }

  async open(): Promise<void> {
    const {
      settings: { path },
      log,
    } = this.#options;
    try {
      await this.#files.load();
    } catch (error) {
      if (error instanceof ConfigError || needsOperator(error))
        throw new Error(`file stream ${this.#options.streamId}: ${path} can't be used: ${explained(error)}`, {
          cause: error,
        });
      const advice = error instanceof FilesInUse ? '' : ': make room, or repair the disk';
      const reason = explained(error);
      log.warn(`${path} can't be written now: ${reason}; it is tried again with the first batch${advice}`, {
        reason,
        file: path,
      });
    }
  }

  write(batch: Batch): Promise<Settled> {
    if (this.#closing) return Promise.reject(failed('CLOSED', 'the file stream is closed', batch));
    if (this.#failure) return Promise.reject(failed('IO', this.#failure.message, batch));
    if (batch.frames === 0) return Promise.resolve({ delivered: 0, rejected: 0 });
    return new Promise((resolve, reject) => {
      this.#outstanding.push({ batch, resolve, reject });
      (this.#rotating ??= this.#newRotating()).write(batch.view());
    });
  }

  #newRotating(): RotatingBatches {
    const { settings, log } = this.#options;
    const rotating = new RotatingBatches({
      files: this.#files,
      fsync: settings.fsync,
      rotateBytes: settings.sizeRotateBytes,
      log,
      resumed: this.#resumed,
      onSafe: (batches, file) => this.#settle(batches, file),
      onFailure: (error, path, sound) => this.#fail(error, path, sound),
    });
    this.#resumed = undefined;
    return rotating;
  }

  #settle(batches: number, file: Readonly<OwnFile>): number {
    let frames = 0;
    for (const { batch, resolve } of this.#outstanding.splice(0, batches)) {
      this.#times?.note(file, file.frames + frames, batch.arrivals);
      frames += batch.frames;
      resolve({ delivered: batch.frames, rejected: 0 });
    }
    return frames;
  }

  #fail(error: Error, path: string | undefined, sound: BatchFile | undefined): void {
    // The base stream is no use after an error; the next write has a new one, which goes on with the file
    // when that is sound.
    this.#rotating = undefined;
    this.#resumed = sound;
    this.#failure = {
      message: `${path ?? `a new file below ${this.#options.settings.path}`} can't be written: ${explained(error)}`,
      bytes: this.#outstanding[0]?.batch.length ?? 0,
    };
    this.#handBack('IO', this.#failure.message);
  }

  #handBack(code: DeliveryErrorCode, message: string): void {
    for (const { batch, reject } of this.#outstanding.splice(0)) {
      // The disk may still be taking what was given up.
      if (code === 'CLOSED') batch.beginRead();
      reject(failed(code, message, batch));
    }
  }

  async probe(): Promise<void> {
    if (this.#closing) throw new Error('the file stream is closed');
    const failure = this.#failure;
    try {
      await this.#files.save();
      await proveWritable(this.#fs, await this.#files.nextFolder(), failure?.bytes ?? 0);
    } catch (error) {
      throw new Error(`${this.#options.settings.path} can't be written: ${explained(error)}`, {
        cause: error,
      });
    }
    // A failure that came meanwhile has its own probe to wait for.
    if (this.#failure !== failure) throw new Error(this.#failure?.message ?? 'asked twice at once');
    this.#failure = undefined;
  }

  close({ deadlineMs }: { readonly deadlineMs: number }): Promise<void> {
    return (this.#closing ??= this.#close(deadlineMs));
  }

  async #close(deadlineMs: number): Promise<void> {
    const { log } = this.#options;
    const drained = this.#drain().catch((error: unknown) => {
      const reason = explained(error);
      log.error(`the file can't be closed: ${reason}; frames that may not be in it go back to the stream`, {
        reason,
      });
    });
    if (await doneWithin(this.#options.clock, deadlineMs, drained)) return;
    const batches = this.#outstanding.length;
    log.warn(
      `the file was not closed within ${deadlineMs} ms: ${batches} ${plural(batches, 'batch goes', 'batches go')} back to the stream, and may be in a file too`,
      { batches, timeoutMs: deadlineMs },
    );
    this.#rotating?.destroy();
    this.#handBack(
      'CLOSED',
      `the file stream was closed, and the disk did not take the batch within ${deadlineMs} ms`,
    );
  }

  async #drain(): Promise<void> {
    await ended(this.#rotating);
    await this.#resumed?.close();
    await this.#times?.close();
    this.#files.release();
  }
}

async function ended(rotating: RotatingBatches | undefined): Promise<void> {
  if (rotating !== undefined)
    await new Promise<void>((resolve) => void rotating.once('close', resolve).end());
}

function failed(code: DeliveryErrorCode, message: string, batch: Batch): DeliveryError {
  return new DeliveryError(code, message, batch.retain(), { delivered: 0, rejected: 0 });
}
