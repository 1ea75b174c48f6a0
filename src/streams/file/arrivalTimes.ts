// When the frames of a backup's file came, so that a replay months later sends them with their own times: a
// file of notes beside the journal, `<path>/.kahe/<hash of the file's name>.times`, 16 bytes a note: u64 LE
// up to which frame of the file, u64 LE ms since the epoch. A note that could not be written costs the time
// of a frame and never the frame, so nobody waits for it.
import { dirname, join } from 'node:path';
import {
  FILE_MODE,
  type FileSystem,
  NEW_FILE,
  type OpenFile,
  READ_FILE,
  errnoOf,
  unlinkIfThere,
  writeWhole,
} from '../../disk/fileSystem.js';
import { explained } from '../../disk/ioAdvice.js';
import { shortHash } from '../../disk/names.js';
import type { Log } from '../../log/log.js';
import { NOTES_FOLDER } from './fileName.js';
import type { OwnFile } from './journal.js';

export interface Arrivals {
  /** Frames before `until[i]` came at `times[i]`. */
  readonly until: readonly number[];
  readonly times: readonly number[];
}

const NOTE_BYTES = 16;
/** Frames that came within so many ms share a note, with the time of the first. */
const SPREAD_MS = 10;
const READ_NOTES = 4096;

export class ArrivalTimes {
  readonly #parts: { readonly path: string; readonly fs: FileSystem; readonly log: Log };
  #current: { readonly name: string; file: OpenFile | undefined } | undefined;
  #work: Promise<void> = Promise.resolve();

  constructor(parts: { readonly path: string; readonly fs: FileSystem; readonly log: Log }) {
    this.#parts = parts;
  }

  /** Notes when the frames behind the first `before` of a file came. */
  note(file: Readonly<OwnFile>, before: number, arrivals: Arrivals): void {
    const notes = encode(before, arrivals);
    this.#work = this.#work.then(() => this.#write(file.name, notes));
  }

  /** The times of a file from frame `from` on. */
  async read(file: Readonly<OwnFile>, from: number): Promise<ArrivalReader> {
    await this.#work;
    const reader = new ArrivalReader(await this.#open(file), file.openedMs, () => this.#work);
    await reader.skipTo(from);
    return reader;
  }

  async #open(file: Readonly<OwnFile>): Promise<OpenFile | undefined> {
    try {
      return await this.#parts.fs.open(this.#pathOf(file.name), READ_FILE);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      const reason = explained(error);
      this.#parts.log.warn(
        `the times of ${file.name} can't be read: ${reason}; its frames are sent with the time at which the file was begun`,
        { reason, file: file.name },
      );
      return undefined;
    }
  }

  /** Its file is gone. */
  async remove(file: Readonly<OwnFile>): Promise<void> {
    await this.#work;
    if (this.#current?.name === file.name) await this.close();
    await unlinkIfThere(this.#parts.fs, this.#pathOf(file.name)).catch((error: unknown) =>
      this.#parts.log.debug(`the times of ${file.name} can't be removed: ${String(error)}`),
    );
  }

  async close(): Promise<void> {
    await this.#work;
    const file = this.#current?.file;
    this.#current = undefined;
    await file?.close().catch(() => undefined);
  }

  #pathOf(name: string): string {
    return join(this.#parts.path, NOTES_FOLDER, `${shortHash(name)}.times`);
  }

  async #write(name: string, notes: Buffer): Promise<void> {
    try {
      if (this.#current?.name !== name) await this.#begin(name);
      if (this.#current?.file !== undefined) await writeWhole(this.#current.file, notes);
    } catch (error) {
      const reason = explained(error);
      this.#parts.log.warn(
        `the times of ${name} can't be written: ${reason}; a replay gives its last frames the time of earlier ones`,
        { reason, file: name },
      );
      // A note may be there in part, and those behind it would be misread.
      await this.#current?.file?.close().catch(() => undefined);
      this.#current = { name, file: undefined };
    }
  }

  async #begin(name: string): Promise<void> {
    await this.#current?.file?.close();
    this.#current = { name, file: undefined };
    const path = this.#pathOf(name);
    await this.#parts.fs.makeFolder(dirname(path), { parents: true });
    await unlinkIfThere(this.#parts.fs, path);
    this.#current.file = await this.#parts.fs.open(path, NEW_FILE, FILE_MODE);
  }
}

/** Times in the order of the frames. Where there are none, the last one known holds on. */
export class ArrivalReader {
  readonly #file: OpenFile | undefined;
  #notes: Buffer = Buffer.alloc(0);
  #at = 0;
  #position = 0;
  #until = 0;
  #holdsUntil = 0;
  #timeMs: number;

  /** @param written resolves when what was noted until now is in the file */
  constructor(
    file: OpenFile | undefined,
    firstMs: number,
    readonly written: () => Promise<void>,
  ) {
    this.#file = file;
    this.#timeMs = firstMs;
  }

  /** Up to which frame of the file the time holds. */
  get until(): number {
    return this.#holdsUntil;
  }

  get timeMs(): number {
    return this.#timeMs;
  }

  /** Afterwards `timeMs` is the time of frame `frame`. */
  async skipTo(frame: number): Promise<void> {
    while (this.#until <= frame && (await this.#next()));
    // No note of it: the last time known, and should there be one later it counts from there on.
    this.#holdsUntil = this.#until > frame ? this.#until : Infinity;
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }

  /** @returns false: there is none */
  async #next(): Promise<boolean> {
    if (this.#at + NOTE_BYTES > this.#notes.length) await this.#fill();
    if (this.#at + NOTE_BYTES > this.#notes.length) return false;
    const until = Number(this.#notes.readBigUInt64LE(this.#at));
    const timeMs = Number(this.#notes.readBigUInt64LE(this.#at + 8));
    this.#at += NOTE_BYTES;
    // What no note of ours says is no time.
    if (until <= this.#until || !Number.isSafeInteger(until) || !Number.isSafeInteger(timeMs)) return false;
    [this.#until, this.#timeMs] = [until, timeMs];
    return true;
  }

  async #fill(): Promise<void> {
    await this.written();
    const notes = Buffer.alloc(READ_NOTES * NOTE_BYTES);
    // A disk that doesn't give the times must not keep the frames.
    const got = (await this.#file?.read(notes, this.#position).catch(() => 0)) ?? 0;
    this.#notes = notes.subarray(0, got - (got % NOTE_BYTES));
    this.#position += this.#notes.length;
    this.#at = 0;
  }
}

function encode(before: number, { until, times }: Arrivals): Buffer {
  const notes: { until: number; readonly timeMs: number }[] = [];
  times.forEach((timeMs, i) => {
    const last = notes.at(-1);
    if (last !== undefined && timeMs - last.timeMs <= SPREAD_MS) last.until = before + until[i]!;
    else notes.push({ until: before + until[i]!, timeMs });
  });
  const bytes = Buffer.alloc(notes.length * NOTE_BYTES);
  notes.forEach((note, i) => {
    bytes.writeBigUInt64LE(BigInt(note.until), i * NOTE_BYTES);
    bytes.writeBigUInt64LE(BigInt(note.timeMs), i * NOTE_BYTES + 8);
  });
  return bytes;
}
