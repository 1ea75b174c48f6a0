// Pushes the daemon's figures to a statsd server, every interval and once more at the end. It reads snapshots
// and nothing else; whatever becomes of the server, its name or the network is one warning in the log, and no
// frame feels it.
import { hostname } from 'node:os';
import type { Snapshot } from '../stats/snapshot.js';
import { type Clock, type Timer, doneWithin } from '../clock.js';
import type { StatsdSettings } from '../config/statsd.js';
import type { Log } from '../log/log.js';
import { Changes } from './changes.js';
import { figuresOf } from './figures.js';
import { statLevel } from './statName.js';
import { UdpSender } from './udpSender.js';
import { messageOf } from '../errors.js';

export interface StatsdParts {
  readonly settings: StatsdSettings;
  readonly snapshot: () => Snapshot;
  readonly clock: Clock;
  readonly log: Log;
}

/** At the end: how long a name that does not resolve is waited for. */
const LAST_MS = 1_000;

export class Statsd {
  readonly #parts: StatsdParts;
  readonly #prefix: string;
  readonly #sender: UdpSender;
  readonly #changes = new Changes();
  readonly #timer: Timer;
  #pushing: Promise<void> | undefined;
  #isInTrouble = false;

  constructor(parts: StatsdParts) {
    const {
      settings: { host, port, prefix, intervalMs },
      clock,
      log,
    } = parts;
    this.#parts = parts;
    this.#prefix = prefix.replaceAll('{hostname}', statLevel(hostname()));
    this.#sender = new UdpSender(host, port);
    this.#timer = clock.every(intervalMs, () => void this.#push());
    log.info(`figures go to ${host}:${port} every ${intervalMs} ms, as ${this.#prefix}.…`, {
      address: `${host}:${port}`,
      intervalMs,
    });
    // Shows at once whether the name is known.
    void this.#push();
  }

  /** The last figures, and the end. Never rejects. */
  async close(): Promise<void> {
    this.#timer.cancel();
    await doneWithin(this.#parts.clock, LAST_MS, this.#last());
    this.#sender.close();
  }

  async #last(): Promise<void> {
    await this.#pushing;
    await this.#push();
  }

  /** One at a time: what comes while one is on its way goes with the next. */
  #push(): Promise<void> {
    return (this.#pushing ??= this.#try().finally(() => (this.#pushing = undefined)));
  }

  async #try(): Promise<void> {
    const {
      settings: { host, port },
      log,
    } = this.#parts;
    try {
      const address = await this.#sender.address();
      await this.#sender.send(
        this.#changes.linesFor(figuresOf(this.#parts.snapshot(), this.#prefix)),
        address,
      );
      if (this.#isInTrouble) log.info(`figures go to ${host}:${port} again`, { address: `${host}:${port}` });
      this.#isInTrouble = false;
    } catch (error) {
      if (!this.#isInTrouble) this.#warn(error);
      this.#isInTrouble = true;
    }
  }

  #warn(error: unknown): void {
    const {
      settings: { host, port, intervalMs },
      log,
    } = this.#parts;
    const reason = messageOf(error);
    log.warn(
      `figures can't go to ${host}:${port} (STATSD): ${reason}; next try in ${intervalMs} ms, with all that is counted until then; frames are not affected`,
      { reason, address: `${host}:${port}`, retryMs: intervalMs },
    );
  }
}
