// The automatic replay: sends what lies in a backup's files to the primary, oldest first, a piece at a time.
// Where it stands is noted in the files' journal after each piece, so that a crash repeats one piece at most;
// a file that is sent whole is removed. Nothing but the stream's own files is ever sent: a file that somebody
// put there, or put in the place of one, is left alone. Frames of a partition that is away are kept in the
// backup, in the place of the file that they were read from, before it counts as sent; the others go on.
import type { ReadTurns } from '../../memory/readTurns.js';
import { explained, isTransient } from '../../disk/ioAdvice.js';
import type { OpenFile } from '../../disk/fileSystem.js';
import type { Batch } from '../../frames/batch.js';
import type { Log } from '../../log/log.js';
import { plural } from '../../plural.js';
import { type Account, move } from '../account.js';
import { type BackupReplay, DeliveryError, type Settled, type Stream } from '../stream.js';
import { type RejectedFrames, cantBeKept } from '../../losses/rejection.js';
import type { StreamStats } from '../streamStats.js';
import type { ArrivalReader } from '../file/arrivalTimes.js';
import type { FileStream } from '../file/fileStream.js';
import type { KeptFrames } from '../file/keptFrames.js';
import type { OwnFile } from '../file/ownFiles.js';
import { type Piece, readPiece } from './pieceReader.js';

export interface ReplayOptions {
  readonly backup: FileStream;
  readonly primary: Stream;
  readonly bucket: string;
  readonly turns: ReadTurns;
  readonly rejected: RejectedFrames;
  readonly account: Account;
  readonly stats: StreamStats;
  /** Frames that could not be read any more. */
  readonly onLost: (lost: {
    readonly frames: number;
    readonly bytes: number;
    readonly reason: string;
  }) => void;
  readonly log: Log;
}

/** What was read to be sent next. */
interface Read {
  readonly piece: Piece;
  readonly batch: Batch | undefined;
}

/** The file that is being sent. */
interface Current {
  readonly file: OwnFile;
  readonly handle: OpenFile;
  readonly times: ArrivalReader | undefined;
}

/** A file that can't be read so often in a row is passed over. */
const READS_TRIED = 5;

export class Replay implements BackupReplay {
  readonly #options: ReplayOptions;
  #current: Current | undefined;
  /**
   * By file: a piece of which the primary has had a part, and what it has not had. Of two at most: what was
   * kept goes before a file that is begun.
   */
  readonly #rests = new Map<OwnFile, Read>();
  readonly #kept: KeptFrames;
  #running: { readonly enoughBytes: number; readonly done: Promise<void> } | undefined;
  #isStopping = false;
  #failedReads = 0;

  constructor(options: ReplayOptions) {
    this.#options = options;
    this.#kept = options.backup.newKeptFrames();
  }

  get leftBytes(): number {
    return this.#options.backup.own.unsent.bytes;
  }

  get leftFrames(): number {
    return this.#options.backup.own.unsent.frames;
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  /** Those to send, oldest first. */
  get #files(): readonly OwnFile[] {
    return this.#options.backup.own.files.filter((file) => !this.#kept.has(file));
  }

