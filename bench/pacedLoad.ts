// The parent's side of pacedSender.ts.
import type { ChildProcess } from 'node:child_process';
import { endScript, forkScript, reportOf, within } from './childScript.js';
import type { Receiver } from './load.js';
import type { PacedOptions, PacedReport } from './pacedSender.js';

export type PacedSent = Extract<PacedReport, { kind: 'done' }>;

/** For what was still on its way when it stopped. */
const ACKNOWLEDGE_MS = 30_000;

export class PacedLoad {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** Resolves when every client is connected. */
  static async connect(
    load: Pick<PacedOptions, 'clients' | 'framesPerSecond' | 'payload' | 'isEven'>,
    { path, wire, finish }: Receiver,
  ): Promise<PacedLoad> {
    const options: PacedOptions = { ...load, path, wire, finish };
    const child = forkScript('pacedSender.ts', options);
    await reportOf<PacedReport, 'connected'>(child, 'connected');
    return new PacedLoad(child);
  }

  start(): void {
    this.#child.send('go');
  }

  /** Resolves when everything is acknowledged. @throws when that is not what was written */
  async stop(): Promise<PacedSent> {
    const done = reportOf<PacedReport, 'done'>(this.#child, 'done');
    this.#child.send('stop');
    const sent = await within(ACKNOWLEDGE_MS, done);
    if (sent.wrongAnswers.length > 0) throw new Error(sent.wrongAnswers.join('; '));
    return sent;
  }

  /** Closes the connections. */
  async close(): Promise<void> {
    await endScript(this.#child);
  }
}
