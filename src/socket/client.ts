// One connection: its bytes become runs, its questions get answers. What it sends can close this connection, and nothing else.
import type { Socket } from 'node:net';
import { Actor, type ActorContext, type ActorRef } from '../actors/actor.js';
import type { BucketKey, ManagerMessage } from '../buckets/messages.js';
import { Receipt } from '../buckets/receipt.js';
import { FrameError } from '../errors.js';
import { FrameReader, type FrameSink } from '../frames/frameReader.js';
import { sameBucket } from '../frames/frame.js';
import type { MemoryBudget } from '../memoryBudget.js';
import type { RejectedFrames } from '../streams/stream.js';
import type { HalfFrames } from './halfFrames.js';

export type ClientMessage =
  /** Bytes from the socket, borrowed: good only until `tell` returns. */
  | { readonly kind: 'chunk'; readonly chunk: Buffer }
  /** The client has written all it wants to. */
  | { readonly kind: 'end' }
  | { readonly kind: 'closed' }
  | { readonly kind: 'safe'; readonly receipt: Receipt }
  /** The answers written so far have gone out. */
  | { readonly kind: 'flushed' }
  | { readonly kind: 'pause' }
  /** Nothing more is read; questions that were asked are still answered. */
  | { readonly kind: 'stopReading' }
  | { readonly kind: 'resume' }
  /** Memory is full of half frames, and this is the oldest: it may become whole. */
  | { readonly kind: 'finishFrame' }
  /** Time passes: is a frame half for too long? */
  | { readonly kind: 'sweep'; readonly nowMs: number };

/** What all clients count together; read by whoever reports. */
export interface SocketCounts {
  /** Connections that are open, and all there ever were. */
  open: number;
  accepted: number;
  /** Connections for which there was no room: see openFiles.ts. */
  turnedAway: number;
  received: number;
  /** Frames with a sane length whose inner lengths make no sense. */
  bad: number;
  /** The same by reason: see `judgeBody`. */
  readonly badByReason: Map<string, number>;
  /** Receipts that were answered. */
  receipts: number;
  /** Receipts that a client waits for. */
  awaited: number;
  /** Connections closed because their framing was lost, or a frame stayed half. */
  lostFraming: number;
  /** Connections that ended in the middle of a frame. */
  cutFrames: number;
}

export function newSocketCounts(): SocketCounts {
  return { open: 0, accepted: 0, turnedAway: 0, received: 0, bad: 0, badByReason: new Map(), receipts: 0, awaited: 0, lostFraming: 0, cutFrames: 0 };
}

export interface ClientOptions {
  readonly socket: Socket;
  readonly manager: ActorRef<ManagerMessage>;
  readonly rejected: RejectedFrames;
  readonly budget: MemoryBudget;
  readonly maxFrameBytes: number;
  readonly halfFrameTimeoutMs: number;
  readonly counts: SocketCounts;
  readonly halves: HalfFrames;
}

type PauseReason = 'memory' | 'questions' | 'answers' | 'end';

/** Questions that wait for an answer on one connection; more than these and it is not read until some are answered. */
const MOST_QUESTIONS = 64;
/** So many bucket names of one connection are told apart; a client that makes names up must not make this grow. */
const MOST_TOUCHED = 1024;
/** A frame's head with the longest bucket name, for comparing names with the last one seen. */
const HEAD_BYTES = 5 + 255;

export class Client extends Actor<ClientMessage> implements FrameSink {
  readonly #context: ActorContext<ClientMessage>;
  readonly #options: ClientOptions;
  readonly #reader: FrameReader;
  #nowMs = 0;
  /** Frames taken so far: what a receipt counts. */
  #frames = 0;
  /** The last run's bucket: its key, and a frame head that holds its name, so that a name is decoded only when it changes. */
  #bucket: BucketKey = '';
  readonly #head = Buffer.alloc(HEAD_BYTES);
  /** Buckets that got frames of this connection since its last question: answers keep their order, so those before are covered. */
  #touched: Set<BucketKey> | undefined = new Set();
  #questions: Receipt[] = [];
  #answered = new Set<Receipt>();
  #halfSinceMs: number | undefined;
  /** The frame (its number among those that came in pieces) that may go on although memory is full. */
  #mayFinish = 0;
  #hasEnded = false;
  #isClosed = false;
  #isBadKnown = false;
  readonly #pausedFor = new Set<PauseReason>();