  get #bytesToSend(): number {
    return this.#files.reduce((sum, { bytes, sentBytes }) => sum + bytes - sentBytes, 0);
  }

  get isKnown(): boolean {
    const { isLoaded, areInUse } = this.#options.backup.own;
    return isLoaded || areInUse;
  }

  async send(enoughBytes: number): Promise<void> {
    // A failed predecessor of the caller may have left a run that may do what this one may not.
    while (this.#running !== undefined && this.#running.enoughBytes !== enoughBytes) await this.stop();
    this.#isStopping = false;
    this.#running ??= {
      enoughBytes,
      done: this.#send(enoughBytes).finally(() => (this.#running = undefined)),
    };
    await this.#running.done;
  }

  rewind(): void {
    this.#kept.forget();
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#running?.done.catch(() => undefined);
    // What of them was sent will be sent once more, in the next run.
    this.#forgetRests(() => true);
    await this.#leaveFile();
  }

  async #send(enoughBytes: number): Promise<void> {
    const { backup } = this.#options;
    await backup.own.load();
    if (enoughBytes === 0) await backup.finishFile();
    const files = this.#files;
    this.#forgetRests((file) => !files.includes(file));
    try {
      while (
        !this.#isStopping &&
        (this.#bytesToSend > enoughBytes || (enoughBytes === 0 && this.#files.length > 0))
      ) {
        const file = this.#files[0]!;
        if (file.sentBytes < file.bytes) await this.#sendPiece(file);
        else if (this.#files.length === 1 && (enoughBytes > 0 || backup.isWriting)) break;
        else await this.#drop(file, true);
      }
    } finally {
      await this.#kept.finish();
    }
  }

  #forgetRests(isForgotten: (file: OwnFile) => boolean): void {
    for (const [file, { batch }] of this.#rests)
      if (isForgotten(file)) {
        batch?.release();
        this.#rests.delete(file);
      }
  }

  /** All of it was sent, or it can't be: then it is left where it is, and is ours no more. */
  async #drop(file: OwnFile, isRemoved: boolean): Promise<void> {
    await this.#leaveFile();
    await this.#options.backup.own.leave(file, isRemoved);
  }

  async #sendPiece(file: OwnFile): Promise<void> {
    const rest = this.#rests.get(file);
    const { piece, batch } = rest ?? (await this.#read(file)) ?? {};
    if (rest !== undefined) {
      this.#rests.delete(file);
      this.#options.backup.own.protect(file);
    }
    if (piece === undefined) return;
    if (batch !== undefined) await this.#write(file, piece, { batch, isWhole: rest === undefined });
    await this.#rejectBad(file, piece);
    await this.#note(file, piece);
    if (piece.isDamagedBehind)
      await this.#giveUp(file, 'it is damaged there: no frame can be told from the next');
  }

  async #write(
    file: OwnFile,
    piece: Piece,
    { batch, isWhole }: { readonly batch: Batch; readonly isWhole: boolean },
  ): Promise<void> {
    try {
      const settled = await this.#options.primary.write(batch);
      this.#count(settled);
      this.#options.stats.wrote('primary', { frames: settled.delivered, bytes: batch.length });
    } catch (error) {
      if (!(error instanceof DeliveryError)) throw error;
      const { undelivered, settled } = error;
      this.#options.stats.failed(
        'primary',
        { frames: settled.delivered, bytes: batch.length - undelivered.length },
        error.message,
      );
      this.#count(settled);
      const problem = error.code === 'AWAY' ? await this.#keep(undelivered, file) : error;
      if (problem === undefined) return;
      // A piece of which nothing was delivered is read again: a thousand streams that wait must not hold one
      // each.
      if (isWhole && undelivered === batch) await this.#forgetPiece(batch);
      else this.#rests.set(file, { piece, batch: undelivered });
      throw problem;
    } finally {
      batch.release();
    }
  }

  /** @returns why they can't be kept */
  async #keep(batch: Batch, file: OwnFile): Promise<Error | undefined> {
    try {
      await this.#kept.keep(batch, file);
    } catch (error) {
      return new Error(
        `frames of ${this.#pathOf(file)} that can't be sent yet can't be kept apart: ${explained(error)}`,
        { cause: error },
      );
    }
    batch.release();
    return undefined;
  }

  async #forgetPiece(batch: Batch): Promise<void> {
    batch.release();
    await this.#leaveFile();
  }

  #count({ delivered, rejected, discarded = 0 }: Settled): void {
    this.#options.stats.replayed(delivered);
    move(this.#options.account, delivered, 'backedUp', 'delivered');
    move(this.#options.account, rejected, 'backedUp', 'rejected');
    move(this.#options.account, discarded, 'backedUp', 'discarded');
  }

  /**
   * Frames that are not as they were written move to the rejected ones before the piece counts as sent.
   * @throws Error they can't be kept now: the rest of the piece was sent, and only these are tried again
   */
  async #rejectBad(file: OwnFile, piece: Piece): Promise<void> {
    const { rejected, account, bucket } = this.#options;
    const reason = 'a frame of the backup is not as it was written: the disk, or somebody, changed it';
    const ends = await Promise.all(
      piece.bad.map((bytes) =>
        rejected.offer({ bytes, start: 0, end: bytes.length, frames: 1, bucket, reason }),
      ),
    );
    const refused = piece.bad.filter((_, i) => ends[i] === 'refused');
    const discarded = ends.filter((end) => end === 'discarded').length;
    move(account, piece.bad.length - refused.length - discarded, 'backedUp', 'rejected');
    move(account, discarded, 'backedUp', 'discarded');
    if (refused.length === 0) return;
    this.#rests.set(file, { piece: { ...piece, bad: refused }, batch: undefined });
    throw new Error(cantBeKept(rejected));
  }

  /** A journal that can't be written costs a repetition, should there be a crash, and no frame. */
  async #note(file: OwnFile, { bytes, frames }: Piece): Promise<void> {
    file.sentBytes += bytes;
    file.sentFrames += frames;
    await this.#options.backup.own.save().catch((error: unknown) => {
      const [path, reason] = [this.#pathOf(file), explained(error)];
      this.#options.log.warn(
        `${path} was sent in part, but that can't be noted: ${reason}; after a crash it is sent again`,
        { reason, file: path },
      );
    });
  }

  /** @returns undefined: the file was passed over */
  async #read(file: OwnFile): Promise<Read | undefined> {
    try {
      const piece = await this.#options.turns.read((space) => this.#readFrom(file, space));
      this.#failedReads = 0;
      if (piece !== undefined && (piece.bytes > 0 || piece.isDamagedBehind))
        return { piece, batch: piece.batch };
      if (piece === undefined && !(await this.#options.backup.own.isThere()))
        throw new Error('the folder of the backup is not there');
      await this.#giveUp(
        file,
        piece === undefined
          ? 'somebody took it away, or put another in its place'
          : 'it is shorter than it was',
      );
    } catch (error) {
      await this.#leaveFile();
      if (
        isTransient(error) ||
        !(await this.#options.backup.own.isThere()) ||
        ++this.#failedReads < READS_TRIED
      )
        throw new Error(`${this.#pathOf(file)} can't be read: ${explained(error)}`, { cause: error });
      await this.#giveUp(file, `it can't be read: ${explained(error)}`);
    }
    return undefined;
  }

  async #readFrom(file: OwnFile, space: Buffer): Promise<Piece | undefined> {
    const current = await this.#open(file);
    if (current === undefined) return undefined;
    const {
      bucket,
      turns: { budget },
    } = this.#options;
    const source = {
      file: current.handle,
      space,
      bucket,
      budget,
      times: current.times,
      fallbackMs: file.openedMs,
    };
    return readPiece(source, { bytes: file.sentBytes, frames: file.sentFrames }, file.bytes);
  }

  async #open(file: OwnFile): Promise<Current | undefined> {
    if (this.#current?.file === file) return this.#current;
    await this.#leaveFile();
    const { own, times } = this.#options.backup;
    own.protect(file);
    const handle = await own.openOwn(file);
    if (handle === undefined) return undefined;
    this.#current = { file, handle, times: await times?.read(file, file.sentFrames) };
    return this.#current;
  }

  async #leaveFile(): Promise<void> {
    const current = this.#current;
    this.#current = undefined;
    this.#options.backup.own.protect(undefined);
    await current?.handle.close().catch(() => undefined);
    await current?.times?.close().catch(() => undefined);
  }

  /** The rest of a file can't be sent; what follows must not wait for it. */
  async #giveUp(file: OwnFile, reason: string): Promise<void> {
    this.#failedReads = 0;
    const [frames, bytes] = [file.frames - file.sentFrames, file.bytes - file.sentBytes];
    const path = this.#pathOf(file);
    this.#options.log.error(
      `${path} can't be sent from byte ${file.sentBytes} on: ${reason}; Kahe leaves it there and passes over ${frames} ${plural(frames, 'frame')} of it; the files behind it go on`,
      { reason, file: path, offset: file.sentBytes, frames },
    );
    if (frames > 0) {
      move(this.#options.account, frames, 'backedUp', 'discarded');
      this.#options.onLost({ frames, bytes, reason: `a backup file could not be read: ${reason}` });
    }
    await this.#drop(file, false);
    return undefined;
  }

  #pathOf(file: OwnFile): string {
    return this.#options.backup.own.pathOf(file);
  }
}
