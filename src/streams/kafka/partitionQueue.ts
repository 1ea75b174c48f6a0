// One partition of one stream: its frames in order, at most one record batch of them on its way, and what to
// do with each answer. A record batch is encoded once, when it is first sent; a retry sends the same bytes, of this
// partition alone.
import type { Clock, Timer } from '../../clock.js';
import { pooledSize } from '../../memory/bufferPool.js';
import type { MemoryBudget } from '../../memory/memoryBudget.js';
import type { AdaptiveCompression } from './adaptiveCompression.js';
import type { Compress } from './compression.js';
import { INVALID_TIMESTAMP, errorName, errorText, actionFor } from '../../kafka/errorCodes.js';
import { KafkaFailure } from '../../kafka/failure.js';
import {
  type FramePlace,
  type FrameRange,
  HEADER_BYTES,
  firstPlace,
  putHeader,
  roomFor,
  skipFrames,
} from './recordBatch.js';
import type { RecordEncoder } from './recordEncoder.js';
import type { EncodedBatch, Outcome, SendingQueue } from './sender.js';

/** Frames of one written batch that go to one partition. */
export interface Part {
  readonly range: FrameRange;
  /** The topic has refused the times at which these frames came: they have that of sending. */
  readonly isRetimed?: boolean;
  /** Called as frames of the range are settled, in order. */
  readonly onDelivered: (frames: number) => void;
  /** One frame that can never be delivered. */
  readonly onRejected: (frame: FramePlace, reason: string) => void;
}

export interface PartitionQueueOptions {
  readonly topic: string;
  readonly partition: number;
  readonly acks: -1 | 0 | 1;
  readonly requestTimeoutMs: number;
  readonly socketTimeoutMs: number;
  readonly messageTimeoutMs: number;
  readonly retryBackoffMs: number;
  readonly retryBackoffMaxMs: number;
  readonly replaceRefusedTimestamps: boolean;
  readonly maxFrames: number;
  readonly maxBytes: number;
  readonly encoder: RecordEncoder;
  readonly codecId: number;
  readonly compress: Compress | undefined;
  /** Shared by the stream's queues. */
  readonly adaptive: AdaptiveCompression;
  readonly budget: MemoryBudget;
  readonly clock: Clock;
  readonly random: () => number;
  /**
   * Offers the queue to the sender of the node that leads; called when there is something to send, and not
   * again before it is settled.
   */
  readonly offer: (queue: PartitionQueue, refresh: boolean) => void;
  /** The deadline has passed. */
  readonly onFailed: (queue: PartitionQueue, failure: PartitionFailure) => void;
  /** Nothing is on its way any more: told after each answer. */
  readonly onIdle: () => void;
  readonly onRetry: (reason: string) => void;
  /** So many frames were delivered with the time of sending. */
  readonly onRetimed: (frames: number) => void;
}

export interface PartitionFailure {
  readonly code: 'UNREACHABLE' | 'REFUSED';
  readonly message: string;
  /** When the trying began that was in vain. */
  readonly sinceMs: number;
  /** A broker has answered the last try. */
  readonly isAnswered: boolean;
}

interface Flight {
  readonly part: Part;
  readonly encoded: EncodedBatch;
  /** The times of its first and its last frame. */
  readonly firstMs: number;
  readonly lastMs: number;
  /** What is left of the part behind this record batch. */
  readonly rest: FrameRange | undefined;
  /** What the record batch lies in. */
  readonly buffer: Buffer;
  readonly budgetBytes: number;
}

/** A try takes at least this long before its connection is given up, however near the deadline is. */
const SHORTEST_TRY_MS = 1_000;
/** Frames that came within so many ms count as of one time when the topic refuses it. */
const ONE_TIME_MS = 1_000;
/**
 * A time of sending that is refused becomes a new one only when it is so old: a clock that is a little ahead
 * is right in a moment.
 */
const FRESH_MS = 60_000;

