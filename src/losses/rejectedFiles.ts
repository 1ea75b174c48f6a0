// The pair of files that rejected frames are kept in, opened when the first one comes. A pair is closed at 10
// MB or at the end of the day.
import { join } from 'node:path';
import type { Clock } from '../clock.js';
import type { Log } from '../log/log.js';
import { randomName, replayNoteOf } from '../disk/names.js';
import { FILE_MODE, NEW_FILE, errnoOf, factsIfThere, writeWhole } from '../disk/fileSystem.js';
import type { FileSystem, OpenFile } from '../disk/fileSystem.js';
import { makeFolders } from '../disk/folders.js';
import { tryFolder } from '../disk/trial.js';
import { explained } from '../disk/ioAdvice.js';

export interface RejectedFilesOptions {
  readonly path: string;
  readonly maxBytes: number;
  readonly log: Log;
  readonly clock: Clock;
  readonly fs: FileSystem;
}

/** Frames to be kept, whole, and why. */
export interface Unkept {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  readonly frames: number;
  readonly bucket: string;
  readonly reason: string;
  /** When they were rejected. */
  readonly timeMs: number;
}

/** How far an append came: the first `kept` rejections are in `file`, and why the rest is not. */
export interface Appended {
  readonly kept: number;
  readonly file: string;
  readonly problem: string | undefined;
}

interface Pair {
  readonly day: string;
  readonly path: string;
  readonly frames: OpenFile;
  readonly reasons: OpenFile;
  frameBytes: number;
  reasonBytes: number;
}

const ROTATE_BYTES = 10 * 1024 * 1024;
const OUR_FILE = /^\d{8}-[a-z0-9]{8}\.(bckstm|reasons\.jsonl)$/;

export class RejectedFiles {
  readonly #options: RejectedFilesOptions;
  #pair: Pair | undefined;
  /** Bytes of all our files; unknown until the first append. */
  #totalBytes: number | undefined;

  constructor(options: RejectedFilesOptions) {
    this.#options = options;
  }

  /** Writes as many of the rejections as fit, whole, and syncs them. Never rejects. */
  async append(rejections: readonly Unkept[]): Promise<Appended> {
    let pair: Pair | undefined;
    try {
      const room = this.#options.maxBytes - (this.#totalBytes ??= await this.#countFolder());
      if (room <= 0) return { kept: 0, file: '', problem: this.#full() };
      pair = await this.#currentPair();
      const { lines, kept } = fitting(rejections, pair, room);
      if (kept > 0)
        await this.#write(pair, Buffer.concat(rejections.slice(0, kept).map(framesOf)), Buffer.from(lines));
      return { kept, file: pair.path, problem: kept < rejections.length ? this.#full() : undefined };
    } catch (error) {
      if (pair) await this.#abandon(pair);
      return { kept: 0, file: '', problem: this.#unwritable(pair?.path, error) };
    }
  }

  /**
   * Looks at the folder and the disk anew, because somebody may have made room.
   * @returns why `rejection` could not be kept there
   */
  async check(rejection: Unkept): Promise<string | undefined> {
    const { fs, path, maxBytes } = this.#options;
    try {
      this.#totalBytes = await this.#countFolder();
      const [, lineBytes] = lineOf(rejection, 0);
      if (this.#totalBytes + rejection.end - rejection.start + lineBytes > maxBytes) return this.#full();
      await tryFolder(fs, path);
      return undefined;
    } catch (error) {
      return this.#unwritable(path, error);
    }
  }

  async close(): Promise<void> {
    const pair = this.#pair;
    this.#pair = undefined;
    if (!pair) return;
    for (const file of [pair.frames, pair.reasons]) {
      await file.close().catch((error: unknown) =>
        this.#options.log.warn(`${pair.path} can't be closed: ${String(error)}; check the disk`, {
          reason: String(error),
          file: pair.path,
        }),
      );
    }
  }

  #full(): string {
    const { path, maxBytes } = this.#options;
    return `the files in ${path} (REJECTED) have ${this.#totalBytes ?? 0} of ${maxBytes} bytes (REJECTED_MAX); send them with kahe replay, remove them, or raise REJECTED_MAX`;
  }

  #unwritable(path: string | undefined, error: unknown): string {
    return `${path ?? this.#options.path} (REJECTED) can't be written: ${explained(error)}`;
  }

