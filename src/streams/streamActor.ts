// One destination of one bucket, with its backup: in which of the two a batch ends, and in which order. What
// to do, and when, is in streamStep.ts; here it is done: streams are written and asked, timers are set.
// Promise: each batch that comes is said to its source to be settled, or goes back to it, once.
import { Actor, type ActorContext } from '../actors/actor.js';
import type { Timer } from '../clock.js';
import { messageOf } from '../errors.js';
import type { Batch } from '../frames/batch.js';
import { closeAll, closeWithin } from './openAndClose.js';
import { logMode } from './modeLine.js';
import { DeliveryError, type Settled, type Stream } from './stream.js';
import { StreamAssembly } from './streamAssembly.js';
import type { StreamEffect, StreamEvent } from './streamEvent.js';
import type { StreamMessage } from './streamMessage.js';
import { takeAll } from './streamModes.js';
import type { StreamActorOptions } from './streamOptions.js';
import { type StreamState, type Write, newState, shownMode } from './streamState.js';
import type { Target } from './waiting.js';
import type { StreamMode } from './streamStats.js';
import { step } from './streamStep.js';

type Configure = Extract<StreamMessage, { readonly kind: 'configure' }>;
type EffectOf<K extends StreamEffect['kind']> = Extract<StreamEffect, { readonly kind: K }>;

export class StreamActor extends Actor<StreamMessage> {
  readonly #context: ActorContext<StreamMessage>;
  readonly #state: StreamState = newState();
  #assembly: StreamAssembly;
  /** What is to come in its place. */
  #configure: Configure | undefined;
  readonly #events: StreamEvent[] = [];
  readonly #effects: StreamEffect[] = [];
  #retry: Timer | undefined;
  #hasHandedBack = false;

  constructor(context: ActorContext<StreamMessage>, options: StreamActorOptions) {
    super();
    this.#context = context;
    this.#assembly = this.#assemble(options);
  }

