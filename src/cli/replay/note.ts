// The note of a replay: how far a file was sent, and which file that was. One small JSON file, replaced as a
// whole, so that after a crash it is the old one or the new one. A note that can't be understood, or is of
// another file, counts as none: then frames are sent twice, never lost.
import { createHash } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { type FileSystem, errnoOf, unlinkIfThere } from '../../disk/fileSystem.js';
import { replayNoteOf, safeName, shortHash, shortened } from '../../disk/names.js';
import type { FileWindow } from '../../frames/fileWindow.js';
import { readWholeFile, replaceWholeFile } from '../../disk/wholeFile.js';

/** Which run of which file this is about. */
export interface NoteOwner {
  readonly device: string;
  readonly inode: string;
  /** Where its frames go, and the buckets chosen; null: all. */
  readonly target: string;
  readonly buckets: readonly string[] | null;
}

export interface ReplayNote extends NoteOwner {
  readonly size: number;
  /** Behind the last frame that is safe. */
  readonly position: number;
  readonly frames: number;
  /** Of these, frames that nothing keeps: the file must stay. */
  readonly discarded?: number;
  /** Of the file's first bytes, for an inode may be used again. */
  readonly head: { readonly bytes: number; readonly sha256: string };
}

const VERSION = 1;
const LONGEST_NOTE = 64 * 1024;
const HEAD_BYTES = 4096;

/** Beside the file, or in the folder of notes under a name that says which file it is. */
export function notePath(file: string, folder: string | undefined): string {
  const path = realpathSync(file);
  if (folder === undefined) return replayNoteOf(path);
  return join(resolve(folder), `${shortened(safeName(basename(path)), 160)}.${shortHash(path)}.replay.json`);
}

export function headOf(window: FileWindow, bytes: number): ReplayNote['head'] {
  const length = Math.min(bytes, HEAD_BYTES);
  return {
    bytes: length,
    sha256: createHash('sha256').update(window.at(0, length).subarray(0, length)).digest('hex'),
  };
}

/** Why the file must be sent from its start in spite of the note; undefined: it may be continued. */
export function refusalOf(note: ReplayNote, owner: NoteOwner, window: FileWindow): string | undefined {
  const isOther =
    note.device !== owner.device ||
    note.inode !== owner.inode ||
    note.position > window.size ||
    headOf(window, note.head.bytes).sha256 !== note.head.sha256;
  if (isOther) return 'another file had this name when it was last replayed';
  if (note.target !== owner.target) return `it was last replayed to another place (${note.target})`;
  if (JSON.stringify(note.buckets) !== JSON.stringify(owner.buckets))
    return 'it was last replayed with another choice of buckets';
  return undefined;
}

/** @returns undefined: there is none that can be understood. @throws Error it is there and can't be read */
export async function loadNote(fs: FileSystem, path: string): Promise<ReplayNote | undefined> {
  try {
    return parse(await readWholeFile(fs, path, LONGEST_NOTE));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function parse(text: string): ReplayNote | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const {
    version,
    device,
    inode,
    target,
    buckets,
    size,
    position,
    frames,
    discarded = 0,
    head,
  } = value as Record<string, unknown>;
  const { bytes, sha256 } = (head ?? {}) as Record<string, unknown>;
  const isSound =
    version === VERSION &&
    [device, inode, target, sha256].every((text) => typeof text === 'string') &&
    [size, position, frames, discarded, bytes].every(isCount) &&
    (buckets === null || (Array.isArray(buckets) && buckets.every((bucket) => typeof bucket === 'string')));
  return isSound ? (value as ReplayNote) : undefined;
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Writes notes, one at a time; of those that come while one is written, the last one is as good as all. */
export class NoteKeeper {
  #waiting: { note: ReplayNote; done: Promise<void> } | undefined;
  #last: Promise<void> = Promise.resolve();

  constructor(
    readonly fs: FileSystem,
    readonly path: string,
  ) {}

  /** Resolves once this note, or a later one, is on the disk. @throws Error it can't be written */
  save(note: ReplayNote): Promise<void> {
    if (this.#waiting !== undefined) {
      this.#waiting.note = note;
      return this.#waiting.done;
    }
    const waiting = { note, done: Promise.resolve() };
    this.#waiting = waiting;
    waiting.done = this.#last.then(() => {
      this.#waiting = undefined;
      return replaceWholeFile(
        this.fs,
        this.path,
        `${JSON.stringify({ version: VERSION, ...waiting.note })}\n`,
        { lasts: true },
      );
    });
    this.#last = waiting.done.catch(() => undefined);
    return waiting.done;
  }

  async remove(): Promise<void> {
    await this.#last;
    await unlinkIfThere(this.fs, this.path);
  }
}
