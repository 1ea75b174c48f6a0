// The spool: a folder for each bucket, a segment for each batch that is not settled. What is found in it at start is delivered first.
//
//   <SPOOL>/<bucket>/<time>-<seq>.bckstm      time: ms since the epoch, 13 digits; seq: 8 digits; so names sort as batches were opened.
//                    <time>-<seq>.<n>.bckstm  the same batch once more, after the disk had failed
//   <SPOOL>/<bucket>/damaged/<name>.<offset>  a piece whose checksum does not fit, put aside
import { join } from 'node:path';
import type { Clock } from '../clock.js';
import type { SpoolSync } from '../config/env.js';
import type { Batch } from '../frames/batch.js';
import type { Log } from '../log.js';
import type { MemoryBudget } from '../memoryBudget.js';
import { keyOf } from '../buckets/bucketName.js';
import type { BucketKey } from '../buckets/messages.js';
import { ConfigError } from '../errors.js';
import { safeName, shortened } from '../disk/names.js';
import { type FileSystem, errnoOf, nodeFileSystem, unlinkIfThere } from '../disk/fileSystem.js';
import { explained, needsAPerson } from '../disk/ioAdvice.js';
import { proveWritable } from '../disk/proof.js';
import { type RecoveredSegment, bucketOfSegment, recoverSegment } from './recover.js';
import { Segment } from './segment.js';

export interface SpoolSettings {
  readonly path: string;
  readonly sync: SpoolSync;
  /** SPOOL_MAX: bytes of all segments together; over it clients wait. */
  readonly maxBytes: number;
}

/** A segment of an earlier life, not read yet. */
export interface LeftSegment {
  readonly path: string;
  readonly bytes: number;
}

const SEGMENT_NAME = /^(\d{13})-\d{8}(?:\.\d+)?\.bckstm$/;
/** NAME_MAX is 255, and a bucket's name may be as long before it is made safe. */
const LONGEST_NAME = 235;
/** Space must have come back by so much before clients go on, or they would stop and go with each batch. */
const RESUME_SHARE = 0.95;
/** A segment is a batch with its checkpoints. */
const SPACE_BYTES = 1.25 * 1024 * 1024;
/** Files that are looked at at a time. */
const AT_ONCE = 16;

export class Spool {
  readonly #settings: SpoolSettings;
  readonly #fs: FileSystem;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #budget: MemoryBudget;
  /** The last segment of each bucket that has one. */
  readonly #last = new Map<string, Segment>();
  #bytes = 0;
  #inTrouble = 0;
  #isFull = false;
  #sequence = 0;
  #lastTimeMs = 0;
  /** Segments are read into it, one after another. */
  #space: Buffer | undefined;
  #reading: Promise<void> = Promise.resolve();

  constructor(settings: SpoolSettings, parts: { readonly log: Log; readonly clock: Clock; readonly budget: MemoryBudget; readonly fs?: FileSystem }) {
    this.#settings = settings;
    this.#fs = parts.fs ?? nodeFileSystem;
    this.#log = parts.log;
    this.#clock = parts.clock;
    this.#budget = parts.budget;
  }

  /** Bytes of all segments. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * What an earlier life has left, by bucket, in the order of the batches. Only names, sizes and the first
   * frame are looked at, so that a start with a large backlog is quick.
   * @throws {ConfigError} the folder can't be made, read or written
   */
  async open(): Promise<ReadonlyMap<BucketKey, readonly LeftSegment[]>> {
    const { path } = this.#settings;
    try {
      await this.#fs.makeFolder(path, { parents: true });
      await this.#proveWritable(path);
      return await this.#find(path);
    } catch (error) {
      throw new ConfigError(`SPOOL: ${path} can't be used: ${explained(error)}`);
    }
  }

  /** A disk that is full now may have room once what is on it is delivered. */
  async #proveWritable(path: string): Promise<void> {
    try {
      await proveWritable(this.#fs, path, 0);
    } catch (error) {
      if (needsAPerson(error)) throw error;
      this.#log.warn(`${path} can't be written now: ${explained(error)}`);
    }
  }

