// A steady load, one frame a write: a process that writes so many frames a second to some connections, in
// small steps or each at its moment, until it is told to stop. The clock says what is due, not the receiver:
// what could not be written in time is written late, so the rate is true.
import { monotonicMs } from './clock.js';
import { Connection } from './connection.js';
import { makeWrites, type Payload, type Wire } from './payload.js';
import type { Finish } from './sender.js';

export interface PacedOptions {
  readonly path: string;
  readonly clients: number;
  /** Of all clients together. */
  readonly framesPerSecond: number;
  readonly payload: Payload;
  readonly wire: Wire;
  /**
   * Each frame at its moment, for which the process never sleeps; otherwise those that are due every
   * millisecond.
   */
  readonly isEven?: boolean;
  readonly finish: Finish;
}

/**
 * Sent to the parent: first when all are connected (who then says 'go', and some time later 'stop'), then
 * when all is acknowledged.
 */
export type PacedReport =
  | { readonly kind: 'connected' }
  | {
      readonly kind: 'done';
      readonly frames: number;
      /** Truly written from 'go' to 'stop'. */
      readonly framesPerSecond: number;
      readonly wrongAnswers: readonly string[];
    };

const STEP_MS = 1;

class PacedLoad {
  readonly #clients: readonly { readonly connection: Connection; frames: number }[];
  readonly #framesPerMs: number;
  readonly #writes: readonly Buffer[];
  readonly #startMs = monotonicMs();
  readonly #isEven: boolean;
  readonly #finish: Finish;
  #frames = 0;
  #turn = 0;
  #isStopped = false;

  constructor(
    connections: readonly Connection[],
    { framesPerSecond, payload, wire, isEven = false, finish }: PacedOptions,
  ) {
    this.#isEven = isEven;
    this.#finish = finish;
    this.#clients = connections.map((connection) => ({ connection, frames: 0 }));
    this.#framesPerMs = framesPerSecond / 1000;
    this.#writes = makeWrites(payload, wire, 1);
    this.#step();
  }

  /** Resolves when all that was written is acknowledged, by who acknowledges frames. */
  async stop(): Promise<PacedReport> {
    this.#isStopped = true;
    const framesPerSecond = (this.#frames * 1000) / (monotonicMs() - this.#startMs);
    const wrongAnswers = this.#finish === 'receipt' ? await this.#wrongAnswers() : [];
    return { kind: 'done', frames: this.#frames, framesPerSecond, wrongAnswers };
  }

  async #wrongAnswers(): Promise<string[]> {
    const answers = await Promise.all(this.#clients.map(({ connection }) => connection.ask()));
    return this.#clients.flatMap(({ frames }, i) =>
      answers[i] === frames ? [] : [`${frames} expected, ${answers[i]} answered`],
    );
  }

  #step(): void {
    if (this.#isStopped) return;
    const due = (monotonicMs() - this.#startMs) * this.#framesPerMs;
    while (this.#frames < due) {
      const client = this.#nextReady();
      if (client === undefined) break;
      client.connection.write(this.#writes[this.#frames++ % this.#writes.length]!);
      client.frames++;
    }
    if (this.#isEven) setImmediate(() => this.#step());
    else setTimeout(() => this.#step(), STEP_MS);
  }

  /** In turn; one that the kernel has no room for is passed over. */
  #nextReady(): { readonly connection: Connection; frames: number } | undefined {
    for (let passed = 0; passed < this.#clients.length; passed++) {
      const client = this.#clients[this.#turn++ % this.#clients.length]!;
      if (!client.connection.isBlocked) return client;
    }
    return undefined;
  }
}

function report(message: PacedReport): void {
  process.send!(message);
}

const options = JSON.parse(process.argv[2]!) as PacedOptions;
const connections = await Connection.connectAll(options.path, options.clients);
process.once('message', () => {
  const load = new PacedLoad(connections, options);
  process.once('message', () => void load.stop().then(report));
});
process.once('disconnect', () => process.exit(0));
report({ kind: 'connected' });
