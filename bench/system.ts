// The contract of what is measured: how it is started, fed, asked what arrived, and stopped.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import type { Receiver } from './load.js';

export interface System {
  /** As it stands in the tables. */
  readonly name: string;
  /** @param folder an empty one, removed afterwards */
  start(folder: string): Promise<RunningSystem>;
}

export interface RunningSystem {
  readonly pid: number;
  readonly receiver: Receiver;
  /** For one that acknowledges nothing: resolves when everything has arrived, or nothing more does. */
  untilArrived?(frames: number): Promise<void>;
  /** After it was stopped: how many frames are where they should be; undefined for one that keeps nothing. */
  countArrived?(): Promise<number>;
  /** @throws when it had ended by itself */
  stop(): Promise<void>;
}

const START_DEADLINE_MS = 15_000;
const STOP_DEADLINE_MS = 30_000;
const LOG_POLL_MS = 10;
const LOG_TAIL = 2_000;

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** A server process with a Unix socket in its folder. */
export class ServerProcess {
  readonly socketPath: string;
  readonly #logFile: string;
  readonly #child: ChildProcess;

  private constructor(command: readonly string[], folder: string, socketPath: string) {
    this.socketPath = socketPath;
    this.#logFile = path.join(folder, 'output.log');
    const log = openSync(this.#logFile, 'a');
    const [program, ...args] = command;
    this.#child = spawn(program!, args, { cwd: folder, stdio: ['ignore', log, log] });
    closeSync(log);
    running.add(this.#child);
    this.#child.once('exit', () => running.delete(this.#child));
  }

  /** Resolves when it takes connections. */
  static async start(command: readonly string[], folder: string, socketPath: string): Promise<ServerProcess> {
    const server = new ServerProcess(command, folder, socketPath);
    const deadline = Date.now() + START_DEADLINE_MS;
    while (!(await takesConnections(socketPath))) {
      if (server.#child.exitCode !== null || Date.now() > deadline)
        throw new Error(`${command.join(' ')} does not start:\n${server.logTail}`);
      await sleep(20);
    }
    return server;
  }

  get pid(): number {
    return this.#child.pid!;
  }

  get logTail(): string {
    return readFileSync(this.#logFile, 'utf8').slice(-LOG_TAIL);
  }

  /** Resolves with the first match of the pattern in all that it has written. */
  async untilLog(pattern: RegExp, deadlineMs: number): Promise<RegExpExecArray> {
    const deadline = Date.now() + deadlineMs;
    for (;;) {
      const match = pattern.exec(readFileSync(this.#logFile, 'utf8'));
      if (match) return match;
      if (Date.now() > deadline)
        throw new Error(
          `it did not write ${String(pattern)} within ${deadlineMs / 1000} s:\n${this.logTail}`,
        );
      await sleep(LOG_POLL_MS);
    }
  }

  async stop(): Promise<void> {
    if (!running.has(this.#child)) throw new Error(`it ended by itself:\n${this.logTail}`);
    const exited = once(this.#child, 'exit');
    const deadline = setTimeout(() => this.#child.kill('SIGKILL'), STOP_DEADLINE_MS);
    this.#child.kill('SIGTERM');
    await exited;
    clearTimeout(deadline);
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function takesConnections(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}
