// The actor system: mailboxes, supervision with back-off, poison pills, paths. There is no task per message:
// a tell to an idle actor runs on the teller's stack, one to a busy actor waits in its mailbox, and what a
// busy actor tells back to its teller waits likewise.
import { asBug } from '../errors.js';
import type { Clock } from '../clock.js';
import type { Log } from '../log/log.js';
import type { Actor, ActorContext, ActorRef, ActorState, Supervision } from './actor.js';
import { Mailbox } from './mailbox.js';

const BACK_OFF_MS = { first: 100, most: 10_000 } as const;
/**
 * After so many failures on the same message it is given up: one bad message must not stop an actor for ever.
 */
const TRIES_PER_MESSAGE = 3;

const PILL = Symbol('poison pill');

export class ActorSystem {
  constructor(
    readonly clock: Clock,
    readonly log: Log,
  ) {}

  /**
   * Starts an actor at the top: its path is `/name`, and with no name that of the root, so that its children
   * stand at the top.
   */
  spawn<M>(
    name: string,
    make: (context: ActorContext<M>) => Actor<M>,
    supervise: Supervision<M> = 'restart',
  ): ActorRef<M> {
    return new Cell(this, name === '' ? '' : `/${name}`, make, supervise);
  }
}

/** The lasting half of an actor: its reference, mailbox and supervision. The actor itself may be replaced. */
class Cell<M> implements ActorRef<M>, ActorContext<M> {
  readonly self = this;
  readonly clock: Clock;
  readonly log: Log;
  readonly stopped: Promise<void>;
  #markStopped: () => void = () => undefined;
  #state: ActorState = 'starting';
  #busy = false;
  #actor: Actor<M> | undefined;
  #pilled = false;
  readonly #mailbox = new Mailbox<M | typeof PILL>();
  #backOffMs: number = BACK_OFF_MS.first;
  #failedOn: { message: M; times: number } | undefined;

