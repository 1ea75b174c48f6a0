// The spool: a folder for each bucket, a segment for each batch that is not settled. What is found in it at start is delivered first.
//
//   <SPOOL>/<bucket>/<time>-<seq>.bckstm      time: ms since the epoch, 13 digits; seq: 8 digits; so names sort as batches were opened
//   <SPOOL>/<bucket>/damaged/<name>.<offset>  a piece whose checksum does not fit, put aside
import { join } from 'node:path';
import type { Clock } from '../clock.js';
import type { SpoolSync } from '../config/env.js';
import type { Batch } from '../frames/batch.js';
import type { Log } from '../log.js';
import type { MemoryBudget } from '../memoryBudget.js';
import { safeName } from '../streams/file/fileName.js';
import { type FileSystem, nodeFileSystem, unlinkIfThere } from '../streams/file/fileSystem.js';
import type { BucketKey } from '../buckets/messages.js';
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

const SEGMENT_NAME = /^\d{13}-\d{8}\.bckstm$/;
/** Space must have come back by so much before clients go on, or they would stop and go with each batch. */
const RESUME_SHARE = 0.95;

export class Spool {
  readonly #settings: SpoolSettings;
  readonly #fs: FileSystem;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #budget: MemoryBudget;
  #bytes = 0;
  #inTrouble = 0;
  #isFull = false;
  #sequence = 0;

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
   * @throws Error the folder can't be made or read
   */
  async open(): Promise<ReadonlyMap<BucketKey, readonly LeftSegment[]>> {
    const { path } = this.#settings;
    await this.#fs.makeFolder(path, { parents: true });
    const left = new Map<BucketKey, readonly LeftSegment[]>();
    for (const name of (await this.#fs.list(path)).sort()) {
      const folder = join(path, name);
      if ((await this.#fs.facts(folder)).kind !== 'folder') continue;
      const segments = await this.#list(folder);
      const bucket = await this.#bucketOf(segments);
      if (bucket !== undefined) left.set(bucket, segments);
    }
    return left;
  }

  /** Whose segments these are stands in their frames, not in the folder's name. */
  async #bucketOf(segments: readonly LeftSegment[]): Promise<BucketKey | undefined> {
    for (const { path } of segments) {
      const bucket = await bucketOfSegment(this.#fs, path);
      if (bucket !== undefined) return bucket;
    }
    return undefined;
  }

  /** The twin of a batch that was just opened. */
  twin(batch: Batch): Segment {
    const folder = join(this.#settings.path, safeName(batch.bucket));
    const name = `${String(this.#clock.now()).padStart(13, '0')}-${String(++this.#sequence).padStart(8, '0')}.bckstm`;
    return new Segment({
      path: join(folder, name),
      folder,
      batch,
      sync: this.#settings.sync,
      fs: this.#fs,
      clock: this.#clock,
      log: this.#log,
      onSize: (bytes) => this.#resize(bytes),
      onTrouble: (isInTrouble) => this.#trouble(isInTrouble),
    });
  }

  /** Reads a segment whole: every piece that is sound, as one batch; damaged pieces are put aside, a torn end is left out. Never throws for its content. */
  async read(path: string): Promise<RecoveredSegment> {
    return recoverSegment(this.#fs, path, this.#budget, this.#log);
  }

  /** Takes a segment of an earlier life away: all its frames are settled. */
  async remove(segment: LeftSegment): Promise<void> {
    try {
      await unlinkIfThere(this.#fs, segment.path);
      this.#resize(-segment.bytes);
    } catch (error) {
      this.#log.error(`${segment.path} can't be removed: ${(error as Error).message}; its frames are delivered and would be sent again after a restart`);
    }
  }

  async #list(folder: string): Promise<readonly LeftSegment[]> {
    const segments: LeftSegment[] = [];
    // A stranger's file is left alone, and so is a symlink with a fitting name.
    for (const name of (await this.#fs.list(folder)).filter((found) => SEGMENT_NAME.test(found)).sort()) {
      const path = join(folder, name);
      const { kind, size } = await this.#fs.facts(path);
      if (kind !== 'file') continue;
      segments.push({ path, bytes: size });
      this.#resize(size);
    }
    return segments;
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