export class PartitionQueue implements SendingQueue {
  readonly #options: PartitionQueueOptions;
  #queue: Part[] = [];
  #flight: Flight | undefined;
  /**
   * `idle`: nothing to send. `offered`: with the sender. `waiting`: for the time of the next try. `stopped`:
   * sends nothing more.
   */
  #state: 'idle' | 'offered' | 'waiting' | 'stopped' = 'idle';
  #triedSinceMs: number | undefined;
  #tries = 0;
  #isAnswered = false;
  #timer: Timer | undefined;
  #isStopping = false;

  constructor(options: PartitionQueueOptions) {
    this.#options = options;
  }

  get topic(): string {
    return this.#options.topic;
  }
  get partition(): number {
    return this.#options.partition;
  }
  get acks(): -1 | 0 | 1 {
    return this.#options.acks;
  }
  get requestTimeoutMs(): number {
    return this.#options.requestTimeoutMs;
  }

  /** Is a record batch with the sender, so that its answer must be waited for? */
  get isSending(): boolean {
    return this.#state === 'offered';
  }

  push(part: Part): void {
    this.#queue.push(part);
    if (this.#state === 'idle') this.#offer(false);
  }

  deadlineMs(): number {
    const leftMs = this.#options.messageTimeoutMs - this.#triedForMs();
    return Math.min(this.#options.socketTimeoutMs, Math.max(leftMs, SHORTEST_TRY_MS));
  }

  async encode(): Promise<EncodedBatch | undefined> {
    if (this.#isStopping && this.#flight === undefined) {
      this.#leaveUnsent();
      return undefined;
    }
    if (this.#flight === undefined && !(await this.#encodeNext(false))) this.#waitForRoom();
    return this.#flight?.encoded;
  }

  settle(outcome: Outcome): void {
    // All was taken back already: should this have arrived, it arrives once more. At least once.
    if (this.#state === 'stopped') return;
    this.#isAnswered = !(outcome instanceof KafkaFailure);
    if (outcome instanceof KafkaFailure) {
      this.#retry(
        outcome.code === 'AUTH' || outcome.code === 'TOPIC' ? 'REFUSED' : 'UNREACHABLE',
        outcome.message,
      );
    } else {
      this.#judge(outcome.errorCode);
    }
    this.#options.onIdle();
  }

  /** Sends nothing more. What is on its way may still be answered: see `isSending`. */
  stop(): void {
    this.#timer?.cancel();
    this.#isStopping = true;
    if (this.#state !== 'offered') this.#state = 'stopped';
  }

  /** Takes all that is not delivered, in order; answers that come later mean nothing. */
  takeBack(): readonly { readonly part: Part; readonly range: FrameRange }[] {
    const wasSending = this.isSending;
    this.stop();
    this.#state = 'stopped';
    const flight = this.#flight;
    const left = flight === undefined ? [] : [{ part: flight.part, range: flight.part.range }];
    if (flight !== undefined) this.#endFlight(flight, !wasSending);
    return [...left, ...this.#queue.splice(0).map((part) => ({ part, range: part.range }))];
  }

  #offer(refresh: boolean): void {
    this.#triedSinceMs ??= this.#options.clock.now();
    this.#state = 'offered';
    this.#options.offer(this, refresh);
  }

  #triedForMs(): number {
    const now = this.#options.clock.now();
    // T17: a clock that is set back must not make the time for trying longer.
    this.#triedSinceMs = Math.min(this.#triedSinceMs ?? now, now);
    return now - this.#triedSinceMs;
  }

  /**
   * Holds up nobody meanwhile: not the sender, for the room may be that of retries which it is still to send,
   * and not the stream, should it fail, for the room may be that of its own queues.
   */
  #waitForRoom(): void {
    if (this.#isStopping) return this.#leaveUnsent();
    this.#state = 'waiting';
    this.#encodeNext(true).then(
      () => this.#offerAgain(false),
      (error: unknown) =>
        this.settle(
          new KafkaFailure('PROTOCOL', `${this.topic}[${this.partition}] can't be encoded: ${String(error)}`),
        ),
    );
  }

  #offerAgain(refresh: boolean): void {
    if (this.#state === 'waiting') this.#offer(refresh);
  }

  /** It was offered, but the stream has failed meanwhile: nothing new is sent. */
  #leaveUnsent(): void {
    if (this.#state === 'stopped') return;
    this.#state = 'stopped';
    this.#options.onIdle();
  }

  /** False: there is no room to encode into just now. */
  async #encodeNext(mayWait: boolean): Promise<boolean> {
    const { budget, maxBytes } = this.#options;
    const part = this.#queue[0];
    if (part === undefined) return true;
    const need = roomFor(part.range, maxBytes);
    const room = pooledSize(need);
    if (mayWait) await budget.awaitEncoded(room);
    else if (!budget.takeEncoded(room)) return false;
    let flight: Flight | undefined;
    try {
      // All may have been taken back while this waited.
      if (this.#queue[0] === part) flight = await this.#encode(part, need);
    } finally {
      if (flight === undefined || this.#queue[0] !== part) budget.giveEncoded(room);
    }
    if (flight !== undefined && this.#queue[0] === part) {
      this.#queue.shift();
      this.#flight = flight;
    }
    return true;
  }

  async #encode(part: Part, need: number): Promise<Flight> {
    const { maxFrames, encoder, codecId, compress, adaptive, budget, clock } = this.#options;
    const range = part.isRetimed === true ? { ...part.range, timeMs: clock.now() } : part.range;
    const out = budget.scratch(need);
    const encoded = encoder.encode(range, out, HEADER_BYTES, need, maxFrames);
    const left = range.count - encoded.frames;
    const rest =
      left === 0
        ? undefined
        : {
            ...part.range,
            first: range.first + encoded.frames,
            at: encoded.nextAt,
            count: left,
            bytes: range.bytes - encoded.frameBytes,
          };
    const plainEnd = HEADER_BYTES + encoded.length;
    let [buffer, end, codec] = [out, plainEnd, 0];
    const plain = out.subarray(HEADER_BYTES, plainEnd);
    if (compress !== undefined && (await adaptive.isWorthTrying(plain, compress))) {
      const result = compress(plain);
      const compressed = result instanceof Promise ? await result : result;
      if (adaptive.wasWorthIt(encoded.length, compressed.length)) {
        [end, codec] = [HEADER_BYTES + compressed.length, codecId];
        // What came out smaller, as it nearly always does, goes where the plain records were: the codec is
        // done with them.
        if (end > out.length) buffer = Buffer.allocUnsafeSlow(end);
        buffer.set(compressed, HEADER_BYTES);
      }
    }
    const records = buffer.subarray(0, end);
    putHeader(records, end, encoded, codec);
    const { frames, firstTimestampMs: firstMs, lastTimestampMs: lastMs } = encoded;
    return {
      part,
      encoded: { records, frames },
      firstMs,
      lastMs,
      rest,
      buffer,
      budgetBytes: pooledSize(need),
    };
  }

  #judge(errorCode: number): void {
    const where = `${this.topic}[${this.partition}]`;
    if (errorCode === INVALID_TIMESTAMP && this.#options.replaceRefusedTimestamps)
      return this.#replaceTimes(`${where}: ${errorText(errorCode)}`);
    switch (actionFor(errorCode)) {
      case 'delivered':
        return this.#delivered();
      case 'retry':
        return this.#retry('UNREACHABLE', `${where}: ${errorName(errorCode)}`);
      case 'retryLater':
        return this.#retryLater(`${where}: ${errorName(errorCode)}`);
      case 'waitForTopic':
        return this.#retry('REFUSED', `${where}: ${errorText(errorCode)}`);
      case 'split':
        return this.#split(`${where}: ${errorName(errorCode)}`);
    }
  }

  #delivered(): void {
    const flight = this.#flight!;
    this.#endFlight(flight, true);
    if (flight.part.isRetimed === true) this.#options.onRetimed(flight.encoded.frames);
    flight.part.onDelivered(flight.encoded.frames);
    this.#queue.unshift(...restOf(flight));
    this.#goOn();
  }

  /** On to what comes next: its time starts anew. */
  #goOn(): void {
    this.#tries = 0;
    this.#triedSinceMs = undefined;
    this.#state = this.#isStopping ? 'stopped' : 'idle';
    if (this.#state === 'idle' && this.#queue.length > 0) this.#offer(false);
  }

  /**
   * @param isDone the kernel has done with its bytes: they were answered for, or their connection is closed
   */
  #endFlight(flight: Flight, isDone: boolean): void {
    this.#flight = undefined;
    this.#options.budget.giveEncoded(flight.budgetBytes);
    if (isDone) this.#options.budget.recycle(flight.buffer);
  }

