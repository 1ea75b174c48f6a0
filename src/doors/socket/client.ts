// One connection: its bytes become runs, its questions get answers. What it sends can close this connection,
// and nothing else.
import type { Socket } from 'node:net';
import { Actor, type ActorContext } from '../../actors/actor.js';
import type { BucketKey } from '../../frames/bucketName.js';
import { Receipt } from '../../intake/receipt.js';
import { FrameError } from '../../errors.js';
import { FrameReader, type FrameSink } from '../../frames/frameReader.js';
import {
  type FenceLevel,
  PLAIN_BUCKET_AT,
  type ReportMode,
  bucketOf,
  sameBucket,
} from '../../frames/frame.js';
import type { Fates } from '../../frames/origins.js';
import type { UnfinishedHolder } from '../../memory/unfinished.js';
import { plural } from '../../plural.js';
import type { Entrance } from '../entrance.js';
import { type Question, answerTo } from './answers.js';
import { OutcomeList } from './outcomeList.js';

export type ClientMessage =
  /** Bytes from the socket, borrowed: good only until `tell` returns. */
  | { readonly kind: 'chunk'; readonly chunk: Buffer }
  /** The client has written all it wants to. */
  | { readonly kind: 'end' }
  | { readonly kind: 'closed' }
  | { readonly kind: 'safe'; readonly receipt: Receipt }
  /** Whether rejected frames of this connection are kept may be another thing now. */
  | { readonly kind: 'fates' }
  /** The answers written so far have gone out. */
  | { readonly kind: 'flushed' }
  | { readonly kind: 'pause' }
  /** Nothing more is read; questions that were asked are still answered. */
  | { readonly kind: 'stopReading' }
  | { readonly kind: 'resume' }
  /** Memory is full of what is not whole, and this is the oldest of it. */
  | { readonly kind: 'finishFrame' }
  /** Time passes: is a frame half for too long? */
  | { readonly kind: 'sweep'; readonly nowMs: number };

export interface ClientOptions {
  readonly socket: Socket;
  readonly entrance: Entrance;
  readonly maxFrameBytes: number;
  readonly halfFrameTimeoutMs: number;
}

type PauseReason = 'memory' | 'questions' | 'answers' | 'rejected' | 'end';

/**
 * Questions that wait for an answer on one connection; more than these and it is not read until some are
 * answered.
 */
const MOST_QUESTIONS = 64;
/** Rejected frames of one connection that wait for the disk; with more it is not read. */
const MOST_UNKEPT_BYTES = 256 * 1024;
/**
 * So many bucket names of one connection are told apart; a client that makes names up must not make this
 * grow.
 */
const MOST_TOUCHED = 1024;
/** A frame's head with the longest bucket name, for comparing names with the last one seen. */
const HEAD_BYTES = 5 + 255;
const FENCE_LEVELS = ['safe', 'settled'] as const;

export class Client extends Actor<ClientMessage> implements FrameSink, UnfinishedHolder {
  readonly #context: ActorContext<ClientMessage>;
  readonly #options: ClientOptions;
  readonly #entrance: Entrance;
  readonly #reader: FrameReader;
  #nowMs = 0;
  /** Frames taken so far: what a receipt counts. Bad ones are none of them. */
  #frames = 0;
  #badFrames = 0;
  /** What became of those that were not delivered. */
  readonly #fates: Fates;
  /**
   * The last run's bucket: its key, and a frame head that holds its name, so that a name is decoded only when
   * it changes.
   */
  #bucket: BucketKey = '';
  readonly #head = Buffer.alloc(HEAD_BYTES);
  /**
   * Buckets that got frames of this connection since it last asked for this level: answers keep their order,
   * so those before are covered.
   */
  readonly #touched: Record<FenceLevel, Set<BucketKey> | undefined> = { safe: new Set(), settled: new Set() };
  /** How each frame since the last question for that has ended; undefined: it was never asked. */
  #each: OutcomeList | undefined;
  #questions: Question[] = [];
  #answered = new Set<Receipt>();
  #halfSinceMs: number | undefined;
  /** The frame (its number among those that came in pieces) that may go on although memory is full. */
  #mayFinish = 0;
  #hasEnded = false;
  #isClosed = false;
  readonly #pausedFor = new Set<PauseReason>();

