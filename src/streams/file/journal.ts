// The journal of a file stream: one small JSON file, `<path>/.kahe/<bucket>.<hash>.json`, that says which
// files are the stream's own. It is replaced as a whole (new file, fsync, rename, fsync of the folder), so
// that after a crash it is the old one or the new one.
import { join } from 'node:path';
import type { Log } from '../../log/log.js';
import { FORMAT, refuseNewer } from '../../disk/format.js';
import { errnoOf } from '../../disk/fileSystem.js';
import type { FileSystem } from '../../disk/fileSystem.js';
import { safeName, shortHash, shortened } from '../../disk/names.js';
import { NOTES_FOLDER } from './fileName.js';
import { makeFolders } from '../../disk/folders.js';
import { readWholeFile, replaceWholeFile } from '../../disk/wholeFile.js';

/** A file that this stream made. */
export interface OwnFile {
  /** Relative to the stream's `path`. */
  readonly name: string;
  readonly openedMs: number;
  readonly device: string;
  readonly inode: string;
  /** Whole frames that are safe in it; stale while `open` is true and the process is another one. */
  frames: number;
  bytes: number;
  /** Of these, what a replay has sent, from the start. */
  sentFrames: number;
  sentBytes: number;
  /** Being written, or not closed in good order. */
  open: boolean;
}

export interface JournalContent {
  /** Oldest first. */
  files: OwnFile[];
  /** The greatest number each name was used with, so that none is used again. */
  numbers: Map<string, number>;
}

/** Whose journal it is: another template, bucket or stream has another one. */
export interface JournalOwner {
  readonly path: string;
  readonly fileNameTemplate: string;
  readonly bucket: string;
  readonly streamId: string;
}

export class Journal {
  readonly #file: string;
  /** Says whose it is, in few characters. */
  readonly hash: string;
  #saving: Promise<void> = Promise.resolve();

  constructor(
    readonly owner: JournalOwner,
    readonly fs: FileSystem,
    readonly log: Log,
  ) {
    const { path, fileNameTemplate, bucket, streamId } = owner;
    this.hash = shortHash(JSON.stringify([fileNameTemplate, bucket, streamId]));
    this.#file = join(path, NOTES_FOLDER, `${shortened(safeName(bucket), 160)}.${this.hash}.json`);
  }

  /**
   * What is known of earlier files. A journal that can't be understood is put aside: its files are strangers'
   * then, and stay.
   * @throws {ConfigError} it is of a newer Kahe
   */
  async load(nowMs: number): Promise<JournalContent> {
    const text = await this.#read();
    if (text === undefined) return { files: [], numbers: new Map() };
    const content = parseJournal(text, this.#file);
    if (content !== undefined) return { files: content.files, numbers: content.numbers };
    const aside = `${this.#file}.corrupt-${nowMs}`;
    await this.fs.rename(this.#file, aside);
    this.log.warn(
      `${this.#file} is no journal of Kahe's: it is moved to ${aside}; files written before now are never removed`,
      { file: this.#file, keptIn: aside },
    );
    return { files: [], numbers: new Map() };
  }

  /** @returns undefined when there is none, and '' (no journal either) for a symlink in its place */
  async #read(): Promise<string | undefined> {
    try {
      return await readWholeFile(this.fs, this.#file);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      if (errnoOf(error) === 'ELOOP') return '';
      throw error;
    }
  }

  /** Saves what `content` holds when its turn comes: one save at a time. */
  save(content: JournalContent): Promise<void> {
    const saved = this.#saving.then(() => this.#replace(content));
    this.#saving = saved.catch(() => undefined);
    return saved;
  }

  async #replace({ files, numbers }: JournalContent): Promise<void> {
    const { fileNameTemplate, bucket, streamId } = this.owner;
    const text = `${JSON.stringify({ version: FORMAT, fileNameTemplate, bucket, streamId, numbers: [...numbers], files })}\n`;
    await makeFolders(this.fs, this.owner.path, NOTES_FOLDER);
    await replaceWholeFile(this.fs, this.#file, text, { lasts: true });
  }
}

/** What a journal says of its owner, and of its files. */
export interface ParsedJournal extends JournalContent {
  /** Undefined: it does not say whose it is. */
  readonly owner: Omit<JournalOwner, 'path'> | undefined;
}

/**
 * The one reader of journals.
 * @returns undefined: it is no journal of Kahe's
 * @throws {ConfigError} it is of a newer Kahe
 */
export function parseJournal(text: string, place: string): ParsedJournal | undefined {
  const value = parseJson(text);
  if (!isRecord(value)) return undefined;
  refuseNewer(value['version'], place);
  if (!isCount(value['version']) || value['version'] < 1) return undefined;
  const { files, numbers } = value;
  if (
    !Array.isArray(files) ||
    !files.every(isOwnFile) ||
    !Array.isArray(numbers) ||
    !numbers.every(isNumbering)
  )
    return undefined;
  // A journal of a version that knew no replay says nothing of what was sent.
  return {
    owner: ownerOf(value),
    files: files.map((file: OwnFile) => Object.assign({ sentFrames: 0, sentBytes: 0 }, file)),
    numbers: new Map(numbers),
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function ownerOf({ fileNameTemplate, bucket, streamId }: Record<string, unknown>): ParsedJournal['owner'] {
  return typeof fileNameTemplate === 'string' && typeof bucket === 'string' && typeof streamId === 'string'
    ? { fileNameTemplate, bucket, streamId }
    : undefined;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function isNumbering(value: unknown): value is [string, number] {
  return Array.isArray(value) && value.length === 2 && typeof value[0] === 'string' && isCount(value[1]);
}

function isOwnFile(value: unknown): value is OwnFile {
  if (!isRecord(value)) return false;
  const { name, device, inode, open, openedMs, frames, bytes, sentFrames = 0, sentBytes = 0 } = value;
  return (
    typeof name === 'string' &&
    isBelow(name) &&
    typeof device === 'string' &&
    typeof inode === 'string' &&
    typeof open === 'boolean' &&
    [openedMs, frames, bytes, sentFrames, sentBytes].every(isCount)
  );
}

/** Does the name stay below the folder? What is read from a disk is as good as what a client sends. */
function isBelow(name: string): boolean {
  return (
    !name.includes('\0') && name.split('/').every((part) => part !== '' && part !== '.' && part !== '..')
  );
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
