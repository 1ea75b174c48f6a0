// The contract of an actor: one message at a time, in the order they were told, each run to its end; state is
// touched nowhere else.
import type { Clock } from '../clock.js';
import type { Log } from '../log/log.js';

/**
 * `draining`: the poison pill has come, what was told before it is done, and the actor ends what it holds.
 */
export type ActorState = 'starting' | 'running' | 'draining' | 'stopped';

/** What others hold of an actor. It stays the same when a failed actor is replaced. */
export interface ActorRef<in M> {
  /** As `/bucket.requests/stream.kafka_01`; stands on each log line. */
  readonly path: string;
  readonly state: ActorState;
  /** Resolves when the actor has stopped. */
  readonly stopped: Promise<void>;
  /**
   * Hands over a message. An idle actor runs it on the caller's stack, before this returns: what the teller
   * holds in its hands may have changed by then, so tell last. A busy one keeps it, and what it runs for
   * another teller is done first. Borrowed bytes in it are good only until this returns: an actor that takes
   * any says in `keep` how to own them.
   */
  tell(message: M): void;
  /** The poison pill: after all that was told before, the actor drains and stops. Told twice is told once. */
  stop(): void;
}

/** Resolves when all of them have stopped. */
export async function stopAll(actors: readonly Pick<ActorRef<never>, 'stop' | 'stopped'>[]): Promise<void> {
  for (const actor of actors) actor.stop();
  await Promise.all(actors.map(({ stopped }) => stopped));
}

/** What an actor has of the system it lives in. */
export interface ActorContext<M> {
  readonly self: ActorRef<M>;
  readonly path: string;
  readonly log: Log;
  readonly clock: Clock;
  /** Starts a child: its path is below this one's. */
  spawn<C>(
    name: string,
    make: (context: ActorContext<C>) => Actor<C>,
    supervise?: Supervision<C>,
  ): ActorRef<C>;
  /** Called by a draining actor once nothing is left. */
  drained(): void;
}

export abstract class Actor<M> {
  /**
   * Takes one message. The next waits until a returned promise settles. A throw ends this actor: see
   * `Supervision`.
   */
  abstract receive(message: M): void | Promise<void>;

  /**
   * The poison pill was reached: end what is held, go on receiving, and call `context.drained()` when done.
   */
  abstract drain(): void;

  /** Makes a message fit to wait in the mailbox: copies what is only borrowed. */
  keep(message: M): M {
    return message;
  }

  /**
   * After a failure: what this actor holds, as messages that build it up again in its successor. Nothing may
   * be lost here.
   */
  handBack(): readonly M[] {
    return [];
  }

  /**
   * A message that failed every successor too: settle it in some other way (reject it with a reason), for it
   * will not be told again.
   */
  // Actors whose messages carry no frames have nothing to settle.
  // eslint-disable-next-line @typescript-eslint/no-unused-vars
  abandon(_message: M, _error: unknown): void {
    return;
  }
}

/** What a supervisor learns when a handler has thrown. */
export interface Failure<M> {
  readonly error: unknown;
  /** What the actor held first, then the message that failed, then what waited. */
  readonly undelivered: readonly M[];
}

/**
 * `restart`: a successor takes over, after a back-off, all that was undelivered. Or a function: the actor
 * stops, and it decides.
 */
export type Supervision<M> = 'restart' | ((failure: Failure<M>) => void);
