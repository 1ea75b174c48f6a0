// One destination of one bucket, with its backup: in which of the two a batch ends, and in which order. Three modes:
//   normal  batches go to the primary.
//   backup  the primary failed: what it handed back, and what follows, goes to the backup, in order; the primary is tried now and then.
//   error   there is no backup, or it failed too: batches wait in their order, and the trying goes on.
// A mode ends only when nothing written in it is outstanding, so that no batch passes another. With a replay, `backup` ends only when the
// primary has had all that lies in the backup: while that is being sent, what comes joins the end of the backup; near the end it waits.
import type { Timer } from '../clock.js';
import { Actor, type ActorContext } from '../actors/actor.js';
import type { Batch } from '../frames/batch.js';
import { type Account, move } from './account.js';
import { type BackupReplay, DeliveryError, type Settled, type Stream } from './stream.js';
import type { StreamMode, StreamWatch } from './streamWatch.js';
import { type Waiting, accepted, giveBack, handedBack, sliced } from './waiting.js';

export type StreamMessage =
  /** A share: the actor releases it once it is settled here. */
  | { readonly kind: 'batch'; readonly batch: Batch }
  /** What a failed predecessor held, counted already. */
  | { readonly kind: 'inherit'; readonly waiting: readonly Waiting[] }
  | { readonly kind: 'opened'; readonly problem: string | undefined }
  | { readonly kind: 'written'; readonly write: Write; readonly outcome: Settled | DeliveryError }
  | { readonly kind: 'retry' }
  | { readonly kind: 'probed'; readonly target: Target; readonly problem: string | undefined }
  /** A run of the replay has ended. */
  | { readonly kind: 'replayed'; readonly problem: string | undefined }
  /** Memory is short: what only waits here is wanted back. */
  | { readonly kind: 'giveBack' }
  | { readonly kind: 'deadline' }
  /** The primary has had its time, though more is to come: all goes to the backup from now on, or is left over. */
  | { readonly kind: 'giveUpPrimary' }
  /** The parts of the actor with this primary were changed: it ends them within this time, and a successor goes on with what is not settled. */
  | { readonly kind: 'retire'; readonly primary: Stream; readonly withinMs: number }
  | { readonly kind: 'retired' };

type Target = 'primary' | 'backup';

/** A batch given to a stream, until its outcome is known. */
interface Write {
  readonly what: Waiting;
  readonly target: Target;
  outcome: Settled | DeliveryError | undefined;
}

export interface StreamActorOptions {
  /** Awaited before the streams are opened: others may be using what they use. */
  readonly beforeOpen?: () => Promise<void>;
  readonly primary: Stream;
  readonly backup: Stream | undefined;
  /** Sends what the backup holds; undefined: an operator does, or there is none. */
  readonly replay?: BackupReplay | undefined;
  /** The probability that a frame goes to this stream; 1 copies nothing. */
  readonly slice: number;
  /** How long between two tries of the primary in backup mode. */
  readonly retryMs: number;
  /** … and in error mode, where batches wait. */
  readonly errorRetryMs: number;
  /** At the end: how long batches are still tried before they go to the backup, or are left over. */
  readonly stopTimeoutMs: () => number;
  /** Why it ends, for what is left over then. Default: the daemon stopped. */
  readonly endReason?: () => string;
  readonly random?: () => number;
  /** Called with what could be delivered nowhere when the time to stop was over. Returns where it stays. */
  readonly onLeftOver: (batch: Batch, reason: string) => 'queued' | 'rejected';
  /** It has use for batches again, after it gave some back. */
  readonly onReady?: () => void;
  /** It can't write what it holds, and would give it back. */
  readonly onStuck?: () => void;
  /** So near the end of the backup new batches wait for the rest of it: at most NEAR_END_BYTES, which it is when this says nothing. */
  readonly nearEndBytes?: () => number | undefined;
  /** What the primary has taken: `backedUp` where it is the backup of another stream, `delivered` when this is not given. */
  readonly primaryCounts?: 'delivered' | 'backedUp';
  readonly account: Account;
  readonly watch: StreamWatch;
}

/** Time at the end that is kept for writing to the backup what the primary did not take. */
const LAST_RESORT_MS = 3_000;
/** A stream may end long before the daemon does (a bucket that was idle): whether that has begun is looked at so often. */
const DEADLINE_CHECK_MS = 1_000;
/** So near the end of the backup, new batches wait for the rest of it instead of joining its end: that comes to an end under any load. */
const NEAR_END_BYTES = 2 * 1024 * 1024;

