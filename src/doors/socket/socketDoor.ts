// The Unix socket, as a door: its listener is an actor, and its clients are children of that.
import type { ActorRef } from '../../actors/actor.js';
import type { Door } from '../door.js';
import type { Entrance } from '../entrance.js';
import { Listener, type ListenerMessage, type ListenerSettings } from './listener.js';

export class SocketDoor implements Door {
  readonly name = 'socket';
  readonly #settings: ListenerSettings;
  /** From `open` on. */
  #listener!: ActorRef<ListenerMessage>;

  constructor(settings: ListenerSettings) {
    this.#settings = settings;
  }

  get problem(): string | undefined {
    return this.#settings.socket.problem;
  }

  open(entrance: Entrance): void {
    const options = { ...this.#settings, entrance };
    this.#listener = entrance.system.spawn<ListenerMessage>(
      this.name,
      (context) => new Listener(context, options),
    );
  }

  pause(): void {
    this.#listener.tell({ kind: 'pressure', pressure: 'over' });
  }

  resume(): void {
    this.#listener.tell({ kind: 'pressure', pressure: 'under' });
  }

  quiesce(withinMs: number): Promise<void> {
    return new Promise((onQuiet) => this.#listener.tell({ kind: 'quiesce', withinMs, onQuiet }));
  }

  release(): Promise<void> {
    this.#listener.stop();
    return this.#listener.stopped;
  }
}