  /**
   * Asking at once would only add to what the broker has to do; its longest wait stays until the record batch
   * is through.
   */
  #retryLater(message: string): void {
    this.#tries = Infinity;
    this.#retry('UNREACHABLE', message);
  }

  #retry(code: 'UNREACHABLE' | 'REFUSED', message: string): void {
    this.#state = this.#isStopping ? 'stopped' : 'waiting';
    if (this.#isStopping) return;
    if (this.#triedForMs() >= this.#options.messageTimeoutMs) {
      const tried = `${message}; tried for ${this.#options.messageTimeoutMs} ms (message.timeout.ms)`;
      return this.#options.onFailed(this, {
        code,
        message: tried,
        sinceMs: this.#triedSinceMs!,
        isAnswered: this.#isAnswered,
      });
    }
    this.#options.onRetry(message);
    this.#timer = this.#options.clock.after(this.#backOffMs(), () => this.#offerAgain(true));
  }

  /**
   * Grows with each try, with jitter so that many queues don't come back at the same moment, and never past
   * the deadline.
   */
  #backOffMs(): number {
    const { retryBackoffMs, retryBackoffMaxMs, messageTimeoutMs, random } = this.#options;
    const grown = Math.min(retryBackoffMs * 2 ** this.#tries++, retryBackoffMaxMs);
    return Math.min(grown * (0.8 + 0.4 * random()), Math.max(1, messageTimeoutMs - this.#triedForMs()));
  }

  /** Too large, or bad somewhere: halves are sent on their own, until what is refused is one frame. */
  #split(reason: string): void {
    const flight = this.#flight!;
    const isOne = flight.encoded.frames === 1;
    this.#putInPlaceOf(flight, isOne ? [] : halvesOf(flight));
    if (isOne) flight.part.onRejected(firstPlace(flight.part.range), reason);
    this.#goOn();
  }

  /**
   * Some time in the record batch is none that the topic takes, so nothing of it was written, and it may be
   * encoded anew: in halves, until its frames came at one time. Then they get the time of sending, and all
   * others keep theirs.
   */
  #replaceTimes(reason: string): void {
    const flight = this.#flight!;
    if (flight.part.isRetimed === true) return this.#retryRetimed(flight, reason);
    const isOneTime = flight.lastMs - flight.firstMs <= ONE_TIME_MS;
    this.#putInPlaceOf(flight, isOneTime ? [{ ...sentOf(flight), isRetimed: true }] : halvesOf(flight));
    this.#goOn();
  }

  /** The time of sending is refused too. */
  #retryRetimed(flight: Flight, reason: string): void {
    if (this.#options.clock.now() - flight.firstMs > FRESH_MS) this.#putInPlaceOf(flight, [sentOf(flight)]);
    this.#retry('REFUSED', `${reason}; the time of sending is refused too`);
  }

  /** What was sent was refused as a whole: these go in its place, before what is left of its part. */
  #putInPlaceOf(flight: Flight, parts: readonly Part[]): void {
    this.#endFlight(flight, true);
    this.#queue.unshift(...parts, ...restOf(flight));
  }
}

function sentOf({ part, encoded }: Flight): Part {
  return { ...part, range: firstOf(part.range, encoded.frames) };
}

function halvesOf({ part, encoded }: Flight): readonly Part[] {
  const half = encoded.frames >> 1;
  return [
    { ...part, range: firstOf(part.range, half) },
    { ...part, range: firstOf(skipFrames(part.range, half), encoded.frames - half) },
  ];
}

function restOf({ part, rest }: Flight): readonly Part[] {
  return rest === undefined ? [] : [{ ...part, range: rest }];
}

/** The range's first `frames`, and no more. */
function firstOf(range: FrameRange, frames: number): FrameRange {
  return { ...range, count: frames, bytes: range.bytes - skipFrames(range, frames).bytes };
}
