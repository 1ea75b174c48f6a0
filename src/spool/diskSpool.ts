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
import { keyOf } from '../frames/bucketName.js';
import type { BucketKey } from '../frames/bucketName.js';
import { ConfigError } from '../errors.js';
import { safeName, shortened } from '../disk/names.js';
import { type FileSystem, errnoOf, nodeFileSystem, unlinkIfThere } from '../disk/fileSystem.js';
import { explained, needsOperator } from '../disk/ioAdvice.js';
import { lockFolder } from '../disk/folderLock.js';
import { FORMAT, readFormat, writeFormat } from '../disk/format.js';
import { proveWritable } from '../disk/proof.js';
import type { ReadTurns } from '../memory/readTurns.js';
import { syncing } from '../disk/syncing.js';
import { plural } from '../plural.js';
import { type RecoveredSegment, bucketOfSegment, recoverSegment } from './recover.js';
import { Removals } from './removals.js';
import { type Droppable, SpoolRoom } from './room.js';
import { DiskSegment } from './diskSegment.js';
import { LeftSegment } from './leftSegment.js';
import type { Segment, Spool, SpoolFigures } from './spool.js';
import { NOTES_FILE, StreamCheckpoints } from './streamCheckpoints.js';

export interface SpoolSettings {
  readonly path: string;
  readonly sync: SpoolSync;
  /** SPOOL_MAX: bytes of all segments together. */
  readonly maxBytes: number;
  /** SPOOL_FULL: what happens when they are reached, or the disk is full. */
  readonly whenFull: SpoolFull;
}

const SEGMENT_NAME = /^(\d{13})-\d{8}(?:\.\d+)?\.bckstm$/;
/** NAME_MAX is 255, and a bucket's name may be as long before it is made safe. */
const LONGEST_NAME = 235;
/** Files that are looked at at a time. */
const AT_ONCE = 16;

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

  /** Only names, sizes and first frames are looked at, so that a start with a large backlog is quick. */
  async open(): Promise<ReadonlyMap<BucketKey, readonly LeftSegment[]>> {
    const { path } = this.#settings;
    try {
      await this.#fs.makeFolder(path, { parents: true });
      const format = await readFormat(this.#fs, formatFile(path));
      await this.#proveWritable(path, format);
      return await this.#find(path);
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
      if (bucket === undefined) continue;
      left.set(keyOf(bucket), segments);
      this.#notes.set(keyOf(bucket), await this.#newNotes(bucket).load(segments.at(-1)!.path));
    }
    return left;
  }

  /**
   * Whose segments these are stands in their frames; one that is damaged there says something else than the
   * folder's name.
   */
  async #bucketSaid(segments: readonly LeftSegment[], folderName: string): Promise<string | undefined> {
    for (const { path } of segments) {
      const bucket = await bucketOfSegment(this.#fs, path);
      if (bucket !== undefined && folderOf(bucket) === folderName) return bucket;
    }
    return undefined;
  }

  /**
   * No first frame says it: perhaps a whole piece does. What holds nothing that was ever safe is taken away.
   */
  async #bucketProven(segments: LeftSegment[], folderName: string): Promise<string | undefined> {
    while (segments.length > 0) {
      const { batch, mayGo } = await this.read(segments[0]!);
      batch?.release();
      if (batch !== undefined && folderOf(batch.bucket) === folderName) return batch.bucket;
      if (batch !== undefined || !mayGo) break;
      await segments.shift()!.remove();
    }
    if (segments.length === 0) return undefined;
    const [file, count] = [join(this.#settings.path, folderName), segments.length];
    this.#log.warn(
      `${file} holds ${count} ${plural(count, 'segment')} of no bucket with this folder: ${plural(count, 'it stays', 'they stay')} there; look with kahe inspect, send with kahe replay`,
      { file, segments: count },
    );
    return undefined;
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
    const name = `${String(this.#lastTimeMs).padStart(13, '0')}-${String(++this.#sequence).padStart(8, '0')}`;
    const segment = new DiskSegment(
      {
        pathOf: (attempt) => join(folder, `${name}${attempt === 0 ? '' : `.${attempt}`}.bckstm`),
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

  async #list(folder: string): Promise<LeftSegment[]> {
    const names = (await this.#fs.list(folder)).filter((found) => SEGMENT_NAME.test(found)).sort();
    const segments: LeftSegment[] = [];
    for (let at = 0; at < names.length; at += AT_ONCE) {
      const paths = names.slice(at, at + AT_ONCE).map((name) => join(folder, name));
      const facts = await Promise.all(paths.map((path) => this.#fs.facts(path)));
      // A stranger's folder is left alone, and so is a symlink with a fitting name.
      facts.forEach(
        ({ kind, size }, i) => kind === 'file' && segments.push(this.#leftSegment(paths[i]!, size)),
      );
    }
    this.#room.resize(segments.reduce((sum, { safeBytes }) => sum + safeBytes, 0));
    const lastTimeMs = Number(SEGMENT_NAME.exec(names.at(-1) ?? '')?.[1] ?? 0);
    this.#lastTimeMs = Math.max(this.#lastTimeMs, lastTimeMs + 1);
    return segments;
  }

  #leftSegment(path: string, bytes: number): LeftSegment {
    return new LeftSegment(path, bytes, {
      fs: this.#fs,
      onSize: (grown) => this.#room.resize(grown),
      onStuck: (...stuck) => this.#removals.failed(...stuck),
    });
  }

  /** Buckets made on demand would leave a folder each. */
  async #removeIfEmpty(folder: string): Promise<void> {
    try {
      await unlinkIfThere(this.#fs, join(folder, NOTES_FILE));
      await this.#fs.removeFolder(folder);
    } catch (error) {
      if (errnoOf(error) !== 'ENOTEMPTY')
        this.#log.debug(`${folder} is empty and can't be removed: ${explained(error)}`);
    }
  }
}

/** The name of a bucket's folder: no two buckets have the same one, and none is a path. */
function folderOf(bucket: string): string {
  return shortened(safeName(bucket), LONGEST_NAME);
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
