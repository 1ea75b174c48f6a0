// One partition of one stream: its frames in order, at most one record batch of them on its way. An answer
// goes in; what it settled and what to do next come out. Knows no clock: the caller says what time it is. A
// record batch is encoded when it is first sent; a retry sends the same bytes, of this partition alone.
import {
  INVALID_RECORD,
  INVALID_TIMESTAMP,
  actionFor,
  errorName,
  errorText,
} from '../../kafka/errorCodes.js';
import { KafkaFailure } from '../../kafka/failure.js';
import type { RejectCode } from '../../intake/outcome.js';
import type { BatchEncoder, EncodedBatch } from './batchEncoder.js';
import { type FrameRange, skipFrames } from './recordBatch.js';
import type { Answer, Outcome, SendingQueue } from './sender.js';

/** Frames of one written batch that go to one partition. */
export interface Part {
  readonly range: FrameRange;
  /** The topic has refused the times at which these frames came: they have that of sending. */
  readonly isRetimed?: boolean;
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
  readonly encoder: BatchEncoder;
  readonly random: () => number;
}

/** What the caller does next. */
export type QueueAction =
  /** Bring the queue to the node that leads the partition; with `refresh` ask first which that is. */
  | { readonly kind: 'offer'; readonly refresh: boolean }
  /** Wait until the budget has this room, then call `encodeInto`. */
  | { readonly kind: 'awaitRoom'; readonly roomBytes: number }
  /** Call `retry` then. */
  | { readonly kind: 'retryAt'; readonly atMs: number; readonly reason: string }
  /** The deadline has passed: take back what is left. */
  | { readonly kind: 'failed'; readonly failure: PartitionFailure }
  /** Nothing. */
  | { readonly kind: 'idle' };

/** How frames of a range ended: its first `frames`. */
export interface PartEnd {
  readonly range: FrameRange;
  readonly frames: number;
  readonly end:
    | { readonly kind: 'delivered'; readonly baseOffset: bigint; readonly isRetimed: boolean }
    | { readonly kind: 'rejected'; readonly code: RejectCode; readonly reason: string };
}

export interface QueueStep {
  readonly action: QueueAction;
  readonly settled?: PartEnd;
}

export interface PartitionFailure {
  readonly code: 'UNREACHABLE' | 'REFUSED';
  readonly message: string;
  /** When the trying began that was in vain. */
  readonly sinceMs: number;
  /** A broker has answered the last try. */
  readonly isAnswered: boolean;
}

/** The record batch that is on its way, or waits for its next try. */
interface Flight {
  readonly part: Part;
  readonly encoded: EncodedBatch;
}

interface Problem {
  readonly code: 'UNREACHABLE' | 'REFUSED';
  readonly message: string;
  readonly isAnswered: boolean;
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
const IDLE: QueueAction = { kind: 'idle' };

export class PartitionQueue implements SendingQueue {
  readonly #options: PartitionQueueOptions;
  readonly #parts: Part[] = [];
  #flight: Flight | undefined;
  /**
   * `idle`: nothing to send. `offered`: with the sender. `noRoom`: for want of room to encode into.
   * `waiting`: for the time of the next try. `stopping`: with the sender, and the last time. `stopped`: sends
   * nothing more, answers mean nothing.
   */
  #state: 'idle' | 'offered' | 'noRoom' | 'waiting' | 'stopping' | 'stopped' = 'idle';
  #triedSinceMs: number | undefined;
  #tries = 0;

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
  get name(): string {
    return `${this.topic}[${this.partition}]`;
  }

  /** Is it with the sender, so that an answer must be waited for? */
  get isSending(): boolean {
    return this.#state === 'offered' || this.#state === 'stopping';
  }

  push(part: Part, nowMs: number): QueueAction {
    this.#parts.push(part);
    return this.#state === 'idle' ? this.#offer(nowMs, false) : IDLE;
  }

