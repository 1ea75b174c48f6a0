// Which of a bucket's segments each of its streams has settled, for when one is far behind another: without
// it a restart would give the fast one again all that the slow one has not had. One small file,
// `<spool>/<bucket>/settled.json`, replaced as a whole: { stream: name of the segment up to which all are
// settled }. Should it be lost, frames come twice and none goes missing.
import { basename, join } from 'node:path';
import type { Clock, Timer } from '../clock.js';
import { type FileSystem, errnoOf } from '../disk/fileSystem.js';
import { explained } from '../disk/ioAdvice.js';
import type { Log } from '../log/log.js';
import { readWholeFile, replaceWholeFile } from '../disk/wholeFile.js';
import type { StreamNotes } from './spool.js';

export interface StreamCheckpointsParts {
  readonly folder: string;
  readonly fs: FileSystem;
  readonly clock: Clock;
  readonly log: Log;
}

export const NOTES_FILE = 'settled.json';
const PACE_MS = 200;
const LONGEST_FILE = 64 * 1024;

export class StreamCheckpoints implements StreamNotes {
  readonly areKept = true;
  readonly #parts: StreamCheckpointsParts;
  #notes = new Map<string, string>();
  #isChanged = false;
  #timer: Timer | undefined;
  #work: Promise<void> = Promise.resolve();
  #isInTrouble = false;

  constructor(parts: StreamCheckpointsParts) {
    this.#parts = parts;
  }

  /**
   * What a previous run has noted.
   * @param newestPath the newest segment that is there: a note of a newer one may be of another time; should
   * it be of this one, frames come twice
   */
  async load(newestPath: string): Promise<this> {
    try {
      const notes = [...parse(await readWholeFile(this.#parts.fs, this.#path, LONGEST_FILE))];
      this.#notes = new Map(notes.filter(([, upTo]) => upTo <= orderOf(newestPath)));
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return this;
      const reason = explained(error);
      this.#parts.log.warn(
        `${this.#path} can't be understood: ${reason}; streams may get batches again that they have had`,
        { reason, file: this.#path },
      );
    }
    return this;
  }

  hasSettled(stream: string, segmentPath: string): boolean {
    const upTo = this.#notes.get(stream);
    return upTo !== undefined && orderOf(segmentPath) <= upTo;
  }

  note(stream: string, segmentPath: string): void {
    this.#notes.set(stream, orderOf(segmentPath));
    this.#isChanged = true;
    this.#timer ??= this.#parts.clock.after(PACE_MS, () => void this.flush());
  }

  async flush(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#work = this.#work.then(() => (this.#isChanged ? this.#save() : undefined));
    await this.#work;
  }

  get #path(): string {
    return join(this.#parts.folder, NOTES_FILE);
  }

  async #save(): Promise<void> {
    const { fs, log } = this.#parts;
    this.#isChanged = false;
    try {
      await replaceWholeFile(fs, this.#path, `${JSON.stringify(Object.fromEntries(this.#notes))}\n`, {
        lasts: false,
      });
      this.#isInTrouble = false;
    } catch (error) {
      const reason = explained(error);
      if (!this.#isInTrouble)
        log.warn(
          `${this.#path} can't be written: ${reason}; after a restart streams may get batches again that they have had`,
          { reason, file: this.#path },
        );
      this.#isInTrouble = true;
    }
  }
}

/** Segments sort by time and number; one that was written anew after a failure has the same. */
function orderOf(segmentPath: string): string {
  return basename(segmentPath).slice(0, '0000000000000-00000000'.length);
}

function parse(text: string): Map<string, string> {
  const value: unknown = JSON.parse(text);
  if (typeof value !== 'object' || value === null) throw new Error('it is no object');
  return new Map(
    Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}
