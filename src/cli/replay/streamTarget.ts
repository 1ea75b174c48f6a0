// Straight to a stream of buckets.json, without a daemon: one Stream for each bucket that the file has, and
// retries until a person stops it. What can never be delivered is kept with the rejected frames, as the
// daemon does.
import { bucketName, refuseName } from '../../frames/bucketName.js';
import type { Clock } from '../../clock.js';
import type { StreamConfig } from '../../config/buckets.js';
import type { Environment } from '../../config/env.js';
import { nodeFileSystem } from '../../disk/fileSystem.js';
import { Batch } from '../../frames/batch.js';
import { bucketOf, endOfFrame } from '../../frames/frame.js';
import type { Log } from '../../log/log.js';
import { MemoryBudget } from '../../memory/memoryBudget.js';
import { plural } from '../../plural.js';
import { RejectedStore } from '../../losses/rejectedStore.js';
import { StreamMaker } from '../../streams/streamMaker.js';
import { DeliveryError, type Settled, type Stream } from '../../streams/stream.js';
import type { Report } from '../outcomes.js';
import type { Piece } from './pieces.js';
import type { Target } from './target.js';

export interface StreamTargetParts {
  readonly config: StreamConfig;
  readonly environment: Pick<Environment, 'rejected' | 'maxCpus' | 'maxBuckets'>;
  readonly log: Log;
  readonly clock: Clock;
  readonly say: (text: string) => void;
  /** For tests: another maker of streams. */
  readonly makeStream?: (bucket: string) => Stream;
}

/** So much lies in one piece at most, so in memory there are a few times as much. */
const PIECE_BYTES = 1024 * 1024;
const PIECE_FRAMES = 10_000;
const MEMORY_BYTES = 64 * 1024 * 1024;
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 5_000;

export class StreamTarget implements Target {
  readonly name: string;
  readonly advice = 'kahe check --connect says what is wrong with it';
  readonly pieceBytes = PIECE_BYTES;
  readonly pieceFrames = PIECE_FRAMES;
  readonly maxFrameBytes = Infinity;
  readonly #parts: StreamTargetParts;
  readonly #budget = new MemoryBudget(MEMORY_BYTES);
  readonly #rejectedStore: RejectedStore;
  readonly #make: (bucket: string) => Stream;
  readonly #streams = new Map<string, Promise<Stream>>();
  readonly #counts = { delivered: 0, rejected: 0, discarded: 0 };
  #isInTrouble = false;
  #isClosed = false;

