// One destination of one bucket, with its backup: in which of the two a batch ends, and in which order. Three
// modes:
//   normal  batches go to the primary.
//   backup  the primary failed: what it handed back, and what follows, goes to the backup, in order; the primary is tried now and then.
//   error   there is no backup, or it failed too: batches wait in their order, and the trying goes on. So they do when the primary must reject
//           frames and REJECTED can't keep them: a backup could not deliver them either.
// And one that shows as `backup`, or as `error` when there is none: `partial`, a part of the primary is away.
// Its frames go to the backup, or wait; all others go to the primary. Once it is back they come first: out of
// the backup as after any failure. A mode ends only when nothing written in it is outstanding, so that no
// batch passes another. With a replay, `backup` ends only when the primary has had all that lies in the
// backup: while that is being sent, what comes joins the end of the backup; near the end it waits.
import { plural } from '../plural.js';
import type { Timer } from '../clock.js';
import { Actor, type ActorContext } from '../actors/actor.js';
import { messageOf } from '../errors.js';
import type { Batch } from '../frames/batch.js';
import { without } from '../frames/origins.js';
import { move } from './account.js';
import { CatchUp } from './backup/catchUp.js';
import { closeAll, closeWithin, openAll } from './openAndClose.js';
import { Outstanding, type Target, type Write } from './outstanding.js';
import { StopDeadline } from './stopDeadline.js';
import { DeliveryError, type Settled, type Stream } from './stream.js';
import type { StreamMessage } from './streamMessage.js';
import type { StreamActorOptions } from './streamOptions.js';
import type { StreamMode } from './streamStats.js';
import { type Waiting, accepted, giveBack, sliced } from './waiting.js';

type Mode = StreamMode | 'partial';

/** So many batches' frames may wait for the backup while others go to the primary. */
const MOST_ASIDE = 16;

