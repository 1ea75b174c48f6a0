// Finds what previous runs have left in the spool: the segments of each bucket, in the order of their batches.
// Only names, sizes and first frames are looked at, so that a start with a large backlog is quick. Promise:
// a file that is no segment, or not of its folder's bucket, is left alone.
import { join } from 'node:path';
import { type FileSystem, errnoOf, unlinkIfThere } from '../disk/fileSystem.js';
import { explained } from '../disk/ioAdvice.js';
import { type BucketKey, keyOf } from '../frames/bucketName.js';
import type { Log } from '../log/log.js';
import { plural } from '../plural.js';
import { LeftSegment, type LeftSegmentParts } from './leftSegment.js';
import { bucketOfSegment } from './recover.js';
import { folderOf, timeOfSegment } from './segmentNames.js';
import type { Spool } from './spool.js';
import { NOTES_FILE } from './streamCheckpoints.js';

export interface SegmentFinderParts extends LeftSegmentParts {
  /** SPOOL. */
  readonly path: string;
  readonly fs: FileSystem;
  readonly log: Log;
  readonly spool: Pick<Spool, 'read'>;
}

/** Files that are looked at at a time. */
const AT_ONCE = 16;

export class SegmentFinder {
  readonly #parts: SegmentFinderParts;
  /** When the newest of them was opened, ms since the epoch; known once they are found. */
  newestMs = 0;

  constructor(parts: SegmentFinderParts) {
    this.#parts = parts;
  }

  async find(): Promise<ReadonlyMap<BucketKey, readonly LeftSegment[]>> {
    const { fs, path } = this.#parts;
    const left = new Map<BucketKey, readonly LeftSegment[]>();
    for (const name of (await fs.list(path)).sort()) {
      const folder = join(path, name);
      if ((await fs.facts(folder)).kind !== 'folder') continue;
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

  async #list(folder: string): Promise<LeftSegment[]> {
    const { fs, onSize } = this.#parts;
    const names = (await fs.list(folder)).filter((found) => timeOfSegment(found) !== undefined).sort();
    const segments: LeftSegment[] = [];
    for (let at = 0; at < names.length; at += AT_ONCE) {
      const paths = names.slice(at, at + AT_ONCE).map((name) => join(folder, name));
      const facts = await Promise.all(paths.map((path) => fs.facts(path)));
      // A stranger's folder is left alone, and so is a symlink with a fitting name.
      facts.forEach(
        ({ kind, size }, i) =>
          kind === 'file' && segments.push(new LeftSegment(paths[i]!, size, this.#parts)),
      );
    }
    onSize(segments.reduce((sum, { safeBytes }) => sum + safeBytes, 0));
    this.newestMs = Math.max(this.newestMs, timeOfSegment(names.at(-1) ?? '') ?? 0);
    return segments;
  }

  /**
   * Whose segments these are stands in their frames; one that is damaged there says something else than the
   * folder's name.
   */
  async #bucketSaid(segments: readonly LeftSegment[], folderName: string): Promise<string | undefined> {
    for (const { path } of segments) {
      const bucket = await bucketOfSegment(this.#parts.fs, path);
      if (bucket !== undefined && folderOf(bucket) === folderName) return bucket;
    }
    return undefined;
  }

  /**
   * No first frame says it: perhaps a whole piece does. What holds nothing that was ever safe is taken away.
   */
  async #bucketProven(segments: LeftSegment[], folderName: string): Promise<string | undefined> {
    const { path, log, spool } = this.#parts;
    while (segments.length > 0) {
      const { batch, mayGo } = await spool.read(segments[0]!);
      batch?.release();
      if (batch !== undefined && folderOf(batch.bucket) === folderName) return batch.bucket;
      if (batch !== undefined || !mayGo) break;
      await segments.shift()!.remove();
    }
    if (segments.length === 0) return undefined;
    const [file, count] = [join(path, folderName), segments.length];
    log.warn(
      `${file} holds ${count} ${plural(count, 'segment')} of no bucket with this folder: ${plural(count, 'it stays', 'they stay')} there; look with kahe inspect, send with kahe replay`,
      { file, segments: count },
    );
    return undefined;
  }

  /** Buckets made on demand would leave a folder each. */
  async #removeIfEmpty(folder: string): Promise<void> {
    const { fs, log } = this.#parts;
    try {
      await unlinkIfThere(fs, join(folder, NOTES_FILE));
      await fs.removeFolder(folder);
    } catch (error) {
      if (errnoOf(error) !== 'ENOTEMPTY')
        log.debug(`${folder} is empty and can't be removed: ${explained(error)}`);
    }
  }
}