  constructor(parts: StreamTargetParts) {
    const { config, environment, log, clock } = parts;
    this.#parts = parts;
    this.name = `stream ${config.id}`;
    this.#rejectedStore = new RejectedStore({
      ...environment.rejected,
      budget: this.#budget,
      log,
      clock,
      fs: nodeFileSystem,
    });
    const maker = new StreamMaker({
      budget: this.#budget,
      rejected: this.#rejectedStore,
      log,
      clock,
      fs: nodeFileSystem,
      maxCpus: environment.maxCpus,
    });
    // A stream of its own to the journal of the files: a daemon may be writing there too.
    this.#make =
      parts.makeStream ??
      ((bucket) =>
        maker.make(config, {
          bucket,
          log,
          streamId: `${config.id}.replay`,
          onDiscard: ({ frames }) =>
            log.warn(
              `${frames} ${plural(frames, 'frame')} went with the oldest file: maxFiles was reached; raise maxFiles`,
              { reason: 'maxFiles was reached', frames },
            ),
        }));
  }

  get discarded(): number {
    return this.#counts.discarded;
  }

  outcome(): Promise<Report> {
    const { delivered, rejected, discarded } = this.#counts;
    const reasons = [...this.#rejectedStore.counts].map(([reason, { frames }]) => ({
      outcome: 'rejected',
      reason,
      frames,
    }));
    return Promise.resolve({
      level: 'settled',
      frames: delivered + rejected + discarded,
      outcomes: this.#counts,
      reasons,
    });
  }

  open(): Promise<void> {
    return Promise.resolve();
  }

  async send({ bytes }: Piece): Promise<void> {
    const batches = this.#split(bytes);
    if (this.#streams.size + batches.size > this.#parts.environment.maxBuckets) await this.#closeStreams();
    await Promise.all([...batches].map(([bucket, batch]) => this.#deliver(bucket, batch)));
    await this.#rejectedStore.flush();
    if (this.#isInTrouble) this.#parts.say(`${this.name}: it is back, and it goes on`);
    this.#isInTrouble = false;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#closeStreams();
    await this.#rejectedStore.close();
  }

  /** The frames of each bucket, in their order. */
  #split(bytes: Buffer): Map<string, Batch> {
    const batches = new Map<string, Batch>();
    const nowMs = this.#parts.clock.now();
    for (let at = 0; at < bytes.length;) {
      const end = endOfFrame(bytes, at);
      const key = bucketOf(bytes, at).toString('latin1');
      let batch = batches.get(key);
      if (batch === undefined) batches.set(key, (batch = new Batch(bucketName(key), this.#budget)));
      batch.append(bytes, at, end, 1, nowMs);
      at = end;
    }
    return batches;
  }

  async #deliver(key: string, batch: Batch): Promise<void> {
    const refusal = refuseName(key, this.#parts.config.type === 'kafka');
    if (refusal !== undefined) {
      await this.#reject(batch, refusal);
      return;
    }
    const stream = await this.#streamOf(key);
    for (let left: Batch | undefined = batch; left !== undefined;) left = await this.#write(stream, left);
  }

  /** @returns what is to be written again, once the stream is well */
  async #write(stream: Stream, batch: Batch): Promise<Batch | undefined> {
    try {
      this.#count(await stream.write(batch));
      return undefined;
    } catch (error) {
      if (!(error instanceof DeliveryError)) throw error;
      this.#count(error.settled);
      if (this.#isClosed) {
        error.undelivered.release();
        throw error;
      }
      this.#complain(error.message);
      await this.#untilWell(stream);
      return error.undelivered;
    } finally {
      batch.release();
    }
  }

  async #untilWell(stream: Stream): Promise<void> {
    for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(waitMs * 2, LONGEST_WAIT_MS)) {
      try {
        await stream.probe();
        return;
      } catch (error) {
        if (this.#isClosed) throw error;
        await new Promise<void>((resolve) => this.#parts.clock.after(waitMs, resolve));
      }
    }
  }

  #complain(message: string): void {
    if (!this.#isInTrouble) this.#parts.say(`${this.name}: ${message}; tried again, nothing is lost`);
    this.#isInTrouble = true;
  }

  #count({ delivered, rejected, discarded = 0 }: Settled): void {
    this.#counts.delivered += delivered;
    this.#counts.rejected += rejected;
    this.#counts.discarded += discarded;
  }

  async #reject(batch: Batch, reason: string): Promise<void> {
    const { bytes, length: end, frames, bucket } = batch;
    const ended = await this.#rejectedStore.reject({ bytes, start: 0, end, frames, bucket, reason });
    batch.release();
    // It waited for room in REJECTED, and is the file's still.
    if (ended === 'discarded' && this.#isClosed) throw new Error('it was stopped before REJECTED had room');
    this.#counts[ended === 'kept' ? 'rejected' : 'discarded'] += frames;
  }

  #streamOf(key: string): Promise<Stream> {
    let stream = this.#streams.get(key);
    if (stream === undefined) this.#streams.set(key, (stream = opened(this.#make(bucketName(key)))));
    return stream;
  }

  async #closeStreams(): Promise<void> {
    const streams = [...this.#streams.values()];
    this.#streams.clear();
    await Promise.all(
      streams.map(async (opening) =>
        (await opening.catch(() => undefined))?.close({ deadlineMs: this.#isClosed ? 1_000 : 10_000 }),
      ),
    );
  }
}

async function opened(stream: Stream): Promise<Stream> {
  await stream.open();
  return stream;
}