  /** How long the next try may take. */
  deadlineMs(nowMs: number): number {
    const leftMs = this.#options.messageTimeoutMs - this.#triedForMs(nowMs);
    return Math.min(this.#options.socketTimeoutMs, Math.max(leftMs, SHORTEST_TRY_MS));
  }

  async encode(nowMs: number): Promise<EncodedBatch | undefined> {
    if (this.#flight === undefined && this.#state === 'offered' && this.#parts.length > 0) {
      const { encoder } = this.#options;
      const roomBytes = encoder.roomBytes(this.#parts[0]!.range);
      if (encoder.takeRoom(roomBytes)) await this.#encodeNext(roomBytes, nowMs);
    }
    return this.#flight?.encoded;
  }

  /**
   * `encode` had nothing to give. For want of room nobody is held up: not the sender, for the room may be
   * that of retries which it is still to send, and not the stream, should it fail, for the room may be that
   * of its own partitions.
   */
  unsent(): QueueAction {
    const next = this.#parts[0];
    if (this.#state !== 'offered' || next === undefined) {
      this.#state = 'stopped';
      return IDLE;
    }
    this.#state = 'noRoom';
    return { kind: 'awaitRoom', roomBytes: this.#options.encoder.roomBytes(next.range) };
  }

  /** The room that it waited for is there, and taken. */
  async encodeInto(roomBytes: number, nowMs: number): Promise<QueueAction> {
    // All may have been taken back while this waited.
    if (this.#state === 'noRoom') await this.#encodeNext(roomBytes, nowMs);
    else this.#options.encoder.giveRoom(roomBytes);
    return this.#state === 'noRoom' ? this.#offer(nowMs, false) : IDLE;
  }

  /** The time of the next try has come. */
  retry(nowMs: number): QueueAction {
    return this.#state === 'waiting' ? this.#offer(nowMs, true) : IDLE;
  }

  /** How the try ended. */
  settle(outcome: Outcome, nowMs: number): QueueStep {
    // All was taken back already: should this have arrived, it arrives once more. At least once.
    if (this.#state === 'stopped') return { action: IDLE };
    if (!(outcome instanceof KafkaFailure)) return this.#onAnswer(outcome, nowMs);
    const code = outcome.code === 'AUTH' || outcome.code === 'TOPIC' ? 'REFUSED' : 'UNREACHABLE';
    return { action: this.#tryAgain({ code, message: outcome.message, isAnswered: false }, nowMs) };
  }

  /** Sends nothing more. What is on its way may still be answered: see `isSending`. */
  stop(): void {
    this.#state = this.isSending ? 'stopping' : 'stopped';
  }

  /** Takes all that is not delivered, in order; answers that come later mean nothing. */
  takeBack(): readonly FrameRange[] {
    const wasSending = this.isSending;
    this.#state = 'stopped';
    const flight = this.#flight;
    const left = flight === undefined ? [] : [flight.part];
    if (flight !== undefined) this.#endFlight(flight, !wasSending);
    return [...left, ...this.#parts.splice(0)].map(({ range }) => range);
  }

  #offer(nowMs: number, refresh: boolean): QueueAction {
    this.#triedSinceMs ??= nowMs;
    this.#state = 'offered';
    return { kind: 'offer', refresh };
  }

  #triedForMs(nowMs: number): number {
    // T17: a clock that is set back must not make the time for trying longer.
    this.#triedSinceMs = Math.min(this.#triedSinceMs ?? nowMs, nowMs);
    return nowMs - this.#triedSinceMs;
  }

  async #encodeNext(roomBytes: number, nowMs: number): Promise<void> {
    const { encoder } = this.#options;
    const part = this.#parts[0]!;
    let encoded: EncodedBatch | undefined;
    try {
      encoded = await encoder.encode(part.isRetimed === true ? { ...part.range, timeMs: nowMs } : part.range);
    } finally {
      // All may have been taken back meanwhile.
      if (encoded === undefined || this.#parts[0] !== part) encoder.giveRoom(roomBytes);
    }
    if (this.#parts[0] !== part) return;
    this.#parts.shift();
    this.#flight = { part, encoded };
  }

  #onAnswer({ errorCode, baseOffset }: Answer, nowMs: number): QueueStep {
    // What a client says the time is, is not replaced.
    if (errorCode === INVALID_TIMESTAMP && this.#flight!.encoded.hasOwnTimes)
      return this.#split(errorCode, nowMs);
    if (errorCode === INVALID_TIMESTAMP && this.#options.replaceRefusedTimestamps)
      return { action: this.#replaceTimes(`${this.name}: ${errorText(errorCode)}`, nowMs) };
    switch (actionFor(errorCode)) {
      case 'delivered':
        return this.#delivered(baseOffset, nowMs);
      case 'split':
        return this.#split(errorCode, nowMs);
      case 'retry':
        return {
          action: this.#tryAgain(problem('UNREACHABLE', `${this.name}: ${errorName(errorCode)}`), nowMs),
        };
      case 'retryLater':
        // Asking at once would only add to what the broker has to do; its longest wait stays until the record
        // batch is through.
        this.#tries = Infinity;
        return {
          action: this.#tryAgain(problem('UNREACHABLE', `${this.name}: ${errorName(errorCode)}`), nowMs),
        };
      case 'waitForTopic':
        return { action: this.#tryAgain(problem('REFUSED', `${this.name}: ${errorText(errorCode)}`), nowMs) };
    }
  }

  #delivered(baseOffset: bigint, nowMs: number): QueueStep {
    const { part, encoded } = this.#flight!;
    this.#replaceFlight([]);
    const end = { kind: 'delivered', baseOffset, isRetimed: part.isRetimed === true } as const;
    return {
      settled: { range: part.range, frames: encoded.frames, end },
      action: this.#goOn(nowMs),
    };
  }

  /** On to what comes next: its time starts anew. */
  #goOn(nowMs: number): QueueAction {
    this.#tries = 0;
    this.#triedSinceMs = undefined;
    this.#state = this.#state === 'stopping' ? 'stopped' : 'idle';
    return this.#state === 'idle' && this.#parts.length > 0 ? this.#offer(nowMs, false) : IDLE;
  }

  #tryAgain({ code, message, isAnswered }: Problem, nowMs: number): QueueAction {
    if (this.#state === 'stopping') {
      this.#state = 'stopped';
      return IDLE;
    }
    this.#state = 'waiting';
    const { messageTimeoutMs } = this.#options;
    if (this.#triedForMs(nowMs) < messageTimeoutMs)
      return { kind: 'retryAt', atMs: nowMs + this.#backOffMs(nowMs), reason: message };
    const tried = `${message}; tried for ${messageTimeoutMs} ms (message.timeout.ms)`;
    return {
      kind: 'failed',
      failure: { code, message: tried, sinceMs: this.#triedSinceMs!, isAnswered },
    };
  }

  /**
   * Grows with each try, with jitter so that many partitions don't come back at the same moment, and never
   * past the deadline.
   */
  #backOffMs(nowMs: number): number {
    const { retryBackoffMs, retryBackoffMaxMs, messageTimeoutMs, random } = this.#options;
    const grown = Math.min(retryBackoffMs * 2 ** this.#tries++, retryBackoffMaxMs);
    const leftMs = Math.max(1, messageTimeoutMs - this.#triedForMs(nowMs));
    return Math.ceil(Math.min(grown * (0.8 + 0.4 * random()), leftMs));
  }

  /** Too large, or bad somewhere: halves are sent on their own, until what is refused is one frame. */
  #split(errorCode: number, nowMs: number): QueueStep {
    const flight = this.#flight!;
    if (flight.encoded.frames > 1) {
      this.#replaceFlight(halvesOf(flight));
      return { action: this.#goOn(nowMs) };
    }
    this.#replaceFlight([]);
    const isInvalid = errorCode === INVALID_RECORD || errorCode === INVALID_TIMESTAMP;
    const code: RejectCode = isInvalid ? 'INVALID_RECORD' : 'TOO_LARGE';
    const end = { kind: 'rejected', code, reason: `${this.name}: ${errorName(errorCode)}` } as const;
    return { settled: { range: flight.part.range, frames: 1, end }, action: this.#goOn(nowMs) };
  }

  /**
   * Some time in the record batch is none that the topic takes, so nothing of it was written, and it may be
   * encoded anew: in halves, until its frames came at one time. Then they get the time of sending, and all
   * others keep theirs.
   */
  #replaceTimes(reason: string, nowMs: number): QueueAction {
    const flight = this.#flight!;
    if (flight.part.isRetimed === true) return this.#retryRetimed(flight, reason, nowMs);
    const isOneTime = flight.encoded.lastMs - flight.encoded.firstMs <= ONE_TIME_MS;
    this.#replaceFlight(isOneTime ? [{ ...sentOf(flight), isRetimed: true }] : halvesOf(flight));
    return this.#goOn(nowMs);
  }

  /** The time of sending is refused too. */
  #retryRetimed(flight: Flight, reason: string, nowMs: number): QueueAction {
    if (nowMs - flight.encoded.firstMs > FRESH_MS) this.#replaceFlight([sentOf(flight)]);
    return this.#tryAgain(problem('REFUSED', `${reason}; the time of sending is refused too`), nowMs);
  }

  /** The flight is over; these go in its place, before what is left of its part. */
  #replaceFlight(parts: readonly Part[]): void {
    const flight = this.#flight!;
    const { part, encoded } = flight;
    this.#endFlight(flight, true);
    this.#parts.unshift(...parts, ...(encoded.rest === undefined ? [] : [{ ...part, range: encoded.rest }]));
  }

  #endFlight({ encoded }: Flight, isDone: boolean): void {
    this.#flight = undefined;
    this.#options.encoder.release(encoded, isDone);
  }
}

/** Of a try that a broker has answered. */
function problem(code: Problem['code'], message: string): Problem {
  return { code, message, isAnswered: true };
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

/** The range's first `frames`, and no more. */
function firstOf(range: FrameRange, frames: number): FrameRange {
  return { ...range, count: frames, bytes: range.bytes - skipFrames(range, frames).bytes };
}
