// The files a stream made, and no others: only these are ever counted against `maxFiles`, cut or removed. A
// file stands in the journal before it gets its first frame, so a crash leaves no file with frames that
// nobody knows.
import { dirname, join } from 'node:path';
import type { Clock } from '../../clock.js';
import type { Log } from '../../log/log.js';
import { NOTES_FOLDER } from './fileName.js';
import { READ_FILE, factsIfThere, unlinkIfThere } from '../../disk/fileSystem.js';
import type { FileSystem, OpenFile } from '../../disk/fileSystem.js';
import { explained } from '../../disk/ioAdvice.js';
import { type Unlock, lockInFolder } from '../../disk/folderLock.js';
import { makeFolders } from '../../disk/folders.js';
import type { ArrivalTimes } from './arrivalTimes.js';
import { isStillOurs, repairFile } from './fileRepair.js';
import { Journal, type JournalContent, type OwnFile } from './journal.js';
import { createFile, nextName } from './newFile.js';

export type { OwnFile } from './journal.js';

/**
 * A file removed to keep within `maxFiles`, with the frames that nobody will see again: what a replay has
 * sent of it doesn't count.
 */
export interface DiscardedFile {
  /** The whole path. */
  readonly file: string;
  readonly frames: number;
  readonly bytes: number;
  readonly openedMs: number;
  /**
   * It was there when the stream was opened: a previous run wrote it, or a predecessor of the
   * stream.
   */
  readonly isOld: boolean;
}

export interface OwnFilesOptions {
  readonly path: string;
  readonly fileNameTemplate: string;
  readonly maxFiles: number;
  readonly bucket: string;
  readonly streamId: string;
  readonly fs: FileSystem;
  readonly log: Log;
  readonly clock: Clock;
  readonly onDiscard: (discarded: DiscardedFile) => void;
  /** Told once, of the frames in the files that previous runs have left, without those that were sent. */
  readonly onFound?: (frames: number) => void;
  /** When the frames of each file came; undefined: nobody will ask. */
  readonly times?: ArrivalTimes | undefined;
}

/**
 * Another process has the files of this stream: as long as it runs they are not looked at, let alone cut or
 * removed.
 */
export class FilesInUse extends Error {
  override readonly name = 'FilesInUse';
}

export class OwnFiles {
  readonly #options: OwnFilesOptions;
  readonly #journal: Journal;
  #content: JournalContent | undefined;
  #loading: Promise<JournalContent> | undefined;
  #lock: Unlock | undefined;
  #isInUse = false;
  #found = new Set<OwnFile>();
  readonly #protected: Partial<Record<'sent' | 'kept', OwnFile | undefined>> = {};

  constructor(options: OwnFilesOptions) {
    this.#options = options;
    this.#journal = new Journal(options, options.fs, options.log);
  }

  /** Oldest first; the last one may be open. Empty until loaded. */
  get files(): readonly OwnFile[] {
    return this.#content?.files ?? [];
  }

  /** Of all files, what no replay has sent. */
  get unsent(): { readonly frames: number; readonly bytes: number } {
    return {
      frames: this.files.reduce((sum, { frames, sentFrames }) => sum + frames - sentFrames, 0),
      bytes: this.files.reduce((sum, { bytes, sentBytes }) => sum + bytes - sentBytes, 0),
    };
  }

  pathOf(file: OwnFile): string {
    return join(this.#options.path, file.name);
  }

  /**
   * Reads the journal, once, and puts in order what a crash left: half a frame is cut off, an empty file
   * goes.
   * @throws {FilesInUse}
   */
  async load(): Promise<JournalContent> {
    if (this.#content !== undefined) return this.#content;
    this.#loading ??= this.#load().finally(() => (this.#loading = undefined));
    return this.#loading;
  }

  async #load(): Promise<JournalContent> {
    this.#lock ??= await this.#lockJournal();
    const content = await this.#journal.load(this.#options.clock.now());
    for (const file of content.files.filter(({ open }) => open)) await this.#repair(file, content);
    this.#content = content;
    this.#found = new Set(content.files);
    this.#options.onFound?.(this.unsent.frames);
    return content;
  }

  async #repair(file: OwnFile, content: JournalContent): Promise<void> {
    const { path, bucket, fs, log } = this.#options;
    try {
      const isKept = await repairFile(file, { path, bucket, fs, log });
      if (!isKept) content.files = content.files.filter((other) => other !== file);
    } catch (error) {
      // One that can't be looked at now must not keep the others from being used.
      const [name, reason] = [this.pathOf(file), explained(error)];
      log.error(
        `${name}, open when the daemon ended, can't be looked at: ${reason}; it stays as it is; fix that, and restart`,
        { reason, file: name },
      );
    }
  }

