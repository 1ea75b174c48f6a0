// The spool on disk: a folder for each bucket, a segment for each batch that is not settled. What is found in
// it at start is delivered first.
//
//   <SPOOL>/format.json                       disk/format.ts
//   <SPOOL>/<bucket>/<time>-<seq>.bckstm      time: ms since the epoch, 13 digits; seq: 8 digits; so names sort as batches were opened.
//                    <time>-<seq>.<n>.bckstm  the same batch once more, after the disk had failed
//   <SPOOL>/<bucket>/damaged/<name>.<offset>  a piece whose checksum does not fit, put aside
import { basename, dirname, join } from 'node:path';
import type { Clock } from '../clock.js';
import type { SpoolFull, SpoolSync } from '../config/env.js';
import type { Batch } from '../frames/batch.js';
import type { Log } from '../log/log.js';
import type { MemoryBudget } from '../memory/memoryBudget.js';
import { type BucketKey, bucketName, keyOf } from '../frames/bucketName.js';
import { ConfigError } from '../errors.js';
import { type FileSystem, nodeFileSystem } from '../disk/fileSystem.js';
import { explained, needsOperator } from '../disk/ioAdvice.js';
import { lockFolder } from '../disk/folderLock.js';
import { FORMAT, readFormat, writeFormat } from '../disk/format.js';
import { proveWritable } from '../disk/proof.js';
import type { ReadTurns } from '../memory/readTurns.js';
import { syncing } from '../disk/syncing.js';
import { type RecoveredSegment, recoverSegment } from './recover.js';
import { Removals } from './removals.js';
import { type Droppable, SpoolRoom } from './room.js';
import { DiskSegment } from './diskSegment.js';
import type { LeftSegment } from './leftSegment.js';
import { SegmentFinder } from './segmentFinder.js';
import { folderOf, segmentName } from './segmentNames.js';
import type { Segment, Spool, SpoolFigures } from './spool.js';
import { StreamCheckpoints } from './streamCheckpoints.js';

export interface SpoolSettings {
  readonly path: string;
  readonly sync: SpoolSync;
  /** SPOOL_MAX: bytes of all segments together. */
  readonly maxBytes: number;
  /** SPOOL_FULL: what happens when they are reached, or the disk is full. */
  readonly whenFull: SpoolFull;
}

/** Batches that a stream has at a time. */
const WINDOW = 16;

export class DiskSpool implements Spool {
  readonly safeWhen = 'written';
  readonly window = WINDOW;
  readonly #settings: SpoolSettings;
  readonly #fs: FileSystem;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #budget: MemoryBudget;
  /** The last segment of each bucket that has one. */
  readonly #last = new Map<string, DiskSegment>();
  #sequence = 0;
  #lastTimeMs = 0;
  readonly #turns: ReadTurns;
  readonly #notes = new Map<BucketKey, StreamCheckpoints>();
  readonly #room: SpoolRoom;
  readonly #removals: Removals;
  #unlock: (() => void) | undefined;

