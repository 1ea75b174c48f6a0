// Walks through any file of frames (kahego's, a backup's, a segment of the spool) and says what stands where,
// and where it is torn. Of a frame only the head is looked at, so that memory stays small whatever the file
// claims. Behind damage it goes on where a whole piece of a segment can be found, as the daemon does when it
// reads its spool; plain frames have nothing by which they could be found.
import { CHECKPOINT_BYTES, type CheckpointSays } from './checkpoint.js';
import { MIN_BODY_BYTES, PREFIX_BYTES } from './frame.js';
import { PieceWalk, endOfDamage } from './pieces.js';
import { type Found, type FrameSource, LONGEST_BODY, isBad, isFrame } from './walk.js';

interface Place {
  /** Where in the file it starts, and how many bytes it has. */
  readonly offset: number;
  readonly bytes: number;
}

export type ScanEntry =
  | (Place & { readonly kind: 'frame' })
  /** A frame of a sane length whose inside makes no sense. */
  | (Place & { readonly kind: 'bad'; readonly reason: string })
  /**
   * `isWhole`: what stands before it, from the last one on, is as it was written. `hasHead`: it looks like
   * one; else only its place tells.
   */
  | (Place & {
      readonly kind: 'checkpoint';
      readonly timeMs: number;
      readonly frames: number;
      readonly isWhole: boolean;
      readonly hasHead: boolean;
    })
  /** Of a segment, what is not as it was written. Frames in it may have been told already. */
  | (Place & { readonly kind: 'damage'; readonly reason: string });

export interface ScanEnd {
  /** Behind this no frame can be told from the next. */
  readonly wholeBytes: number;
  readonly tornBytes: number;
  /** What was expected where it is torn, and what is there. */
  readonly reason: string;
}

export function scanFrames(source: FrameSource): Generator<ScanEntry, ScanEnd> {
  return new Scan(source).run();
}

class Scan {
  readonly #source: FrameSource;
  /** Of a segment: the piece that is being read. */
  #walk: PieceWalk;
  /** The head of a frame of the segment's bucket, from its first whole piece. */
  #like: Buffer | undefined;
  /**
   * `unknown` until something speaks for the one or the other; plain frames may be bad, and of any bucket.
   */
  #nature: 'unknown' | 'segment' | 'plain' = 'unknown';

  constructor(source: FrameSource) {
    this.#source = source;
    this.#walk = new PieceWalk(source, 0);
  }

  *run(): Generator<ScanEntry, ScanEnd> {
    while (this.#walk.look() !== 'end') {
      if (this.#isNext) yield this.#next();
      else {
        const says = this.#walk.checkpoint();
        if (says.isWhole || this.#walk.found === 'checkpoint') yield* this.#passCheckpoint(says);
        else {
          const entry = this.#passDamage();
          if (entry === 'torn') return this.#torn();
          if (entry !== undefined) yield entry;
        }
      }
    }
    return { wholeBytes: this.#walk.at, tornBytes: 0, reason: '' };
  }

  /** A frame, sound or not: behind it stands the next one. */
  get #isOrdinary(): boolean {
    return isFrame(this.#walk.found) || isBad(this.#walk.found);
  }

  get #isNext(): boolean {
    if (this.#nature === 'plain') return this.#isOrdinary;
    return isFrame(this.#walk.found) && this.#walk.isOfBucket;
  }

  /** Passed before it is told: who is told moves the window. */
  #next(): ScanEntry {
    const { found, at: offset } = this.#walk;
    const bytes = this.#walk.end - offset;
    this.#walk.pass();
    return isBad(found) ? { kind: 'bad', offset, bytes, reason: found } : { kind: 'frame', offset, bytes };
  }

  *#passCheckpoint(says: CheckpointSays): Generator<ScanEntry, void> {
    const { found, start, at: offset, end } = this.#walk;
    const hasHead = found === 'checkpoint' && end - offset === CHECKPOINT_BYTES;
    // Of its head only the place counts: its length may be what is damaged.
    const bytes = found === 'checkpoint' && !says.isWhole ? end - offset : CHECKPOINT_BYTES;
    yield { kind: 'checkpoint', offset, bytes, ...says, hasHead };
    let next = offset + bytes;
    if (says.isWhole) this.#like ??= this.#walk.like;
    else {
      const damage = endOfDamage(this.#source, start, this.#like);
      if (damage.at > start) next = Math.min(damage.at, next);
      yield { kind: 'damage', offset: start, bytes: next - start, reason: 'the checksum does not fit' };
    }
    this.#beginPiece(next);
  }

  /** @returns undefined: it is no damage, because these are plain frames */
  #passDamage(): ScanEntry | 'torn' | undefined {
    const { start } = this.#walk;
    const next = this.#isOrdinary && this.#nature === 'unknown' ? undefined : this.#behindDamage(start);
    if (next === undefined) {
      if (!this.#isOrdinary) return 'torn';
      this.#nature = 'plain';
      return undefined;
    }
    const what = isFrame(this.#walk.found) ? 'a frame of another bucket' : this.#reason;
    const reason = `${what} at offset ${this.#walk.at}`;
    this.#beginPiece(next);
    return { kind: 'damage', offset: start, bytes: next - start, reason };
  }

  /**
   * The last checkpoint tells it only in what is surely a segment: anywhere else it may stand in a message.
   * @returns undefined: nothing whole follows
   */
  #behindDamage(start: number): number | undefined {
    const { at, isWholePiece } = endOfDamage(this.#source, start, this.#like);
    return isWholePiece || (this.#nature === 'segment' && at > start) ? at : undefined;
  }

  #beginPiece(at: number): void {
    this.#nature = 'segment';
    this.#walk = new PieceWalk(this.#source, at);
  }

  #torn(): ScanEnd {
    const { at } = this.#walk;
    return { wholeBytes: at, tornBytes: this.#source.size - at, reason: this.#reason };
  }

  /** What was expected, and what is there. */
  get #reason(): string {
    const { at, end, found } = this.#walk;
    return reasonOf(found, end - at, this.#source.size - at);
  }
}

/**
 * @param bytes of the frame, as it says
 * @param left that the file has
 */
function reasonOf(found: Found, bytes: number, left: number): string {
  if (found === 'not read') return 'the file became shorter while it was read';
  if (found === 'no length')
    return `expected a frame's length from ${MIN_BODY_BYTES} to ${LONGEST_BODY}, found ${bytes - PREFIX_BYTES}`;
  if (found !== 'half a frame') return found;
  return left < PREFIX_BYTES
    ? `expected a frame's length (4 bytes), the file has ${left} more`
    : `expected a frame of ${bytes} bytes, the file has ${left} more`;
}
