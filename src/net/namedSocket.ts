// A socket that Kahe has bound to a path. Its file may go while the daemon lives (somebody's rm, a cleaner of
// old files): then it is bound again within a second or so, and nobody who is connected hears of it. Whatever
// else stands there by then is left alone.
import { lstatSync, unlinkSync } from 'node:fs';
import type { Server } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock, Timer } from '../clock.js';
import { messageOf } from '../errors.js';
import type { Log } from '../log/log.js';
import { type FileId, type SocketPlace, bindAt, leadsTo } from './bind.js';
import { type BoundSocket, LOOK_MS, holdUntilHeard, newServer } from './boundSocket.js';

/**
 * So many turns of the event loop without a connection, one after another, and the kernel's queue is empty:
 * each takes one at least.
 */
const QUIET_TURNS = 3;

/**
 * @param server what is to listen there; default: one for clients
 * @throws {AlreadyRunningError} a live daemon is there; {ConfigError} the path can't be used
 */
export async function bindSocket(place: SocketPlace, server?: Server): Promise<BoundSocket> {
  const socket = new NamedSocket(place, server ?? newServer());
  if (server === undefined) holdUntilHeard(socket.server);
  await socket.bind();
  return socket;
}

class NamedSocket implements BoundSocket {
  readonly #place: SocketPlace;
  readonly server: Server;
  /** Undefined: it is bound nowhere. */
  #file: FileId | undefined;
  #problem: string | undefined;
  #isBinding = false;
  #accepted = 0;
  #timer: Timer | undefined;
  readonly #end = new AbortController();

  constructor(place: SocketPlace, server: Server) {
    this.#place = place;
    this.server = server;
    server.on('connection', () => this.#accepted++);
  }

  get problem(): string | undefined {
    return this.#problem;
  }

  async bind(): Promise<void> {
    this.#file = await bindAt(this.#place, this.server, this.#end.signal);
  }

  watch(clock: Clock, log: Log): void {
    this.#timer = clock.every(LOOK_MS, () => this.#look(log));
  }

  unlink(): void {
    this.#timer?.cancel();
    this.#end.abort();
    if (this.#found() !== 'ours') return;
    try {
      unlinkSync(this.#place.path);
    } catch {
      // It is in nobody's way: a successor takes it over.
    }
  }

  /**
   * The server is not closed: libuv would remove whatever has its path by then, such as a successor's socket.
   * It ends with the process.
   */
  close(): void {
    this.server.on('connection', (socket) => socket.destroy()).unref();
  }

  #look(log: Log): void {
    if (this.#isBinding) return;
    if (this.#file === undefined || !leadsTo(this.#place.path, this.#file)) return void this.#bindAgain(log);
    if (this.#problem !== undefined)
      log.info(`${this.#name} leads here again`, { address: this.#place.path });
    this.#problem = undefined;
  }

  async #bindAgain(log: Log): Promise<void> {
    this.#isBinding = true;
    try {
      if (this.#problem === undefined) this.#lost(log);
      await this.#emptied();
      await this.bind();
      this.#problem = undefined;
      log.warn(
        `${this.#name} is bound again: new clients can connect; those that tried meanwhile could not`,
        {
          address: this.#place.path,
        },
      );
    } catch (error) {
      this.#failed(error, log);
    } finally {
      this.#isBinding = false;
    }
  }

  #lost(log: Log): void {
    const found = this.#found();
    // Binding it again says why.
    if (found === 'hidden') return;
    this.#problem = `${this.#name} ${found === 'nothing' ? 'is gone' : 'is another file now'}`;
    log.warn(
      `${this.#problem}: something has removed the socket's file, such as a cleaner of old files; Kahe binds it again, open connections go on`,
      { reason: this.#problem, address: this.#place.path },
    );
  }

  #failed(error: unknown, log: Log): void {
    if (this.#end.signal.aborted) return;
    // Its number is free now for another file.
    if (!this.server.listening) this.#file = undefined;
    const problem = messageOf(error);
    if (problem !== this.#problem)
      log.error(
        `${problem}; no client can connect here, open connections go on; Kahe tries again every second`,
        { reason: problem, address: this.#place.path, retryMs: LOOK_MS },
      );
    this.#problem = problem;
  }

  /**
   * The kernel's queue ends with the socket that is bound now: those in it, who connected before the file
   * went, are taken first.
   */
  async #emptied(): Promise<void> {
    for (let quiet = 0, seen = this.#accepted; quiet < QUIET_TURNS; quiet++) {
      await nextTurn();
      if (seen !== this.#accepted) quiet = 0;
      seen = this.#accepted;
    }
  }

  /** `hidden`: its folder lets nobody look. */
  #found(): 'nothing' | 'ours' | 'another' | 'hidden' {
    try {
      const found = lstatSync(this.#place.path, { throwIfNoEntry: false });
      if (found === undefined) return 'nothing';
      return found.dev === this.#file?.dev && found.ino === this.#file.ino ? 'ours' : 'another';
    } catch {
      return 'hidden';
    }
  }

  get #name(): string {
    return `${this.#place.setting}: ${this.#place.path}`;
  }
}