  constructor(
    settings: SpoolSettings,
    parts: {
      readonly log: Log;
      readonly clock: Clock;
      readonly budget: MemoryBudget;
      readonly turns: ReadTurns;
      readonly fs?: FileSystem;
    },
  ) {
    this.#settings = settings;
    this.#fs = syncing(parts.fs ?? nodeFileSystem, {
      place: settings.path,
      isSynced: settings.sync !== 'never',
      log: parts.log,
    });
    this.#log = parts.log;
    this.#clock = parts.clock;
    this.#budget = parts.budget;
    this.#turns = parts.turns;
    this.#room = new SpoolRoom(settings, parts);
    this.#removals = new Removals({
      fs: this.#fs,
      clock: this.#clock,
      log: this.#log,
      onGone: (bytes) => this.#room.resize(-bytes),
    });
  }

  get memory(): MemoryBudget {
    return this.#budget;
  }

  /** Bytes of all segments. */
  get bytes(): number {
    return this.#room.bytes;
  }

  get figures(): SpoolFigures {
    const { path, maxBytes } = this.#settings;
    const { bytes, isFull, failingSegments } = this.#room;
    return { path, bytes, maxBytes, isFull, failingSegments };
  }

  async open(): Promise<ReadonlyMap<BucketKey, readonly LeftSegment[]>> {
    const { path } = this.#settings;
    try {
      await this.#fs.makeFolder(path, { parents: true });
      const format = await readFormat(this.#fs, formatFile(path));
      await this.#proveWritable(path, format);
      return await this.#find();
    } catch (error) {
      throw unusable(path, error);
    }
  }

  async lock(): Promise<void> {
    const { path } = this.#settings;
    try {
      await this.#fs.makeFolder(path, { parents: true });
      this.#unlock = await lockFolder(this.#fs, path);
    } catch (error) {
      throw unusable(path, error);
    }
    if (this.#unlock === undefined) throw takenSpool(path);
  }

  close(): void {
    this.#room.close();
    this.#removals.close();
    this.#unlock?.();
  }

  /** A disk that is full now may have room once what is on it is delivered. */
  async #proveWritable(path: string, format: number | undefined): Promise<void> {
    try {
      await proveWritable(this.#fs, path, 0);
      if (format !== FORMAT) await writeFormat(this.#fs, formatFile(path));
    } catch (error) {
      if (needsOperator(error)) throw error;
      const reason = explained(error);
      this.#log.warn(
        `${path} can't be written now: ${reason}; its batches are delivered, clients wait; make room, or repair the disk`,
        { reason, file: path },
      );
    }
  }

  async #find(): Promise<ReadonlyMap<BucketKey, readonly LeftSegment[]>> {
    const finder = new SegmentFinder({
      path: this.#settings.path,
      fs: this.#fs,
      log: this.#log,
      spool: this,
      onSize: (bytes) => this.#room.resize(bytes),
      onStuck: (...stuck) => this.#removals.failed(...stuck),
    });
    const left = await finder.find();
    this.#lastTimeMs = finder.newestMs + 1;
    for (const [key, segments] of left)
      this.#notes.set(key, await this.#newNotes(bucketName(key)).load(segments.at(-1)!.path));
    return left;
  }

  notes(bucket: string): StreamCheckpoints {
    const notes = this.#notes.get(keyOf(bucket)) ?? this.#newNotes(bucket);
    this.#notes.delete(keyOf(bucket));
    return notes;
  }

  #newNotes(bucket: string): StreamCheckpoints {
    return new StreamCheckpoints({
      folder: join(this.#settings.path, folderOf(bucket)),
      fs: this.#fs,
      clock: this.#clock,
      log: this.#log,
    });
  }

  onFull(oldest: () => Droppable | undefined): () => void {
    return this.#room.onFull(oldest);
  }

  get isFailing(): boolean {
    return this.#room.failingSegments > 0;
  }

  onFailing(run: () => void): () => void {
    return this.#room.onFailing(run);
  }

  newSegment(batch: Batch): DiskSegment {
    const { bucket } = batch;
    const folder = join(this.#settings.path, folderOf(bucket));
    // A clock that was set back must not put a batch before those that came earlier.
    this.#lastTimeMs = Math.max(this.#lastTimeMs, this.#clock.now());
    const timeMs = this.#lastTimeMs;
    const sequence = ++this.#sequence;
    const segment = new DiskSegment(
      {
        pathOf: (attempt) => join(folder, segmentName(timeMs, sequence, attempt)),
        folder,
        batch,
        sync: this.#settings.sync,
        fs: this.#fs,
        clock: this.#clock,
        log: this.#log,
        onSize: (bytes) => this.#room.resize(bytes),
        onTrouble: (isInTrouble) => this.#room.trouble(isInTrouble),
        onError: (error) => this.#room.noteError(error),
        onStuck: (path, bytes, error) => this.#removals.failed(path, bytes, error),
        onGone: () => this.#last.get(bucket) === segment && this.#last.delete(bucket),
      },
      this.#last.get(bucket),
    );
    this.#last.set(bucket, segment);
    return segment;
  }

  read({ path, isOfPreviousRun }: Pick<Segment, 'path' | 'isOfPreviousRun'>): Promise<RecoveredSegment> {
    const parts = { fs: this.#fs, budget: this.#budget, log: this.#log };
    return this.#turns.read(async (space) =>
      this.#ifInPlace(path, await recoverSegment(path, !isOfPreviousRun, { ...parts, space })),
    );
  }

  /** A segment that somebody put into another bucket's folder would be sent to that one's topic. */
  #ifInPlace(path: string, read: RecoveredSegment): RecoveredSegment {
    const { batch } = read;
    if (batch === undefined || folderOf(batch.bucket) === basename(dirname(path))) return read;
    const place = join(this.#settings.path, folderOf(batch.bucket));
    const { bucket } = batch;
    this.#log.error(
      `${path} holds frames of another bucket, ${JSON.stringify(bucket)}: it stays there; move it to ${place}, and the next start delivers it`,
      { file: path, bucket },
    );
    batch.release();
    return { ...read, batch: undefined, mayGo: false };
  }
}

/** Which says the format of the spool in this folder. */
export function formatFile(path: string): string {
  return join(path, 'format.json');
}

export function unusable(path: string, error: unknown): ConfigError {
  if (error instanceof ConfigError) return error;
  return new ConfigError(`SPOOL: ${path} can't be used: ${explained(error)}`);
}

export function takenSpool(path: string): ConfigError {
  return new ConfigError(
    `SPOOL: ${path} is the spool of another daemon that is running; stop that one, or give this one a spool of its own`,
  );
}
