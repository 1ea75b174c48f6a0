// Starts the senders, lets them all go at the same moment, and waits until everything is acknowledged.
import type { ChildProcess } from 'node:child_process';
import { endScript, forkScript, reportOf, within } from './childScript.js';
import { MOST, monotonicMs } from './clock.js';
import type { Payload, Wire } from './payload.js';
import type { Finish, SenderOptions, SenderReport } from './sender.js';

export interface Load {
  readonly clients: number;
  /** Processes that write; the clients are spread over them. */
  readonly senders: number;
  readonly framesPerWrite: number;
  /** In all; rounded so that each client has the same number of whole writes. */
  readonly frames: number;
  readonly payload: Payload;
}

/** Where to, and how the receiver wants it. */
export interface Receiver {
  readonly path: string;
  readonly wire: Wire;
  readonly finish: Finish;
}

export interface Sent {
  readonly frames: number;
  /** Until all was acknowledged. */
  readonly seconds: number;
  /**
   * See MOST: of Kahe, without the wait for the last batch's batchTimeout; of others, until all was
   * acknowledged.
   */
  readonly framesPerSecond: number;
  /** Of the senders. */
  readonly cpuSeconds: number;
  readonly wrongAnswers: readonly string[];
}

/** A run that takes so long does not end. */
const DEADLINE_MS = 180_000;

export class Senders {
  readonly frames: number;
  readonly #children: readonly ChildProcess[];

  private constructor(children: readonly ChildProcess[], frames: number) {
    this.#children = children;
    this.frames = frames;
  }

  /** Resolves when every client is connected. */
  static async connect(load: Load, receiver: Receiver): Promise<Senders> {
    const { clients, framesPerWrite, payload } = load;
    const processes = Math.min(load.senders, clients);
    const writesPerClient = Math.round(load.frames / clients / framesPerWrite);
    const shares = Array.from(
      { length: processes },
      (_, i) => Math.floor(((i + 1) * clients) / processes) - Math.floor((i * clients) / processes),
    );
    const children = shares.map((share) => {
      const options: SenderOptions = {
        ...receiver,
        clients: share,
        writesPerClient,
        framesPerWrite,
        payload,
      };
      return forkScript('sender.ts', options);
    });
    await Promise.all(children.map((child) => reportOf<SenderReport, 'connected'>(child, 'connected')));
    return new Senders(children, clients * writesPerClient * framesPerWrite);
  }

  /** Resolves when everything is written and acknowledged. */
  async send(): Promise<Sent> {
    const reports = this.#children.map((child) => reportOf<SenderReport, 'done'>(child, 'done'));
    const startMs = monotonicMs();
    for (const child of this.#children) child.send('go');
    const done = await within(DEADLINE_MS, Promise.all(reports));
    const seconds = (monotonicMs() - startMs) / 1000;
    const mostAtMs = done.flatMap((report) => report.mostAtMs ?? []);
    return {
      frames: this.frames,
      seconds,
      framesPerSecond:
        mostAtMs.length > 0
          ? (MOST * this.frames * 1000) / (Math.max(...mostAtMs) - startMs)
          : this.frames / seconds,
      cpuSeconds: done.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0),
      wrongAnswers: done.flatMap(({ wrongAnswers }) => wrongAnswers),
    };
  }

  /** Closes the connections. */
  async close(): Promise<void> {
    await Promise.all(this.#children.map(endScript));
  }
}