  async #lockJournal(): Promise<Unlock> {
    const { path, bucket, streamId, fs } = this.#options;
    await makeFolders(fs, path, '.');
    const lock = await lockInFolder(fs, path, `files-${this.#journal.hash}`);
    this.#isInUse = lock === undefined;
    if (lock === undefined)
      throw new FilesInUse(
        `another process that is running has the files of stream ${streamId} and bucket ${bucket} below ${path}; stop that one, or give this one a path of its own`,
      );
    return lock;
  }

  /** When this was looked at last, another process had them. */
  get areInUse(): boolean {
    return this.#isInUse;
  }

  /** Its stream is closed: another process may have them. */
  release(): void {
    this.#lock?.();
    this.#lock = undefined;
  }

  /**
   * The file that is being read to be sent, or the one that takes what of it can't be: it is not removed for
   * `maxFiles` meanwhile.
   */
  protect(file: OwnFile | undefined, as: 'sent' | 'kept' = 'sent'): void {
    this.#protected[as] = file;
  }

  /** Opens a file to be read; undefined: there is no such file any more, or it is another. */
  async openOwn(file: OwnFile): Promise<OpenFile | undefined> {
    const facts = await factsIfThere(this.#options.fs, this.pathOf(file));
    if (facts === undefined || !isStillOurs(file, facts)) return undefined;
    return this.#options.fs.open(this.pathOf(file), READ_FILE);
  }

  /** Forgets a file, and removes it too when `isRemoved`: all of it was sent. */
  async leave(file: OwnFile, isRemoved: boolean): Promise<void> {
    const content = await this.load();
    const { fs, log, times } = this.#options;
    const name = this.pathOf(file);
    try {
      const facts = isRemoved ? await factsIfThere(fs, name) : undefined;
      if (facts !== undefined && isStillOurs(file, facts)) await unlinkIfThere(fs, name);
    } catch (error) {
      const reason = explained(error);
      log.error(`${name} was sent and can't be removed: ${reason}; remove it; the files behind it go on`, {
        reason,
        file: name,
      });
    }
    content.files = content.files.filter((other) => other !== file);
    await times?.remove(file);
    await this.save().catch((error: unknown) => {
      const reason = explained(error);
      log.warn(`${name} was sent, but that can't be noted: ${reason}; after a restart it may be sent again`, {
        reason,
        file: name,
      });
    });
  }

  /**
   * Is the folder of the notes there? While it is not (a disk that is not mounted), no file can be said to be
   * gone.
   */
  async isThere(): Promise<boolean> {
    return (await factsIfThere(this.#options.fs, join(this.#options.path, NOTES_FOLDER)))?.kind === 'folder';
  }

  /** Is it known which files there are? */
  get isLoaded(): boolean {
    return this.#content !== undefined;
  }

  /**
   * Opens a new file, empty and known to the journal, after the oldest had to go.
   * @param before it takes frames of this one, its place is before it, and none has to go for it
   */
  async openNext(before?: OwnFile): Promise<{ readonly file: OwnFile; readonly handle: OpenFile }> {
    const content = await this.load();
    if (before === undefined) await this.#makeRoom(content);
    const { name, handle } = await createFile(this.#options, content.numbers);
    const { fs, path, clock } = this.#options;
    let made: OwnFile | undefined;
    try {
      const { device, inode } = await handle.facts();
      const file: OwnFile = {
        name,
        openedMs: clock.now(),
        device,
        inode,
        frames: 0,
        bytes: 0,
        sentFrames: 0,
        sentBytes: 0,
        open: true,
      };
      made = file;
      // Others may come and go meanwhile: never put back what was there before.
      const place = before === undefined ? -1 : content.files.indexOf(before);
      content.files = content.files.toSpliced(place === -1 ? content.files.length : place, 0, file);
      await this.save();
      await fs.syncFolder(dirname(join(path, name)));
      return { file, handle };
    } catch (error) {
      content.files = content.files.filter((other) => other !== made);
      await handle.close().catch(() => undefined);
      await unlinkIfThere(fs, join(path, name)).catch(() => undefined);
      throw error;
    }
  }

  /** Forgets a file that got no frame, and removes it. */
  async drop(file: OwnFile): Promise<void> {
    const content = await this.load();
    content.files = content.files.filter((other) => other !== file);
    await unlinkIfThere(this.#options.fs, this.pathOf(file));
    await this.save();
  }

  async save(): Promise<void> {
    await this.#journal.save(await this.load());
  }

  /** The folder the next file comes to, made. */
  async nextFolder(): Promise<string> {
    const { fs, path } = this.#options;
    const folder = dirname(nextName(this.#options).numbered(1));
    await makeFolders(fs, path, folder);
    return join(path, folder);
  }

  async #makeRoom(content: JournalContent): Promise<void> {
    if (content.files.length >= this.#options.maxFiles) await this.#forgetMissing(content);
    for (let oldest = this.#tooMany(content); oldest !== undefined; oldest = this.#tooMany(content))
      await this.#removeFile(oldest, content);
  }

  /** Files that somebody took away, as an operator who replayed them, count no more. */
  async #forgetMissing(content: JournalContent): Promise<void> {
    const gone = new Set<OwnFile>();
    for (const file of content.files)
      if ((await factsIfThere(this.#options.fs, this.pathOf(file))) === undefined) gone.add(file);
    content.files = content.files.filter((file) => !gone.has(file));
  }

  /** The file that must go before there may be one more. */
  #tooMany({ files }: JournalContent): OwnFile | undefined {
    const others = files.filter((file) => file !== this.#protected.sent && file !== this.#protected.kept);
    return others.length >= this.#options.maxFiles ? others[0] : undefined;
  }

  async #removeFile(oldest: OwnFile, content: JournalContent): Promise<void> {
    const { fs, log, onDiscard } = this.#options;
    const path = this.pathOf(oldest);
    const facts = await factsIfThere(fs, path);
    const isOurs = facts !== undefined && isStillOurs(oldest, facts);
    if (isOurs) await unlinkIfThere(fs, path);
    content.files = content.files.filter((file) => file !== oldest);
    await this.#options.times?.remove(oldest);
    const { frames, sentFrames, sentBytes } = oldest;
    // Counted are the frames told delivered; what a suspect file may hold besides was handed back.
    if (isOurs)
      onDiscard({
        file: path,
        frames: frames - sentFrames,
        bytes: facts.size - sentBytes,
        openedMs: oldest.openedMs,
        isOld: this.#found.has(oldest),
      });
    else
      log.warn(
        `${path} is no longer the file that Kahe wrote: it is not removed, and no longer counts for maxFiles`,
        { file: path },
      );
  }
}