  constructor(context: ActorContext<ClientMessage>, options: ClientOptions) {
    super();
    this.#context = context;
    this.#options = options;
    this.#reader = new FrameReader(options.maxFrameBytes, options.budget);
  }

  override receive(message: ClientMessage): void {
    switch (message.kind) {
      case 'chunk': return this.#read(message.chunk);
      case 'end': return this.#end();
      case 'closed': return this.#onClosed();
      case 'safe': return this.#onSafe(message.receipt);
      case 'flushed': return this.#resume('answers');
      case 'pause': return this.#pause('memory');
      case 'stopReading': return this.#pause('end');
      case 'resume': return this.#resume('memory');
      case 'finishFrame': return this.#finishFrame();
      case 'sweep': return this.#sweep(message.nowMs);
    }
  }

  override keep(message: ClientMessage): ClientMessage {
    return message.kind === 'chunk' ? { kind: 'chunk', chunk: Buffer.from(message.chunk) } : message;
  }

  /** It has no successor (see Listener), so its half frame goes. */
  override handBack(): readonly ClientMessage[] {
    this.#dropHalf();
    this.#dropQuestions();
    return [];
  }

  override drain(): void {
    if (this.#isClosed) this.#context.drained();
    else this.#options.socket.destroy();
  }

  // FrameSink: called while a chunk is read.

  run(chunk: Buffer, start: number, end: number, frames: number): void {
    if (this.#bucket === '' || !sameBucket(this.#head, 0, chunk, start)) this.#changeBucket(chunk, start);
    this.#frames += frames;
    this.#options.counts.received += frames;
    this.#options.manager.tell({ kind: 'run', bucket: this.#bucket, chunk, start, end, frames, nowMs: this.#nowMs, budget: this.#options.budget });
  }

  bad(chunk: Buffer, start: number, end: number, reason: string): void {
    const { counts, rejected } = this.#options;
    counts.received++;
    counts.bad++;
    counts.badByReason.set(reason, (counts.badByReason.get(reason) ?? 0) + 1);
    if (!this.#isBadKnown) {
      this.#isBadKnown = true;
      const bytes = chunk.subarray(start, Math.min(end, start + 32)).toString('hex');
      this.#context.log.warn(`bad frame (${reason}): it starts with ${bytes}; it is rejected, the connection goes on, and further ones are only counted; mend the program that sends it (docs/protocol.md has the layout)`);
    }
    rejected.reject({ bytes: chunk, start, end, frames: 1, bucket: '', reason });
  }

  question(): void {
    const { self } = this.#context;
    const tell = (safe: Receipt): void => {
      if (self.state !== 'stopped') self.tell({ kind: 'safe', receipt: safe });
    };
    // A frame that was rejected is safe once it is kept.
    const receipt = new Receipt(this.#frames, (safe) => {
      const { keeping } = this.#options.rejected;
      if (keeping === undefined) tell(safe);
      else void keeping.then(() => tell(safe));
    });
    this.#questions.push(receipt);
    this.#options.counts.awaited++;
    if (this.#questions.length >= MOST_QUESTIONS) this.#pause('questions');
    const buckets = this.#touched ?? 'all';
    this.#touched = new Set();
    this.#bucket = '';
    this.#options.manager.tell({ kind: 'fence', receipt, buckets });
  }

  #changeBucket(chunk: Buffer, at: number): void {
    const nameEnd = at + 5 + chunk[at + 4]!;
    chunk.copy(this.#head, 0, at, nameEnd);
    this.#bucket = chunk.toString('latin1', at + 5, nameEnd);
    this.#touched?.add(this.#bucket);
    if (this.#touched !== undefined && this.#touched.size > MOST_TOUCHED) this.#touched = undefined;
  }

  #read(chunk: Buffer): void {
    this.#nowMs = this.#context.clock.now();
    const halvesBefore = this.#reader.halves;
    try {
      this.#reader.read(chunk, this);
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      return this.#loseFraming(error.message, 'mend the program that sends it (docs/protocol.md has the layout), or raise MAXFRAME');
    }
    const isAnother = this.#reader.halves !== halvesBefore;
    if (!this.#reader.isMidFrame) this.#halfSinceMs = undefined;
    else if (isAnother) this.#halfSinceMs = this.#nowMs;
    this.#options.halves.set(this.#context.self, this.#reader.halfBytes, isAnother);
    const isFinishing = this.#reader.isMidFrame && this.#reader.halves === this.#mayFinish;
    if (this.#options.budget.isOver && !isFinishing) this.#pause('memory');
  }

  #finishFrame(): void {
    this.#mayFinish = this.#reader.halves;
    this.#resume('memory');
  }

  #dropHalf(): number {
    this.#options.halves.set(this.#context.self, 0, false);
    return this.#reader.discardHalf();
  }

  #dropQuestions(): void {
    this.#options.counts.awaited -= this.#questions.length;
    this.#questions = [];
  }

  #loseFraming(why: string, advice: string): void {
    this.#options.counts.lostFraming++;
    const dropped = this.#dropHalf();
    this.#context.log.warn(`connection closed: ${why}; the ${this.#frames} whole frames before it are kept, ${dropped} bytes of a half frame are not; ${advice}`);
    this.#context.self.stop();
  }