  async #find(path: string): Promise<ReadonlyMap<BucketKey, readonly LeftSegment[]>> {
    const left = new Map<BucketKey, readonly LeftSegment[]>();
    for (const name of (await this.#fs.list(path)).sort()) {
      const folder = join(path, name);
      if ((await this.#fs.facts(folder)).kind !== 'folder') continue;
      const segments = await this.#list(folder);
      if (segments.length === 0) {
        await this.#removeIfEmpty(folder);
        continue;
      }
      const bucket = (await this.#bucketSaid(segments, name)) ?? (await this.#bucketProven(segments, name));
      if (bucket !== undefined) left.set(keyOf(bucket), segments);
    }
    return left;
  }

  /** Whose segments these are stands in their frames; one that is damaged there says something else than the folder's name. */
  async #bucketSaid(segments: readonly LeftSegment[], folderName: string): Promise<string | undefined> {
    for (const { path } of segments) {
      const bucket = await bucketOfSegment(this.#fs, path);
      if (bucket !== undefined && folderOf(bucket) === folderName) return bucket;
    }
    return undefined;
  }

  /** No first frame says it: perhaps a whole piece does. What holds nothing that was ever safe is taken away. */
  async #bucketProven(segments: LeftSegment[], folderName: string): Promise<string | undefined> {
    while (segments.length > 0) {
      const { batch, mayGo } = await this.read(segments[0]!.path);
      batch?.release();
      if (batch !== undefined && folderOf(batch.bucket) === folderName) return batch.bucket;
      if (batch !== undefined || !mayGo) break;
      await this.remove(segments.shift()!);
    }
    if (segments.length > 0) this.#log.warn(`${join(this.#settings.path, folderName)}: its ${segments.length} segments are not of a bucket for which this is the folder; they are left alone`);
    return undefined;
  }

  /** The twin of a batch that was just opened. */
  twin(batch: Batch): Segment {
    const { bucket } = batch;
    const folder = join(this.#settings.path, folderOf(bucket));
    // A clock that was set back must not put a batch before those that came earlier.
    this.#lastTimeMs = Math.max(this.#lastTimeMs, this.#clock.now());
    const name = `${String(this.#lastTimeMs).padStart(13, '0')}-${String(++this.#sequence).padStart(8, '0')}`;
    const segment = new Segment({
      pathOf: (attempt) => join(folder, `${name}${attempt === 0 ? '' : `.${attempt}`}.bckstm`),
      folder,
      batch,
      sync: this.#settings.sync,
      fs: this.#fs,
      clock: this.#clock,
      log: this.#log,
      onSize: (bytes) => this.#resize(bytes),
      onTrouble: (isInTrouble) => this.#trouble(isInTrouble),
      onGone: () => this.#last.get(bucket) === segment && this.#last.delete(bucket),
    }, this.#last.get(bucket));
    this.#last.set(bucket, segment);
    return segment;
  }

  /**
   * Reads a segment whole: every piece that is sound, as one batch; damaged pieces are put aside, a torn end is left out. Never throws
   * for its content.
   * @param wasClosed it was written to its end, so that no part of it can be torn
   */
  read(path: string, wasClosed = false): Promise<RecoveredSegment> {
    // One after another: a thousand buckets that start together must not need a thousand times the space.
    const reading = this.#reading.then(() => {
      this.#space ??= Buffer.allocUnsafeSlow(SPACE_BYTES);
      return recoverSegment(path, wasClosed, { fs: this.#fs, budget: this.#budget, log: this.#log, space: this.#space });
    });
    this.#reading = reading.then(() => undefined, () => undefined);
    return reading;
  }

  /** Takes a segment of an earlier life away: all its frames are settled. */
  async remove(segment: LeftSegment): Promise<void> {
    try {
      await unlinkIfThere(this.#fs, segment.path);
      this.#resize(-segment.bytes);
    } catch (error) {
      this.#log.error(`${segment.path} can't be removed: ${explained(error)}; remove it, or its frames are sent again after a restart`);
    }
  }

  async #list(folder: string): Promise<LeftSegment[]> {
    const names = (await this.#fs.list(folder)).filter((found) => SEGMENT_NAME.test(found)).sort();
    const segments: LeftSegment[] = [];
    for (let at = 0; at < names.length; at += AT_ONCE) {
      const paths = names.slice(at, at + AT_ONCE).map((name) => join(folder, name));
      const facts = await Promise.all(paths.map((path) => this.#fs.facts(path)));
      // A stranger's folder is left alone, and so is a symlink with a fitting name.
      facts.forEach(({ kind, size }, i) => kind === 'file' && segments.push({ path: paths[i]!, bytes: size }));
    }
    this.#resize(segments.reduce((sum, { bytes }) => sum + bytes, 0));
    const lastTimeMs = Number(SEGMENT_NAME.exec(names.at(-1) ?? '')?.[1] ?? 0);
    this.#lastTimeMs = Math.max(this.#lastTimeMs, lastTimeMs + 1);
    return segments;
  }

  /** Buckets made on demand would leave a folder each. */
  async #removeIfEmpty(folder: string): Promise<void> {
    try {
      await this.#fs.removeFolder(folder);
    } catch (error) {
      if (errnoOf(error) !== 'ENOTEMPTY') this.#log.debug(`${folder} is empty and can't be removed: ${explained(error)}`);
    }
  }

  #resize(bytes: number): void {
    this.#bytes += bytes;
    const { maxBytes } = this.#settings;
    if (!this.#isFull && this.#bytes > maxBytes) {
      this.#isFull = true;
      this.#log.warn(`the spool is full (${this.#bytes} bytes, SPOOL_MAX ${maxBytes}): clients wait until batches are delivered`);
    } else if (this.#isFull && this.#bytes <= maxBytes * RESUME_SHARE) {
      this.#isFull = false;
      this.#log.info('the spool has room again: clients go on');
    }
    this.#block();
  }

  #trouble(isInTrouble: boolean): void {
    this.#inTrouble += isInTrouble ? 1 : -1;
    this.#block();
  }

  #block(): void {
    this.#budget.setBlocked(this.#isFull || this.#inTrouble > 0);
  }
}

/** The name of a bucket's folder: no two buckets have the same one, and none is a path. */
function folderOf(bucket: string): string {
  return shortened(safeName(bucket), LONGEST_NAME);
}
