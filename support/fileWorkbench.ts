// For tests: a folder of its own, a disk that fails on demand, and file streams upon it.
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Batch } from '../src/frames/batch.js';
import { systemClock } from '../src/clock.js';
import type { Clock } from '../src/clock.js';
import { DeliveryError } from '../src/streams/stream.js';
import { Bench } from './bench.js';
import { FailingDisk } from './failingDisk.js';
import { batchOf, messagesIn } from './frames.js';
import { FileStream } from '../src/streams/file/fileStream.js';
import type { FileStreamSettings } from '../src/streams/file/fileStream.js';
import type { DiscardedFile } from '../src/streams/file/ownFiles.js';

export interface StreamChoice extends Partial<FileStreamSettings> {
  readonly bucket?: string;
  readonly streamId?: string;
  readonly clock?: Clock;
  readonly onFound?: (frames: number) => void;
}

export class Workbench extends Bench {
  readonly disk = new FailingDisk();
  readonly discarded: DiscardedFile[] = [];
  readonly #streams: FileStream[] = [];

  private constructor(readonly folder: string) {
    super();
  }

  static async make(): Promise<Workbench> {
    return new Workbench(await mkdtemp(join(tmpdir(), 'kahe-file-')));
  }

  /** A stream as the daemon makes it, not opened. */
  stream({
    bucket = 'orders',
    streamId = 'file_01',
    clock = systemClock,
    onFound,
    ...settings
  }: StreamChoice = {}): FileStream {
    const stream = new FileStream({
      settings: {
        path: join(this.folder, 'out'),
        fileNameTemplate: '{bucket}',
        sizeRotateBytes: 1e8,
        maxFiles: 1024,
        fsync: true,
        ...settings,
      },
      bucket,
      streamId,
      log: this.log,
      clock,
      onDiscard: (discarded) => this.discarded.push(discarded),
      fs: this.disk.fs,
      ...(onFound === undefined ? {} : { onFound }),
    });
    this.#streams.push(stream);
    return stream;
  }

  async opened(choice: StreamChoice = {}): Promise<FileStream> {
    const stream = this.stream(choice);
    await stream.open();
    return stream;
  }

  batch(...messages: string[]): Batch {
    return batchOf('orders', messages, this.budget, Date.now());
  }

  /** Writes one batch of these messages; `undefined` when delivered, else the error, its frames let go. */
  async write(
    stream: FileStream,
    ...messages: string[]
  ): Promise<(Pick<DeliveryError, 'code' | 'message'> & { readonly undelivered: string[] }) | undefined> {
    const batch = this.batch(...messages);
    try {
      await stream.write(batch);
      return undefined;
    } catch (error) {
      if (!(error instanceof DeliveryError)) throw error;
      const undelivered = messagesIn(error.undelivered.view());
      error.undelivered.release();
      return { code: error.code, message: error.message, undelivered };
    } finally {
      batch.release();
    }
  }

  /** All files below `out` but Kahe's notes, sorted. */
  async names(folder = join(this.folder, 'out')): Promise<string[]> {
    const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
    return entries
      .filter((entry) => !entry.isDirectory())
      .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
      .filter((name) => !name.startsWith('.kahe/'))
      .sort();
  }

  async messages(name: string): Promise<string[]> {
    return messagesIn(await readFile(join(this.folder, 'out', name)));
  }

  async stop(): Promise<void> {
    for (const stream of this.#streams.splice(0)) await stream.close({ deadlineMs: 5000 });
  }

  /** Ends all, and throws when memory is held still. */
  async cleanup(): Promise<void> {
    this.disk.heal();
    await this.stop();
    await rm(this.folder, { recursive: true, force: true });
    if (this.budget.heldBytes !== 0) throw new Error(`${this.budget.heldBytes} bytes are held still`);
  }
}