  constructor(context: ActorContext<ClientMessage>, options: ClientOptions) {
    super();
    this.#context = context;
    this.#options = options;
    const entrance = (this.#entrance = options.entrance);
    this.#fates = entrance.origins.open(this.#onFate);
    this.#reader = new FrameReader(options.maxFrameBytes, entrance.budget);
  }

  /** More is known of what becomes of its frames; perhaps somebody waits for that. */
  readonly #onFate = (): void => {
    const { self } = this.#context;
    if (self.state !== 'stopped') self.tell({ kind: 'fates' });
  };

  override receive(message: ClientMessage): void {
    switch (message.kind) {
      case 'chunk':
        return this.#read(message.chunk);
      case 'end':
        return this.#end();
      case 'closed':
        return this.#onClosed();
      case 'safe':
        return this.#onSafe(message.receipt);
      case 'fates':
        return this.#onFates();
      case 'flushed':
        return this.#onFlushed();
      case 'pause':
        return this.#pause('memory');
      case 'stopReading':
        return this.#pause('end');
      case 'resume':
        return this.#resume('memory');
      case 'finishFrame':
        return this.#finishFrame();
      case 'sweep':
        return this.#sweep(message.nowMs);
    }
  }

  override keep(message: ClientMessage): ClientMessage {
    return message.kind === 'chunk' ? { kind: 'chunk', chunk: Buffer.from(message.chunk) } : message;
  }

  /** It has no successor (see Listener), so its half frame goes. */
  override handBack(): readonly ClientMessage[] {
    this.#dropHalf();
    this.#dropQuestions();
    this.#entrance.origins.close(this.#fates);
    return [];
  }

  override drain(): void {
    if (this.#isClosed) this.#context.drained();
    else this.#options.socket.destroy();
  }

  finish(): void {
    this.#context.self.tell({ kind: 'finishFrame' });
  }

  // FrameSink: called while a chunk is read.

  run(chunk: Buffer, start: number, end: number, frames: number): void {
    if (this.#bucket === '' || !sameBucket(this.#head, 0, chunk, start)) this.#changeBucket(chunk, start);
    this.#frames += frames;
    this.#entrance.run({
      kind: 'run',
      bucket: this.#bucket,
      chunk,
      start,
      end,
      frames,
      nowMs: this.#nowMs,
      budget: this.#entrance.budget,
      origin: this.#fates.id,
      followed: this.#each?.follow(frames),
    });
  }