  #sweep(nowMs: number): void {
    if (this.#halfSinceMs === undefined || this.#pausedFor.size > 0) return;
    const seconds = this.#options.halfFrameTimeoutMs / 1000;
    if (nowMs - this.#halfSinceMs >= this.#options.halfFrameTimeoutMs) this.#loseFraming(`a frame stayed half for ${seconds} s`, 'see why its program stopped in the middle of one');
  }

  /** All its frames are read; it goes once its questions are answered. */
  #end(): void {
    this.#hasEnded = true;
    if (this.#reader.isMidFrame) {
      this.#options.counts.cutFrames++;
      this.#context.log.debug(`ended in the middle of a frame; ${this.#dropHalf()} bytes of it are dropped`);
    }
    if (this.#questions.length === 0) this.#options.socket.end();
  }

  #onClosed(): void {
    this.#dropHalf();
    this.#dropQuestions();
    this.#isClosed = true;
    if (this.#context.self.state === 'draining') this.#context.drained();
    else this.#context.self.stop();
  }

  /** Answers questions in their order, as far as they can be answered. */
  #onSafe(receipt: Receipt): void {
    this.#answered.add(receipt);
    const { socket } = this.#options;
    while (this.#questions.length > 0 && this.#answered.delete(this.#questions[0]!)) {
      const answer = Buffer.alloc(8);
      answer.writeBigUInt64LE(BigInt(this.#questions.shift()!.frames));
      this.#options.counts.awaited--;
      // Who asks and does not read the answers is not read either.
      if (socket.destroyed) continue;
      this.#options.counts.receipts++;
      if (!socket.write(answer)) this.#pause('answers');
    }
    if (this.#questions.length < MOST_QUESTIONS) this.#resume('questions');
    if (this.#hasEnded && this.#questions.length === 0) socket.end();
  }

  #pause(why: PauseReason): void {
    this.#pausedFor.add(why);
    this.#options.socket.pause();
  }

  #resume(why: PauseReason): void {
    if (!this.#pausedFor.delete(why) || this.#pausedFor.size > 0) return;
    // A half frame could not go on while nothing was read: its time starts anew.
    if (this.#halfSinceMs !== undefined) this.#halfSinceMs = this.#context.clock.now();
    this.#options.socket.resume();
  }
}