export class StreamActor extends Actor<StreamMessage> {
  readonly #context: ActorContext<StreamMessage>;
  readonly #options: StreamActorOptions;
  #mode: StreamMode = 'normal';
  /** The mode to enter once nothing is outstanding, with the reason; until then nothing more is written. `retired`: a successor's. */
  #next: { readonly mode: StreamMode | 'retired'; readonly reason: string } | undefined;
  #writes: Write[] = [];
  #waiting: Waiting[] = [];
  #retry: Timer | undefined;
  #isProbing = false;
  /** `sending`: while the backup grows. `resting`: nothing more is written to it, what is outstanding ends. `last`: what is left then. */
  #replaying: 'no' | 'sending' | 'resting' | 'last' = 'no';
  /** What the log has said last of a replay that does not go on. */
  #notSent: { readonly problem: string; readonly leftFrames: number } | undefined;
  #hasGivenBack = false;
  #deadline: Timer | undefined;
  #isPastDeadline = false;
  /** Of the time at the end. */
  #lastResortMs: number | undefined;
  readonly #opening: Promise<void>;
  #isOpen = false;
  #isClosing = false;
  /** Its streams are closed; a successor takes over. */
  #isRetired = false;
  #hasHandedBack = false;

  constructor(context: ActorContext<StreamMessage>, options: StreamActorOptions) {
    super();
    this.#context = context;
    this.#options = options;
    // Of a failed predecessor.
    options.watch.enter('normal', 'begins anew');
    this.#opening = opened(options).then(
      () => this.#tellSelf({ kind: 'opened', problem: undefined }),
      (error: unknown) => this.#tellSelf({ kind: 'opened', problem: textOf(error) }),
    );
  }

  get mode(): StreamMode {
    return this.#mode;
  }

  override receive(message: StreamMessage): void {
    switch (message.kind) {
      case 'batch': return this.#accept(message.batch);
      case 'inherit': return this.#inherit(message.waiting);
      case 'opened': return this.#onOpened(message.problem);
      case 'written': return this.#onWritten(message.write, message.outcome);
      case 'retry': return this.#probe();
      case 'probed': return this.#onProbed(message.target, message.problem);
      case 'replayed': return this.#onReplayed(message.problem);
      case 'giveBack': return this.#giveBack();
      case 'deadline': return this.#onDeadline();
      case 'giveUpPrimary': return this.#giveUpPrimary();
      case 'retire': return this.#retire(message.primary, message.withinMs);
      case 'retired': return this.#onRetired();
    }
  }

  override handBack(): readonly StreamMessage[] {
    this.#hasHandedBack = true;
    this.#retry?.cancel();
    this.#deadline?.cancel();
    // Its runs are not its successor's.
    void this.#options.replay?.stop();
    const outstanding = this.#writes.flatMap((write) => leftOf(write));
    return [{ kind: 'inherit', waiting: [...outstanding, ...this.#waiting] }];
  }

  override abandon(message: StreamMessage, error: unknown): void {
    const waiting = message.kind === 'batch' ? [accepted(message.batch, this.#options.account)] : message.kind === 'inherit' ? message.waiting : [];
    for (const what of waiting) this.#leaveOver(what, `the stream failed on it: ${String(error)}`);
  }

  override drain(): void {
    if (this.#isPastDeadline) this.#boundLastResort();
    else this.#watchDeadline();
    this.#pauseReplay();
    if (this.#mode !== 'normal') this.#probe();
    this.#pump();
  }

  #watchDeadline(): void {
    const stopMs = this.#options.stopTimeoutMs();
    // Of little time the primary has half.
    if (Number.isFinite(stopMs)) this.#lastResortMs ??= Math.min(LAST_RESORT_MS, Math.max(0, stopMs / 2));
    const leftMs = Math.max(0, stopMs - (this.#lastResortMs ?? LAST_RESORT_MS));
    this.#deadline = this.#context.clock.after(Math.min(leftMs, DEADLINE_CHECK_MS), () => {
      if (leftMs > DEADLINE_CHECK_MS) this.#watchDeadline();
      else this.#tellSelf({ kind: 'deadline' });
    });
  }

  #boundLastResort(): void {
    this.#deadline = this.#context.clock.after(this.#lastResortMs ?? LAST_RESORT_MS, () => this.#tellSelf({ kind: 'deadline' }));
  }

  /** Told by what outlives this actor: once it has stopped, or has a successor, nothing of this matters to anyone. */
  #tellSelf(message: StreamMessage): void {
    if (this.#context.self.state !== 'stopped' && !this.#hasHandedBack) this.#context.self.tell(message);
  }

  #onOpened(problem: string | undefined): void {
    this.#isOpen = true;
    if (this.#next?.mode === 'retired') return;
    this.#options.onReady?.();
    if (problem !== undefined) this.#enter({ mode: 'error', reason: problem });
    else if (this.#mustReplay()) this.#beginInBackup();
    this.#pump();
  }

  #accept(batch: Batch): void {
    const what = accepted(batch, this.#options.account);
    if (this.#isClosing) return this.#leaveOver(what, 'it came when the stream was closing');
    this.#waiting.push(what);
    this.#pump();
    if (this.#mode === 'error') this.#options.onStuck?.();
  }

  #inherit(waiting: readonly Waiting[]): void {
    this.#waiting = [...waiting, ...this.#waiting];
    this.#pump();
  }

  /** Writes what waits, as long as the mode stands and the stream has use for more. */
  #pump(): void {
    while (this.#next === undefined && this.#writes[0]?.outcome !== undefined) this.#writes.shift()!.what.batch.release();
    while (this.#isOpen && this.#next === undefined && this.#replaying !== 'last' && this.#waiting.length > 0) {
      const target = this.#mode === 'normal' ? 'primary' : 'backup';
      const stream = this.#mode === 'error' ? undefined : this.#streamOf(target);
      if (stream === undefined || this.#writes.length >= stream.depth) break;
      const what = this.#sliced(this.#waiting.shift()!);
      if (what.batch.frames > 0) this.#write(what, target, stream);
      else what.batch.release();
    }
    if (this.#hasNowhereToGo && this.#waiting.length > 0) return this.#giveUp(this.#options.watch.lastProblem?.text ?? 'its time was over');
    this.#finishDraining();
  }

  #streamOf(target: Target): Stream | undefined {
    return target === 'primary' ? this.#options.primary : this.#options.backup;
  }

  #sliced(what: Waiting): Waiting {
    const { account, slice, random = Math.random } = this.#options;
    return sliced(what, account, { slice, random });
  }

  #write(what: Waiting, target: Target, stream: Stream): void {
    const { batch } = what;
    const write: Write = { what, target, outcome: undefined };
    this.#writes.push(write);
    started(() => stream.write(batch)).then(
      (outcome) => this.#context.self.tell({ kind: 'written', write, outcome }),
      (error: unknown) => this.#context.self.tell({ kind: 'written', write, outcome: asDeliveryError(error, batch) }),
    );
  }

  #onWritten(write: Write, outcome: Settled | DeliveryError): void {
    // A write of a failed predecessor: its batch was inherited and is written anew.
    if (!this.#writes.includes(write)) return outcome instanceof DeliveryError ? outcome.undelivered.release() : undefined;
    write.outcome = outcome;
    this.#note(write, outcome);
    this.#count(write.target, outcome instanceof DeliveryError ? outcome.settled : outcome);
    if (outcome instanceof DeliveryError) this.#onFailure(write.target, outcome);
    if (this.#next !== undefined && this.#writes.every((w) => w.outcome !== undefined)) this.#turnTo(this.#next);
    this.#pump();
  }

  #count(target: Target, { delivered, rejected }: Settled): void {
    const { account, primaryCounts = 'delivered' } = this.#options;
    move(account, rejected, 'queued', 'rejected');
    move(account, delivered, 'queued', target === 'primary' ? primaryCounts : 'backedUp');
  }

  #note({ target, what: { batch } }: Write, outcome: Settled | DeliveryError): void {
    const { watch } = this.#options;
    if (!(outcome instanceof DeliveryError)) return watch.wrote(target, { frames: outcome.delivered, bytes: batch.length });
    watch.failed(target, { frames: outcome.settled.delivered, bytes: batch.length - outcome.undelivered.length }, outcome.message);
  }

  #onFailure(target: Target, error: DeliveryError): void {
    const toBackup = target === 'primary' && this.#options.backup !== undefined;
    // The first failure says why; those behind it fail because of it. A failure also overrules a return to the primary.
    if (this.#next === undefined || this.#next.mode === 'normal') this.#next = { mode: toBackup ? 'backup' : 'error', reason: error.message };
  }

  /** Nothing is outstanding. */
  #turnTo({ mode, reason }: { readonly mode: StreamMode | 'retired'; readonly reason: string }): void {
    if (mode === 'retired') return this.#isRetired ? this.#context.renew() : undefined;
    const next = { mode, reason };
    if (this.#replaying === 'resting' && next.mode === 'normal') return this.#sendLast();
    // The backup failed while it was to rest.
    if (this.#replaying === 'resting') this.#replaying = 'no';
    this.#enter(next);
  }

  /** Nothing is outstanding: what was handed back waits again, before all else, and the mode changes. */
  #enter(next: { readonly mode: StreamMode; readonly reason: string }): void {
    this.#waiting = [...this.#writes.flatMap((write) => leftOf(write)), ...this.#waiting];
    this.#writes = [];
    this.#next = undefined;
    this.#mode = next.mode;
    this.#options.watch.enter(next.mode, next.reason);
    this.#notSent = undefined;
    this.#logMode(next.reason);
    if (this.#mode !== 'error') this.#askForMore();
    else this.#options.onStuck?.();
    if (this.#isPastDeadline && this.#mode === 'error') return this.#giveUp(next.reason);
    this.#scheduleRetry();
  }

  #logMode(reason: string): void {
    const { log } = this.#context;
    const waiting = this.#waiting.reduce((sum, { batch }) => sum + batch.frames, 0);
    switch (this.#mode) {
      case 'normal': return log.info(`mode normal: ${reason}`);
      case 'backup': return log.warn(`mode backup: ${reason}; ${waiting} frames and what follows go to the backup, the primary is tried every ${this.#options.retryMs} ms; nothing is lost, and once the cause is mended it goes on by itself`);
      case 'error': return log.error(`mode error: ${reason}; ${waiting} frames wait, tried again every ${this.#options.errorRetryMs} ms; mend the cause, and it goes on by itself: until then frames pile up, and then clients wait`);
    }
  }

  #scheduleRetry(): void {
    this.#retry?.cancel();
    this.#retry = undefined;
    if (this.#mode === 'normal' || this.#context.self.state === 'stopped') return;
    const afterMs = this.#mode === 'backup' ? this.#options.retryMs : this.#options.errorRetryMs;
    this.#retry = this.#context.clock.after(afterMs, () => this.#tellSelf({ kind: 'retry' }));
  }

  /** Asks the primary whether it is back; in error mode also the backup, once the primary has said no. */
  #probe(): void {
    if (this.#isProbing || this.#mode === 'normal' || this.#next !== undefined || this.#isPastDeadline || this.#replaying !== 'no') return;
    this.#isProbing = true;
    this.#ask('primary', this.#options.primary);
  }

  #ask(target: Target, stream: Stream): void {
    started(() => stream.probe()).then(
      () => this.#tellSelf({ kind: 'probed', target, problem: undefined }),
      (error: unknown) => this.#tellSelf({ kind: 'probed', target, problem: textOf(error) }),
    );
  }

  #onProbed(target: Target, problem: string | undefined): void {
    if (problem !== undefined && target === 'primary' && this.#mode === 'error' && this.#options.backup !== undefined) {
      return this.#ask('backup', this.#options.backup);
    }
    this.#isProbing = false;
    if (this.#isPastDeadline) return;
    if (problem !== undefined) {
      this.#context.log.debug(`${target} is not back yet: ${problem}`);
      this.#options.watch.retried(problem);
      return this.#scheduleRetry();
    }
    if (this.#next !== undefined || this.#mode === 'normal') return;
    if (target === 'primary' && this.#mustReplay()) return this.#startReplay();
    this.#next = target === 'primary' ? { mode: 'normal', reason: 'the primary is back' } : { mode: 'backup', reason: 'the backup can be written again, the primary is away' };
    if (this.#writes.length === 0) this.#turnTo(this.#next);
    this.#pump();
  }

  #mustReplay(): boolean {
    const { replay } = this.#options;
    return replay !== undefined && (!replay.isKnown || replay.leftBytes > 0);
  }

  /** What an earlier life has backed up goes first. */
  #beginInBackup(): void {
    const { isKnown, leftFrames } = this.#options.replay!;
    const found = isKnown ? `an earlier life of the daemon has left ${leftFrames} frames in the backup, which go first` : 'what the backup holds can\'t be found out yet, and it goes first';
    this.#enter({ mode: 'backup', reason: found });
    this.#probe();
  }

  /** The primary is back. At the end of its life a stream leaves its backup to the next one, unless that can't be written either. */
  #startReplay(): void {
    if (this.#context.self.state === 'draining' && this.#mode === 'backup') return;
    const { leftFrames } = this.#options.replay!;
    if (this.#notSent?.leftFrames !== leftFrames) this.#context.log.info(`the primary is back: ${leftFrames} frames in the backup are sent to it first`);
    this.#replaying = this.#mode === 'error' ? 'last' : 'sending';
    this.#runReplay();
  }

  #runReplay(): void {
    started(() => this.#options.replay!.send(this.#replaying === 'last' ? 0 : Math.min(this.#options.nearEndBytes?.() ?? NEAR_END_BYTES, NEAR_END_BYTES))).then(
      () => this.#tellSelf({ kind: 'replayed', problem: undefined }),
      (error: unknown) => this.#tellSelf({ kind: 'replayed', problem: textOf(error) }),
    );
  }

  #sendLast(): void {
    this.#replaying = 'last';
    this.#next = undefined;
    this.#runReplay();
  }

  #onReplayed(problem: string | undefined): void {
    const ended = this.#replaying;
    this.#replaying = 'no';
    if (this.#next?.mode === 'retired') return;
    if (problem !== undefined) {
      this.#sayNotSent(problem);
      this.#scheduleRetry();
    } else if (ended === 'last' && !this.#mustReplay()) {
      this.#enter({ mode: 'normal', reason: 'the primary is back, and has had what was backed up' });
    } else if (!this.#isPastDeadline && (this.#context.self.state !== 'draining' || this.#mode === 'error')) {
      this.#restBackup();
    }
    this.#pump();
  }

  /** Once, until something has changed: in error mode it is tried every second. */
  #sayNotSent(problem: string): void {
    const { leftFrames } = this.#options.replay!;
    if (this.#notSent?.problem === problem && this.#notSent.leftFrames === leftFrames) return;
    this.#notSent = { problem, leftFrames };
    this.#context.log.warn(`the backup is not sent yet: ${problem}; ${leftFrames} frames are left in it, and it is tried again`);
  }

  /** Near the end of the backup: what comes waits, so that there is an end. */
  #restBackup(): void {
    this.#replaying = 'resting';
    this.#next ??= { mode: 'normal', reason: 'the primary is back' };
    if (this.#writes.length === 0) this.#turnTo(this.#next);
  }

  /** At the end of the daemon's life: the next one goes on. */
  #pauseReplay(): void {
    if (this.#replaying === 'no') return;
    if (this.#replaying === 'resting') {
      this.#replaying = 'no';
      if (this.#next?.mode === 'normal') this.#next = undefined;
    } else if (this.#replaying === 'sending') {
      void this.#options.replay?.stop();
    }
  }

  #cutReplay(): void {
    void this.#options.replay?.stop();
    void this.#options.primary.close({ deadlineMs: 0 });
  }

  /** Batches of which nothing is settled are given back from the end, while nothing can be written; they come again when it can. */
  #giveBack(): void {
    if (this.#mode !== 'error' || this.#next !== undefined || this.#context.self.state === 'draining') return;
    while (this.#waiting.length > 0 && giveBack(this.#waiting.at(-1)!, this.#options.account)) {
      this.#waiting.pop();
      this.#hasGivenBack = true;
    }
  }

  #askForMore(): void {
    if (!this.#hasGivenBack) return;
    this.#hasGivenBack = false;
    this.#options.onReady?.();
  }

  /** The time to stop is nearly over: what the primary still has is handed back, and goes to the backup or is left over. */
  #onDeadline(): void {
    const late: Target = this.#isPastDeadline ? 'backup' : 'primary';
    this.#isPastDeadline = true;
    if (this.#replaying !== 'no') this.#cutReplay();
    if (this.#hasNowhereToGo) return this.#giveUp('the time to stop was over');
    // Closing is how a stream is made to hand back at once what hangs in it.
    void this.#streamOf(late)?.close({ deadlineMs: 0 });
    if (late === 'primary') this.#boundLastResort();
    this.#pump();
  }

  #giveUpPrimary(): void {
    if (this.#isPastDeadline) return;
    this.#isPastDeadline = true;
    this.#retry?.cancel();
    if (this.#replaying !== 'no') this.#cutReplay();
    if (!this.#hasNowhereToGo) void this.#options.primary.close({ deadlineMs: 0 });
    this.#pump();
  }

  /** Past its time, and nothing can be written. */
  get #hasNowhereToGo(): boolean {
    return this.#isPastDeadline && (!this.#isOpen || (this.#mode === 'error' && this.#next === undefined));
  }

  #retire(primary: Stream, withinMs: number): void {
    // One that took over from an actor that failed may have the new parts already.
    if (primary !== this.#options.primary || this.#next?.mode === 'retired' || this.#context.self.state === 'draining') return;
    this.#next = { mode: 'retired', reason: 'its configuration has changed' };
    this.#retry?.cancel();
    void this.#closeWithin(withinMs).then(() => this.#tellSelf({ kind: 'retired' }));
  }

  #onRetired(): void {
    this.#isRetired = true;
    if (this.#writes.every(({ outcome }) => outcome !== undefined)) this.#turnTo(this.#next!);
  }

  /** What is outstanding has this time to end; then it is handed back. */
  async #closeWithin(withinMs: number): Promise<void> {
    const { primary, backup, replay } = this.#options;
    const { clock } = this.#context;
    const untilMs = clock.now() + withinMs;
    // What is being opened puts its files in order: a successor must not do so at the same time. A replay ends with the piece that it sends.
    await this.#within(withinMs, this.#opening);
    if (replay !== undefined) await this.#within(Math.max(0, untilMs - clock.now()), replay.stop());
    await primary.close({ deadlineMs: Math.max(0, untilMs - clock.now()) });
    // Now that the primary has handed it back.
    await replay?.stop();
    await backup?.close({ deadlineMs: withinMs });
  }

  async #within(ms: number, work: Promise<void>): Promise<void> {
    let timer: Timer | undefined;
    await Promise.race([work, new Promise<void>((resolve) => (timer = this.#context.clock.after(ms, resolve)))]);
    timer?.cancel();
  }

  #giveUp(reason: string): void {
    const why = this.#options.endReason?.() ?? 'the daemon stopped';
    while (this.#waiting.length > 0) {
      this.#leaveOver(this.#waiting[0]!, `not delivered when ${why}: ${reason}`);
      this.#waiting.shift();
    }
    this.#finishDraining();
  }

  /** What is sliced out would not have been delivered, so it is not left over either. */
  #leaveOver(what: Waiting, reason: string): void {
    const { batch } = this.#sliced(what);
    if (batch.frames > 0) move(this.#options.account, batch.frames, 'queued', this.#options.onLeftOver(batch, reason));
    batch.release();
  }

  #finishDraining(): void {
    if (this.#context.self.state !== 'draining' || this.#isClosing || this.#writes.length > 0 || this.#waiting.length > 0 || this.#replaying !== 'no') return;
    this.#isClosing = true;
    this.#retry?.cancel();
    this.#deadline?.cancel();
    void this.#close().then(() => this.#context.drained());
  }

  async #close(): Promise<void> {
    await this.#options.replay?.stop();
    const streams = [this.#options.primary, ...(this.#options.backup === undefined ? [] : [this.#options.backup])];
    await Promise.allSettled(streams.map((stream) => stream.close({ deadlineMs: LAST_RESORT_MS })));
  }
}

async function opened({ beforeOpen, primary, backup }: StreamActorOptions): Promise<void> {
  await beforeOpen?.();
  await Promise.all([primary.open(), backup?.open()]);
}

/** Of a write, what must be written anew; what is settled is let go. */
function leftOf({ what, outcome }: Write): Waiting[] {
  if (outcome === undefined) return [what];
  what.batch.release();
  return outcome instanceof DeliveryError ? [handedBack(what, outcome.undelivered)] : [];
}

/** What a call comes to, even when it throws before it has made a promise. */
async function started<T>(call: () => Promise<T>): Promise<T> {
  return call();
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Streams throw nothing but DeliveryError; should one break its word, nothing is lost by it. */
function asDeliveryError(error: unknown, batch: Batch): DeliveryError {
  if (error instanceof DeliveryError) return error;
  return new DeliveryError('IO', String(error), batch.retain(), { delivered: 0, rejected: 0 });
}