  constructor(
    readonly system: ActorSystem,
    readonly path: string,
    readonly make: (context: ActorContext<M>) => Actor<M>,
    readonly supervise: Supervision<M>,
  ) {
    this.clock = system.clock;
    this.log = system.log.at(path);
    this.stopped = new Promise((resolve) => (this.#markStopped = resolve));
    this.#actor = make(this);
    this.#state = 'running';
    this.#work();
  }

  get state(): ActorState {
    return this.#state;
  }

  spawn<C>(
    name: string,
    make: (context: ActorContext<C>) => Actor<C>,
    supervise: Supervision<C> = 'restart',
  ): ActorRef<C> {
    return new Cell(this.system, `${this.path}/${name}`, make, supervise);
  }

  tell(message: M): void {
    if (this.#busy || this.#state === 'starting') return this.#mailbox.push(this.#keep(message));
    if (this.#state === 'stopped') return this.#afterEnd(message);
    this.#run(message);
    this.#work();
  }

  stop(): void {
    if (this.#pilled) return;
    this.#pilled = true;
    this.#mailbox.push(PILL);
    if (!this.#busy && this.#state === 'running') this.#work();
  }

  drained(): void {
    if (this.#state === 'stopped') return;
    this.#state = 'stopped';
    this.#markStopped();
    for (let late = this.#mailbox.shift(); late !== undefined; late = this.#mailbox.shift())
      if (late !== PILL) this.#afterEnd(late);
  }

  /** An actor that tells itself something while it is being made has lent nothing yet. */
  #keep(message: M): M {
    return this.#actor === undefined ? message : this.#actor.keep(message);
  }

  #work(): void {
    while (!this.#busy && (this.#state === 'running' || this.#state === 'draining')) {
      const message = this.#mailbox.shift();
      if (message === undefined) return;
      this.#run(message);
    }
  }

  #run(message: M | typeof PILL): void {
    this.#busy = true;
    try {
      if (message === PILL) {
        this.#state = 'draining';
        this.#actor!.drain();
      } else {
        const pending = this.#actor!.receive(message);
        if (pending !== undefined) return this.#await(message, pending);
      }
      this.#succeeded(message);
    } catch (error) {
      this.#fail(message, error);
    }
  }

  #await(message: M, pending: Promise<void>): void {
    pending.then(
      () => {
        this.#succeeded(message);
        this.#work();
      },
      (error: unknown) => this.#fail(message, error),
    );
  }

  #succeeded(message: M | typeof PILL): void {
    this.#busy = false;
    if (this.#failedOn === undefined || this.#failedOn.message !== message) return;
    this.#failedOn = undefined;
    this.#backOffMs = BACK_OFF_MS.first;
  }

  #fail(message: M | typeof PILL, error: unknown): void {
    const text = asBug(error);
    const waiting = this.#takeWaiting();
    // The successor is what this actor was before it is told more; one that was draining drains again, once
    // all is told.
    const pill = message === PILL || this.#state === 'draining' ? ([PILL] as const) : [];
    const again = this.#retry(message, error);
    const messages = [...this.#handBack(), ...again, ...waiting, ...pill];
    this.#busy = false;
    if (this.supervise === 'restart') {
      this.#state = 'starting';
      this.#mailbox.putBack(messages);
      this.log.error(`failed, starts again in ${this.#backOffMs} ms with what it held: ${text}`, {
        reason: String(error),
        retryMs: this.#backOffMs,
      });
      this.clock.after(this.#backOffMs, () => this.#replace());
      this.#backOffMs = Math.min(this.#backOffMs * 2, BACK_OFF_MS.most);
    } else {
      this.#state = 'stopped';
      this.log.error(`failed and ends: ${text}`, { reason: String(error) });
      this.supervise({ error, undelivered: messages.filter((m): m is M => m !== PILL) });
      this.#markStopped();
    }
  }

  #takeWaiting(): (M | typeof PILL)[] {
    const waiting: (M | typeof PILL)[] = [];
    for (let next = this.#mailbox.shift(); next !== undefined; next = this.#mailbox.shift())
      waiting.push(next);
    return waiting;
  }

  /** The failed message once more, unless it has failed too often. */
  #retry(message: M | typeof PILL, error: unknown): M[] {
    if (message === PILL) return [];
    const times = this.#failedOn?.message === message ? this.#failedOn.times + 1 : 1;
    if (times < TRIES_PER_MESSAGE) {
      const kept = times === 1 ? this.#keep(message) : message;
      this.#failedOn = { message: kept, times };
      return [kept];
    }
    this.#failedOn = undefined;
    this.#abandon(message, error);
    return [];
  }

  /** A failed actor may fail at this too; then what waits must not go with it. */
  #handBack(): readonly M[] {
    try {
      return this.#actor!.handBack();
    } catch (error) {
      const reason = String(error);
      this.log.fatal(`what it held is lost because handing it back failed: ${reason}`, { reason });
      return [];
    }
  }

  #abandon(message: M, error: unknown): void {
    try {
      this.#actor!.abandon(message, error);
    } catch (second) {
      const reason = String(second);
      this.log.fatal(`a message is lost because giving it up failed: ${reason}`, { reason });
    }
  }

  #replace(): void {
    try {
      this.#actor = this.make(this);
    } catch (error) {
      const [reason, retryMs] = [String(error), this.#backOffMs];
      this.log.error(`can't start again: ${reason}; next try in ${retryMs} ms`, { reason, retryMs });
      this.clock.after(this.#backOffMs, () => this.#replace());
      return;
    }
    this.#state = 'running';
    this.#work();
  }

  #afterEnd(message: M): void {
    const kind = (message as { kind?: string } | undefined)?.kind ?? 'a message';
    this.log.warn(`got '${kind}' after it had stopped: the message is given up`);
    this.#abandon(message, new Error('the actor has stopped'));
  }
}