  bad(chunk: Buffer, start: number, end: number, reason: string): void {
    if (++this.#badFrames === 1) {
      const bytes = chunk.subarray(start, Math.min(end, start + 32)).toString('hex');
      this.#context.log.warn(
        `bad frame (${reason}): it starts with ${bytes}; it is rejected, the connection goes on; more of them are only counted; fix the program that sends them (docs/protocol.md has the layout)`,
        { reason, frames: 1 },
      );
    }
    const followed = this.#each?.follow(1);
    this.#entrance.bad({ bytes: chunk, start, end, reason, origin: this.#fates.id, followed });
  }

  question(): void {
    this.#ask('receipt', 'safe');
  }

  reportQuestion(mode: ReportMode): void {
    if (mode !== 'each') return this.#ask('report', mode);
    const each = this.#each ?? new OutcomeList(this.#entrance.budget);
    each.ask(this.#onFate);
    this.#each = new OutcomeList(this.#entrance.budget);
    this.#ask('report', 'settled', each);
  }

  #ask(kind: Question['kind'], level: FenceLevel, each?: OutcomeList): void {
    const { self } = this.#context;
    const receipt = new Receipt(
      this.#frames,
      (answered) => self.state !== 'stopped' && self.tell({ kind: 'safe', receipt: answered }),
      level,
    );
    this.#questions.push({ kind, receipt, all: this.#frames + this.#badFrames, each });
    this.#entrance.counts.awaited++;
    if (this.#questions.length >= MOST_QUESTIONS) this.#pause('questions');
    const buckets = this.#touched[level] ?? 'all';
    this.#touched[level] = new Set();
    this.#bucket = '';
    this.#entrance.fence(receipt, buckets);
  }

  #changeBucket(chunk: Buffer, at: number): void {
    const name = bucketOf(chunk, at);
    this.#head[PLAIN_BUCKET_AT] = name.length;
    name.copy(this.#head, PLAIN_BUCKET_AT + 1);
    this.#bucket = name.toString('latin1');
    for (const level of FENCE_LEVELS) {
      const touched = this.#touched[level]?.add(this.#bucket);
      if (touched !== undefined && touched.size > MOST_TOUCHED) this.#touched[level] = undefined;
    }
  }

  #read(chunk: Buffer): void {
    this.#nowMs = this.#context.clock.now();
    const halvesBefore = this.#reader.halves;
    try {
      this.#reader.read(chunk, this);
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      return this.#loseFraming(
        error.message,
        'fix the program that sends it (docs/protocol.md has the layout), or raise MAXFRAME',
      );
    }
    const isAnother = this.#reader.halves !== halvesBefore;
    if (!this.#reader.isMidFrame) this.#halfSinceMs = undefined;
    else if (isAnother) this.#halfSinceMs = this.#nowMs;
    this.#entrance.unfinished.set(this, this.#reader.halfBytes, isAnother);
    const isFinishing = this.#reader.isMidFrame && this.#reader.halves === this.#mayFinish;
    if (this.#entrance.budget.isOver && !isFinishing) this.#pause('memory');
    if (!this.#fates.isKept) this.#holdIfUnkept();
  }

  #onFlushed(): void {
    this.#resume('answers');
    this.#answer();
  }

  #onFates(): void {
    this.#holdIfUnkept();
    this.#answer();
  }

  /** A connection that brings frames to be rejected that can't be kept is not read on; others go on. */
  #holdIfUnkept(): void {
    const isHeld =
      !this.#fates.isKept &&
      (this.#entrance.rejectedProblem !== undefined || this.#fates.unkeptBytes > MOST_UNKEPT_BYTES);
    if (isHeld) this.#pause('rejected');
    else this.#resume('rejected');
  }

  #finishFrame(): void {
    this.#mayFinish = this.#reader.halves;
    this.#resume('memory');
  }

  #dropHalf(): number {
    this.#entrance.unfinished.set(this, 0, false);
    return this.#reader.discardHalf();
  }

  #dropQuestions(): void {
    this.#entrance.counts.awaited -= this.#questions.length;
    for (const { each } of [...this.#questions, { each: this.#each }]) each?.drop();
    this.#questions = [];
  }

  #loseFraming(why: string, advice: string): void {
    this.#entrance.counts.lostFraming++;
    const dropped = this.#dropHalf();
    const frames = this.#frames;
    this.#context.log.warn(
      `connection closed: ${why}; ${frames} whole ${plural(frames, 'frame')} before it ${plural(frames, 'is', 'are')} kept, ${dropped} ${plural(dropped, 'byte')} of a half frame ${plural(dropped, 'is', 'are')} dropped; ${advice}`,
      { reason: why, frames, bytes: dropped },
    );
    this.#context.self.stop();
  }

  #sweep(nowMs: number): void {
    if (this.#halfSinceMs === undefined || this.#pausedFor.size > 0) return;
    const seconds = this.#options.halfFrameTimeoutMs / 1000;
    if (nowMs - this.#halfSinceMs >= this.#options.halfFrameTimeoutMs)
      this.#loseFraming(
        `a frame stayed half for ${seconds} s`,
        'see why its program stopped in the middle of one',
      );
  }

  /** All its frames are read; it goes once its questions are answered. */
  #end(): void {
    this.#hasEnded = true;
    if (this.#reader.isMidFrame) {
      this.#entrance.counts.cutFrames++;
      this.#context.log.debug(
        `ended in the middle of a frame; bytes of it that are dropped: ${this.#dropHalf()}`,
      );
    }
    if (this.#questions.length === 0) this.#options.socket.end();
  }

  #onClosed(): void {
    this.#dropHalf();
    this.#dropQuestions();
    this.#entrance.origins.close(this.#fates);
    this.#isClosed = true;
    if (this.#context.self.state === 'draining') this.#context.drained();
    else this.#context.self.stop();
  }

  #onSafe(receipt: Receipt): void {
    this.#answered.add(receipt);
    this.#answer();
  }

  /**
   * Answers questions in their order, as far as they can be answered: a frame that was rejected is safe once
   * it is kept. What the client does not read is not made either: thousands of reports, each with its
   * reasons, would fill the memory.
   */
  #answer(): void {
    const { socket } = this.#options;
    while (
      this.#questions.length > 0 &&
      this.#fates.isKept &&
      this.#questions[0]!.each?.isComplete !== false &&
      !this.#pausedFor.has('answers') &&
      this.#answered.delete(this.#questions[0]!.receipt)
    ) {
      const question = this.#questions.shift()!;
      this.#entrance.counts.awaited--;
      // A client that asks and does not read the answers is not read either.
      if (socket.destroyed) {
        question.each?.drop();
        continue;
      }
      this.#entrance.counts.receipts++;
      if (!socket.write(answerTo(question, this.#fates))) this.#pause('answers');
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