export class StreamActor extends Actor<StreamMessage> {
  readonly #context: ActorContext<StreamMessage>;
  readonly #options: StreamActorOptions;
  #mode: Mode = 'normal';
  /**
   * The mode to enter once nothing is outstanding, with the reason; until then nothing more is written.
   * `retired`: a successor's.
   */
  #next: { readonly mode: StreamMode | 'retired'; readonly reason: string } | undefined;
  readonly #writes = new Outstanding();
  #waiting: Waiting[] = [];
  /**
   * Frames of what is away, older than all that is outstanding or waits; and those of them that the backup is
   * being given.
   */
  #aside: Waiting[] = [];
  readonly #asideWrites = new Outstanding();
  /** What is aside can't be written to it. */
  #isBackupAway = false;
  /** Of so many batches the bucket knows that what is left of them is aside. */
  #toldAside = 0;
  #retry: Timer | undefined;
  #isProbing = false;
  /** Frames must be rejected, and can't be kept now. */
  #awaitsRejected = false;
  /** Batches of which it is not known yet where they are left over. */
  #leaving = 0;
  readonly #catchUp: CatchUp;
  #hasGivenBack = false;
  readonly #deadline: StopDeadline;
  #isPastDeadline = false;
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
    this.#catchUp = new CatchUp({
      replay: options.replay,
      log: context.log,
      onEnded: (problem) => this.#tellSelf({ kind: 'replayed', problem }),
    });
    this.#deadline = new StopDeadline(context.clock, options.stopTimeoutMs, () =>
      this.#tellSelf({ kind: 'deadline' }),
    );
    // Of a failed predecessor.
    options.watch.enter('normal', 'begins anew');
    this.#opening = openAll(options).then(
      () => this.#tellSelf({ kind: 'opened', problem: undefined }),
      (error: unknown) => this.#tellSelf({ kind: 'opened', problem: messageOf(error) }),
    );
  }

  /** As it shows. */
  get mode(): StreamMode {
    if (this.#mode !== 'partial') return this.#mode;
    return this.#canWriteAside ? 'backup' : 'error';
  }

  get #canWriteAside(): boolean {
    return this.#options.backup !== undefined && !this.#isBackupAway;
  }

  override receive(message: StreamMessage): void {
    switch (message.kind) {
      case 'batch':
        return this.#accept(message.batch);
      case 'inherit':
        return this.#inherit(message.waiting);
      case 'opened':
        return this.#onOpened(message.problem);
      case 'written':
        return this.#onWritten(message.write, message.outcome);
      case 'retry':
        return this.#probe();
      case 'probed':
        return this.#onProbed(message.target, message.problem);
      case 'replayed':
        return this.#onReplayed(message.problem);
      case 'giveBack':
        return this.#giveBack();
      case 'deadline':
        return this.#onDeadline();
      case 'giveUpPrimary':
        return this.#giveUpPrimary();
      case 'retire':
        return this.#retire(message.primary, message.withinMs);
      case 'retired':
        return this.#onRetired();
    }
  }

  override handBack(): readonly StreamMessage[] {
    this.#hasHandedBack = true;
    this.#retry?.cancel();
    this.#deadline.cancel();
    // Its runs are not its successor's.
    void this.#catchUp.stop();
    this.#tellAside(0);
    return [{ kind: 'inherit', waiting: this.#takeAll() }];
  }

  /** All that is not settled, in its order. */
  #takeAll(): Waiting[] {
    return [
      ...this.#asideWrites.takeLeft(),
      ...this.#aside.splice(0),
      ...this.#writes.takeLeft(),
      ...this.#waiting.splice(0),
    ];
  }

  override abandon(message: StreamMessage, error: unknown): void {
    const waiting =
      message.kind === 'batch'
        ? [accepted(message.batch, this.#options.account)]
        : message.kind === 'inherit'
          ? message.waiting
          : [];
    for (const what of waiting) this.#leaveOver(what, `the stream failed on it: ${String(error)}`);
  }

  override drain(): void {
    if (this.#isPastDeadline) this.#deadline.watchBackup();
    else this.#deadline.watchPrimary();
    this.#pauseReplay();
    if (this.#mode !== 'normal') this.#probe();
    this.#pump();
  }

  /**
   * Told by what outlives this actor: once it has stopped, or has a successor, nothing of this matters to
   * anyone.
   */
  #tellSelf(message: StreamMessage): void {
    if (this.#context.self.state !== 'stopped' && !this.#hasHandedBack) this.#context.self.tell(message);
  }

  #onOpened(problem: string | undefined): void {
    this.#isOpen = true;
    if (this.#next?.mode === 'retired') return;
    this.#options.onReady?.();
    if (problem !== undefined) this.#enter({ mode: 'error', reason: problem });
    else if (this.#catchUp.isDue) this.#beginInBackup();
    else if (this.#options.primary.away !== undefined) this.#enter({ mode: 'normal', reason: 'begins anew' });
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
    if (this.#next === undefined) this.#aside.push(...this.#writes.releaseEnded());
    const target = this.#mode === 'backup' ? 'backup' : 'primary';
    const stream = this.#mode === 'error' ? undefined : this.#streamOf(target);
    while (
      stream !== undefined &&
      this.#mayWrite &&
      this.#waiting.length > 0 &&
      this.#writes.count < stream.depth
    ) {
      this.#writeNext(this.#waiting, target, stream);
    }
    this.#pumpAside();
    this.#tellAside(this.#canWriteAside ? 0 : this.#aside.length);
    if (this.#hasNowhereToGo && this.#waiting.length > 0)
      return this.#giveUp(this.#options.watch.lastProblem?.text ?? 'its time was over');
    this.#finishDraining();
  }

  get #mayWrite(): boolean {
    const isAsideFull = this.#canWriteAside && this.#aside.length >= MOST_ASIDE;
    return this.#isOpen && this.#next === undefined && this.#catchUp.phase !== 'last' && !isAsideFull;
  }

  #pumpAside(): void {
    if (this.#mode !== 'partial' || this.#next !== undefined) return;
    if (!this.#isBackupAway) this.#asideWrites.releaseEnded();
    const { backup } = this.#options;
    while (
      backup !== undefined &&
      this.#canWriteAside &&
      this.#aside.length > 0 &&
      this.#asideWrites.count < backup.depth
    ) {
      this.#writeNext(this.#aside, 'backup', backup);
    }
    // Past its time what is aside has nowhere to go.
    if (this.#isPastDeadline && !this.#canWriteAside && this.#haveEnded && this.#aside.length > 0)
      this.#enter({ mode: 'error', reason: this.#awayReason });
  }

  #tellAside(batches: number): void {
    if (batches === this.#toldAside) return;
    this.#toldAside = batches;
    this.#options.onAside?.(batches);
  }

  #writeNext(from: Waiting[], target: Target, stream: Stream): void {
    const what = this.#sliced(from.shift()!);
    if (what.batch.frames > 0) this.#write(what, target, stream);
    else what.batch.release();
  }

  #streamOf(target: Target): Stream | undefined {
    return target === 'primary' ? this.#options.primary : this.#options.backup;
  }

  #sliced(what: Waiting): Waiting {
    const { account, slice, random = Math.random, origins } = this.#options;
    return sliced(what, account, { slice, random, origins });
  }

  #write(what: Waiting, target: Target, stream: Stream): void {
    const { batch } = what;
    const outstanding = this.#mode === 'partial' && target === 'backup' ? this.#asideWrites : this.#writes;
    const write = outstanding.begin(what, target);
    // The stream reads it until the outcome is known, even when this actor has failed meanwhile and its
    // successor is done with the batch.
    batch.retain();
    const end = (outcome: Settled | DeliveryError): void => {
      batch.release();
      this.#context.self.tell({ kind: 'written', write, outcome });
    };
    started(() => stream.write(batch)).then(end, (error: unknown) => end(asDeliveryError(error, batch)));
  }

  #onWritten(write: Write, outcome: Settled | DeliveryError): void {
    const isAside = this.#asideWrites.has(write);
    // A write of a failed predecessor: its batch was inherited and is written anew.
    if (!(isAside ? this.#asideWrites : this.#writes).end(write, outcome)) return;
    this.#note(write, outcome);
    this.#count(write, outcome);
    if (outcome instanceof DeliveryError) this.#onHandedBack(write.target, isAside, outcome);
    if (this.#next !== undefined && this.#haveEnded) this.#turnTo(this.#next);
    this.#pump();
  }

  #onHandedBack(target: Target, isAside: boolean, error: DeliveryError): void {
    if (isAside) return this.#onAsideFailed(error);
    if (error.code !== 'AWAY') return this.#onFailure(target, error);
    if (this.#mode === 'normal' && this.#next === undefined) this.#show('partial', error.message);
  }

  /** What is aside waits then, and the others go on. */
  #onAsideFailed(error: DeliveryError): void {
    const isFirst = !this.#isBackupAway;
    this.#isBackupAway = true;
    if (this.#asideWrites.haveEnded && this.#next === undefined)
      this.#aside.unshift(...this.#asideWrites.takeLeft());
    if (isFirst && this.#next === undefined) this.#show('partial', `${this.#awayReason}; ${error.message}`);
  }

  /** No outcome is awaited any more. */
  get #haveEnded(): boolean {
    return this.#writes.haveEnded && this.#asideWrites.haveEnded;
  }

  get #awayReason(): string {
    return this.#options.primary.away ?? 'a part of the primary was away';
  }

  #count({ target, what: { batch } }: Write, outcome: Settled | DeliveryError): void {
    const { account, origins } = this.#options;
    const {
      delivered,
      rejected,
      discarded = 0,
    } = outcome instanceof DeliveryError ? outcome.settled : outcome;
    const end = target === 'primary' ? 'delivered' : 'backedUp';
    move(account, rejected, 'queued', 'rejected');
    move(account, discarded, 'queued', 'discarded');
    move(account, delivered, 'queued', end);
    if (end === 'delivered' || origins === undefined) return;
    origins.ended(
      outcome instanceof DeliveryError ? without(batch.origins, outcome.undelivered.origins) : batch.origins,
      'stored',
    );
  }

  #note({ target, what: { batch } }: Write, outcome: Settled | DeliveryError): void {
    const { watch } = this.#options;
    if (!(outcome instanceof DeliveryError))
      return watch.wrote(target, { frames: outcome.delivered, bytes: batch.length });
    watch.failed(
      target,
      { frames: outcome.settled.delivered, bytes: batch.length - outcome.undelivered.length },
      outcome.message,
    );
  }

  #onFailure(target: Target, error: DeliveryError): void {
    this.#awaitsRejected = error.code === 'REJECTED';
    const toBackup = target === 'primary' && this.#options.backup !== undefined && !this.#awaitsRejected;
    // The first failure says why; those behind it fail because of it. A failure also overrules a return to
    // the primary.
    if (this.#next === undefined || this.#next.mode === 'normal')
      this.#next = { mode: toBackup ? 'backup' : 'error', reason: error.message };
  }

  /** Nothing is outstanding. */
  #turnTo({ mode, reason }: { readonly mode: StreamMode | 'retired'; readonly reason: string }): void {
    if (mode === 'retired') return this.#isRetired ? this.#context.renew() : undefined;
    if (this.#catchUp.phase === 'resting' && mode === 'normal') {
      this.#next = undefined;
      return this.#catchUp.sendLast();
    }
    // The backup failed while it was to rest.
    if (this.#catchUp.phase === 'resting') this.#catchUp.end();
    if (mode === 'normal') this.#returnToPrimary(reason);
    else this.#enter({ mode, reason });
  }

  /** What lies in the backup goes first, also what came there since the primary was asked. */
  #returnToPrimary(reason: string): void {
    const isPartial = this.#mode === 'partial';
    if (isPartial) this.#options.primary.readmit?.();
    if (!this.#catchUp.isDue) return this.#enter({ mode: 'normal', reason });
    if (isPartial) this.#enter({ mode: this.#canWriteAside ? 'backup' : 'error', reason });
    this.#next = undefined;
    this.#startReplay();
  }

  /** Nothing is outstanding: what was handed back waits again, before all else, and the mode changes. */
  #enter(next: { readonly mode: StreamMode; readonly reason: string }): void {
    this.#waiting = this.#takeAll();
    this.#next = undefined;
    this.#isBackupAway = false;
    if (next.mode !== 'error') this.#awaitsRejected = false;
    this.#catchUp.forgetWhatWasSaid();
    const isPartial = next.mode === 'normal' && this.#options.primary.away !== undefined;
    if (isPartial) this.#show('partial', this.#awayReason);
    else this.#show(next.mode, next.reason);
    if (this.#mode !== 'error') this.#askForMore();
    else this.#options.onStuck?.();
  }

  #show(mode: Mode, reason: string): void {
    this.#mode = mode;
    this.#options.watch.enter(this.mode, reason);
    this.#logMode(reason);
    this.#scheduleRetry();
  }

  #logMode(reason: string): void {
    const { log } = this.#context;
    const { retryMs, errorRetryMs } = this.#options;
    const waiting = [...this.#aside, ...this.#waiting].reduce((sum, { batch }) => sum + batch.frames, 0);
    if (this.#mode === 'partial' && this.#canWriteAside)
      return log.warn(
        `mode backup: ${reason}; its frames go to the backup, all others to the primary, which is asked every ${retryMs} ms; nothing is lost, and it goes on by itself`,
      );
    if (this.#mode === 'partial')
      return log.error(
        `mode error: ${reason}; its frames wait, all others go to the primary, which is asked every ${errorRetryMs} ms; fix the cause, and it goes on by itself: until then frames pile up, and then clients wait`,
      );
    switch (this.#mode) {
      case 'normal':
        return log.info(`mode normal: ${reason}`);
      case 'backup':
        return log.warn(
          `mode backup: ${reason}; ${waiting} ${plural(waiting, 'frame')} and what follows go to the backup, the primary is tried every ${retryMs} ms; nothing is lost, and once the cause is mended it goes on by itself`,
        );
      case 'error':
        return log.error(
          `mode error: ${reason}; ${waiting} ${plural(waiting, 'frame waits', 'frames wait')}, tried again every ${errorRetryMs} ms; mend the cause, and it goes on by itself: until then frames pile up, and then clients wait`,
        );
    }
  }

  #scheduleRetry(): void {
    this.#retry?.cancel();
    this.#retry = undefined;
    if (this.#mode === 'normal' || this.#context.self.state === 'stopped') return;
    const afterMs = this.mode === 'backup' ? this.#options.retryMs : this.#options.errorRetryMs;
    this.#retry = this.#context.clock.after(afterMs, () => this.#tellSelf({ kind: 'retry' }));
  }

  /**
   * Asks the primary whether it is back; also the backup when that can't be written, once the primary has
   * said no.
   */
  #probe(): void {
    if (
      this.#isProbing ||
      this.#mode === 'normal' ||
      this.#next !== undefined ||
      this.#isPastDeadline ||
      this.#catchUp.phase !== 'none'
    )
      return;
    this.#isProbing = true;
    this.#ask('primary', this.#options.primary);
  }

  #ask(target: Target, stream: Stream): void {
    started(() => stream.probe()).then(
      () => this.#tellSelf({ kind: 'probed', target, problem: undefined }),
      (error: unknown) => this.#tellSelf({ kind: 'probed', target, problem: messageOf(error) }),
    );
  }

  #onProbed(target: Target, answer: string | undefined): void {
    const problem = answer ?? (target === 'primary' ? this.#stillAway : undefined);
    if (
      problem !== undefined &&
      target === 'primary' &&
      this.mode === 'error' &&
      this.#options.backup !== undefined &&
      !this.#awaitsRejected
    ) {
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
    this.#goOnWith(target);
    this.#pump();
  }

  /** While a part is away: why there is no use in letting it in. */
  get #stillAway(): string | undefined {
    const { away, hasReturned } = this.#options.primary;
    return this.#mode === 'partial' && hasReturned !== true ? away : undefined;
  }

  /** It can be written again. */
  #goOnWith(target: Target): void {
    if (this.#mode === 'partial') {
      if (target === 'backup') return this.#writeAsideAgain();
      // At the end of its life a stream leaves its backup to the next one.
      if (this.#context.self.state === 'draining' && this.#canWriteAside) return;
      this.#next = { mode: 'normal', reason: 'what was away of the primary is back' };
    } else {
      if (target === 'primary') this.#options.primary.readmit?.();
      if (target === 'primary' && this.#catchUp.isDue) return this.#startReplay();
      this.#next =
        target === 'primary'
          ? { mode: 'normal', reason: 'the primary is back' }
          : { mode: 'backup', reason: 'the backup can be written again, the primary is away' };
    }
    if (this.#haveEnded) this.#turnTo(this.#next);
  }

  #writeAsideAgain(): void {
    this.#isBackupAway = false;
    this.#show('partial', `${this.#awayReason}; the backup can be written again`);
  }

  /** What an earlier life has backed up goes first. */
  #beginInBackup(): void {
    this.#enter({ mode: 'backup', reason: this.#catchUp.whatWasLeft });
    this.#probe();
  }

  /**
   * The primary is back. At the end of its life a stream leaves its backup to the next one, unless that can't
   * be written either.
   */
  #startReplay(): void {
    if (this.#context.self.state === 'draining' && this.#mode === 'backup') return;
    this.#catchUp.start(this.#mode === 'backup');
  }

  #onReplayed(problem: string | undefined): void {
    const ended = this.#catchUp.end();
    if (this.#next?.mode === 'retired') return;
    if (problem !== undefined) {
      this.#catchUp.sayNotSent(problem);
      this.#scheduleRetry();
    } else if (ended === 'last' && (!this.#catchUp.isDue || this.#options.primary.away !== undefined)) {
      this.#enter({ mode: 'normal', reason: 'the primary is back, and has had what was backed up' });
    } else if (!this.#isPastDeadline && (this.#context.self.state !== 'draining' || this.#mode === 'error')) {
      this.#restBackup();
    }
    this.#pump();
  }

  /** Near the end of the backup: what comes waits, so that there is an end. */
  #restBackup(): void {
    this.#catchUp.rest();
    this.#next ??= { mode: 'normal', reason: 'the primary is back' };
    if (this.#writes.count === 0) this.#turnTo(this.#next);
  }

  /** At the end of the daemon's life: the next one goes on. */
  #pauseReplay(): void {
    switch (this.#catchUp.phase) {
      case 'sending':
        return void this.#catchUp.stop();
      case 'resting':
        this.#catchUp.end();
        if (this.#next?.mode === 'normal') this.#next = undefined;
        return;
      // Nothing joins the backup any more, and what waits is waiting for it.
      case 'last':
      case 'none':
        return;
    }
  }

  #cutReplay(): void {
    void this.#catchUp.stop();
    void this.#options.primary.close({ deadlineMs: 0 });
  }

  /**
   * Batches of which nothing is settled are given back from the end, while nothing can be written; they come
   * again when it can.
   */
  #giveBack(): void {
    if (this.#mode !== 'error' || this.#next !== undefined || this.#context.self.state === 'draining') return;
    const { account, origins } = this.#options;
    while (this.#waiting.length > 0 && giveBack(this.#waiting.at(-1)!, account, origins)) {
      this.#waiting.pop();
      this.#hasGivenBack = true;
    }
  }

  #askForMore(): void {
    if (!this.#hasGivenBack) return;
    this.#hasGivenBack = false;
    this.#options.onReady?.();
  }

  /**
   * The time to stop is nearly over: what the primary still has is handed back, and goes to the backup or is
   * left over.
   */
  #onDeadline(): void {
    const late: Target = this.#isPastDeadline ? 'backup' : 'primary';
    this.#isPastDeadline = true;
    if (this.#catchUp.phase !== 'none') this.#cutReplay();
    if (this.#mustGoToBackup)
      this.#enter({ mode: 'backup', reason: 'the time to stop is nearly over, and REJECTED has no room' });
    if (this.#hasNowhereToGo) return this.#giveUp('the time to stop was over');
    // Closing is how a stream is made to hand back at once what hangs in it.
    void this.#streamOf(late)?.close({ deadlineMs: 0 });
    if (late === 'primary') this.#deadline.watchBackup();
    this.#pump();
  }

  #giveUpPrimary(): void {
    if (this.#isPastDeadline) return;
    this.#isPastDeadline = true;
    this.#retry?.cancel();
    if (this.#catchUp.phase !== 'none') this.#cutReplay();
    if (this.#mustGoToBackup)
      this.#enter({ mode: 'backup', reason: 'its time is over, and REJECTED has no room' });
    if (!this.#hasNowhereToGo) void this.#options.primary.close({ deadlineMs: 0 });
    this.#pump();
  }

  /** What waits for room in REJECTED is safe in the backup at least. */
  get #mustGoToBackup(): boolean {
    return (
      this.#mode === 'error' &&
      this.#next === undefined &&
      this.#awaitsRejected &&
      this.#options.backup !== undefined
    );
  }

  /** Past its time, and nothing can be written. */
  get #hasNowhereToGo(): boolean {
    return this.#isPastDeadline && (!this.#isOpen || (this.#mode === 'error' && this.#next === undefined));
  }

  #retire(primary: Stream, withinMs: number): void {
    // One that took over from an actor that failed may have the new parts already.
    if (
      primary !== this.#options.primary ||
      this.#next?.mode === 'retired' ||
      this.#context.self.state === 'draining'
    )
      return;
    this.#next = { mode: 'retired', reason: 'its configuration has changed' };
    this.#retry?.cancel();
    void closeWithin(withinMs, { ...this.#options, opening: this.#opening, clock: this.#context.clock }).then(
      () => this.#tellSelf({ kind: 'retired' }),
    );
  }

  #onRetired(): void {
    this.#isRetired = true;
    if (this.#haveEnded) this.#turnTo(this.#next!);
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
    if (batch.frames === 0) return batch.release();
    this.#leaving++;
    void this.#options.onLeftOver(batch, reason).then((end) => {
      this.#leaving--;
      if (end !== 'queued') move(this.#options.account, batch.frames, 'queued', end);
      // What nothing keeps is not settled: no receipt may count it.
      if (end !== 'discarded') batch.release();
      this.#finishDraining();
    });
  }

  get #isHolding(): boolean {
    return this.#writes.count + this.#asideWrites.count + this.#waiting.length + this.#aside.length > 0;
  }

  #finishDraining(): void {
    if (
      this.#context.self.state !== 'draining' ||
      this.#isClosing ||
      this.#isHolding ||
      this.#leaving > 0 ||
      this.#catchUp.phase !== 'none'
    )
      return;
    this.#isClosing = true;
    this.#retry?.cancel();
    this.#deadline.cancel();
    void closeAll(this.#options).then(() => this.#context.drained());
  }
}

/** What a call comes to, even when it throws before it has made a promise. */
async function started<T>(call: () => Promise<T>): Promise<T> {
  return call();
}

/** Streams throw nothing but DeliveryError; should one break its word, nothing is lost by it. */
function asDeliveryError(error: unknown, batch: Batch): DeliveryError {
  if (error instanceof DeliveryError) return error;
  return new DeliveryError('IO', String(error), batch.retain(), { delivered: 0, rejected: 0 });
}