  async #countFolder(): Promise<number> {
    const { fs, path } = this.#options;
    let names: string[];
    try {
      names = await fs.list(path);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return 0;
      throw error;
    }
    const facts = await Promise.all(
      names.filter((name) => OUR_FILE.test(name)).map((name) => factsIfThere(fs, join(path, name))),
    );
    return facts.reduce((sum, fact) => sum + (fact?.size ?? 0), 0);
  }

  async #currentPair(): Promise<Pair> {
    const day = new Date(this.#options.clock.now()).toISOString().slice(0, 10).replaceAll('-', '');
    if (this.#pair && (await this.#isDone(this.#pair, day))) await this.close();
    return (this.#pair ??= await this.#open(day));
  }

  /**
   * Is the pair full, or of another day? Was it removed or moved away by somebody? Or is it being replayed,
   * as the note beside it says: what is rejected again stays out of what is sent.
   */
  async #isDone(pair: Pair, today: string): Promise<boolean> {
    const { frameBytes, reasonBytes, day, path } = pair;
    if (frameBytes + reasonBytes >= ROTATE_BYTES || day !== today || !(await this.#isInPlace(pair)))
      return true;
    return (await factsIfThere(this.#options.fs, replayNoteOf(path))) !== undefined;
  }

  /**
   * What is written to a file that somebody removed is gone at its close; one that somebody moved may have
   * been copied or sent by now.
   */
  async #isInPlace({ frames, path }: Pair): Promise<boolean> {
    const [own, there] = [await frames.facts(), await factsIfThere(this.#options.fs, path)];
    return there?.device === own.device && there.inode === own.inode;
  }

  async #open(day: string): Promise<Pair> {
    const { fs, path: folder } = this.#options;
    await makeFolders(fs, folder, '.');
    const path = join(folder, `${day}-${randomName()}`);
    const frames = await fs.open(`${path}.bckstm`, NEW_FILE, FILE_MODE);
    try {
      const reasons = await fs.open(`${path}.reasons.jsonl`, NEW_FILE, FILE_MODE);
      await fs.syncFolder(folder);
      return { day, path: `${path}.bckstm`, frames, reasons, frameBytes: 0, reasonBytes: 0 };
    } catch (error) {
      await frames.close();
      await fs.unlink(`${path}.bckstm`);
      throw error;
    }
  }

  async #write(pair: Pair, frames: Buffer, reasons: Buffer): Promise<void> {
    await writeWhole(pair.frames, frames);
    await writeWhole(pair.reasons, reasons);
    await pair.frames.datasync();
    await pair.reasons.datasync();
    // By somebody who has replayed what it held before: then nobody would ever see these frames.
    if (!(await this.#isInPlace(pair))) throw new Error('somebody removed it while it was written');
    pair.frameBytes += frames.length;
    pair.reasonBytes += reasons.length;
    this.#totalBytes = (this.#totalBytes ?? 0) + frames.length + reasons.length;
  }

  /**
   * After an error the pair is cut to what was whole, and never used again: a new one is opened for the next.
   */
  async #abandon(pair: Pair): Promise<void> {
    try {
      await pair.frames.truncate(pair.frameBytes);
      await pair.reasons.truncate(pair.reasonBytes);
    } catch (error) {
      this.#options.log.error(
        `${pair.path} may end in half a frame behind byte ${pair.frameBytes}: it could not be cut (${String(error)}); rejected frames go to another file now`,
        { reason: String(error), file: pair.path, offset: pair.frameBytes },
      );
      // How much lies there is unknown: count anew.
      this.#totalBytes = undefined;
    }
    await this.close();
  }
}

/** How many of the rejections `room` has place for, and their lines. */
function fitting(
  rejections: readonly Unkept[],
  pair: Pair,
  room: number,
): { readonly lines: string; readonly kept: number } {
  let [lines, kept, frameBytes, lineBytes] = ['', 0, 0, 0];
  for (const rejection of rejections) {
    const [line, bytes] = lineOf(rejection, pair.frameBytes + frameBytes);
    frameBytes += rejection.end - rejection.start;
    lineBytes += bytes;
    if (frameBytes + lineBytes > room) break;
    lines += line;
    kept++;
  }
  return { lines, kept };
}

/** The line of a rejection whose frames start at `offset` of their file, and its bytes. */
function lineOf(
  { timeMs, bucket, reason, frames, start, end }: Unkept,
  offset: number,
): readonly [line: string, bytes: number] {
  const line = `${JSON.stringify({ time: new Date(timeMs).toISOString(), bucket, reason, frames, offset, bytes: end - start })}\n`;
  return [line, Buffer.byteLength(line)];
}

function framesOf({ bytes, start, end }: Unkept): Uint8Array {
  return bytes.subarray(start, end);
}