  /** As it shows. */
  get mode(): StreamMode {
    return shownMode(this.#state, this.#assembly.facts);
  }

  override receive(message: StreamMessage): void {
    if (message.kind === 'configure') return this.#onConfigure(message);
    this.#step(
      message.kind === 'batch' ? { kind: 'batch', what: this.#assembly.counts.accepted(message) } : message,
    );
  }

  override drain(): void {
    this.#step({ kind: 'drain' });
  }

  /** All that is not settled; what was to be said and is not yet, is said. */
  override handBack(): readonly StreamMessage[] {
    this.#hasHandedBack = true;
    this.#retry?.cancel();
    this.#assembly.end();
    if (this.#state.toldAside > 0) this.#assembly.options.source.aside(0);
    const undone = this.#effects.splice(0);
    const facts = this.#assembly.facts;
    const left = takeAll({ state: this.#state, facts, effects: undone });
    const leaving = undone.flatMap((effect) => (effect.kind === 'leaveOver' ? [effect.what] : []));
    for (const effect of undone) if (isOfABatch(effect)) this.#run(effect);
    return [{ kind: 'inherit', waiting: [...leaving, ...left] }];
  }

  override abandon(message: StreamMessage, error: unknown): void {
    const waiting =
      message.kind === 'batch'
        ? [this.#assembly.counts.accepted(message)]
        : message.kind === 'inherit'
          ? message.waiting
          : [];
    if (message.kind === 'configure') message.onTaken();
    this.#step({ kind: 'abandon', waiting, reason: `the stream failed on it: ${String(error)}` });
  }

  /**
   * What its streams tell comes as long as they are this actor's: once it has stopped, or has others, or a
   * successor, it matters to nobody.
   */
  #assemble(options: StreamActorOptions): StreamAssembly {
    const assembly = new StreamAssembly(options, this.#context, (event) => {
      const isMine = !this.#hasHandedBack && this.#assembly === assembly;
      if (isMine && this.#context.self.state !== 'stopped') this.#context.self.tell(event);
    });
    return assembly;
  }

  /** One that took over from an actor that failed may have the new streams already. */
  #onConfigure(message: Configure): void {
    if (message.options.primary === this.#assembly.options.primary) return message.onTaken();
    this.#configure = message;
    this.#step({ kind: 'change' });
  }

  /** What comes of an effect at once is a step of its own, after all that is to be done before. */
  #step(event: StreamEvent): void {
    this.#events.push(event);
    if (this.#events.length > 1) return;
    for (; this.#events.length > 0; this.#events.shift()) {
      this.#effects.push(...step(this.#state, this.#events[0]!, this.#assembly.facts));
      while (this.#effects.length > 0) this.#run(this.#effects.shift()!);
    }
  }

  #run(effect: StreamEffect): void {
    const { options, counts, stopDeadline } = this.#assembly;
    switch (effect.kind) {
      case 'write':
        return this.#write(effect.write);
      case 'count':
        return counts.ended(effect.write, effect.outcome);
      case 'settled':
        return counts.settled(effect.what, effect.write);
      case 'letGo':
        return effect.batch.release();
      case 'giveBack':
        return counts.gaveBack(effect.what);
      case 'leaveOver':
        return this.#leaveOver(effect);
      case 'show':
        options.stats.enter(effect.shown, effect.reason);
        return logMode(effect, options, this.#context.log);
      case 'retry':
        return this.#scheduleRetry(effect.as);
      case 'watch':
        return stopDeadline.watch(effect.deadline);
      case 'ready':
      case 'stuck':
        return options.source[effect.kind]();
      case 'aside':
        return options.source.aside(effect.batches);
      case 'closeToChange':
        return this.#closeToChange();
      case 'takeParts':
        return this.#takeParts();
      case 'end':
        return void closeAll(options).then(() => this.#context.drained());
      case 'ask':
      case 'notBack':
      case 'readmit':
      case 'replay':
      case 'stopReplay':
      case 'notSent':
      case 'forgetNotSent':
      case 'cut':
        return this.#runOnStreams(effect);
    }
  }

  #runOnStreams(
    effect: EffectOf<
      'ask' | 'notBack' | 'readmit' | 'replay' | 'stopReplay' | 'notSent' | 'forgetNotSent' | 'cut'
    >,
  ): void {
    const { options, catchUp } = this.#assembly;
    switch (effect.kind) {
      case 'ask':
        return this.#ask(effect.target);
      case 'notBack':
        this.#context.log.debug(`${effect.target} is not back yet: ${effect.problem}`);
        return options.stats.retried(effect.problem);
      case 'readmit':
        options.primary.readmit?.();
        return this.#step({ kind: 'readmitted', after: effect.after });
      case 'replay':
        return effect.isNew ? catchUp.start(effect.phase) : catchUp.run(effect.phase);
      case 'stopReplay':
        return void catchUp.stop();
      case 'notSent':
        return catchUp.sayNotSent(effect.problem);
      case 'forgetNotSent':
        return catchUp.forgetWhatWasSaid();
      case 'cut':
        return void this.#streamOf(effect.target)?.close({ deadlineMs: 0 });
    }
  }

  #streamOf(target: Target): Stream | undefined {
    return this.#assembly.options[target];
  }

  #write(write: Write): void {
    write.what = this.#assembly.counts.sliced(write.what);
    const { batch } = write.what;
    if (batch.frames === 0) return this.#step({ kind: 'empty', write });
    const stream = this.#streamOf(write.target)!;
    // The stream reads it until the outcome is known, even when this actor has failed meanwhile and its
    // successor is done with the batch.
    batch.retain();
    const end = (outcome: Settled | DeliveryError): void => {
      batch.release();
      this.#context.self.tell({ kind: 'written', write, outcome });
    };
    started(() => stream.write(batch)).then(end, (error: unknown) => end(asDeliveryError(error, batch)));
  }

  #ask(target: Target): void {
    const { tell } = this.#assembly;
    started(() => this.#streamOf(target)!.probe()).then(
      () => tell({ kind: 'probed', target, problem: undefined }),
      (error: unknown) => tell({ kind: 'probed', target, problem: messageOf(error) }),
    );
  }

  #scheduleRetry(as: EffectOf<'retry'>['as']): void {
    this.#retry?.cancel();
    this.#retry = undefined;
    if (as === 'never' || this.#context.self.state === 'stopped') return;
    const {
      options: { retryMs, errorRetryMs },
      tell,
    } = this.#assembly;
    const afterMs = as === 'backup' ? retryMs : errorRetryMs;
    this.#retry = this.#context.clock.after(afterMs, () => tell({ kind: 'retry' }));
  }

  #closeToChange(): void {
    const { options, opened, tell } = this.#assembly;
    const { withinMs } = this.#configure!;
    const parts = { ...options, opening: opened, clock: this.#context.clock };
    void closeWithin(withinMs, parts).then(() => tell({ kind: 'closed' }));
  }

  #takeParts(): void {
    const { options, onTaken } = this.#configure!;
    this.#configure = undefined;
    this.#assembly.end();
    this.#assembly = this.#assemble(options);
    onTaken();
  }

  /** What is sliced out would not have been delivered, so it is not left over either. */
  #leaveOver({ what, reason, isLate }: EffectOf<'leaveOver'>): void {
    const { options, counts } = this.#assembly;
    const left = counts.sliced(what);
    const isOver = { kind: 'leftOver' } as const;
    if (left.batch.frames === 0) {
      counts.settled(left, undefined);
      return this.#step(isOver);
    }
    const why = isLate ? `not delivered when ${options.endReason?.() ?? 'the daemon stopped'}: ` : '';
    void options.onLeftOver(left.batch, `${why}${reason}`).then((end) => {
      counts.leftOver(left, end, `${why}${reason}`);
      this.#step(isOver);
    });
  }
}

function isOfABatch({ kind }: StreamEffect): boolean {
  return kind === 'count' || kind === 'settled' || kind === 'letGo' || kind === 'giveBack';
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
